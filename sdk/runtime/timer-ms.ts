/** The longest that a timer takes, some 25 days: one for longer would fire at once. */
const timerMsMax = 2 ** 31 - 1

/** A time that a user has given, as a timer takes it. */
export function timerMs(ms: number): number {
  return Math.min(ms, timerMsMax)
}
