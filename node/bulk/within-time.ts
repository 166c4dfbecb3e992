import { UnreachableError } from '../../protocols/errors.ts'

/** What the work gives. Rejects with UnreachableError when it has not come to its end in time. */
export async function withinTime<T>(work: Promise<T>, timeoutMs: number, message: () => string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new UnreachableError(message())), timeoutMs)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
