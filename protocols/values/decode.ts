import { ProtocolError } from '../errors.ts'
import { errorPrototype } from './error-classes.ts'
import { depthMax, errorFlags, extensionParts, payloads, tags, viewKinds } from './tags.ts'
import { valueFormats, type DecodeHooks, type EncodedValue } from './value.ts'

const noHooks: DecodeHooks = {}

/** The memory of views: bytes that may be a part of a larger buffer, until somebody wants a buffer of its own. */
class Memory {
  bytes: Uint8Array
  #own: ArrayBuffer | undefined

  constructor(bytes: Uint8Array, own?: ArrayBuffer) {
    this.bytes = bytes
    this.#own = own
  }

  get own(): ArrayBuffer {
    if (this.#own === undefined) {
      const { buffer, byteOffset, byteLength } = this.bytes
      const isWhole = byteOffset === 0 && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer
      this.#own = isWhole ? buffer : new Uint8Array(this.bytes).buffer
      this.bytes = new Uint8Array(this.#own)
    }
    return this.#own
  }
}

class Decoder {
  readonly #head: Buffer
  readonly #buffers: readonly Uint8Array[]
  readonly #hooks: DecodeHooks
  readonly #objects: unknown[] = []
  #at = 0
  #depth = 0

  constructor(encoded: EncodedValue, hooks: DecodeHooks) {
    const { head, buffers } = encoded
    this.#head = Buffer.isBuffer(head) ? head : Buffer.from(head.buffer, head.byteOffset, head.byteLength)
    this.#buffers = buffers
    this.#hooks = hooks
  }

  decode(): unknown {
    const value = this.#value()
    if (this.#at !== this.#head.length) throw new ProtocolError('a value has bytes after its end')
    return value
  }

  #take(count: number): number {
    const at = this.#at
    if (count > this.#head.length - at) throw new ProtocolError('a value ends before its last part')
    this.#at = at + count
    return at
  }

  #byte(): number {
    return this.#head[this.#take(1)] as number
  }

  #count(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    throw new ProtocolError('a value has a number that is too long')
  }

  /** A count of parts that take at least `bytesEach` each, so that a wrong one cannot ask for more than there is. */
  #parts(bytesEach: number): number {
    const count = this.#count()
    if (count * bytesEach > this.#head.length - this.#at)
      throw new ProtocolError('a value has a count that is too high')
    return count
  }

  #value(): unknown {
    const tag = this.#byte()
    switch (tag) {
      case tags.undefined:
        return undefined
      case tags.null:
        return null
      case tags.false:
        return false
      case tags.true:
        return true
      case tags.byte:
        return this.#byte()
      case tags.int32:
        return this.#head.readInt32LE(this.#take(4))
      case tags.float64:
        return this.#head.readDoubleLE(this.#take(8))
      case tags.latin1:
      case tags.utf16:
        return this.#textAfter(tag)
      case tags.bigint:
        return this.#bigint()
      case tags.registeredSymbol:
        return Symbol.for(this.#text())
      case tags.reference:
        return this.#reference()
      default:
        return this.#object(tag)
    }
  }

  #text(): string {
    return this.#textAfter(this.#byte())
  }

  #textAfter(tag: number): string {
    if (tag === tags.latin1) {
      const length = this.#parts(1)
      const at = this.#take(length)
      return this.#head.toString('latin1', at, at + length)
    }
    if (tag !== tags.utf16) throw new ProtocolError('a value has something else where a text belongs')
    const bytes = this.#parts(2) * 2
    const at = this.#take(bytes)
    return this.#head.toString('utf16le', at, at + bytes)
  }

  #bigint(): bigint {
    const isNegative = this.#byte() === 1
    const bytes = this.#parts(1)
    const at = this.#take(bytes)
    const digits = Buffer.from(this.#head.subarray(at, at + bytes))
      .reverse()
      .toString('hex')
    const magnitude = BigInt(digits === '' ? 0 : `0x${digits}`)
    return isNegative ? -magnitude : magnitude
  }

  #reference(): unknown {
    const number = this.#count()
    const value = this.#objects[number]
    if (value === undefined) throw new ProtocolError('a value refers to an object that it does not have yet')
    return value instanceof Memory ? value.own : value
  }

  #object(tag: number): unknown {
    if (++this.#depth > depthMax + 1) throw new ProtocolError('a value is nested too deeply')
    const value = this.#objectAfter(tag)
    this.#depth -= 1
    return value
  }

  #objectAfter(tag: number): unknown {
    switch (tag) {
      case tags.array:
        return this.#array()
      case tags.object:
        return this.#fields(this.#number({}))
      case tags.nullPrototypeObject:
        return this.#fields(this.#number(Object.create(null) as Record<string, unknown>))
      case tags.sparseArray:
        return this.#sparseArray()
      case tags.fieldedArray:
        return this.#fieldedArray()
      case tags.map:
        return this.#map()
      case tags.set:
        return this.#set()
      case tags.date:
        return this.#number(new Date(this.#head.readDoubleLE(this.#take(8))))
      case tags.regexp:
        return this.#regexp()
      case tags.url:
        return this.#url()
      case tags.error:
        return this.#error()
      case tags.domException:
        return this.#domException()
      case tags.arrayBuffer:
        return this.#arrayBuffer().own
      case tags.view:
        return this.#view()
      case tags.nodeBuffer:
        return this.#nodeBuffer()
      case tags.boxed:
        return this.#boxed()
      case tags.extension:
        return this.#extension()
      default:
        throw new ProtocolError(`a value has an unknown part (${tag})`)
    }
  }

  /** Gives an object its number: the order in which objects begin. */
  #number<T>(value: T): T {
    this.#objects.push(value)
    return value
  }

  /** @param isPlain false when the object inherits from a class, which may have setters */
  #fields<T extends object>(target: T, isPlain = true): T {
    const count = this.#parts(3)
    for (let i = 0; i < count; i++) {
      const key = this.#text()
      const value = this.#value()
      // Assigning to __proto__ would change what the object is.
      if (key === '__proto__' || (!isPlain && key in target)) define(target, key, value, true)
      else (target as Record<string, unknown>)[key] = value
    }
    return target
  }

  #array(): unknown[] {
    const length = this.#parts(1)
    const array: unknown[] = this.#number([])
    for (let i = 0; i < length; i++) array.push(this.#value())
    return array
  }

  #sparseArray(): unknown[] {
    const length = this.#count()
    if (length > 2 ** 32 - 1) throw new ProtocolError('a value has an array that is too long')
    const array: unknown[] = this.#number([])
    array.length = length
    const count = this.#parts(2)
    for (let i = 0; i < count; i++) {
      const index = this.#count()
      if (index >= length) throw new ProtocolError('a value has an item outside of its array')
      array[index] = this.#value()
    }
    return array
  }

  #fieldedArray(): unknown[] {
    const tag = this.#byte()
    if (tag !== tags.array && tag !== tags.sparseArray) {
      throw new ProtocolError('a value has fields of an array, and no array')
    }
    const array = tag === tags.array ? this.#array() : this.#sparseArray()
    const { length } = array
    this.#fields(array, false)
    if (array.length !== length) throw new ProtocolError('a value has fields of an array that change its length')
    return array
  }

  #map(): Map<unknown, unknown> {
    const count = this.#parts(2)
    const map = this.#number(new Map<unknown, unknown>())
    for (let i = 0; i < count; i++) {
      const key = this.#value()
      map.set(key, this.#value())
    }
    return map
  }

  #set(): Set<unknown> {
    const count = this.#parts(1)
    const set = this.#number(new Set<unknown>())
    for (let i = 0; i < count; i++) set.add(this.#value())
    return set
  }

  #regexp(): RegExp {
    const source = this.#text()
    const flags = this.#text()
    try {
      return this.#number(new RegExp(source, flags))
    } catch {
      throw new ProtocolError('a value has a regular expression that is none')
    }
  }

  #url(): URL {
    const url = URL.parse(this.#text())
    if (url === null) throw new ProtocolError('a value has a URL that is none')
    return this.#number(url)
  }

  #error(): Error {
    const prototype = errorPrototype(this.#text())
    if (prototype === undefined) throw new ProtocolError('a value has an error of an unknown class')
    const flags = this.#byte()
    const message = (flags & errorFlags.message) === 0 ? undefined : this.#text()
    const error = this.#number(errorWithoutPlace(message))
    if (prototype !== Error.prototype) Object.setPrototypeOf(error, prototype)
    if ((flags & errorFlags.stack) !== 0) define(error, 'stack', this.#text())
    if ((flags & errorFlags.cause) !== 0) define(error, 'cause', this.#value())
    if ((flags & errorFlags.errors) !== 0) define(error, 'errors', this.#value())
    return this.#fields(error)
  }

  #domException(): DOMException {
    const name = this.#text()
    const error = this.#number(new DOMException(this.#text(), name))
    define(error, 'stack', this.#text())
    return error
  }

  #arrayBuffer(): Memory {
    const maxByteLength = this.#count() - 1
    const { bytes, isBeside } = this.#payload()
    if (maxByteLength >= 0) {
      // The space that a buffer may grow into is not there yet, so it cannot be checked against what has come.
      if (maxByteLength < bytes.length || maxByteLength > 2 ** 40) {
        throw new ProtocolError('a value has a buffer with an impossible limit')
      }
      const buffer = resizable(bytes.length, maxByteLength)
      new Uint8Array(buffer).set(bytes)
      return this.#number(new Memory(new Uint8Array(buffer), buffer))
    }
    const own = isBeside ? undefined : new Uint8Array(bytes).buffer
    return this.#number(new Memory(own === undefined ? bytes : new Uint8Array(own), own))
  }

  #payload(): { bytes: Uint8Array; isBeside: boolean } {
    if (this.#byte() === payloads.inline) {
      const length = this.#parts(1)
      const at = this.#take(length)
      return { bytes: this.#head.subarray(at, at + length), isBeside: false }
    }
    const bytes = this.#buffers[this.#count()]
    if (bytes === undefined) throw new ProtocolError('a value lacks one of its buffers')
    return { bytes, isBeside: true }
  }

  #view(): ArrayBufferView {
    const kind = viewKinds[this.#byte()]
    if (kind === undefined) throw new ProtocolError('a value has a view of an unknown kind')
    const byteOffset = this.#count()
    const byteLength = this.#count()
    const number = this.#objects.push(undefined) - 1
    const memory = this.#memory()
    const elementBytes = 'BYTES_PER_ELEMENT' in kind ? kind.BYTES_PER_ELEMENT : 1
    if (byteOffset + byteLength > memory.bytes.length || byteLength % elementBytes !== 0) {
      throw new ProtocolError('a value has a view that is larger than its buffer')
    }
    let at = memory.bytes.byteOffset + byteOffset
    let { buffer } = memory.bytes
    if (at % elementBytes !== 0) {
      // As a part of a larger buffer it does not lie where its kind may; in one of its own it does.
      buffer = memory.own
      at = byteOffset
      if (at % elementBytes !== 0) throw new ProtocolError('a value has a view at an odd place')
    }
    const view = new (kind as Uint8ArrayConstructor)(buffer as ArrayBuffer, at, byteLength / elementBytes)
    this.#objects[number] = view
    return view
  }

  #memory(): Memory {
    const tag = this.#byte()
    if (tag === tags.arrayBuffer) return this.#arrayBuffer()
    if (tag !== tags.reference) throw new ProtocolError('a value has a view without a buffer')
    const known = this.#objects[this.#count()]
    if (known instanceof Memory) return known
    throw new ProtocolError('a value has a view on something that is no buffer')
  }

  #nodeBuffer(): Buffer {
    const { bytes, isBeside } = this.#payload()
    if (!isBeside) return this.#number(Buffer.from(bytes))
    return this.#number(Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength))
  }

  #boxed(): object {
    const number = this.#objects.push(undefined) - 1
    const primitive = this.#value()
    const isPrimitive = primitive !== null && primitive !== undefined && typeof primitive !== 'object'
    if (!isPrimitive || typeof primitive === 'function') throw new ProtocolError('a value boxes what is no primitive')
    const boxed = Object(primitive) as object
    this.#objects[number] = boxed
    return boxed
  }

  #extension(): object {
    const number = this.#objects.push(undefined) - 1
    const tag = this.#text()
    const data = this.#value()
    const { revive, fill } = this.#hooks
    if (revive === undefined) throw new ProtocolError(`a value has a part (${tag}) that is not expected here`)
    const value = revive(tag, data)
    this.#objects[number] = value
    const parts = this.#byte()
    if ((parts & extensionParts.contents) !== 0) {
      const contents = this.#value()
      if (fill === undefined) throw new ProtocolError(`a value has a part (${tag}) with contents, which it cannot have`)
      fill(value, contents)
    }
    return (parts & extensionParts.fields) === 0 ? value : this.#fields(value, false)
  }
}

/** An error that does not remember this place as the one where it came up: its own stack is set afterwards. */
function errorWithoutPlace(message: string | undefined): Error {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return new Error(message)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

function resizable(byteLength: number, maxByteLength: number): ArrayBuffer {
  try {
    return new ArrayBuffer(byteLength, { maxByteLength })
  } catch {
    throw new ProtocolError('a value has a resizable buffer that this machine has no room for')
  }
}

function define(target: object, key: string, value: unknown, enumerable = false): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable, configurable: true })
}

/**
 * Rebuilds a value. Large typed arrays come back as views on the given buffers, without a copy, where those are aligned;
 * so their `byteOffset` may be other than 0.
 *
 * Throws ProtocolError when the bytes are not an encoded value.
 */
export function decodeValue(encoded: EncodedValue, hooks: DecodeHooks = noHooks): unknown {
  if (encoded.format !== valueFormats.shoal) {
    throw new ProtocolError(`a value is in format ${encoded.format}, which this version does not know`)
  }
  return new Decoder(encoded, hooks).decode()
}
