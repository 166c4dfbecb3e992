import { types } from 'node:util'
import { NotCloneableError } from '../errors.ts'
import { knownErrorName, nearestErrorName } from './error-classes.ts'
import { HeadWriter } from './head-writer.ts'
import { describeUncloneable, formatPath } from './refusals.ts'
import { depthMax, errorFlags, extensionParts, inlinePayloadBytesMax, payloads, tags, viewKinds } from './tags.ts'
import { valueFormats, type EncodedValue, type EncodeHooks } from './value.ts'

/** The first few objects of a value are looked up in a list, which is faster than a map. */
const listedObjectsMax = 8

/** Views that see no more of a large buffer than this travel without the others on that buffer. */
const loneBytesMax = 512

/** The items of no kind of view are larger. */
const viewAlignment = 8

/** What several views see of a buffer of which each sees but a small part. */
interface SharedPart {
  readonly buffer: ArrayBuffer
  /** As an object of the value. */
  readonly number: number
  /** Its place among the buffers. */
  readonly index: number
  start: number
  end: number
  /** Bytes that the views see, all together. */
  seenBytes: number
  /** Where in the head their offsets belong. */
  readonly offsets: { readonly place: number; readonly byteOffset: number }[]
}

const viewKindOf = new Map<object, number>(viewKinds.map((kind, number) => [kind.prototype, number]))
const noHooks: EncodeHooks = {}

class Encoder {
  isBusy = false
  readonly #head = new HeadWriter()
  #hooks: EncodeHooks = noHooks
  #buffers: Uint8Array[] = []
  #parts: SharedPart[] = []
  /** The last one of each buffer, which the next view on it may share. */
  #partOf: Map<ArrayBuffer, SharedPart> | undefined
  #listed: object[] = []
  #numbered: Map<object, number> | undefined
  #objects = 0
  #depth = 0
  readonly #path: (string | number)[] = []

  encode(value: unknown, hooks: EncodeHooks): EncodedValue {
    this.isBusy = true
    this.#hooks = hooks
    try {
      this.#value(value)
      this.#endParts()
      return { format: valueFormats.shoal, head: this.#head.copy(), buffers: this.#buffers }
    } finally {
      this.#head.reset()
      this.#hooks = noHooks
      this.#buffers = []
      this.#parts = []
      this.#partOf = undefined
      this.#listed = []
      this.#numbered = undefined
      this.#objects = 0
      this.#depth = 0
      this.isBusy = false
    }
  }

  #value(value: unknown): void {
    const head = this.#head
    switch (typeof value) {
      case 'number':
        this.#number(value)
        return
      case 'string':
        head.text(value)
        return
      case 'boolean':
        head.byte(value ? tags.true : tags.false)
        return
      case 'undefined':
        head.byte(tags.undefined)
        return
      case 'object':
        if (value === null) head.byte(tags.null)
        else this.#object(value)
        return
      case 'bigint':
        this.#bigint(value)
        return
      case 'symbol': {
        const key = Symbol.keyFor(value)
        if (key === undefined) throw this.#refuse(`${String(value)}: only symbols of Symbol.for() can be copied`)
        head.byte(tags.registeredSymbol)
        head.text(key)
        return
      }
      case 'function':
        this.#extension(value)
        return
    }
  }

  #number(value: number): void {
    const head = this.#head
    if ((value | 0) === value && !Object.is(value, -0)) {
      if (value >= 0 && value <= 0xff) {
        head.byte(tags.byte)
        head.byte(value)
      } else {
        head.byte(tags.int32)
        head.int32(value)
      }
    } else {
      head.byte(tags.float64)
      head.float64(value)
    }
  }

  #bigint(value: bigint): void {
    this.#head.byte(tags.bigint)
    this.#head.byte(value < 0n ? 1 : 0)
    const digits = (value < 0n ? -value : value).toString(16)
    const bytes = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex').reverse()
    this.#head.count(bytes.length)
    this.#head.raw(bytes)
  }

  /** The number of an object that has been written; else less than 0. */
  #numberOf(value: object): number {
    if (this.#numbered !== undefined) return this.#numbered.get(value) ?? -1
    return this.#objects > 0 ? this.#listed.indexOf(value) : -1
  }

  /** Writes a reference if the object has been written; else gives it the next number. */
  #isKnown(value: object): boolean {
    const number = this.#numberOf(value)
    if (number >= 0) {
      this.#head.byte(tags.reference)
      this.#head.count(number)
      return true
    }
    if (this.#numbered === undefined && this.#objects < listedObjectsMax) this.#listed.push(value)
    else {
      this.#numbered ??= new Map(this.#listed.map((listed, i) => [listed, i]))
      this.#numbered.set(value, this.#objects)
    }
    this.#objects += 1
    return false
  }

  #object(value: object): void {
    if (this.#depth >= depthMax)
      throw this.#refuse(`nested more than ${depthMax} levels deep: send it in a flatter form`)
    const prototype = Object.getPrototypeOf(value) as object | null
    if (prototype === Object.prototype || prototype === null) {
      // Not a plain object although it looks like one: a module's namespace, or what new.target left behind.
      if (this.#isKnown(value)) return
      this.#head.byte(prototype === null ? tags.nullPrototypeObject : tags.object)
      this.#fields(value as Record<string, unknown>)
    } else if (Array.isArray(value)) {
      if (prototype !== Array.prototype && this.#tryExtension(value)) return
      if (!this.#isKnown(value)) this.#array(value)
    } else {
      this.#special(value, prototype)
    }
  }

  #fields(value: Record<string, unknown>, keys = Object.keys(value)): void {
    this.#head.count(keys.length)
    this.#depth += 1
    for (const key of keys) {
      this.#path[this.#depth] = key
      this.#head.text(key)
      this.#value(value[key])
    }
    this.#depth -= 1
  }

  #array(value: unknown[]): void {
    const head = this.#head
    const { length } = value
    // Items come first, in their order.
    const keys = Object.keys(value)
    const isDense = length === 0 || keys[length - 1] === String(length - 1)
    const count = isDense ? length : countItems(keys, length)
    if (keys.length > count) head.byte(tags.fieldedArray)
    head.byte(isDense ? tags.array : tags.sparseArray)
    head.count(length)
    if (!isDense) head.count(count)
    this.#depth += 1
    for (let i = 0; i < count; i++) {
      const index = isDense ? i : Number(keys[i])
      if (!isDense) head.count(index)
      this.#path[this.#depth] = index
      this.#value(value[index])
    }
    this.#depth -= 1
    if (keys.length > count) this.#fields(value as never, keys.slice(count))
  }

  #special(value: object, prototype: object): void {
    const head = this.#head
    const kind = viewKindOf.get(prototype)
    if (kind !== undefined) this.#view(value as ArrayBufferView, kind)
    else if (prototype === Buffer.prototype) {
      if (this.#isKnown(value)) return
      this.#assertThere((value as Buffer).buffer)
      head.byte(tags.nodeBuffer)
      this.#payload(value as Buffer)
    } else if (prototype === Map.prototype) this.#map(value as Map<unknown, unknown>)
    else if (prototype === Set.prototype) this.#set(value as Set<unknown>)
    else if (types.isNativeError(value)) this.#error(value, prototype)
    else if (prototype === Date.prototype) {
      if (this.#isKnown(value)) return
      head.byte(tags.date)
      head.float64((value as Date).getTime())
    } else if (prototype === ArrayBuffer.prototype) this.#arrayBuffer(value as ArrayBuffer)
    else if (prototype === RegExp.prototype) {
      if (this.#isKnown(value)) return
      head.byte(tags.regexp)
      head.text((value as RegExp).source)
      head.text((value as RegExp).flags)
    } else if (prototype === URL.prototype) {
      if (this.#isKnown(value)) return
      head.byte(tags.url)
      head.text((value as URL).href)
    } else if (types.isBoxedPrimitive(value)) {
      if (this.#isKnown(value)) return
      head.byte(tags.boxed)
      this.#value(value.valueOf())
    } else this.#extension(value)
  }

  #map(value: Map<unknown, unknown>): void {
    if (this.#isKnown(value)) return
    this.#head.byte(tags.map)
    this.#head.count(value.size)
    this.#depth += 1
    let i = 0
    for (const [key, item] of value) {
      this.#path[this.#depth] = `\0<key ${i}>`
      this.#value(key)
      this.#path[this.#depth] = `\0<value ${i}>`
      this.#value(item)
      i += 1
    }
    this.#depth -= 1
  }

  #set(value: Set<unknown>): void {
    if (this.#isKnown(value)) return
    this.#head.byte(tags.set)
    this.#head.count(value.size)
    this.#depth += 1
    let i = 0
    for (const item of value) {
      this.#path[this.#depth] = `\0<item ${i++}>`
      this.#value(item)
    }
    this.#depth -= 1
  }

  /** An error is never refused for its class: where nobody can ship that, it arrives as the nearest one known. */
  #error(value: Error, prototype: object): void {
    const known = knownErrorName(prototype)
    if (prototype === DOMException.prototype) {
      this.#domException(value as DOMException)
      return
    }
    if (known === undefined && this.#tryExtension(value)) return
    if (this.#isKnown(value)) return
    const head = this.#head
    const { stack, message } = value as { stack?: unknown; message: unknown }
    const isAggregate = hasHidden(value, 'errors')
    const flags =
      (Object.hasOwn(value, 'message') ? errorFlags.message : 0) |
      (typeof stack === 'string' ? errorFlags.stack : 0) |
      (hasHidden(value, 'cause') ? errorFlags.cause : 0) |
      (isAggregate ? errorFlags.errors : 0)
    head.byte(tags.error)
    head.text(known ?? nearestErrorName(value))
    head.byte(flags)
    if ((flags & errorFlags.message) !== 0) head.text(String(message))
    if ((flags & errorFlags.stack) !== 0) head.text(stack as string)
    this.#depth += 1
    if ((flags & errorFlags.cause) !== 0) {
      this.#path[this.#depth] = 'cause'
      this.#value(value.cause)
    }
    if (isAggregate) {
      this.#path[this.#depth] = 'errors'
      this.#value((value as AggregateError).errors)
    }
    this.#depth -= 1
    const fields: Record<string, unknown> = { ...value }
    if (known === undefined && !Object.hasOwn(value, 'name')) fields['name'] = value.name
    this.#fields(fields)
  }

  #domException(value: DOMException): void {
    if (this.#isKnown(value)) return
    this.#head.byte(tags.domException)
    this.#head.text(value.name)
    this.#head.text(value.message)
    this.#head.text(value.stack ?? '')
  }

  #arrayBuffer(value: ArrayBuffer): void {
    if (this.#isKnown(value)) return
    this.#assertThere(value)
    this.#head.byte(tags.arrayBuffer)
    this.#head.count(value.resizable ? value.maxByteLength + 1 : 0)
    this.#payload(new Uint8Array(value))
  }

  /**
   * A view travels with its whole buffer, so that two views on one buffer share it afterwards, unless the buffer is more
   * than twice as large as what the view sees of it. Of such a buffer its views share a part, which is not more than twice
   * as large as what they see of it, either.
   */
  #view(value: ArrayBufferView, kind: number): void {
    const { buffer } = value
    if (!(buffer instanceof ArrayBuffer)) {
      throw this.#refuse('a view on a SharedArrayBuffer, whose memory belongs to this process: copy it first')
    }
    this.#assertThere(buffer)
    const { byteLength, byteOffset } = value
    if (this.#isKnown(value)) return
    const head = this.#head
    head.byte(tags.view)
    head.byte(kind)
    if (this.#joinPart(buffer, byteOffset, byteLength)) return
    const isWhole = buffer.byteLength <= Math.max(byteLength, loneBytesMax) * 2 || this.#numberOf(buffer) >= 0
    if (isWhole) {
      head.count(byteOffset)
      head.count(byteLength)
      this.#arrayBuffer(buffer)
    } else this.#part(buffer, byteOffset, byteLength)
  }

  /** A part of a buffer, as a buffer of its own. */
  #part(buffer: ArrayBuffer, byteOffset: number, byteLength: number): void {
    const head = this.#head
    const number = this.#objects
    // Only views that share it refer to it.
    this.#objects += 1
    this.#numbered ??= new Map(this.#listed.map((listed, i) => [listed, i]))
    const bytes = new Uint8Array(buffer, byteOffset, byteLength)
    if (byteLength <= loneBytesMax) {
      head.count(0)
      head.count(byteLength)
      head.byte(tags.arrayBuffer)
      head.count(0)
      this.#payload(bytes)
      return
    }
    const offsets = [{ place: head.laterCount(), byteOffset }]
    head.count(byteLength)
    head.byte(tags.arrayBuffer)
    head.count(0)
    const index = this.#buffers.push(bytes) - 1
    head.byte(payloads.beside)
    head.count(index)
    const end = byteOffset + byteLength
    const part = { buffer, number, index, start: byteOffset, end, seenBytes: byteLength, offsets }
    this.#parts.push(part)
    this.#partOf ??= new Map()
    this.#partOf.set(buffer, part)
  }

  /** Has the view share a part with others. False when there is none, or it would be too large. */
  #joinPart(buffer: ArrayBuffer, byteOffset: number, byteLength: number): boolean {
    const part = this.#partOf?.get(buffer)
    if (part === undefined) return false
    const start = Math.min(part.start, byteOffset)
    const end = Math.max(part.end, byteOffset + byteLength)
    const seenBytes = part.seenBytes + byteLength
    if (end - start > seenBytes * 2) return false
    Object.assign(part, { start, end, seenBytes })
    const head = this.#head
    part.offsets.push({ place: head.laterCount(), byteOffset })
    head.count(byteLength)
    head.byte(tags.reference)
    head.count(part.number)
    return true
  }

  /** Now it is known what is shared. */
  #endParts(): void {
    for (const { buffer, index, start, end, offsets } of this.#parts) {
      if (offsets.length === 1) continue
      // Every kind of view lies right in it if it did so before.
      const from = start - (start % viewAlignment)
      this.#buffers[index] = new Uint8Array(buffer, from, end - from)
      for (const { place, byteOffset } of offsets) this.#head.setCount(place, byteOffset - from)
    }
  }

  #assertThere(buffer: ArrayBufferLike): void {
    if ('detached' in buffer && buffer.detached) {
      throw this.#refuse('a buffer whose memory is gone: it was released, or transferred away')
    }
  }

  #payload(bytes: Uint8Array): void {
    const head = this.#head
    if (bytes.length > inlinePayloadBytesMax) {
      head.byte(payloads.beside)
      head.count(this.#buffers.push(bytes) - 1)
    } else {
      head.byte(payloads.inline)
      head.count(bytes.length)
      head.raw(bytes)
    }
  }

  #extension(value: object): void {
    if (!this.#tryExtension(value)) throw this.#refuse(describeUncloneable(value))
  }

  #tryExtension(value: object): boolean {
    const extension = this.#ask(value)
    if (extension === undefined) return false
    if (this.#isKnown(value)) return true
    const { tag, data, contents, fields } = extension
    this.#head.byte(tags.extension)
    this.#head.text(tag)
    this.#value(data)
    const { fields: withFields, contents: withContents } = extensionParts
    this.#head.byte((fields === undefined ? 0 : withFields) | (contents === undefined ? 0 : withContents))
    if (contents !== undefined) {
      this.#depth += 1
      this.#path[this.#depth] = '\0<contents>'
      this.#value(contents)
      this.#depth -= 1
    }
    if (fields !== undefined) this.#fields(fields)
    return true
  }

  #ask(value: object): ReturnType<NonNullable<EncodeHooks['extend']>> {
    try {
      return this.#hooks.extend?.(value, () => this.#pathText())
    } catch (error) {
      const path = this.#pathText()
      if (!(error instanceof NotCloneableError) || path === '') throw error
      throw new NotCloneableError(`${error.message} (at ${path})`, { ...error.details, path })
    }
  }

  #pathText(): string {
    return formatPath(this.#path.slice(1, this.#depth + 1))
  }

  #refuse(reason: string): NotCloneableError {
    const path = this.#pathText()
    return new NotCloneableError(`cannot copy the value${path === '' ? '' : ` at ${path}`}: ${reason}`, { path })
  }
}

/** How many of the keys of an array, which begin with them, are those of items. */
function countItems(keys: readonly string[], length: number): number {
  const end = keys.findIndex((key) => !(Number(key) < length && String(Number(key)) === key))
  return end < 0 ? keys.length : end
}

/** Errors have these by themselves: such a one is none of the fields that somebody has given it. */
function hasHidden(error: Error, key: 'cause' | 'errors'): boolean {
  return Object.getOwnPropertyDescriptor(error, key)?.enumerable === false
}

const shared = new Encoder()

/**
 * Copies a value into its encoded form. The large buffers of the result are views on the caller's memory.
 *
 * Throws NotCloneableError with the path to what cannot be copied.
 */
export function encodeValue(value: unknown, hooks: EncodeHooks = noHooks): EncodedValue {
  // A getter of the value, or a hook, may encode another value meanwhile.
  const encoder = shared.isBusy ? new Encoder() : shared
  try {
    return encoder.encode(value, hooks)
  } catch (error) {
    if (!(error instanceof RangeError) || !/call stack/.test(error.message)) throw error
    throw new NotCloneableError('cannot copy the value: it is nested too deeply; send it in a flatter form')
  }
}
