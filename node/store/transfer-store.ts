import type { ClientId, ObjectId } from '../../protocols/ids.ts'
import type { BlockPlace } from '../../protocols/store-segment.ts'

/**
 * The object store as transfers between nodes see it: memory to be filled with what comes, and bytes to be sent.
 *
 * @example
 * const room = await store.begin({ name, bytes, owner, object: '' })
 * room.slice(0, 4).set([1, 2, 3, 4])
 * room.commit()
 */
export interface TransferStore {
  /** True when the whole value is here: in memory, or on the disk. */
  has(name: string): boolean
  /**
   * Room for a copy of a value of another node. Waits until there is some: older copies are dropped and values are moved to
   * the disk for it. One at a time for a name.
   *
   * Rejects with ObjectStoreFullError when there will be none, and with the signal's reason.
   */
  begin(value: IncomingSpec, options?: { signal?: AbortSignal }): Promise<IncomingRoom>
  /**
   * A copy that is here, or on its way into its room, is not dropped from now on as one that can be had again. False when it
   * is not here as a whole.
   */
  keep(name: string): boolean
  /**
   * A value of this store, to be read piece by piece, in memory or from the disk. It stays until `close()`, also when it is
   * freed meanwhile. Undefined when it is not here as a whole.
   *
   * Rejects with ObjectLostError when it turns out to be damaged, and is here no more; with other errors when it cannot be
   * read now.
   */
  open(name: string): Promise<OutgoingValue | undefined>
}

export interface IncomingSpec {
  name: string
  bytes: number
  /** The client whose object it is; '' when that is not known. */
  owner: ClientId
  /** The object whose value it is; '' when that is not known. */
  object: ObjectId
}

/** Memory for a value that is on its way. Until `commit` nobody else reads it. */
export interface IncomingRoom {
  readonly bytes: number
  /** A part of it, to be written to, or to be read when it has been written: the memory itself, no copy. */
  slice(offset: number, length: number): Uint8Array
  /** All of it has been written: the value can be read from now on. */
  commit(): void
  /** It will not come: the room is free again. After `commit` this does nothing. */
  abort(): void
}

/** A value that can be read in any order. */
export interface OutgoingValue {
  readonly bytes: number
  /** Where it lies, for other processes of this user on this machine; undefined when it is in no memory of that kind. */
  readonly place: MemoryPlace | undefined
  /** A part of it; may be a view on memory that must not be written to, valid until `close()`. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): void
}

/** A block in the memory of a store, as other processes find it. */
export interface MemoryPlace extends BlockPlace {
  readonly pid: number
  /** Of the memory, in that process. */
  readonly descriptor: number
}
