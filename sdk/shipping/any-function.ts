/** Any function of the user's. */
export type AnyFunction = (...args: never[]) => unknown

/** Any class, as a value. */
export type AnyClass = abstract new (...args: never[]) => object

/** True for what was written as `class`. */
export function isClass(value: unknown): value is AnyClass {
  return typeof value === 'function' && /^class\b/.test(sourceTextOf(value))
}

/** The text of a function, whatever its own `toString` says. */
export function sourceTextOf(fn: unknown): string {
  return Function.prototype.toString.call(fn)
}
