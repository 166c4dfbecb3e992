import { createInterface } from 'node:readline/promises'
import { UsageError } from './usage-error.ts'

/** Asks a person. Without a terminal there is nobody to ask, so that `--yes` has to say it. */
export async function confirm(question: string, { yes }: { yes?: boolean }): Promise<boolean> {
  if (yes === true) return true
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`${question} Without a terminal to ask on, add --yes to do it`)
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${question} [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
