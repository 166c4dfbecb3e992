import type { GetOptions } from '../api/values.ts'
import { timerMs } from '../runtime/timer-ms.ts'

/**
 * Resolves when the promise is settled, either way. Rejects with the given error when the time is up first, and with the
 * signal's reason.
 */
export async function settledWithin(
  promise: Promise<unknown>,
  { timeoutMs, signal }: GetOptions,
  timeoutError: (timeoutMs: number) => Error,
): Promise<void> {
  signal?.throwIfAborted()
  const { promise: limit, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => reject(signal?.reason)
  const timer =
    timeoutMs === undefined ? undefined : setTimeout(() => reject(timeoutError(timeoutMs)), timerMs(timeoutMs))
  signal?.addEventListener('abort', onAbort, { once: true })
  const settled = promise.then(nothing, nothing)
  try {
    await Promise.race([settled, limit])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

const nothing = (): void => undefined
