import { readdirSync, statSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import type { ObjectStore, ReadPriority, StoredBytes, StoreLink, ValueOwner } from './object-store.ts'
import { privateBytes } from './private-bytes.ts'
import { storeFull } from './store-full.ts'
import { readStoredFile, writeStoredFile } from './stored-file.ts'

/** After writing this share of the store the folder is looked at again: others write to it, too. */
const recountShare = 0.05

/**
 * An {@link ObjectStore} of one file per value, in a folder that the node made, for systems where programs cannot share
 * memory with the node.
 */
export class FileStore implements ObjectStore {
  readonly #directory: string
  readonly #bytesMax: number
  readonly #link: Pick<StoreLink, 'stored' | 'open' | 'free'>
  #countedBytes = Number.POSITIVE_INFINITY
  #writtenSince = 0

  /** @param bytesMax what all values together may have. Several processes that write at once may pass it by a little. */
  constructor(directory: string, bytesMax: number, link: Pick<StoreLink, 'stored' | 'open' | 'free'>) {
    this.#directory = directory
    this.#bytesMax = bytesMax
    this.#link = link
  }

  write(name: string, parts: readonly Uint8Array[], whose: ValueOwner): void {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    this.#assertRoom(bytes)
    writeStoredFile(path.join(this.#directory, name), parts)
    this.#link.stored({ ...whose, name, bytes, crc: 0, isFile: true })
  }

  #assertRoom(bytes: number): void {
    if (bytes <= this.#bytesMax) {
      this.#writtenSince += bytes
      const isFull = this.#countedBytes + this.#writtenSince > this.#bytesMax
      if (!isFull && this.#writtenSince < this.#bytesMax * recountShare) return
      this.#countedBytes = bytesIn(this.#directory)
      this.#writtenSince = bytes
      if (this.#countedBytes + bytes <= this.#bytesMax) return
      this.#writtenSince = 0
    }
    throw storeFull(bytes, { bytesMax: this.#bytesMax, usedBytes: this.#countedBytes })
  }

  async read(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<StoredBytes> {
    await this.bring(name, bytes, whose, priority, signal)
    const place = { file: path.join(this.#directory, name), offset: 0, crc: undefined }
    return privateBytes(await readStoredFile(place, name, bytes, whose))
  }

  /** Files are read without holding the program up. */
  readHere(): undefined {
    return undefined
  }

  isHere(name: string): boolean {
    return statSync(path.join(this.#directory, name), { throwIfNoEntry: false }) !== undefined
  }

  async bring(
    name: string,
    bytes: number,
    whose: ValueOwner,
    priority: ReadPriority,
    signal?: AbortSignal,
  ): Promise<void> {
    if (!this.isHere(name)) await this.#link.open({ ...whose, name, bytes, priority }, signal)
  }

  free(names: readonly string[]): void {
    for (const name of names) {
      try {
        unlinkSync(path.join(this.#directory, name))
      } catch (error) {
        // It may lie on another node.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
    this.#link.free(names)
  }
}

function bytesIn(directory: string): number {
  let bytes = 0
  for (const name of readdirSync(directory)) {
    // A value may be deleted meanwhile.
    bytes += statSync(path.join(directory, name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}
