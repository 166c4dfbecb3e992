import { blockBytesOf, blocksStart, segmentBytesOf, type BlockPlace } from '../../protocols/store-segment.ts'
import { IdleMemory } from './idle-memory.ts'
import { SegmentAllocator } from './segment-allocator.ts'
import type { SegmentGate } from './store-events.ts'

const generationMax = 0x7fff_fffe
/** Memory that nobody has needed for so long is given back to the system. */
export const idleMsDefault = 60_000

/**
 * The memory of the object store: who has which block, and what is free. A block that somebody looks at is free only when
 * nobody does any more.
 */
export class MemoryRoom {
  readonly #bytesMax: number
  readonly #gate: SegmentGate
  readonly #allocator: SegmentAllocator
  readonly #idle: IdleMemory
  /** Blocks of values that are needed no more while views of programs are on them, and the bytes of the values. */
  readonly #zombies = new Map<number, number>()
  #zombieBytes = 0
  #usedBytes = 0
  #lastGeneration = 1

  constructor(bytesMax: number, gate: SegmentGate, idleMs = idleMsDefault) {
    this.#bytesMax = bytesMax
    this.#gate = gate
    this.#allocator = new SegmentAllocator(blocksStart, segmentBytesOf(bytesMax))
    this.#idle = new IdleMemory(segmentBytesOf(bytesMax), idleMs)
  }

  /** Bytes of values, with those of zombies. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  get zombieBytes(): number {
    return this.#zombieBytes
  }

  get hasZombies(): boolean {
    return this.#zombies.size > 0
  }

  /** The end of what has ever been in use. */
  get top(): number {
    return this.#allocator.top
  }

  /** True while some of what is free may be given back to the system, now or later. */
  get mayBeIdle(): boolean {
    return this.#idle.isLarge
  }

  /** Free memory that the system is to have back, at once; there may be more. Undefined when there is none for now. */
  takeIdle(nowMs: number): { start: number; bytes: number } | undefined {
    return this.#idle.next(this.#allocator.freePieces(), this.#allocator.usedBytes, nowMs)
  }

  /** A block for a value; undefined when there is not so much room, or not in one piece. */
  take(bytes: number): BlockPlace | undefined {
    if (this.#usedBytes + bytes > this.#bytesMax) return undefined
    const blockBytes = blockBytesOf(bytes)
    const offset = this.#allocator.allocate(blockBytes)
    if (offset === undefined) return undefined
    this.#idle.taken({ start: offset, bytes: blockBytes }, this.#allocator.usedBytes)
    this.#usedBytes += bytes
    this.#lastGeneration = this.#lastGeneration >= generationMax ? 1 : this.#lastGeneration + 1
    return { offset, generation: this.#lastGeneration }
  }

  /** What was written needs less than the block: the rest is free. */
  shrink({ offset }: BlockPlace, fromBytes: number, toBytes: number): void {
    this.#usedBytes -= fromBytes - toBytes
    const start = blockBytesOf(toBytes)
    const end = blockBytesOf(fromBytes)
    if (start < end) this.#allocator.free(offset + start, end - start)
  }

  /** Gives a block back that nobody could ever find. */
  giveBack({ offset }: BlockPlace, bytes: number): void {
    this.#usedBytes -= bytes
    this.#allocator.free(offset, blockBytesOf(bytes))
  }

  /** Gives a block back unless somebody looks at it. True when it is free; else it can be found no more until it is shown. */
  tryToGiveBack(place: BlockPlace, bytes: number): boolean {
    if (!this.#gate.hide(place.offset)) return false
    this.giveBack(place, bytes)
    return true
  }

  /** The value is needed no more: its block is free as soon as nobody looks at it. */
  retire(place: BlockPlace, bytes: number): void {
    if (this.tryToGiveBack(place, bytes)) return
    this.#zombies.set(place.offset, bytes)
    this.#zombieBytes += bytes
  }

  /** Frees what nobody looks at any more. True when there was something. */
  sweep(): boolean {
    let isAnyFree = false
    for (const [offset, bytes] of this.#zombies) {
      if (this.#gate.isPinned(offset)) continue
      this.#zombies.delete(offset)
      this.#zombieBytes -= bytes
      this.giveBack({ offset, generation: 0 }, bytes)
      isAnyFree = true
    }
    return isAnyFree
  }
}
