import { shoalErrorClasses } from '../errors.ts'

type ErrorClass = { prototype: Error; name: string }

/** Errors that every process knows: the language's own and Shoal's. */
const known: ErrorClass[] = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
  AggregateError,
  ...Object.values(shoalErrorClasses),
]

const nameByPrototype = new Map<object, string>(known.map((each) => [each.prototype, each.name]))
const prototypeByName = new Map<string, object>(known.map((each) => [each.name, each.prototype]))

/** The class of an error that every process knows; undefined for a class of somebody's own. */
export function knownErrorName(prototype: object): string | undefined {
  return nameByPrototype.get(prototype)
}

/** The closest class above it that every process knows. */
export function nearestErrorName(error: object): string {
  let prototype: object | null = Object.getPrototypeOf(error) as object | null
  for (; prototype !== null; prototype = Object.getPrototypeOf(prototype) as object | null) {
    const name = nameByPrototype.get(prototype)
    if (name !== undefined) return name
  }
  return 'Error'
}

export function errorPrototype(name: string): object | undefined {
  return prototypeByName.get(name)
}
