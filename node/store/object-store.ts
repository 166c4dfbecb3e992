import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import {
  ObjectLostError,
  ObjectStoreFullError,
  type ObjectUnavailableError,
  type ShoalError,
} from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { blockHeaderBytes, type BlockPlace } from '../../protocols/store-segment.ts'
import { unreadableValue } from '../../protocols/unreadable-value.ts'
import { idleMsDefault } from './memory-room.ts'
import type { MemorySegment } from './memory-segment.ts'
import { diskFull, SpillDamagedError, type SpilledValue, type SpillFiles } from './spill-files.ts'
import { StoreBook } from './store-book.ts'
import type { StoreAction, StoredKind, StoreEvent, ValuePlace } from './store-events.ts'
import { storeFull } from './store-full.ts'
import { isStoredName } from './stored-name.ts'
import type { IncomingRoom, IncomingSpec, MemoryPlace, OutgoingValue, TransferStore } from './transfer-store.ts'

const tickMs = 40
/** How often memory is looked for that nobody needs; and when some has been found. */
const idleLookShare = 1 / 4
const idleNextMs = 20
/** Programs are given room before they need it only while so much of the store is in use. */
const aheadShare = 0.5

export interface ObjectStoreOptions {
  bytesMax: number
  /** Undefined where there is no shared memory: values lie in files in `directory` then. */
  segment: MemorySegment | undefined
  /** Undefined when values do not go to the disk. */
  spill: SpillFiles | undefined
  /** Where clients write files of their own, without a segment. */
  directory: string
  /** Memory that has not been needed for so long is given back to the system. @default 60_000 */
  idleMs?: number
  now(): number
  onPressure(usedBytes: number): void
  log(text: string): void
  /** The disk does not do what it should. */
  onTrouble?(text: string): void
}

export interface StoredSpec {
  name: string
  bytes: number
  owner: ClientId
  object: ObjectId
  crc: number
  /** The client has written a file of its own. */
  isFile: boolean
}

/** Where a client is to write a value. */
export type WritePlace = ({ in: 'memory' } & BlockPlace) | { in: 'file'; file: string }

interface Asker<T> {
  resolve(answer: T): void
  reject(error: ShoalError): void
}

/**
 * The object store of this node: does what the policy says, with shared memory and files. Programs write into it and read
 * from it by themselves; it deals out the room, and frees it.
 */
export class ObjectStore implements TransferStore {
  readonly #options: ObjectStoreOptions
  readonly #book: StoreBook
  readonly #allocating = new Map<number, Asker<WritePlace>>()
  readonly #opening = new Map<number, Asker<ValuePlace>>()
  /** Values here that were read from their files once, and were right. */
  readonly #checked = new Set<string>()
  #lastKey = 0
  #timer: NodeJS.Timeout | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #isClosed = false
  /** Told of values that can be read here from now on, and of those that are here no more. */
  onStored: (name: string, object: ObjectId, kind: StoredKind) => void = () => {}
  onGone: (name: string, object: ObjectId, reason: 'freed' | 'dropped' | 'lost') => void = () => {}

  constructor(options: ObjectStoreOptions) {
    this.#options = options
    const { bytesMax, segment, spill, idleMs } = options
    const noGate = {
      show: () => {},
      hide: () => true,
      isPinned: () => false,
      pinned: () => new Set<number>(),
      takeUsed: () => false,
    }
    this.#book = new StoreBook({
      bytesMax,
      hasSegment: segment !== undefined,
      gate: segment ?? noGate,
      spill: segment === undefined ? undefined : spill,
      idleMs,
    })
  }

  get book(): StoreBook {
    return this.#book
  }

  get segment(): MemorySegment | undefined {
    return this.#options.segment
  }

  get spillDirectory(): string | undefined {
    return this.#options.spill?.directory
  }

  get directory(): string {
    return this.#options.directory
  }

  get bytesMax(): number {
    return this.#options.bytesMax
  }

  /** What is stored in memory, and what is reserved there. */
  get usedBytes(): number {
    return this.#book.usedBytes
  }

  get count(): number {
    return this.#book.count
  }

  bytesOf(name: string): number | undefined {
    const entry = this.#book.entries.get(name)
    return entry?.isSealed === true ? entry.bytes : undefined
  }

  has(name: string): boolean {
    return this.bytesOf(name) !== undefined
  }

  // --- what clients write

  /**
   * Room for a value that a client will write. Waits until values that are used less are out of the way.
   *
   * Rejects with ObjectStoreFullError.
   */
  allocate(spec: {
    name: string
    bytes: number
    owner: ClientId
    writer: ClientId
    kind?: StoredKind
    signal?: AbortSignal | undefined
  }): Promise<WritePlace & { key: number }> {
    const { name, bytes, owner, writer, kind = 'primary', signal } = spec
    const key = ++this.#lastKey
    const { promise, resolve, reject } = Promise.withResolvers<WritePlace & { key: number }>()
    this.#allocating.set(key, { resolve: (place) => resolve({ ...place, key }), reject })
    const onAbort = (): void => {
      if (!this.#allocating.delete(key)) return
      this.#step({ type: 'abandon', key, name })
      reject(signal?.reason)
    }
    if (signal?.aborted === true) onAbort()
    else {
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#step({ type: 'allocate', key, name, bytes, owner, writer, kind })
    }
    return promise.finally(() => signal?.removeEventListener('abort', onAbort))
  }

  /** The same for a value that a client is going to write, perhaps. Undefined when values would have to make room for it. */
  async allocateAhead(spec: {
    name: string
    bytes: number
    owner: ClientId
    writer: ClientId
    signal: AbortSignal
  }): Promise<(WritePlace & { key: number }) | undefined> {
    if (this.#options.segment === undefined || this.usedBytes + spec.bytes > this.bytesMax * aheadShare)
      return undefined
    return this.allocate(spec)
  }

  /** A client has written a value. False when the name is not one of the store. */
  seal({ name, bytes, owner, object, crc, isFile }: StoredSpec): boolean {
    if (!isStoredName(name) || !Number.isSafeInteger(bytes) || bytes < 0) return false
    if (isFile) {
      const file = path.join(this.#options.directory, name)
      this.#step({ type: 'wroteFile', name, bytes, owner, object, file })
    } else this.#step({ type: 'seal', name, bytes, object, crc })
    return true
  }

  /** A client does not write the value for which it was given room, whether anybody needs that value by now or not. */
  abandon(name: string): void {
    this.#step({ type: 'abandon', name })
  }

  /** Why a value of another node is not here yet, when what it waits for is room. */
  waitsForRoom(name: string, bytes: number): ObjectStoreFullError | undefined {
    return this.#book.isWaiting(name) ? storeFull(bytes, { ...this.#book.figures(bytes) }, 'copy') : undefined
  }

  // --- what clients read

  /**
   * Where a value can be read: in memory, into which it is brought from the disk, or else in a file.
   *
   * Rejects with ObjectLostError when it is not here, ObjectUnavailableError when its file could not be read this time.
   */
  locate(name: string): Promise<ValuePlace> {
    const key = ++this.#lastKey
    const { promise, resolve, reject } = Promise.withResolvers<ValuePlace>()
    this.#opening.set(key, { resolve, reject })
    this.#step({ type: 'open', key, name })
    return promise
  }

  /**
   * A program has found a value in that file to be damaged. Looks for itself: when it is so, the value is here no more, and the
   * error says so.
   */
  async lookAgain(name: string, file: string): Promise<ObjectLostError | undefined> {
    const { spill } = this.#options
    const entry = this.#book.entries.get(name)
    if (spill === undefined || entry?.disk?.file !== file || !entry.isSealed) return undefined
    try {
      const value = await spill.openValue(entry.disk, entry.bytes, false)
      value.close()
      return undefined
    } catch (error) {
      return error instanceof SpillDamagedError ? this.#lost(name, file, error) : undefined
    }
  }

  #lost(name: string, file: string, { message: reason }: SpillDamagedError): ObjectLostError {
    this.#step({ type: 'damaged', name, file })
    return new ObjectLostError(`the value ${name} cannot be read: ${reason}`, { name, reason })
  }

  #unreadable(name: string, reason: string): ObjectUnavailableError {
    const { bytes = 0, object = '' } = this.#book.entries.get(name) ?? {}
    return unreadableValue({ name, bytes, object, reason })
  }

  // --- what ends

  /** Names that are none of the store's are left alone. */
  freed(names: Iterable<string>): void {
    this.#step({ type: 'free', names: [...names] })
  }

  ownerGone(owner: ClientId): void {
    this.#step({ type: 'ownersGone', isGone: (each) => each === owner })
  }

  ownersOfNodeGone(node: NodeId): void {
    this.#step({ type: 'ownersGone', isGone: (each) => nodeOf(each) === node })
  }

  /** A node is gone: copies of its values are all that is left of them. Gives those, by their owners. */
  originGone(node: NodeId): Map<ClientId, string[]> {
    const isLeft = ({ name, kind }: { name: string; kind: StoredKind }): boolean =>
      kind === 'copy' && nodeOf(name) === node
    const left = [...this.#book.entries.values().filter(isLeft)]
    this.#step({ type: 'originGone', node })
    return namesByOwner(left)
  }

  /** What a client of this node has written for others, by their owners. */
  writtenForOthers(writer: ClientId): Map<ClientId, string[]> {
    const written = this.#book.entries.values().filter((entry) => entry.isSealed && entry.owner !== writer)
    return namesByOwner([...written].filter(({ name }) => name.startsWith(writer)))
  }

  /** Whose value it is. */
  ownerOf(name: string): ClientId | undefined {
    return this.#book.entries.get(name)?.owner
  }

  /** What a value that is here as a whole is to this node. */
  kindOf(name: string): StoredKind | undefined {
    const entry = this.#book.entries.get(name)
    return entry?.isSealed === true ? entry.kind : undefined
  }

  /** A client has ended its connection. It waits for no room any more; what room it has stays its own. */
  clientLeft(client: ClientId): void {
    this.#step({ type: 'clientLeft', client })
  }

  /** The process of a client is gone: what it was about to write will not come. */
  writerGone(writer: ClientId): void {
    this.#step({ type: 'clientGone', client: writer })
  }

  /** True while a client may be writing a value. */
  isWriting(writer: ClientId): boolean {
    return this.#book.isWriting(writer)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#idleTimer)
  }

  // --- transfers

  async begin(
    { name, bytes, owner, object, kind = 'copy' }: IncomingSpec & { kind?: StoredKind },
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<IncomingRoom> {
    const { segment, directory } = this.#options
    if (segment === undefined) return this.#fileRoom(path.join(directory, name), { name, bytes, owner, object })
    const place = await this.allocate({ name, bytes, owner, writer: '', kind, signal })
    if (place.in === 'file') throw storeFull(bytes, { name })
    let isOpen = true
    return {
      bytes,
      slice: (offset, length) => {
        if (!isOpen) throw new ObjectLostError(`the room for ${name} is closed`)
        return segment.slice(place.offset + blockHeaderBytes + offset, length)
      },
      commit: () => {
        if (isOpen) this.#step({ type: 'seal', name, object, crc: 0, key: place.key })
        isOpen = false
      },
      abort: () => {
        if (isOpen) this.#step({ type: 'abandon', key: place.key, name })
        isOpen = false
      },
    }
  }

  keep(name: string): boolean {
    this.#step({ type: 'keep', name })
    return this.has(name)
  }

  #fileRoom(file: string, { name, bytes, owner, object }: IncomingSpec): IncomingRoom {
    const { bytesMax } = this.#options
    if (this.#book.usedBytes + bytes > bytesMax) throw storeFull(bytes, { name, bytesMax })
    let memory: Buffer | undefined = Buffer.allocUnsafeSlow(bytes)
    return {
      bytes,
      slice: (offset, length) => (memory as Buffer).subarray(offset, offset + length),
      commit: () => {
        if (memory === undefined) return
        writeFileSync(file, memory, { mode: 0o600, flag: 'wx' })
        memory = undefined
        this.#step({ type: 'wroteFile', name, bytes, owner, object, file })
      },
      abort: () => {
        memory = undefined
      },
    }
  }

  async open(name: string): Promise<OutgoingValue | undefined> {
    const bytes = this.bytesOf(name)
    if (bytes === undefined) return undefined
    // From here on it stays, whatever happens to it.
    const key = ++this.#lastKey
    this.#step({ type: 'hold', key, name })
    let isOpen = true
    let source: SpilledValue | undefined
    const close = (): void => {
      if (!isOpen) return
      isOpen = false
      source?.close()
      this.#step({ type: 'release', key, name })
    }
    try {
      const at = await this.locate(name)
      const opened = await this.#source(name, bytes, at)
      source = opened
      return {
        bytes,
        place: this.#placeForOthers(at),
        read: (offset, length) => {
          if (!isOpen || offset < 0 || length < 0 || offset + length > bytes) {
            return Promise.reject(new ObjectLostError(`no ${length} bytes at ${offset} of the value ${name}`))
          }
          return opened.read(offset, length)
        },
        close,
      }
    } catch (error) {
      close()
      throw error
    }
  }

  #placeForOthers(at: ValuePlace): MemoryPlace | undefined {
    const { segment } = this.#options
    if (segment === undefined || at.in !== 'memory') return undefined
    const { offset, generation } = at
    return { pid: process.pid, descriptor: segment.descriptor, offset, generation }
  }

  /** In memory, or on the disk when there is no room in memory. */
  async #source(name: string, bytes: number, place: ValuePlace): Promise<SpilledValue> {
    const { segment, spill } = this.#options
    if (place.in === 'memory' && segment !== undefined) {
      const start = place.offset + blockHeaderBytes
      return { read: (offset, length) => Promise.resolve(segment.slice(start + offset, length)), close: () => {} }
    }
    if (place.in === 'memory' || spill === undefined) {
      throw new ObjectStoreFullError(`the value ${name} is in a file, and there is no shared memory to send it from`)
    }
    try {
      const value = await spill.openValue(place, bytes, this.#checked.has(name))
      if (this.has(name)) this.#checked.add(name)
      return value
    } catch (error) {
      if (error instanceof SpillDamagedError) throw this.#lost(name, place.file, error)
      throw this.#unreadable(name, (error as Error).message)
    }
  }

  // --- doing what the policy says

  #step(event: StoreEvent): void {
    if (this.#isClosed) return
    for (const action of this.#book.step(event, this.#options.now())) this.#do(action)
    if (this.#book.wantsTick) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#step({ type: 'tick' })
      }, tickMs)
    }
  }

  #lookForIdle(afterMs: number): void {
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined
      let hasFound = false
      const found = this.#book.step({ type: 'lookForIdle' }, this.#options.now())
      for (const action of found) {
        this.#do(action)
        hasFound ||= action.type === 'giveBack'
      }
      if (this.#book.mayBeIdle) this.#lookForIdle(hasFound ? idleNextMs : this.#idleLookMs)
    }, afterMs).unref()
  }

  get #idleLookMs(): number {
    return (this.#options.idleMs ?? idleMsDefault) * idleLookShare
  }

  #do(action: StoreAction): void {
    switch (action.type) {
      case 'place':
        this.#options.segment?.provideBehind(this.#book.top)
        if (this.#idleTimer === undefined && this.#book.mayBeIdle) this.#lookForIdle(this.#idleLookMs)
        return this.#take(this.#allocating, action.key)?.resolve({ in: 'memory', ...action.place })
      case 'placeFile':
        return this.#take(this.#allocating, action.key)?.resolve({ in: 'file', file: action.file })
      case 'refuse':
        return this.#take(this.#allocating, action.key)?.reject(
          storeFull(action.bytes, { ...action.figures }, action.kind),
        )
      case 'opened':
        return this.#take(this.#opening, action.key)?.resolve(action.place)
      case 'openFailed': {
        const { name, reason, isLost } = action
        return this.#take(this.#opening, action.key)?.reject(
          isLost
            ? new ObjectLostError(`the value ${name} cannot be read: ${reason}`, { name, reason })
            : this.#unreadable(name, reason),
        )
      }
      case 'spill':
        void this.#spill(action)
        return
      case 'restore':
        void this.#restore(action)
        return
      case 'deleteFile':
        void this.#deleteFile(action.file)
        return
      case 'giveBack':
        return this.#options.segment?.giveBack(action.start, action.bytes)
      case 'stored':
        return this.onStored(action.name, action.object, action.kind)
      case 'gone':
        this.#checked.delete(action.name)
        return this.onGone(action.name, action.object, action.reason)
      case 'pressure':
        return this.#options.onPressure(action.usedBytes)
    }
  }

  #take<T>(askers: Map<number, Asker<T>>, key: number): Asker<T> | undefined {
    const asker = askers.get(key)
    askers.delete(key)
    return asker
  }

  #trouble(text: string): void {
    this.#options.log(text)
    this.#options.onTrouble?.(text)
  }

  async #spill({ file, blocks }: StoreAction & { type: 'spill' }): Promise<void> {
    const { spill, segment } = this.#options
    if (spill === undefined || segment === undefined) return
    try {
      const crcs = await spill.write(file, blocks, segment)
      this.#step({ type: 'spilled', file, crcs })
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException
      const isFull = code === 'ENOSPC' || code === 'EDQUOT'
      this.#trouble(`values could not be written to the disk in ${spill.directory}: ${message}`)
      this.#step({ type: 'spillFailed', file, reason: isFull ? diskFull : message, isFull })
    }
  }

  async #restore({ name, bytes, from, place }: StoreAction & { type: 'restore' }): Promise<void> {
    const { spill, segment } = this.#options
    if (spill === undefined || segment === undefined) return
    try {
      await spill.read(from, bytes, place.offset, segment)
      this.#step({ type: 'restored', name })
    } catch (error) {
      const reason = (error as Error).message
      this.#trouble(`the value ${name} could not be read from the disk: ${reason}`)
      this.#step({ type: 'restoreFailed', name, reason, isLost: error instanceof SpillDamagedError })
    }
  }

  async #deleteFile(file: string): Promise<void> {
    const { spill, directory, log } = this.#options
    const files = [this.#options.segment === undefined ? directory : '', spill?.directory]
    if (!files.includes(path.dirname(file))) return
    try {
      await rm(file, { force: true })
    } catch (error) {
      log(`a stored value could not be deleted: ${(error as Error).message}`)
    }
  }
}

function namesByOwner(entries: readonly { name: string; owner: ClientId }[]): Map<ClientId, string[]> {
  const byOwner = Map.groupBy(entries, ({ owner }) => owner)
  return new Map(Array.from(byOwner, ([owner, all]) => [owner, all.map(({ name }) => name)]))
}
