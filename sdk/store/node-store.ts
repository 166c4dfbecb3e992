import { NodeDiedError, NotInitializedError, NotSupportedError, type ShoalError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import { pinsEndMark } from '../../protocols/store-segment.ts'
import { systemMemory, type SystemMemory } from '../system/linux-memory.ts'
import { FileStore } from './file-store.ts'
import type { ObjectStore, ReadPriority, StoredBytes, StoreLink, ValueOwner, WritePlace } from './object-store.ts'
import { SegmentStore } from './segment-store.ts'
import { SharedSegment, type SharedSegmentOptions } from './shared-segment.ts'
import { StoreChannel } from './store-channel.ts'

export interface NodeStoreOptions {
  readonly socketPath: string
  readonly welcome: MessageBody<'welcome'>
  readonly link: Omit<StoreLink, 'allocate'>
}

interface RoomAsked {
  name: string
  bytes: number
  owner: ClientId
}

/** The store of this program's node. Mapped, and connected with, when the first large value comes. */
export class NodeStore implements ObjectStore {
  readonly #options: NodeStoreOptions
  #store: ObjectStore | undefined
  #segment: SharedSegment | undefined
  #channel: StoreChannel | undefined
  /** Why the store cannot be opened any more. */
  #end: ShoalError | undefined

  constructor(options: NodeStoreOptions) {
    this.#options = options
  }

  write(name: string, parts: readonly Uint8Array[], whose: ValueOwner): void {
    this.#opened().write(name, parts, whose)
  }

  async read(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<StoredBytes> {
    return this.#opened().read(name, bytes, whose, priority, signal)
  }

  readHere(name: string, bytes: number): StoredBytes | undefined {
    return this.#store?.readHere(name, bytes)
  }

  isHere(name: string, bytes: number): boolean {
    return this.#store?.isHere(name, bytes) === true
  }

  async bring(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#opened().bring(name, bytes, whose, priority, signal)
  }

  free(names: readonly string[]): void {
    // A program that never had one of its values in hands needs not open the store to free them.
    if (this.#store === undefined) this.#options.link.free(names)
    else this.#store.free(names)
  }

  /** Views on shared memory that this program has, or has let go of and not collected. */
  get viewCount(): number {
    return this.#segment?.viewCount ?? 0
  }

  /** Nothing can be written any more, because of the error. What lies here can be read, if anything was read before. */
  disconnect(error: ShoalError): void {
    this.#end ??= error
    this.#channel?.close()
  }

  close(): void {
    this.disconnect(new NotInitializedError())
    this.#store = undefined
    this.#segment?.close()
  }

  #opened(): ObjectStore {
    if (this.#store !== undefined) return this.#store
    if (this.#end !== undefined) throw this.#end
    return (this.#store = this.#open())
  }

  #open(): ObjectStore {
    const { link, welcome } = this.#options
    const { clientId, nodeId, storeSegment: path, storeBytesMax: bytesMax, pinTable, storeDirectory } = welcome
    if (path === '') return new FileStore(storeDirectory, bytesMax, link)
    const memory = systemMemory()
    const segment = memory && openSegment(memory, { path, bytesMax, pinTable, endMark: pinsEndMark(clientId) })
    if (memory === undefined || segment === undefined) {
      throw new NotSupportedError(
        'this program cannot map the shared memory of its node, where large values lie: is the package koffi installed for it, and does its user own the node?',
      )
    }
    this.#segment = segment
    const storeLink = { ...link, allocate: (value: RoomAsked) => this.#allocate(value) }
    return new SegmentStore(segment, storeLink, (name) => nodeOf(name) !== nodeId)
  }

  #allocate(value: RoomAsked): WritePlace {
    const { socketPath, welcome } = this.#options
    if (this.#channel?.isClosed !== false) {
      const memory = systemMemory()
      if (memory === undefined) throw new NotSupportedError('this system has no shared memory')
      this.#channel = new StoreChannel(memory, socketPath, welcome.clientId)
    }
    return this.#channel.allocate(value)
  }
}

/** Undefined when it cannot be mapped here. Throws NodeDiedError when it is there no more. */
function openSegment(memory: SystemMemory, options: SharedSegmentOptions): SharedSegment | undefined {
  try {
    return SharedSegment.open(memory, options)
  } catch (error) {
    // It lies in the memory of the node's process, and this one may not have heard yet that it has ended.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const { path } = options
    throw new NodeDiedError(`the node is gone, and with it the shared memory where its values were (${path})`, { path })
  }
}
