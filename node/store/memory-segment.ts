import {
  blockHeaderBytes,
  headerAt,
  offsetOf,
  pinOf,
  pinsEndAt,
  pinsPerClient,
  pinTableAt,
  pinTablesMax,
  segmentBytesOf,
  writeHeader,
  type BlockPlace,
} from '../../protocols/store-segment.ts'
import { makeSharedMemory, type SharedMemory } from '../system/linux-memory.ts'
import type { SegmentGate } from './store-events.ts'

/** So many bytes are kept ready that nobody has used yet, once there is use for the segment. */
const aheadBytes = 64 * 1024 * 1024

/** The shared memory of the object store, as the node uses it. */
export class MemorySegment implements SegmentGate {
  readonly #memory: SharedMemory
  readonly #bytes: number
  readonly #words: Int32Array
  readonly #tables = new Map<number, Uint32Array>()
  readonly #freeTables: number[] = []
  #tablesMade = 0
  #providedTo = 0
  #isProviding = false

  private constructor(memory: SharedMemory, bytes: number) {
    this.#memory = memory
    this.#bytes = bytes
    this.#words = new Int32Array(memory.buffer)
  }

  /** @returns undefined where there is no shared memory */
  static async create(bytesMax: number): Promise<MemorySegment | undefined> {
    const bytes = segmentBytesOf(bytesMax)
    const memory = await makeSharedMemory(bytes)
    return memory && new MemorySegment(memory, bytes)
  }

  /** Where processes of this user find it. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.#memory.descriptor}`
  }

  get descriptor(): number {
    return this.#memory.descriptor
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A table for the pins of a client; undefined when all are given out. */
  takePinTable(): number | undefined {
    const table = this.#freeTables.pop() ?? (this.#tablesMade < pinTablesMax ? this.#tablesMade++ : undefined)
    if (table === undefined) return undefined
    const pins = new Uint32Array(this.#memory.buffer, pinTableAt(table), pinsPerClient)
    pins.fill(0)
    Atomics.store(this.#words, pinsEndAt(table) / 4, 0)
    this.#tables.set(table, pins)
    return table
  }

  /** How many tables are given out. */
  get pinTablesUsed(): number {
    return this.#tables.size
  }

  /** What is behind the pins of a table. */
  pinsEnd(table: number): number {
    return Atomics.load(this.#words, pinsEndAt(table) / 4)
  }

  /** The client of a table reads nothing any more, or is gone. */
  freePinTable(table: number): void {
    if (this.#tables.delete(table)) this.#freeTables.push(table)
  }

  /** How many values a client has pinned. */
  pinCount(table: number): number {
    let count = 0
    for (const pin of this.#tables.get(table) ?? []) if (pin !== 0) count += 1
    return count
  }

  /** The tables of those who read a block now. */
  pinnedBy(offset: number): number[] {
    const pin = pinOf(offset)
    return [...this.#tables].flatMap(([table, pins]) => (pins.includes(pin) ? [table] : []))
  }

  show({ offset, generation }: BlockPlace, name: string, bytes: number): void {
    writeHeader(new Uint8Array(this.#memory.buffer, offset, blockHeaderBytes), name, bytes)
    Atomics.store(this.#words, (offset + headerAt.generation) / 4, generation)
  }

  hide(offset: number): boolean {
    const at = (offset + headerAt.generation) / 4
    Atomics.store(this.#words, at, 0)
    // What follows must not be read before that is seen by all; a plain read could be, on some machines.
    Atomics.compareExchange(this.#words, at, 0, 0)
    return !this.isPinned(offset)
  }

  isPinned(offset: number): boolean {
    const pin = pinOf(offset)
    for (const pins of this.#tables.values()) if (pins.includes(pin)) return true
    return false
  }

  pinned(): ReadonlySet<number> {
    const offsets = new Set<number>()
    for (const pins of this.#tables.values()) for (const pin of pins) if (pin !== 0) offsets.add(offsetOf(pin))
    return offsets
  }

  takeUsed(offset: number): boolean {
    return Atomics.exchange(this.#words, (offset + headerAt.used) / 4, 0) !== 0
  }

  /** Bytes of a value, or of the block that it lies in: the memory itself. */
  slice(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, length)
  }

  /** Gives the pages of free memory back to the system. */
  giveBack(start: number, bytes: number): void {
    this.#memory.giveBack(start, bytes)
  }

  /** Keeps pages ready behind the end of what has been used, so that whoever writes next does not wait for them. */
  provideBehind(top: number): void {
    const wantedTo = Math.min(this.#bytes, top + Math.min(aheadBytes, this.#bytes / 8))
    if (this.#isProviding || this.#providedTo >= wantedTo - aheadBytes / 4) return
    const from = Math.max(this.#providedTo, top)
    this.#isProviding = true
    this.#providedTo = wantedTo
    void this.#memory.provide(from, wantedTo - from).then(() => {
      this.#isProviding = false
    })
  }
}
