import { types } from 'node:util'
import { ProtocolError } from '../../protocols/errors.ts'

/** What an instance of a user's class is made from. */
export interface InstanceData {
  classId: string
  /** The built-in class that its own one extends, unless that is Error. */
  base?: 'Array' | 'Map' | 'Set'
  error?: { message: string; stack: string | undefined }
}

export interface InstanceParts {
  data: InstanceData
  contents?: unknown
  fields: Record<string, unknown>
}

/** Parts of errors that are not among their enumerable fields. They may lead back to the error. */
const hiddenOfErrors = ['cause', 'errors'] as const

/** Takes an instance of a user's class apart: its fields, and what it has as one of a built-in class. */
export function takeApart(value: object, classId: string): InstanceParts {
  const fields = { ...value } as Record<string, unknown>
  if (types.isMap(value)) {
    const contents = new Map(Map.prototype.entries.call(value))
    return { data: { classId, base: 'Map' }, contents, fields }
  }
  if (types.isSet(value)) {
    return { data: { classId, base: 'Set' }, contents: new Set(Set.prototype.values.call(value)), fields }
  }
  if (Array.isArray(value)) {
    const contents: unknown[] = []
    contents.length = value.length
    for (const key of Object.keys(value)) {
      if (!(Number(key) < value.length)) continue
      contents[Number(key)] = fields[key]
      delete fields[key]
    }
    return { data: { classId, base: 'Array' }, contents, fields }
  }
  if (!(value instanceof Error)) return { data: { classId }, fields }
  const data = { classId, error: { message: value.message, stack: value.stack } }
  const hidden = hiddenOfErrors.filter((key) => key in value && !(key in fields))
  if (hidden.length === 0) return { data, fields }
  return { data, contents: Object.fromEntries(hidden.map((key) => [key, (value as AggregateError)[key]])), fields }
}

/** The instance without its contents and fields. None of its class's code runs. */
export function putTogether({ base, error }: InstanceData, cls: new () => object): object {
  if (error !== undefined) {
    const made = new Error(error.message)
    Object.setPrototypeOf(made, cls.prototype as object)
    if (error.stack !== undefined) defineHidden(made, 'stack', error.stack)
    return made
  }
  if (base === undefined) return Object.create(cls.prototype as object) as object
  const bases = { Array, Map, Set }
  if (!Object.hasOwn(bases, base)) throw new ProtocolError(`a value extends ${base}, which nothing can`)
  return Reflect.construct(bases[base], [], cls) as object
}

/** Puts the contents into an instance that {@link putTogether} has made. */
export function fillInstance(value: object, contents: unknown): void {
  if (types.isMap(value) && contents instanceof Map) {
    for (const [key, item] of contents) Map.prototype.set.call(value, key, item)
  } else if (types.isSet(value) && contents instanceof Set) {
    for (const item of contents) Set.prototype.add.call(value, item)
  } else if (Array.isArray(value) && Array.isArray(contents)) {
    value.length = contents.length
    for (const [key, item] of Object.entries(contents)) {
      Object.defineProperty(value, key, { value: item, writable: true, enumerable: true, configurable: true })
    }
  } else if (value instanceof Error && typeof contents === 'object' && contents !== null) {
    for (const key of hiddenOfErrors) {
      if (Object.hasOwn(contents, key)) defineHidden(value, key, (contents as Record<string, unknown>)[key])
    }
  } else throw new ProtocolError('a value has the contents of another kind of object')
}

function defineHidden(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, writable: true, enumerable: false, configurable: true })
}
