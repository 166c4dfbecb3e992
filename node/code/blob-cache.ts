import { webcrypto } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** All shipped code that a node keeps. */
const bytesMax = 1024 ** 3
const waitMs = 10_000

interface Waiter {
  missing: Set<string>
  resolve(missing: string[]): void
  timer: NodeJS.Timeout
}

/** Shipped code on disk, one file per blob, named by the hash of its content: workers import it from there. */
export class BlobCache {
  readonly #directory: string
  readonly #log: (text: string) => void
  /** Blobs that are there, or on their way to the disk. */
  readonly #blobs = new Map<string, { bytes: number; isThere: boolean }>()
  /** Contents that are looked at or written now, by hash. */
  readonly #puts = new Map<string, number>()
  readonly #waitersByHash = new Map<string, Set<Waiter>>()
  #bytes = 0
  #writes = 0

  constructor(directory: string, log: (text: string) => void) {
    this.#directory = directory
    this.#log = log
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

  /** Keeps a blob. False when the content is not what the hash says. A blob that finds no room stays missing. */
  async put(hash: string, content: Uint8Array): Promise<boolean> {
    this.#puts.set(hash, (this.#puts.get(hash) ?? 0) + 1)
    try {
      return await this.#put(hash, content)
    } finally {
      const others = (this.#puts.get(hash) ?? 1) - 1
      if (others > 0) this.#puts.set(hash, others)
      else this.#puts.delete(hash)
    }
  }

  async #put(hash: string, content: Uint8Array): Promise<boolean> {
    const digest = Buffer.from(await webcrypto.subtle.digest('SHA-256', content as Uint8Array<ArrayBuffer>))
    if (digest.toString('hex') !== hash) return false
    if (this.#blobs.has(hash)) return true
    if (this.#bytes + content.length > bytesMax) {
      this.#log(`shipped code ${hash} of ${content.length} bytes refused: the cache of ${bytesMax} bytes is full`)
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

  /** Waits until all are there; resolves with the ones that are not there in time. */
  wait(hashes: readonly string[]): Promise<string[]> {
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
