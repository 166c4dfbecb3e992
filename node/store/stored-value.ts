import type { BlockPlace } from '../../protocols/store-segment.ts'
import type { ClientId, ObjectId } from '../../protocols/ids.ts'
import type { DiskPlace, StoredKind } from './store-events.ts'

/** One value of the store, as the policy sees it. */
export interface StoredEntry {
  readonly name: string
  /** Of its room, until it has been written. */
  bytes: number
  kind: StoredKind
  /** Who has asked for the room; '' for the node itself. */
  readonly writer: ClientId
  readonly key: number
  owner: ClientId
  object: ObjectId
  isSealed: boolean
  /** Somebody has room for it, and may write there: it stays his, whatever becomes of the value. */
  isBeingWritten: boolean
  memory: BlockPlace | undefined
  disk: DiskPlace | undefined
  /** Is being written to the disk, or read from it. */
  isMoving: boolean
  /** How many readers within the node. */
  holds: number
  /** Goes when nobody uses it any more. */
  isFreed: boolean
  touchedMs: number
  /** When somebody was last told where it lies in memory: who was is about to read it there. */
  openedMs: number
  readonly sinceMs: number
}

/**
 * Values in the order of their last use, on the shelf that says what may be done with them when room is short.
 *
 * `copies`: dropped, since they can be had again. `clean`: dropped from memory, they are on the disk as well. `dirty`: to be
 * written to the disk.
 */
export class Shelves {
  readonly copies = new Map<string, StoredEntry>()
  readonly clean = new Map<string, StoredEntry>()
  readonly dirty = new Map<string, StoredEntry>()
  cleanBytes = 0

  /** Puts a value on the shelf where it belongs now, as the last one used. */
  put(entry: StoredEntry): void {
    this.take(entry)
    const { name, isSealed, memory, disk, isMoving, holds, isFreed, kind, bytes } = entry
    if (!isSealed || memory === undefined || isMoving || holds > 0 || isFreed) return
    if (disk !== undefined) {
      this.clean.set(name, entry)
      this.cleanBytes += bytes
    } else if (kind === 'copy') this.copies.set(name, entry)
    else this.dirty.set(name, entry)
  }

  take({ name, bytes }: StoredEntry): void {
    this.copies.delete(name)
    this.dirty.delete(name)
    if (this.clean.delete(name)) this.cleanBytes -= bytes
  }
}
