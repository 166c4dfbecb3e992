import { inspect } from 'node:util'

/** Causes in causes that are looked at; what is deeper is left out. */
const depthMax = 8

/**
 * The error without what cannot be copied of it: class, message and stack stay, fields and causes that cannot travel are
 * left out. Looking at an odd error must not throw, so every look is guarded.
 */
export function copyableError(thrown: unknown, canCopy: (value: unknown) => boolean, depth = 0): Error {
  const copy = new Error(text(thrown, 'message') ?? describe(thrown))
  const stack = text(thrown, 'stack')
  if (stack !== undefined) define(copy, 'stack', stack)
  if (typeof thrown !== 'object' || thrown === null) return copy
  attempt(() => {
    if (thrown instanceof Error) Object.setPrototypeOf(copy, Object.getPrototypeOf(thrown) as object)
  })
  // Its class may be what cannot travel; the name tells it at least.
  if (!canCopy(copy)) {
    Object.setPrototypeOf(copy, Error.prototype)
    define(copy, 'name', text(thrown, 'name') ?? 'Error')
  }
  for (const key of attempt(() => Object.keys(thrown)) ?? []) {
    const value = attempt(() => (thrown as Record<string, unknown>)[key])
    if (value !== undefined && canCopy(value))
      attempt(() => ((copy as unknown as Record<string, unknown>)[key] = value))
  }
  const cause = attempt(() => (thrown as { cause?: unknown }).cause)
  if (cause !== undefined && canCopy(cause)) define(copy, 'cause', cause)
  else if (cause !== undefined && depth < depthMax) define(copy, 'cause', copyableError(cause, canCopy, depth + 1))
  return copy
}

function define(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true })
}

function text(thrown: unknown, key: string): string | undefined {
  const value = attempt(() => (thrown as Record<string, unknown>)[key])
  return typeof value === 'string' ? value : undefined
}

function describe(value: unknown): string {
  return attempt(() => inspect(value, { depth: 1 }).slice(0, 1000)) ?? 'a value that cannot be looked at'
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
