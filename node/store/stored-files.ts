import { readdir, unlink } from 'node:fs/promises'
import path from 'node:path'
import { clientIdBytes, type ClientId } from '../../protocols/ids.ts'

const namePattern = /^[0-9a-f]{16,64}$/
const pressureShare = 0.8
const pressureIntervalMs = 200
const unlinksAtOnceMax = 8
const clientIdChars = 2 * clientIdBytes

export interface StoredFilesOptions {
  directory: string
  bytesMax: number
  now(): number
  onPressure(usedBytes: number): void
  log(text: string): void
}

/** Which values lie in the object store, how large they are and whose. Clients write them; the node deletes them. */
export class StoredFiles {
  readonly #options: StoredFilesOptions
  readonly #files = new Map<string, { bytes: number; owner: ClientId }>()
  readonly #namesByOwner = new Map<ClientId, Set<string>>()
  readonly #toUnlink: string[] = []
  /** Clients that are gone and may have left values of which the node was never told. */
  #toSweep = new Set<ClientId>()
  #isSweeping = false
  #unlinksRunning = 0
  #usedBytes = 0
  #pressureToldAt = -Infinity

  constructor(options: StoredFilesOptions) {
    this.#options = options
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  get count(): number {
    return this.#files.size
  }

  /** Takes note of a value that a client has written. False when the name is not one of the store. */
  stored(name: string, bytes: number, owner: ClientId): boolean {
    if (!namePattern.test(name) || !Number.isSafeInteger(bytes) || bytes < 0) return false
    if (this.#files.has(name)) return true
    this.#files.set(name, { bytes, owner })
    const names = this.#namesByOwner.get(owner)
    if (names === undefined) this.#namesByOwner.set(owner, new Set([name]))
    else names.add(name)
    this.#usedBytes += bytes
    this.#tellPressure()
    return true
  }

  /** Deletes values; names that are none of the store's are left alone. */
  freed(names: Iterable<string>): void {
    for (const name of names) {
      if (!namePattern.test(name)) continue
      const file = this.#files.get(name)
      if (file !== undefined) {
        this.#files.delete(name)
        this.#usedBytes -= file.bytes
        const owned = this.#namesByOwner.get(file.owner)
        owned?.delete(name)
        if (owned?.size === 0) this.#namesByOwner.delete(file.owner)
      }
      this.#toUnlink.push(name)
    }
    while (this.#unlinksRunning < unlinksAtOnceMax && this.#toUnlink.length > 0) void this.#unlinkNext()
  }

  /** Deletes all that a client owned. */
  ownerGone(owner: ClientId): void {
    const names = this.#namesByOwner.get(owner)
    if (names !== undefined) this.freed([...names])
  }

  /**
   * Deletes what a client has written without saying so before its end: nobody else knows of it. The names that a client
   * gives begin with its id.
   */
  writerGone(writer: ClientId): void {
    this.#toSweep.add(writer)
    if (!this.#isSweeping) void this.#sweep()
  }

  async #sweep(): Promise<void> {
    this.#isSweeping = true
    while (this.#toSweep.size > 0) {
      const writers = this.#toSweep
      this.#toSweep = new Set()
      const names = await readdir(this.#options.directory).catch(() => [])
      this.freed(names.filter((name) => writers.has(name.slice(0, clientIdChars)) && !this.#files.has(name)))
    }
    this.#isSweeping = false
  }

  async #unlinkNext(): Promise<void> {
    this.#unlinksRunning++
    for (let name = this.#toUnlink.pop(); name !== undefined; name = this.#toUnlink.pop()) {
      try {
        await unlink(path.join(this.#options.directory, name))
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        if (code !== 'ENOENT') this.#options.log(`a stored value could not be deleted: ${message}`)
      }
    }
    this.#unlinksRunning--
  }

  #tellPressure(): void {
    const { bytesMax, now, onPressure } = this.#options
    if (this.#usedBytes <= bytesMax * pressureShare || now() - this.#pressureToldAt < pressureIntervalMs) return
    this.#pressureToldAt = now()
    onPressure(this.#usedBytes)
  }
}
