import { types } from 'node:util'
import { BufferEncoder } from './buffer-encoder.ts'
import { builtinBaseOf, refusalOf } from './copyability.ts'
import { globalPathOf } from './known-values.ts'
import type { Capture } from './capture.ts'
import type { GraphNode, ObjectParts, Primitive, PropertyNode, Seal } from './manifest.ts'
import { step, type Trail } from './refusal.ts'

/** Turns objects into nodes of the graph. */
export class ObjectEncoder {
  readonly #capture: Capture
  readonly #buffers: BufferEncoder

  constructor(capture: Capture) {
    this.#capture = capture
    this.#buffers = new BufferEncoder(capture)
  }

  /** To be called when all objects are encoded. */
  finish(): void {
    this.#buffers.finish()
  }

  encode(value: object, trail: Trail): GraphNode {
    const refusal = refusalOf(value)
    if (refusal !== undefined) throw refusal
    if (Array.isArray(value)) return this.#array(value, trail)
    if (types.isDate(value)) return { type: 'date', timeMs: value.getTime() }
    if (types.isRegExp(value)) {
      return { type: 'regexp', source: value.source, flags: value.flags, lastIndex: value.lastIndex }
    }
    if (types.isMap(value)) return this.#map(value, trail)
    if (types.isSet(value)) return this.#set(value, trail)
    if (types.isArrayBufferView(value)) return this.#buffers.view(value, trail)
    if (types.isArrayBuffer(value)) return this.#buffers.arrayBuffer(value, trail)
    if (value instanceof URL) return { type: 'url', href: value.href }
    if (value instanceof URLSearchParams) return { type: 'urlSearch', text: value.toString() }
    if (types.isNativeError(value)) {
      return this.#error(value, trail)
    }
    return this.#plainObject(value, trail)
  }

  #plainObject(value: object, trail: Trail): GraphNode {
    const prototype = Object.getPrototypeOf(value) as object | null
    const parts = this.#parts(value, trail, () => true)
    if (prototype === Object.prototype || parts.class !== undefined) return { type: 'object', ...parts }
    return { type: 'object', ...parts, prototype: this.#capture.encode(prototype, step(trail, 'its prototype')) }
  }

  #error(value: Error, trail: Trail): GraphNode {
    const parts = this.#parts(value, trail, (key) => key !== 'stack')
    // Not a plain property: the text is made when it is first read.
    const stack: PropertyNode = { key: 'stack', value: this.#capture.encode(value.stack, trail), attributes: 'h' }
    return { type: 'error', name: builtinBaseOf(value), ...parts, props: [stack, ...parts.props] }
  }

  #array(value: unknown[], trail: Trail): GraphNode {
    if (isList(value)) {
      for (const item of value) this.#capture.addBytes(typeof item === 'string' ? item.length : 8, trail)
      return { type: 'list', items: [...value] as Primitive[] }
    }
    const parts = this.#parts(value, trail, (key) => key !== 'length' && !isIndex(key))
    const items: [number, ReturnType<Capture['encode']>][] = []
    // A subclass may have methods of its own to go over the items, and there may be few in a long array.
    for (const key of Reflect.ownKeys(value)) {
      if (!isIndex(key)) continue
      const i = Number(key)
      items.push([i, this.#capture.encode(value[i], step(trail, `[${i}]`))])
    }
    return { type: 'array', length: value.length, items, ...parts }
  }

  #map(value: Map<unknown, unknown>, trail: Trail): GraphNode {
    const parts = this.#parts(value, trail, () => true)
    const entries = [...Map.prototype.entries.call(value)].map(([key, item], i) => {
      const name = typeof key === 'string' ? JSON.stringify(key) : typeof key === 'number' ? String(key) : `key ${i}`
      const keyRef = this.#capture.encode(key, step(trail, `key ${i}`))
      return [keyRef, this.#capture.encode(item, step(trail, `.get(${name})`))] as [typeof keyRef, typeof keyRef]
    })
    return { type: 'map', entries, ...parts }
  }

  #set(value: Set<unknown>, trail: Trail): GraphNode {
    const parts = this.#parts(value, trail, () => true)
    const items = [...Set.prototype.values.call(value)]
    return {
      type: 'set',
      entries: items.map((item, i) => this.#capture.encode(item, step(trail, `entry ${i}`))),
      ...parts,
    }
  }

  #parts(value: object, trail: Trail, isKept: (key: PropertyKey) => boolean): ObjectParts {
    const parts: ObjectParts = { props: this.properties(value, trail, isKept) }
    const seal = sealOf(value)
    if (seal !== undefined) parts.seal = seal
    const prototype = Object.getPrototypeOf(value) as object | null
    const cls =
      prototype === null ? undefined : (Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown)
    if (typeof cls === 'function' && cls.prototype === prototype && globalPathOf(cls) === undefined) {
      parts.class = this.#capture.encode(cls, step(trail, `class ${cls.name}`))
    }
    return parts
  }

  /** Own properties, with getters and setters as they are. */
  properties(value: object, trail: Trail, isKept: (key: PropertyKey) => boolean): PropertyNode[] {
    const props: PropertyNode[] = []
    for (const key of Reflect.ownKeys(value)) {
      if (!isKept(key)) continue
      const descriptor = Object.getOwnPropertyDescriptor(value, key)
      if (descriptor !== undefined) props.push(this.#property(key, descriptor, trail))
    }
    return props
  }

  #property(key: string | symbol, descriptor: PropertyDescriptor, trail: Trail): PropertyNode {
    const label =
      typeof key === 'symbol' ? `[${String(key)}]` : isIdentifier(key) ? `.${key}` : `[${JSON.stringify(key)}]`
    const prop: PropertyNode = typeof key === 'symbol' ? this.#symbolKey(key, trail) : { key }
    if ('value' in descriptor) prop.value = this.#capture.encode(descriptor.value, step(trail, label))
    if (descriptor.get !== undefined) prop.get = this.#capture.encode(descriptor.get, step(trail, `get ${label}`))
    if (descriptor.set !== undefined) prop.set = this.#capture.encode(descriptor.set, step(trail, `set ${label}`))
    const attributes = [
      'value' in descriptor && descriptor.writable === false ? 'r' : '',
      descriptor.enumerable === false ? 'h' : '',
      descriptor.configurable === false ? 'f' : '',
    ].join('')
    if (attributes !== '') prop.attributes = attributes
    return prop
  }

  #symbolKey(key: symbol, trail: Trail): PropertyNode {
    return { key: this.#capture.encode(key, step(trail, `[${String(key)}]`)) as number, isSymbol: true }
  }
}

function isList(value: unknown[]): boolean {
  if (Object.getPrototypeOf(value) !== Array.prototype || Object.isFrozen(value) || !Object.isExtensible(value))
    return false
  for (let i = 0; i < value.length; i++) {
    const item = value[i]
    if (typeof item === 'object' ? item !== null : typeof item === 'function' || typeof item === 'symbol') return false
    if (item === undefined && !(i in value)) return false
  }
  return Reflect.ownKeys(value).length === value.length + 1
}

function isIndex(key: PropertyKey): boolean {
  return typeof key === 'string' && /^(0|[1-9]\d*)$/.test(key)
}

function isIdentifier(key: string): boolean {
  return /^[\p{L}_$][\p{L}\d_$]*$/u.test(key)
}

function sealOf(value: object): Seal | undefined {
  if (Object.isExtensible(value)) return undefined
  if (Object.isFrozen(value)) return 'frozen'
  return Object.isSealed(value) ? 'sealed' : 'fixed'
}
