import type { ClientId } from '../../protocols/ids.ts'
import type { BlockPlace } from '../../protocols/store-segment.ts'
import type { ViewGroup } from './views.ts'

/** Whose value it is. */
export interface ValueOwner {
  owner: ClientId
  /** The owner's number for the object whose value it is; 0 when it is of no object, or not known. */
  sequence: number
}

/** For what a value is read: when many are to come from other nodes, `get` is first and `args` last. */
export type ReadPriority = 'get' | 'wait' | 'args'

/** A value in the store, while it is being read. */
export interface StoredBytes {
  /** All of it, as everybody has it: to be looked at until `close`, and neither written to nor kept. */
  readonly shown: Uint8Array
  /** Buffers of the caller's own that were taken of it. */
  readonly views: ViewGroup
  /**
   * A part as a buffer of its own, for the caller alone: writing to it changes nobody else's. Large ones are shared with
   * others until they are written to, page by page.
   */
  own(offset: number, length: number): Uint8Array<ArrayBuffer>
  /** The value stays for as long as its parts are used, and `shown` until now. */
  close(): void
}

/**
 * Where values over 100 KiB lie on this machine, readable by every process of the node. This is all that the SDK knows
 * of the store.
 *
 * @example
 * store.write('00ff00ff00ff00ff', flattenValue(encoded), { owner, sequence: 1 })
 * const stored = await store.read('00ff00ff00ff00ff', 1024, { owner, sequence: 1 }, 'get')
 * const bytes = stored.own(0, 1024)
 * stored.close()
 */
export interface ObjectStore {
  /**
   * Stores the parts, one after the other, under a new name, and copies them before it returns. A name is written once.
   *
   * Throws ObjectStoreFullError when there is no room; nothing of the value stays behind then.
   */
  write(name: string, parts: readonly Uint8Array[], whose: ValueOwner): void
  /**
   * A value, to be closed when it has been read.
   *
   * Rejects with ObjectLostError when there is no such value, when it is not `bytes` long, or damaged on the disk; and with
   * the signal's reason when that aborts while the value is brought here. With ObjectUnavailableError when it is there and
   * could not be read this time.
   */
  read(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<StoredBytes>
  /** The same, when it is known without a question to anybody where the value lies. Undefined when it is not. */
  readHere(name: string, bytes: number): StoredBytes | undefined
  /** True when it is known, without a question to anybody, that the value can be read here at this moment. */
  isHere(name: string, bytes: number): boolean
  /**
   * Has a value brought to this machine, and reads nothing of it. It may have left again by the time that it is read.
   *
   * Rejects like `read`, and with the signal's reason.
   */
  bring(name: string, bytes: number, whose: ValueOwner, priority: ReadPriority, signal?: AbortSignal): Promise<void>
  /** Drops values. Dropping one that is not there does nothing. */
  free(names: readonly string[]): void
}

/** Where a value is to be written. */
export type WritePlace = ({ in: 'memory' } & BlockPlace) | { in: 'file'; file: string }

/** Where a value can be read; in a file from `offset` on, with this sum of its bytes. */
export type ReadPlace = ({ in: 'memory' } & BlockPlace) | { in: 'file'; file: string; offset: number; crc: number }

export interface StoredFacts extends ValueOwner {
  name: string
  bytes: number
  /** Of one in a file. */
  crc: number
  /** It is in a file that this process has made by itself. */
  isFile: boolean
}

/** What a store needs of the node. */
export interface StoreLink {
  /** Room for a value; waits for the answer. Throws ObjectStoreFullError. */
  allocate(value: { name: string; bytes: number; owner: ClientId }): WritePlace
  /** A value has been written. */
  stored(value: StoredFacts): void
  /** It will not be written. */
  abandon(name: string): void
  /**
   * Has a value brought where it can be read. `damaged`: the file in which it was found damaged. Rejects with ObjectLostError
   * and others of its kind, and the signal's reason.
   */
  open(
    value: ValueOwner & { name: string; bytes: number; priority: ReadPriority; damaged?: string },
    signal?: AbortSignal,
  ): Promise<ReadPlace>
  free(names: readonly string[]): void
}
