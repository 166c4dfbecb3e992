import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { clip, shownNameBytesMax } from '../../protocols/clip.ts'
import { FunctionNotShippableError } from '../../protocols/errors.ts'
import { objectId, ownerOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { BoundedMap } from './bounded-map.ts'
import type { FunctionRecord } from '../tasks/task-record.ts'
import type * as Shipping from '../shipping/index.ts'
import type { FunctionManifest, ShippedFunction } from '../shipping/index.ts'

type ShippingModule = typeof Shipping
// Modules can be required when they have no top-level await, so a capture need not wait for an import.
const require = createRequire(import.meta.url)
const extension = path.extname(fileURLToPath(import.meta.url))

export type AnyFunction = (...args: never[]) => unknown

/** A function as a worker asks for it. */
export interface ServedFunction {
  value: WireValue
  holds: readonly ObjectRef[] | undefined
}

export interface FunctionTableHost {
  readonly clientId: ClientId
  takeSequence(): number
  /** The function that a captured handle stands for, when this process can ship it. */
  localFunctionOf(handle: unknown): { fn: AnyFunction; name: string } | undefined
  isHandle(value: unknown): boolean
  encodeManifest(manifest: FunctionManifest): { wire: WireValue; holds: readonly ObjectRef[] | undefined }
  putBlob(hash: string, content: Uint8Array): void
  /** Asks the owner of a function for it. */
  request(id: ObjectId): Promise<FunctionManifest>
  instantiate(id: ObjectId, manifest: FunctionManifest): Promise<AnyFunction>
  /** The same description, as one of this process: so are the functions that it names, as far as they were given to it. */
  redescribe(value: WireValue): Promise<ServedFunction>
}

/** Functions that are kept at a time; beyond them those made first are known only while something else has them: a task that is to run, or the program. */
const functionsMax = 10_000

interface Entry extends FunctionRecord {
  name: string
  fn: AnyFunction
  served: Promise<ServedFunction> | undefined
  /** What keeps it from being served may have passed: the next call tries again. */
  hasFailed: boolean
}

/**
 * The functions and classes that this process ships, and those that it was sent. They are named by their owner and a
 * number, not by their content, so that functions can refer to each other.
 */
export class FunctionTable {
  readonly #host: FunctionTableHost
  readonly #byFunction = new WeakMap<AnyFunction, Entry>()
  readonly #byId = new BoundedMap<ObjectId, Entry>(functionsMax)
  /** Those made before. */
  readonly #older = new Map<ObjectId, WeakRef<Entry>>()
  readonly #onCollected = new FinalizationRegistry<ObjectId>((id) => this.#older.delete(id))
  readonly #foreign = new BoundedMap<ObjectId, FunctionRecord>(functionsMax)
  readonly #loaded = new BoundedMap<ObjectId, AnyFunction>(functionsMax)
  readonly #loading = new BoundedMap<ObjectId, Promise<AnyFunction>>(functionsMax)
  /** Functions of others whose descriptions were given to this process: their owners need not be asked, and may be gone. */
  readonly #given = new Map<ObjectId, WireValue>()
  /** Their names as functions of this process, which hands them on. */
  readonly #handedOn = new Map<ObjectId, FunctionRecord>()
  readonly #givenAs = new Map<ObjectId, ObjectId>()
  /** Loaded with the first capture: most workers do without it. */
  #shipping: ShippingModule | undefined

  constructor(host: FunctionTableHost) {
    this.#host = host
  }

  get shipping(): ShippingModule {
    this.#shipping ??= require(`../shipping/index${extension}`) as ShippingModule
    return this.#shipping
  }

  /** The record of a function, with an id but not captured yet. */
  recordOf(fn: AnyFunction, name: string): FunctionRecord {
    return this.#entryOf(fn, name)
  }

  #entryOf(fn: AnyFunction, name: string): Entry {
    let entry = this.#byFunction.get(fn)
    if (entry === undefined) {
      const id = objectId(this.#host.clientId, this.#host.takeSequence())
      const shown = clip(name, shownNameBytesMax)
      entry = { id, name: shown, fn, estimateMs: undefined, served: undefined, hasFailed: false }
      this.#byFunction.set(fn, entry)
      this.#keep(entry)
    }
    return entry
  }

  #keep(entry: Entry): void {
    const oldest = this.#byId.set(entry.id, entry)
    if (oldest === undefined || this.#older.has(oldest.id)) return
    this.#older.set(oldest.id, new WeakRef(oldest))
    this.#onCollected.register(oldest, oldest.id)
  }

  #find(id: ObjectId): Entry | undefined {
    return this.#byId.get(id) ?? this.#older.get(id)?.deref()
  }

  /** Functions that this process is to have from now on, whatever becomes of their owners. */
  give(functions: Iterable<{ readonly id: ObjectId; readonly value: WireValue }>): void {
    for (const { id, value } of functions) this.#given.set(id, value)
  }

  /** What was given to this process. */
  given(id: ObjectId): WireValue | undefined {
    return this.#given.get(id)
  }

  /** The record of a function that another process owns. */
  foreignRecord(id: ObjectId, name: string): FunctionRecord {
    const own = this.#find(id)
    if (own !== undefined) return own
    if (this.#given.has(id)) return this.#handOn(id, name)
    let record = this.#foreign.get(id)
    if (record === undefined) this.#foreign.set(id, (record = foreign(id, name)))
    return record
  }

  /** A function that was given to this process goes on to others as one of its own: they would ask its owner in vain. */
  #handOn(id: ObjectId, name: string): FunctionRecord {
    let record = this.#handedOn.get(id)
    if (record === undefined) {
      record = foreign(objectId(this.#host.clientId, this.#host.takeSequence()), name)
      this.#handedOn.set(id, record)
      this.#givenAs.set(record.id, id)
    }
    return record
  }

  /**
   * Captures a function, once, and whatever remote functions it closes over, and begins to bundle what they import.
   * Throws FunctionNotShippableError when it cannot travel.
   */
  ship(fn: AnyFunction, name: string): FunctionRecord {
    const entry = this.#entryOf(fn, name)
    if (entry.served === undefined || entry.hasFailed) this.#capture(entry)
    // It may be one of the older ones by now.
    if (!this.#byId.has(entry.id)) this.#keep(entry)
    return entry
  }

  #capture(entry: Entry): void {
    const { shipping } = this
    const captured = shipping.captureFunction(entry.fn, {
      name: entry.name,
      hooks: { isHandle: (value) => this.#host.isHandle(value) },
    })
    entry.name = clip(captured.name, shownNameBytesMax)
    for (const warning of captured.warnings) process.emitWarning(warning, 'ShoalWarning')
    const { promise, resolve, reject } = Promise.withResolvers<ServedFunction>()
    // Whoever asks for the function gets the error; without anybody asking it is no unhandled rejection.
    promise.catch(() => (entry.hasFailed = true))
    entry.served = promise
    entry.hasFailed = false
    try {
      // Set first: functions may close over each other.
      for (const handle of captured.handles) {
        const local = this.#host.localFunctionOf(handle)
        if (local !== undefined) this.ship(local.fn, local.name)
      }
    } catch (error) {
      entry.served = undefined
      throw error
    }
    void shipping
      .buildFunction(captured)
      .then((shipped) => this.#serve(shipped))
      .then(resolve, reject)
  }

  #serve(shipped: ShippedFunction): ServedFunction {
    for (const [hash, content] of shipped.blobs) this.#host.putBlob(hash, content)
    const { wire, holds } = this.#host.encodeManifest(shipped.manifest)
    return { value: wire, holds }
  }

  /** What a worker that asks for one of our functions gets. */
  async serve(id: ObjectId): Promise<ServedFunction> {
    const given = this.#given.get(this.#givenAs.get(id) ?? '')
    if (given !== undefined) return await this.#host.redescribe(given)
    const entry = this.#own(id)
    if (entry.served === undefined) this.ship(entry.fn, entry.name)
    return entry.served as unknown as Promise<ServedFunction>
  }

  #own(id: ObjectId): Entry {
    const entry = this.#find(id)
    if (entry !== undefined) return entry
    throw new FunctionNotShippableError(`function ${id} is not known to the process that it is named after`, { id })
  }

  /** A function that is ready to be called here, if it is. */
  loaded(id: ObjectId): AnyFunction | undefined {
    return this.#loaded.get(id)
  }

  /** Gets a function from its owner and makes it ready to be called. */
  load(id: ObjectId): Promise<AnyFunction> {
    let loading = this.#loading.get(id)
    if (loading === undefined) {
      loading = this.#load(id)
      void this.#loading.set(id, loading)
      // A failure is told to those who wait now; who asks later tries again.
      loading.catch(() => this.#loading.delete(id))
    }
    return loading
  }

  async #load(id: ObjectId): Promise<AnyFunction> {
    const given = this.#givenAs.get(id)
    if (given !== undefined) return await this.load(given)
    const fn =
      ownerOf(id) === this.#host.clientId
        ? this.#own(id).fn
        : await this.#host.instantiate(id, await this.#host.request(id))
    this.#loaded.set(id, fn)
    return fn
  }

  /** Ends the bundler's process, so that the program can end. */
  async close(): Promise<void> {
    await this.#shipping?.stopBundler()
  }
}

function foreign(id: ObjectId, name: string): FunctionRecord {
  return { id, name: clip(name, shownNameBytesMax), estimateMs: undefined }
}
