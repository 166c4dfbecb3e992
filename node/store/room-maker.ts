import type { BlockPlace } from '../../protocols/store-segment.ts'
import type { MemoryRoom } from './memory-room.ts'
import type { SegmentGate } from './store-events.ts'
import type { Shelves, StoredEntry } from './stored-value.ts'

/** A copy that was asked for a moment ago is about to be read. */
const copyAgeMsMin = 5000
/** Who was told where a value lies has so long to come and read it there. */
const openedMsMin = 100

export interface RoomMakerParts {
  memory: MemoryRoom
  gate: SegmentGate
  shelves: Shelves
  /** A copy has left memory, and so is nowhere here any more. */
  onDropped(copy: StoredEntry): void
}

/** Finds room in memory, for which other values leave it: copies first, then what is on the disk as well. */
export class RoomMaker {
  readonly #parts: RoomMakerParts

  constructor(parts: RoomMakerParts) {
    this.#parts = parts
  }

  /** `mayTakeYoung`: rather than that somebody is refused, what was brought here or read a moment ago goes, too. */
  take(bytes: number, nowMs: number, mayTakeYoung: boolean): BlockPlace | undefined {
    const { memory } = this.#parts
    for (;;) {
      const place = memory.take(bytes)
      if (place !== undefined) return place
      if (!memory.sweep() && !this.#evictOne(nowMs, mayTakeYoung)) return undefined
    }
  }

  /** Drops the copy that was used longest ago and can go. False when there is none. */
  dropCopy(nowMs: number, mayTakeYoung: boolean): boolean {
    for (const entry of twice(this.#parts.shelves.copies)) {
      if (!mayTakeYoung && nowMs - entry.touchedMs < copyAgeMsMin) return false
      if (!this.#leaveMemory(entry, nowMs, mayTakeYoung)) continue
      this.#parts.onDropped(entry)
      return true
    }
    return false
  }

  #evictOne(nowMs: number, mayTakeYoung: boolean): boolean {
    if (this.dropCopy(nowMs, mayTakeYoung)) return true
    for (const entry of twice(this.#parts.shelves.clean)) {
      if (this.#leaveMemory(entry, nowMs, mayTakeYoung)) return true
    }
    return false
  }

  /** Gives the memory of a value back, unless somebody looks at it, or has since it was tried last. */
  #leaveMemory(entry: StoredEntry, nowMs: number, isLastResort: boolean): boolean {
    const { memory: room, gate, shelves } = this.#parts
    const { memory, name, bytes } = entry
    if (memory === undefined || nowMs - entry.openedMs < openedMsMin) return false
    let hasLeft = false
    if (gate.takeUsed(memory.offset) && !isLastResort) entry.touchedMs = nowMs
    else if (room.tryToGiveBack(memory, bytes)) {
      entry.memory = undefined
      hasLeft = true
    } else gate.show(memory, name, bytes)
    // Those that can go are found sooner when this one is not the first any more.
    shelves.put(entry)
    return hasLeft
  }
}

/** The values of a shelf, and those that have been put back once more: what nobody has read meanwhile goes then. */
function* twice(shelf: ReadonlyMap<string, StoredEntry>): Generator<StoredEntry> {
  let left = shelf.size * 2
  for (const entry of shelf.values()) {
    if (left-- === 0) return
    yield entry
  }
}
