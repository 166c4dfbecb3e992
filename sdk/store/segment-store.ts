import { ObjectLostError } from '../../protocols/errors.ts'
import type { BlockPlace } from '../../protocols/store-segment.ts'
import type { ObjectStore, ReadPriority, StoredBytes, StoreLink, ValueOwner } from './object-store.ts'
import { privateBytes } from './private-bytes.ts'
import type { SharedSegment } from './shared-segment.ts'
import { readStoredFile, sumOf, writeStoredFile } from './stored-file.ts'

/** Where values lie is remembered for so many of them. */
const placesMax = 20_000
/** A value may be moved out of memory again before it is read. */
const opensMax = 10

/** An {@link ObjectStore} in memory that this program shares with the node and with others. */
export class SegmentStore implements ObjectStore {
  readonly #segment: SharedSegment
  readonly #isElsewhere: (name: string) => boolean
  readonly #link: StoreLink
  /** Used longest ago first. They may be out of date, which shows when they are used. */
  readonly #places = new Map<string, BlockPlace>()

  /** @param isElsewhere true for the names of other nodes' values */
  constructor(segment: SharedSegment, link: StoreLink, isElsewhere: (name: string) => boolean) {
    this.#segment = segment
    this.#isElsewhere = isElsewhere
    this.#link = link
  }

  write(name: string, parts: readonly Uint8Array[], whose: ValueOwner): void {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    let crc = 0
    try {
      const place = this.#link.allocate({ name, bytes, owner: whose.owner })
      if (place.in === 'memory') {
        this.#segment.write(place, parts)
        this.#remember(name, place)
      } else {
        crc = sumOf(parts)
        writeStoredFile(place.file, parts)
      }
    } catch (error) {
      // Even when no answer has come there may be room for it.
      this.#link.abandon(name)
      throw error
    }
    this.#link.stored({ ...whose, name, bytes, crc, isFile: false })
  }

  async read(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<StoredBytes> {
    const here = this.readHere(name, bytes)
    if (here !== undefined) return here
    let damaged = ''
    for (let opens = 0; opens < opensMax; opens++) {
      const place = await this.#link.open({ ...whose, name, bytes, priority, damaged }, signal)
      if (place.in === 'file') {
        try {
          return privateBytes(await readStoredFile(place, name, bytes, whose))
        } catch (error) {
          // The node may have it from elsewhere.
          if (!(error instanceof ObjectLostError) || damaged === place.file) throw error
          damaged = place.file
          continue
        }
      }
      const value = this.#read(place, name, bytes)
      if (value !== undefined) {
        this.#remember(name, place)
        return value
      }
    }
    throw new ObjectLostError(`the value ${name} (${bytes} bytes) is not in the object store as such`, { name, bytes })
  }

  readHere(name: string, bytes: number): StoredBytes | undefined {
    const known = this.#places.get(name)
    return known === undefined ? undefined : this.#read(known, name, bytes)
  }

  #read(place: BlockPlace, name: string, bytes: number): StoredBytes | undefined {
    return this.#segment.read(place, name, bytes, this.#isElsewhere(name))
  }

  isHere(name: string, bytes: number): boolean {
    const known = this.#places.get(name)
    return known !== undefined && this.#segment.isThere(known, name, bytes)
  }

  async bring(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<void> {
    if (this.isHere(name, bytes)) return
    const place = await this.#link.open({ ...whose, name, bytes, priority }, signal)
    if (place.in === 'memory') this.#remember(name, place)
  }

  #remember(name: string, { offset, generation }: BlockPlace): void {
    this.#places.delete(name)
    this.#places.set(name, { offset, generation })
    if (this.#places.size <= placesMax) return
    for (const oldest of this.#places.keys()) {
      this.#places.delete(oldest)
      return
    }
  }

  free(names: readonly string[]): void {
    for (const name of names) this.#places.delete(name)
    this.#link.free(names)
  }
}
