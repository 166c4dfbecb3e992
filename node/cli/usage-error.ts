/** The command was typed wrong. The message names the option and what it takes; the exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
