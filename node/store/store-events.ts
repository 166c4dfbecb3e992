import type { BlockPlace } from '../../protocols/store-segment.ts'
import type { ClientId, NodeId, ObjectId } from '../../protocols/ids.ts'

/** `primary`: written here. `replica`: a copy that stands for it, should its node die. `copy`: can be had again. */
export type StoredKind = 'primary' | 'replica' | 'copy'

/** A value in a file: where its first byte is, and the sum of its bytes. */
export interface DiskPlace {
  readonly file: string
  readonly offset: number
  readonly crc: number
}

export type ValuePlace =
  | ({ readonly in: 'memory' } & BlockPlace)
  | ({ readonly in: 'file' } & DiskPlace & { readonly bytes: number })

/** Why there is no room, in figures. */
export interface StoreFigures {
  bytesMax: number
  usedBytes: number
  /** Of values that are being read, or that have been freed while views on them live. */
  pinnedBytes: number
  /** Why values cannot go to the disk; '' when they can. */
  disk: string
}

export interface AllocateEvent {
  type: 'allocate'
  /** Names the request in the answer. */
  key: number
  name: string
  bytes: number
  /** '' for the node itself, which brings a copy here. */
  writer: ClientId
  owner: ClientId
  kind: StoredKind
}

export type StoreEvent =
  | AllocateEvent
  /** Who asked needs no room any more, or gives back what it has been given and not sealed. `key`: as in `seal`. */
  | { type: 'abandon'; key?: number; name: string }
  /**
   * The value has been written. `crc`: of one that was written to a file. `key`: of the request for its room, if known; a
   * copy may have come anew, under the same name, while the room of the first one is still written to. `bytes`: of what
   * was written, when that may be less than there was room for.
   */
  | { type: 'seal'; name: string; bytes?: number; object: ObjectId; crc: number; key?: number }
  /** A client wrote a file of its own in the folder for values, on systems without shared memory. */
  | { type: 'wroteFile'; name: string; bytes: number; owner: ClientId; object: ObjectId; file: string }
  | { type: 'free'; names: readonly string[] }
  | { type: 'open'; key: number; name: string }
  /** The node begins or ends to read a value itself: it stays meanwhile. `key` names the reader. */
  | { type: 'hold'; key: number; name: string }
  | { type: 'release'; key: number; name: string }
  /** A client has ended its connection. It waits for nothing any more, and may still be writing. */
  | { type: 'clientLeft'; client: ClientId }
  /** The process of a client is gone: it writes nothing any more. */
  | { type: 'clientGone'; client: ClientId }
  | { type: 'ownersGone'; isGone: (owner: ClientId) => boolean }
  /** A copy is to stand for its value. */
  | { type: 'keep'; name: string }
  /** Copies of values that were made there cannot be had again: they stand for them now. */
  | { type: 'originGone'; node: NodeId }
  | { type: 'spilled'; file: string; crcs: readonly number[] }
  | { type: 'spillFailed'; file: string; reason: string; isFull: boolean }
  | { type: 'restored'; name: string }
  /** `isLost`: what is on the disk is not what was written; else it may be tried again. */
  | { type: 'restoreFailed'; name: string; reason: string; isLost: boolean }
  /** What is in that file is not the value that was written there. */
  | { type: 'damaged'; name: string; file: string }
  /** Memory that has not been needed for a while goes back to the system, a piece of it. */
  | { type: 'lookForIdle' }
  | { type: 'tick' }

export type StoreAction =
  | { type: 'place'; key: number; name: string; place: BlockPlace }
  /** There is no room in memory: it is to be written to this file. */
  | { type: 'placeFile'; key: number; name: string; file: string }
  | { type: 'refuse'; key: number; name: string; bytes: number; kind: StoredKind; figures: StoreFigures }
  | { type: 'opened'; key: number; name: string; bytes: number; place: ValuePlace }
  /** `isLost`: it is not here; else it is, and may be readable the next time. */
  | { type: 'openFailed'; key: number; name: string; reason: string; isLost: boolean }
  | { type: 'spill'; file: string; blocks: readonly { name: string; offset: number; bytes: number }[] }
  | { type: 'restore'; name: string; bytes: number; from: DiskPlace; place: BlockPlace }
  | { type: 'deleteFile'; file: string }
  /** This memory is free, and the system is to have its pages back before anything else is done. */
  | { type: 'giveBack'; start: number; bytes: number }
  /** Can be read here from now on. */
  | { type: 'stored'; name: string; object: ObjectId; kind: StoredKind }
  /** Is here no more. */
  | { type: 'gone'; name: string; object: ObjectId; reason: 'freed' | 'dropped' | 'lost' }
  | { type: 'pressure'; usedBytes: number }

/** The shared memory, as far as the policy needs it. */
export interface SegmentGate {
  /** Makes a block readable. The name and the length are in its header already, when it was readable before. */
  show(place: BlockPlace, name: string, bytes: number): void
  /** Makes a block unreadable for those who come. False while somebody still reads it. */
  hide(offset: number): boolean
  isPinned(offset: number): boolean
  /** All blocks that are being read, which is cheaper than to ask for many of them one by one. */
  pinned(): ReadonlySet<number>
  /** True when a block has been read since this was asked last. */
  takeUsed(offset: number): boolean
}

/** Where values go that there is no room for; undefined when they are refused. */
export interface SpillPlace {
  /** The path of a new file. */
  nextFile(): string
  /** Why so many bytes cannot be written there now; '' when they can. */
  problemWith(bytes: number): string
}
