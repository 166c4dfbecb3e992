import { types } from 'node:util'
import { hasPrivateFields, inspectFunction, type Inspected } from './inspect.ts'
import { globalPathOf } from './known-values.ts'
import { Refusal } from './refusal.ts'
import { scriptOf, type Script } from './script.ts'
import { sourceTextOf } from './any-function.ts'

/** Whether objects can be copied, looking at each by itself. */

const createThere = 'create it inside the function, or at the top level of the module, where each worker re-creates it'

/** The built-in classes whose instances, and those of the user's subclasses, can be copied. */
const copyableBases = new Map<object, 'array' | 'map' | 'set' | 'error'>([
  [Array.prototype, 'array'],
  [Map.prototype, 'map'],
  [Set.prototype, 'set'],
  [Error.prototype, 'error'],
  [TypeError.prototype, 'error'],
  [RangeError.prototype, 'error'],
  [SyntaxError.prototype, 'error'],
  [ReferenceError.prototype, 'error'],
  [EvalError.prototype, 'error'],
  [URIError.prototype, 'error'],
  [AggregateError.prototype, 'error'],
])

/** Built-in classes of which only direct instances can be copied. */
const plainBases = new Set<object>([
  Date.prototype,
  RegExp.prototype,
  URL.prototype,
  URLSearchParams.prototype,
  ArrayBuffer.prototype,
])

/** The built-in prototype at the end of an object's chain that says how it is copied; its class name. */
export function builtinBaseOf(value: object): string {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (copyableBases.has(at)) return (at as { constructor: { name: string } }).constructor.name
  }
  return 'Object'
}

/** Where a function comes from, remembered: the same few classes are asked about again and again. */
const inspected = new WeakMap<object, { inspected: Inspected; script: Script | undefined }>()

export function originOfFunction(fn: object): { inspected: Inspected; script: Script | undefined } {
  let known = inspected.get(fn)
  if (known === undefined) {
    const found = inspectFunction(fn)
    known = { inspected: found, script: found.type === 'script' ? scriptOf(found.scriptId) : undefined }
    // Scopes hold values of this moment.
    if (found.type === 'script') inspected.set(fn, { ...known, inspected: { ...found, scopes: [] } })
  }
  return known
}

/** Why an object cannot be copied, apart from what is in it. */
export function refusalOf(value: object): Refusal | undefined {
  if (types.isProxy(value)) return new Refusal('it holds a Proxy', 'capture the plain value behind it')
  return refusalOfKind(value) ?? refusalOfClass(value)
}

function refusalOfKind(value: object): Refusal | undefined {
  if (types.isPromise(value)) {
    return new Refusal('it holds a Promise', 'await it first, or pass the ObjectRef of a remote task as an argument')
  }
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) {
    const fix = 'create it inside the function, or at the top level of the module, where each worker re-creates it'
    return new Refusal(`it holds a ${classNameOf(value)}`, fix)
  }
  if (types.isGeneratorObject(value)) {
    return new Refusal('it holds a running generator', 'call the generator function inside the task')
  }
  if (types.isExternal(value)) return new Refusal('it holds a native handle', createThere)
  if (types.isSharedArrayBuffer(value)) {
    return new Refusal(
      'it holds a SharedArrayBuffer',
      'copy it to an ArrayBuffer: memory is not shared between machines',
    )
  }
  if (types.isModuleNamespaceObject(value)) {
    return new Refusal(
      'it holds a module namespace',
      'import the module with an import statement at the top of the file',
    )
  }
  return undefined
}

function refusalOfClass(value: object): Refusal | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === null || prototype === Object.prototype || copyableBases.has(prototype)) return undefined
  if (plainBases.has(prototype) || (types.isArrayBufferView(value) && isDirectView(value))) return undefined
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (at === Object.prototype || copyableBases.has(at)) break
    const cls = Object.getOwnPropertyDescriptor(at, 'constructor')?.value as unknown
    if (typeof cls !== 'function') continue
    const refusal = refusalOfForeignClass(cls, classNameOf(value), at === prototype)
    if (refusal !== undefined) return refusal
  }
  return mayHavePrivateFields(prototype) && hasPrivateFields(value)
    ? privateFieldsRefusal(classNameOf(value))
    : undefined
}

function isDirectView(value: ArrayBufferView): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Buffer.prototype || globalPathOf(prototype) !== undefined
}

function refusalOfForeignClass(cls: object, name: string, isItsOwn: boolean): Refusal | undefined {
  const { inspected: origin, script } = originOfFunction(cls)
  const { name: clsName } = cls as { name: string }
  const who = isItsOwn ? `an instance of ${clsName || name}` : `an instance of ${name}, which extends ${clsName}`
  if (origin.type === 'native' || script?.origin === 'builtin') {
    return new Refusal(`it holds ${who} (built-in) which cannot be copied`, createThere)
  }
  if (script?.origin === 'package') {
    return new Refusal(`it holds ${who} (package '${script.packageName}') which cannot be copied`, createThere)
  }
  return undefined
}

function privateFieldsRefusal(name: string): Refusal {
  return new Refusal(
    `it holds an instance of ${name}, a class with private #fields, which cannot be read from outside`,
    'create it inside the function, or at the top level of the module; or send its plain data',
  )
}

/** False when no class of the chain has a # in its text. */
function mayHavePrivateFields(prototype: object): boolean {
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const cls = Object.getOwnPropertyDescriptor(at, 'constructor')?.value as unknown
    if (typeof cls === 'function' && sourceTextOf(cls).includes('#')) return true
  }
  return false
}

function classNameOf(value: object): string {
  const cls = (value as { constructor?: unknown }).constructor
  return typeof cls === 'function' && cls.name !== '' ? cls.name : 'an unnamed class'
}
