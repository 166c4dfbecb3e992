/** Resolves when all have, or when the time is up. */
export async function within(timeoutMs: number, promises: readonly Promise<void>[]): Promise<void> {
  if (promises.length === 0) return
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, timeoutMs)
  await Promise.race([Promise.all(promises), late])
  clearTimeout(timer)
}
