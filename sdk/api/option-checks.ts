import { InvalidArgumentError } from '../../protocols/errors.ts'
import { ObjectRef } from '../objects/object-ref.ts'

/** Throws an error that names the option when its value is wrong. */
export type Check = (value: unknown, name: string) => void

/** Refuses unknown options and wrong values; `undefined` counts as left out. */
export function checkOptions(options: unknown, known: Record<string, Check>, where: string): void {
  const what = `the options of ${where}`
  // It has no fields, and so no wrong ones.
  if (options instanceof ObjectRef) throw invalid(what, options, 'an object')
  for (const [name, value] of Object.entries(plainObject(options, what))) {
    const check = Object.hasOwn(known, name) ? known[name] : undefined
    if (check === undefined) {
      throw new InvalidArgumentError(
        `${where} has no option ${JSON.stringify(name)}; it knows ${Object.keys(known).join(', ')}`,
        { option: name },
      )
    }
    if (value !== undefined) check(value, name)
  }
}

export function plainObject(value: unknown, name: string): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`${name} must be an object; got ${show(value)}`, { option: name })
  }
  return value
}

export function amount(value: unknown, name: string): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw invalid(name, value, 'a number, 0 or more')
}

export function oneOrMore(value: unknown, name: string): void {
  if (!Number.isInteger(value) || (value as number) < 1) throw invalid(name, value, 'a whole number, 1 or more')
}

export function boolean(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw invalid(name, value, 'true or false')
}

export function abortSignal(value: unknown, name: string): void {
  if (!(value instanceof AbortSignal)) throw invalid(name, value, 'an AbortSignal')
}

export function text(value: unknown, name: string): void {
  if (typeof value !== 'string' || value === '') throw invalid(name, value, 'a text')
}

export function invalid(name: string, value: unknown, expected: string): InvalidArgumentError {
  return new InvalidArgumentError(`${name} must be ${expected}; got ${show(value)}`, { option: name })
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return `a function`
  if (Array.isArray(value)) return 'an array'
  if (value instanceof ObjectRef) return 'an ObjectRef'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}
