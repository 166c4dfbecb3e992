import { NotCloneableError, ProtocolError, ShoalError } from '../../protocols/errors.ts'
import { isObjectId, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import {
  decodeValue,
  encodedByteLength,
  encodeValue,
  flattenValue,
  unflattenValue,
  type DecodeHooks,
  type EncodeHooks,
  type EncodedValue,
  type Extension,
} from '../../protocols/values/index.ts'
import {
  noContents,
  type Contents,
  type InlineValue,
  type StoredValue,
  type WireValue,
} from '../../protocols/wire-value.ts'
import { PlacementGroup } from '../api/placement-group.ts'
import { anotherRef, ObjectRef } from '../objects/object-ref.ts'
import type { ObjectStore, ReadPriority, StoredBytes } from '../store/object-store.ts'
import { fillInstance, putTogether, takeApart, type InstanceData } from './instance-parts.ts'

/** What the coder needs of the process that it works for. */
export interface ValueCoderHost {
  store: ObjectStore
  readonly clientId: ClientId
  /** A ref leaves this process inside a value. */
  onRefEncoded(ref: ObjectRef): void
  refOf(id: ObjectId): ObjectRef
  /** How a RemoteFunction travels, or undefined when `value` is not one. */
  describeFunction(value: object): { id: ObjectId; data: unknown } | undefined
  functionOf(id: ObjectId, data: unknown): object
  /** How a RemoteClass travels, or undefined when `value` is not one. */
  describeRemoteClass(value: object): { id: ObjectId; data: unknown } | undefined
  remoteClassOf(id: ObjectId, data: unknown): object
  /** What a handle of an actor stands for, or undefined when `value` is not one. `life` keeps the actor alive. */
  describeActor(value: object): { id: ObjectId; life: ObjectRef | undefined; description: unknown } | undefined
  actorOf(id: ObjectId, description: unknown): object
  /** The class of a user's instance and the function that ships it; undefined when it cannot be copied. */
  describeClass(value: object): { classId: string; functionId: ObjectId } | undefined
  classOf(classId: string): (new () => object) | undefined
  /** How a table of Apache Arrow travels; undefined for what is none. */
  describeTable(value: object): { functionId: ObjectId; bytes: Uint8Array } | undefined
  /** The table; undefined while the function that reads it is not loaded. */
  tableOf(functionId: ObjectId, bytes: Uint8Array): object | undefined
  loadTableReader(functionId: ObjectId): Promise<void>
  /** Loads classes that a value has instances of. */
  loadClasses(functions: readonly ObjectId[]): Promise<void>
}

/** A value ready to be sent, and the refs that must live until it has been received. */
export interface CodedValue {
  wire: WireValue
  holds: readonly ObjectRef[] | undefined
}

export interface EncodeOptions {
  /** The value is an error to throw. @default false */
  isError?: boolean
  /** Who will own what goes into the store. @default this process */
  owner?: ClientId | undefined
  /** The owner's number for the object whose value it is. @default 0, for none, or one that is not known yet */
  sequence?: number
  /** Larger values go into the store. @default limits.inlineBytesMax */
  inlineBytesMax?: number
}

/** Refs and classes that one value may have inside. */
const contentsMax = 50_000
/** Of what a value can need that is not here: classes, and a reader of tables. */
const missingKinds = 2

/** A value has an instance of a class that this process has not loaded yet. */
class ClassMissingError extends Error {}

/** A value has a table inside, and the function that reads it is not here. */
class ReaderMissingError extends Error {
  readonly functionId: ObjectId

  constructor(functionId: ObjectId) {
    super(`the function ${functionId}, which reads a table, is not loaded`)
    this.functionId = functionId
  }
}

/** Turns values into what is sent and back: the value codec, with refs, remote functions and users' classes on top. */
export class ValueCoder {
  readonly #host: ValueCoderHost
  readonly #encodeHooks: EncodeHooks
  readonly #decodeHooks: DecodeHooks
  #refs: ObjectRef[] | undefined
  #classes: Set<ObjectId> | undefined
  #storedCount = 0

  constructor(host: ValueCoderHost) {
    this.#host = host
    this.#encodeHooks = { extend: (value) => this.#extend(value) }
    this.#decodeHooks = { revive: (tag, data) => this.#revive(tag, data), fill: fillInstance }
  }

  /**
   * Copies a value. Throws NotCloneableError with the path to what cannot be copied, ObjectStoreFullError when a large one
   * does not fit.
   */
  encode(value: unknown, options: EncodeOptions = {}): CodedValue {
    const { encoded, refs, classes } = this.#encodeWithContents(value)
    const contents = {
      isError: options.isError ?? false,
      refs: refs === undefined ? noContents : refs.map((ref) => ref.id),
      classes: classes === undefined ? noContents : [...classes],
    }
    if (contents.refs.length + contents.classes.length > contentsMax) {
      throw new NotCloneableError(
        `a value has ${contents.refs.length} ObjectRefs inside; at most ${contentsMax} are possible: put parts of it apart`,
      )
    }
    return { wire: this.#place(encoded, contents, options), holds: refs }
  }

  /** True when `encode` would succeed. Stores nothing. */
  canEncode(value: unknown): boolean {
    try {
      this.#encodeWithContents(value)
      return true
    } catch {
      return false
    }
  }

  /** The hooks leave in here what they meet. A getter of the value may encode another value meanwhile. */
  #encodeWithContents(value: unknown): {
    encoded: EncodedValue
    refs: ObjectRef[] | undefined
    classes: Set<ObjectId> | undefined
  } {
    const outerRefs = this.#refs
    const outerClasses = this.#classes
    this.#refs = undefined
    this.#classes = undefined
    try {
      const encoded = encodeValue(value, this.#encodeHooks)
      return { encoded, refs: this.#refs, classes: this.#classes }
    } finally {
      this.#refs = outerRefs
      this.#classes = outerClasses
    }
  }

  #place(
    encoded: EncodedValue,
    contents: Pick<InlineValue, 'isError' | 'refs' | 'classes'>,
    options: EncodeOptions,
  ): WireValue {
    const { inlineBytesMax = limits.inlineBytesMax } = options
    if (encoded.buffers.length === 0 && encoded.head.length <= inlineBytesMax) {
      return { kind: 'inline', format: encoded.format, head: encoded.head, buffers: [], ...contents }
    }
    const bytes = encodedByteLength(encoded)
    if (bytes <= inlineBytesMax) {
      // The buffers are still the caller's, who may change them before they are sent.
      const buffers = encoded.buffers.map((buffer) => Uint8Array.from(buffer))
      return { kind: 'inline', format: encoded.format, head: encoded.head, buffers, ...contents }
    }
    return { ...this.#write(encoded, bytes, options), ...contents }
  }

  #write(encoded: EncodedValue, bytes: number, options: EncodeOptions): Omit<StoredValue, keyof Contents | 'isError'> {
    const { clientId, store } = this.#host
    const { owner = clientId, sequence = 0 } = options
    const name = clientId + (this.#storedCount++).toString(16).padStart(12, '0')
    store.write(name, flattenValue(encoded), { owner, sequence })
    return { kind: 'stored', name, bytes, owner, sequence }
  }

  /** The same value, in the store. */
  toStored({ format, head, buffers, isError, refs, classes }: InlineValue): StoredValue {
    const encoded = { format, head, buffers }
    return { ...this.#write(encoded, encodedByteLength(encoded), {}), isError, refs, classes }
  }

  /** True when the value can be decoded without reading or loading anything. */
  isHere(wire: WireValue): wire is InlineValue {
    return wire.kind === 'inline' && wire.classes.length === 0
  }

  decodeNow(wire: InlineValue): unknown {
    return decodeValue(withOwnBuffers(wire), this.#decodeHooks)
  }

  /**
   * @param priority for what it is read, when it must come from elsewhere
   * @param signal when it aborts, the value is not brought any further
   */
  async decode(wire: WireValue, priority: ReadPriority = 'get', signal?: AbortSignal): Promise<unknown> {
    // What is missing shows one after the other: first perhaps a reader of tables, then classes, or the other way round.
    for (let tries = 1; ; tries++) {
      const stored = wire.kind === 'inline' ? undefined : await this.#read(wire, priority, signal)
      try {
        return wire.kind === 'inline' ? this.decodeNow(wire) : this.#decodeStored(stored as StoredBytes)
      } catch (error) {
        const isReader = error instanceof ReaderMissingError
        if (tries > missingKinds || !(isReader || error instanceof ClassMissingError)) throw error
        if (isReader) await this.#host.loadTableReader(error.functionId)
        // Only now: a process that has the class already, under its own definition, must not get a second one.
        else await this.#host.loadClasses(wire.classes)
      }
    }
  }

  #read(wire: StoredValue, priority: ReadPriority, signal?: AbortSignal): StoredBytes | Promise<StoredBytes> {
    const { store } = this.#host
    const { name, bytes, owner, sequence } = wire
    return store.readHere(name, bytes) ?? store.read(name, bytes, { owner, sequence }, priority, signal)
  }

  /** The same without a wait, when nothing has to be asked for or loaded. */
  decodeHere(wire: StoredValue): { value: unknown } | undefined {
    const stored = this.#host.store.readHere(wire.name, wire.bytes)
    if (stored === undefined) return undefined
    try {
      return { value: this.#decodeStored(stored) }
    } catch (error) {
      if (error instanceof ClassMissingError || error instanceof ReaderMissingError) return undefined
      throw error
    }
  }

  #decodeStored(stored: StoredBytes): unknown {
    try {
      const value = decodeValue(unflattenValue(stored.shown, stored.own), this.#decodeHooks)
      stored.views.cameIn(value)
      return value
    } finally {
      stored.close()
    }
  }

  #extend(value: object): Extension | undefined {
    if (value instanceof ObjectRef) {
      this.#host.onRefEncoded(value)
      ;(this.#refs ??= []).push(anotherRef(value))
      return { tag: 'ref', data: value.id }
    }
    const remote = this.#host.describeFunction(value)
    if (remote !== undefined) return { tag: 'remote', data: [remote.id, remote.data] }
    if (value instanceof PlacementGroup) return { tag: 'group', data: value.describe() }
    const remoteClass = this.#host.describeRemoteClass(value)
    if (remoteClass !== undefined) return { tag: 'class', data: [remoteClass.id, remoteClass.data] }
    const actor = this.#host.describeActor(value)
    if (actor !== undefined) {
      const { id, life, description } = actor
      if (life !== undefined) {
        this.#host.onRefEncoded(life)
        ;(this.#refs ??= []).push(life)
      }
      return { tag: 'actor', data: [id, description] }
    }
    if (typeof value === 'function') {
      throw new NotCloneableError(
        `cannot copy the function ${value.name || '(anonymous)'}: wrap it with remote(), or let a shipped function close over it`,
      )
    }
    const described = this.#host.describeClass(value)
    if (described === undefined) return this.#extendTable(value)
    const { classId, functionId } = described
    ;(this.#classes ??= new Set()).add(functionId)
    return { tag: 'instance', ...takeApart(value, classId) }
  }

  #extendTable(value: object): Extension | undefined {
    let table
    try {
      table = this.#host.describeTable(value)
    } catch (error) {
      if (error instanceof ShoalError) throw error
      const { message } = error as Error
      throw new NotCloneableError(`cannot copy a table of Apache Arrow: ${message}`)
    }
    if (table === undefined) return undefined
    const { functionId, bytes } = table
    ;(this.#classes ??= new Set()).add(functionId)
    return { tag: 'table', data: [functionId, bytes] }
  }

  #revive(tag: string, data: unknown): object {
    if (tag === 'ref') {
      if (typeof data !== 'string' || !isObjectId(data)) throw new ProtocolError('a value has a ref that is none')
      return this.#host.refOf(data)
    }
    if (tag === 'remote') {
      const [id, rest] = data as [ObjectId, unknown]
      return this.#host.functionOf(id, rest)
    }
    if (tag === 'group') return PlacementGroup.revive(data)
    if (tag === 'class') {
      const [id, rest] = data as [ObjectId, unknown]
      return this.#host.remoteClassOf(id, rest)
    }
    if (tag === 'actor') {
      const [id, description] = data as [unknown, unknown]
      if (typeof id !== 'string' || !isObjectId(id)) throw new ProtocolError('a value has a handle of no actor')
      return this.#host.actorOf(id, description)
    }
    if (tag === 'table') {
      const [functionId, bytes] = data as [ObjectId, Uint8Array]
      const table = this.#host.tableOf(functionId, bytes)
      if (table === undefined) throw new ReaderMissingError(functionId)
      return table
    }
    const parts = data as InstanceData
    const found = this.#host.classOf(parts.classId)
    if (found === undefined) throw new ClassMissingError(`the class ${parts.classId} of a value is not known here`)
    return putTogether(parts, found)
  }
}

/** What is inline lies in a message, or with a ref, and may be read again. */
function withOwnBuffers(wire: InlineValue): EncodedValue {
  if (wire.buffers.length === 0) return wire
  return { ...wire, buffers: wire.buffers.map((buffer) => new Uint8Array(buffer)) }
}
