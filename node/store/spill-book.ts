import { blockBytesOf, blockHeaderBytes, type BlockPlace } from '../../protocols/store-segment.ts'
import type { DiskPlace, SpillPlace, StoreAction } from './store-events.ts'
import type { StoredEntry } from './stored-value.ts'

/** Small values go to the disk together, in files of about this size. */
export const spillFileBytes = 64 * 1024 * 1024
const spillFileCountMax = 1000
/** The disk was full: so long nothing is written there. After another failure, ten times as long. */
const diskRestMs = 1000

/** Which values lie in which files on the disk, the one that is being written, and whether the disk can be used at all. */
export class SpillBook {
  readonly #spill: SpillPlace | undefined
  /** A file goes with the last of its values. */
  readonly #files = new Map<string, Set<StoredEntry>>()
  #writing: { file: string; batch: StoredEntry[] } | undefined
  #problem = ''
  #restsUntilMs = -Infinity
  #bytes = 0

  constructor(spill: SpillPlace | undefined) {
    this.#spill = spill
  }

  get bytes(): number {
    return this.#bytes
  }

  get fileCount(): number {
    return this.#files.size
  }

  get isWriting(): boolean {
    return this.#writing !== undefined
  }

  /** False when values are refused for which there is no room in memory. */
  get isThere(): boolean {
    return this.#spill !== undefined
  }

  /** Why values cannot go to the disk; '' when they can. */
  get problem(): string {
    return this.#spill === undefined ? 'values do not go to the disk here' : this.#problem
  }

  /** Why so many bytes cannot go there. */
  problemWith(bytes: number): string {
    return this.#spill?.problemWith(bytes) || this.problem
  }

  /** True while it is not known that the disk is of no use. */
  mayTry(nowMs: number): boolean {
    return this.#spill !== undefined && nowMs >= this.#restsUntilMs
  }

  /** A file for a value of its own; undefined when there is no room for it. */
  ownFile(bytes: number, nowMs: number): string | undefined {
    return this.mayTry(nowMs) && this.#spill?.problemWith(bytes) === '' ? this.#spill.nextFile() : undefined
  }

  /**
   * Begins to write as many of the values as are wanted, and fit into a file; fewer when the disk has not so much room.
   * Undefined when there are none, or no room.
   */
  begin(
    entries: Iterable<StoredEntry>,
    wantedBytes: number,
    nowMs: number,
  ): (StoreAction & { type: 'spill' }) | undefined {
    if (this.#spill === undefined || this.isWriting || !this.mayTry(nowMs)) return undefined
    const batch: StoredEntry[] = []
    let bytes = 0
    for (const entry of entries) {
      batch.push(entry)
      bytes += blockBytesOf(entry.bytes)
      if (bytes >= Math.min(wantedBytes, spillFileBytes) || batch.length >= spillFileCountMax) break
    }
    if (batch.length === 0) return undefined
    let problem = this.#spill.problemWith(bytes)
    while (problem !== '') {
      batch.length = Math.floor(batch.length / 2)
      if (batch.length === 0) {
        this.#failed(problem, diskRestMs, nowMs)
        return undefined
      }
      problem = this.#spill.problemWith(bytesOf(batch))
    }
    const file = this.#spill.nextFile()
    this.#writing = { file, batch }
    const blocks = batch.map(({ name, memory, bytes: each }) => {
      return { name, offset: (memory as BlockPlace).offset, bytes: each }
    })
    return { type: 'spill', file, blocks }
  }

  /** The values of a batch, of which nothing is used any more by this; undefined when it is not the one being written. */
  #end(file: string): StoredEntry[] | undefined {
    if (this.#writing?.file !== file) return undefined
    const { batch } = this.#writing
    this.#writing = undefined
    return batch
  }

  /** @returns the values that lie there now */
  written(file: string, crcs: readonly number[]): readonly StoredEntry[] {
    const batch = this.#end(file)
    if (batch === undefined) return []
    this.#problem = ''
    let offset = blockHeaderBytes
    for (const [i, entry] of batch.entries()) {
      this.put(entry, { file, offset, crc: crcs[i] ?? 0 })
      offset += blockBytesOf(entry.bytes)
    }
    return batch
  }

  /** @returns the values that do not lie there */
  notWritten(file: string, reason: string, isFull: boolean, nowMs: number): readonly StoredEntry[] {
    const batch = this.#end(file)
    if (batch !== undefined) this.#failed(reason, isFull ? diskRestMs : 10 * diskRestMs, nowMs)
    return batch ?? []
  }

  #failed(reason: string, restMs: number, nowMs: number): void {
    this.#problem = reason
    this.#restsUntilMs = nowMs + restMs
  }

  /** A value lies on the disk. */
  put(entry: StoredEntry, disk: DiskPlace): void {
    entry.disk = disk
    this.#bytes += entry.bytes
    const entries = this.#files.get(disk.file)
    if (entries === undefined) this.#files.set(disk.file, new Set([entry]))
    else entries.add(entry)
  }

  /** A value is needed there no more. Gives the file when it is to be deleted. */
  drop(entry: StoredEntry): string | undefined {
    const { disk } = entry
    if (disk === undefined) return undefined
    entry.disk = undefined
    const entries = this.#files.get(disk.file)
    if (entries?.delete(entry) === true) this.#bytes -= entry.bytes
    if (entries !== undefined && entries.size > 0) return undefined
    this.#files.delete(disk.file)
    // There is room again, perhaps.
    this.#restsUntilMs = -Infinity
    return disk.file
  }
}

function bytesOf(entries: readonly StoredEntry[]): number {
  return entries.reduce((sum, { bytes }) => sum + blockBytesOf(bytes), 0)
}
