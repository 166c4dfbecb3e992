import { webcrypto } from 'node:crypto'
import { rmSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { ClientId } from '../../protocols/ids.ts'

const waitMs = 10_000

export interface BlobCacheOptions {
  /** All that is kept. Default: 1 GiB. */
  bytesMax?: number
  /** Blobs that are to be kept whoever is gone. Default: none. */
  inUse?(): Iterable<string>
}

interface Waiter {
  missing: Set<string>
  resolve(missing: string[]): void
  timer: NodeJS.Timeout
}

/**
 * Shipped code on disk, one file per blob, named by the hash of its content: workers import it from there. When there is no
 * room for more, what was not asked for the longest goes, but nothing that a client has put here as long as it is there: it
 * does not put it again. What came from another node can be had there again.
 */
export class BlobCache {
  readonly #directory: string
  readonly #log: (text: string) => void
  readonly #bytesMax: number
  readonly #inUse: () => Iterable<string>
  /** What each client has put here. */
  readonly #putBy = new Map<ClientId, Set<string>>()
  /** The one that was not asked for the longest comes first. Blobs that are there, or on their way to the disk. */
  readonly #blobs = new Map<string, { bytes: number; isThere: boolean }>()
  /** Contents that are looked at or written now, by hash. */
  readonly #puts = new Map<string, number>()
  readonly #waitersByHash = new Map<string, Set<Waiter>>()
  #bytes = 0
  #writes = 0

  constructor(
    directory: string,
    log: (text: string) => void,
    { bytesMax = 1024 ** 3, inUse = () => [] }: BlobCacheOptions = {},
  ) {
    this.#directory = directory
    this.#log = log
    this.#bytesMax = bytesMax
    this.#inUse = inUse
  }

  get count(): number {
    return this.#blobs.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** True when a blob is there, or will be in a moment. */
  isExpected(hash: string): boolean {
    return this.#blobs.has(hash) || this.#puts.has(hash)
  }

  /** The size of a blob that is there. */
  bytesOf(hash: string): number {
    return this.#blobs.get(hash)?.bytes ?? 0
  }

  /** Where a blob lies when it is there. */
  fileOf(hash: string): string {
    return path.join(this.#directory, `${hash}.mjs`)
  }

  /**
   * Keeps a blob. False when the content is not what the hash says. A blob that finds no room stays missing.
   *
   * @param client who has put it here; undefined for a node
   */
  async put(hash: string, content: Uint8Array, client?: ClientId): Promise<boolean> {
    this.#puts.set(hash, (this.#puts.get(hash) ?? 0) + 1)
    if (client !== undefined && !this.#putBy.has(client)) this.#putBy.set(client, new Set())
    try {
      return await this.#put(hash, content, client)
    } finally {
      const others = (this.#puts.get(hash) ?? 1) - 1
      if (others > 0) this.#puts.set(hash, others)
      else this.#puts.delete(hash)
    }
  }

  /** What the client has put here may go when the room is needed. */
  clientGone(client: ClientId): void {
    this.#putBy.delete(client)
  }

  async #put(hash: string, content: Uint8Array, client: ClientId | undefined): Promise<boolean> {
    const digest = Buffer.from(await webcrypto.subtle.digest('SHA-256', content as Uint8Array<ArrayBuffer>))
    if (digest.toString('hex') !== hash) return false
    const known = this.#blobs.has(hash)
    if (!known && !this.#makeRoom(content.length)) {
      this.#log(`shipped code ${hash} of ${content.length} bytes refused: the cache of ${this.#bytesMax} bytes is full`)
      return true
    }
    // The client may be gone by now.
    if (client !== undefined) this.#putBy.get(client)?.add(hash)
    if (known) {
      this.#touch(hash)
      return true
    }
    const blob = { bytes: content.length, isThere: false }
    this.#blobs.set(hash, blob)
    this.#bytes += content.length
    const file = this.fileOf(hash)
    const temporary = `${file}.${++this.#writes}.tmp`
    try {
      // A rename makes the file appear whole: a worker never imports half a module.
      await writeFile(temporary, content, { mode: 0o600 })
      await rename(temporary, file)
    } catch (error) {
      this.#log(`shipped code ${hash} could not be written: ${(error as Error).message}`)
      this.#blobs.delete(hash)
      this.#bytes -= content.length
      await rm(temporary, { force: true })
      return true
    }
    blob.isThere = true
    this.#wake(hash)
    return true
  }

  /** False when all that is here has to stay. */
  #makeRoom(bytes: number): boolean {
    if (this.#bytes + bytes <= this.#bytesMax) return true
    const staying = new Set(this.#inUse())
    for (const hashes of this.#putBy.values()) for (const hash of hashes) staying.add(hash)
    for (const [hash, blob] of this.#blobs) {
      if (!blob.isThere || staying.has(hash) || this.#puts.has(hash)) continue
      try {
        rmSync(this.fileOf(hash), { force: true })
      } catch (error) {
        this.#log(`shipped code ${hash} could not be removed: ${(error as Error).message}`)
        continue
      }
      this.#blobs.delete(hash)
      this.#bytes -= blob.bytes
      if (this.#bytes + bytes <= this.#bytesMax) return true
    }
    return false
  }

  #touch(hash: string): void {
    const blob = this.#blobs.get(hash)
    if (blob === undefined) return
    this.#blobs.delete(hash)
    this.#blobs.set(hash, blob)
  }

  /** Waits until all are there; resolves with the ones that are not there in time. */
  wait(hashes: readonly string[]): Promise<string[]> {
    for (const hash of hashes) this.#touch(hash)
    const missing = new Set(hashes.filter((hash) => this.#blobs.get(hash)?.isThere !== true))
    if (missing.size === 0) return Promise.resolve([])
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#giveUp(waiter), waitMs)
      const waiter: Waiter = { missing, resolve, timer }
      for (const hash of missing) {
        const waiters = this.#waitersByHash.get(hash)
        if (waiters === undefined) this.#waitersByHash.set(hash, new Set([waiter]))
        else waiters.add(waiter)
      }
    })
  }

  /** Ends all waiting. */
  close(): void {
    for (const waiters of this.#waitersByHash.values()) for (const waiter of waiters) this.#giveUp(waiter)
  }

  #wake(hash: string): void {
    const waiters = this.#waitersByHash.get(hash)
    this.#waitersByHash.delete(hash)
    for (const waiter of waiters ?? []) {
      waiter.missing.delete(hash)
      if (waiter.missing.size > 0) continue
      clearTimeout(waiter.timer)
      waiter.resolve([])
    }
  }

  #giveUp(waiter: Waiter): void {
    clearTimeout(waiter.timer)
    for (const hash of waiter.missing) {
      const waiters = this.#waitersByHash.get(hash)
      waiters?.delete(waiter)
      if (waiters?.size === 0) this.#waitersByHash.delete(hash)
    }
    waiter.resolve([...waiter.missing])
  }
}
