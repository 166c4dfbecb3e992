import { inspect } from 'node:util'
import { serialize } from 'node:v8'

interface Limits {
  /** Of each text. */
  readonly lengthMax: number
  readonly fieldsMax: number
  /** Causes in causes that are looked at; what is deeper is left out. */
  readonly depthMax: number
}

const wholeLimits: Limits = { lengthMax: Infinity, fieldsMax: Infinity, depthMax: 8 }
/** With all fields and causes it stays below the 100 KiB of what is kept in messages. */
const shortLimits: Limits = { lengthMax: 2_000, fieldsMax: 8, depthMax: 3 }
const fieldBytesMax = 500

/**
 * The error without what cannot be copied of it: class, message and stack stay, fields and causes that cannot travel are
 * left out. Looking at an odd error must not throw, so every look is guarded.
 */
export function copyableError(thrown: unknown, canCopy: (value: unknown) => boolean): Error {
  return copyOf(thrown, canCopy, wholeLimits)
}

/** The error without what cannot be copied, and without what is large: its texts are cut, long fields are left out. */
export function shortError(thrown: unknown, canCopy: (value: unknown) => boolean): Error {
  return copyOf(thrown, (value) => isShort(value) && canCopy(value), shortLimits)
}

function isShort(value: unknown): boolean {
  if (!(value instanceof Error)) return (attempt(() => serialize(value).byteLength) ?? Infinity) <= fieldBytesMax
  const length = (text(value, 'message') ?? '').length + (text(value, 'stack') ?? '').length
  const isBare = attempt(() => value.cause === undefined && Object.keys(value).length === 0) ?? false
  return isBare && length <= 2 * shortLimits.lengthMax
}

function copyOf(thrown: unknown, canCopy: (value: unknown) => boolean, limits: Limits, depth = 0): Error {
  const { lengthMax, fieldsMax, depthMax } = limits
  const copy = new Error((text(thrown, 'message') ?? describe(thrown)).slice(0, lengthMax))
  const stack = text(thrown, 'stack')?.slice(0, lengthMax)
  if (stack !== undefined) define(copy, 'stack', stack)
  if (typeof thrown !== 'object' || thrown === null) return copy
  attempt(() => {
    if (thrown instanceof Error) Object.setPrototypeOf(copy, Object.getPrototypeOf(thrown) as object)
  })
  // Its class may be what cannot travel; the name tells it at least.
  if (!canCopy(copy)) {
    Object.setPrototypeOf(copy, Error.prototype)
    define(copy, 'name', (text(thrown, 'name') ?? 'Error').slice(0, lengthMax))
  }
  const keys = (attempt(() => Object.keys(thrown)) ?? []).filter((key) => key.length <= lengthMax / 10)
  for (const key of keys.slice(0, fieldsMax)) {
    const value = attempt(() => (thrown as Record<string, unknown>)[key])
    if (value !== undefined && canCopy(value))
      attempt(() => ((copy as unknown as Record<string, unknown>)[key] = value))
  }
  const cause = attempt(() => (thrown as { cause?: unknown }).cause)
  if (cause !== undefined && canCopy(cause)) define(copy, 'cause', cause)
  else if (cause !== undefined && depth < depthMax) define(copy, 'cause', copyOf(cause, canCopy, limits, depth + 1))
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
