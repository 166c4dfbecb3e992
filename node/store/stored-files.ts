import { readdir, unlink } from 'node:fs/promises'
import path from 'node:path'
import { clientIdBytes, nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { storeFull } from './store-full.ts'
import { isStoredName } from './stored-name.ts'

const pressureShare = 0.8
const pressureIntervalMs = 200
const unlinksAtOnceMax = 8
/** A copy that was asked for a moment ago is about to be read. */
const copyAgeMsMin = 5000
const clientIdChars = 2 * clientIdBytes

export interface StoredFilesOptions {
  directory: string
  bytesMax: number
  now(): number
  onPressure(usedBytes: number): void
  log(text: string): void
}

/**
 * Which values lie in the object store, how large they are and whose. Clients write them; the node deletes them. Copies
 * of values of other nodes are here, too.
 */
export class StoredFiles {
  readonly #options: StoredFilesOptions
  /** In the place of a copy's owner is the node that it came from. */
  readonly #files = new Map<string, { bytes: number; owner: ClientId }>()
  readonly #namesByOwner = new Map<ClientId, Set<string>>()
  readonly #toUnlink: string[] = []
  /** Files that are to be deleted or are being deleted now, and how those who wait for that are told. */
  readonly #deleting = new Map<string, PromiseWithResolvers<void> | undefined>()
  /** Copies of values of other nodes, and when each was last asked for: the longest ago first. */
  readonly #copies = new Map<string, number>()
  /** Clients that are gone and may have left values of which the node was never told. */
  #toSweep = new Set<ClientId>()
  #isSweeping = false
  #unlinksRunning = 0
  #usedBytes = 0
  #pressureToldAt = -Infinity
  /** Told of all values that are deleted here, whether the node knew of them or not. */
  onFreed: ((names: readonly string[]) => void) | undefined

  constructor(options: StoredFilesOptions) {
    this.#options = options
  }

  /** What is stored, and what is reserved. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  get count(): number {
    return this.#files.size
  }

  /** The size of a value that the node knows of. */
  bytesOf(name: string): number | undefined {
    return this.#files.get(name)?.bytes
  }

  fileOf(name: string): string {
    return path.join(this.#options.directory, name)
  }

  /** Keeps room free for a copy that is about to come. Throws ObjectStoreFullError when there is not so much. */
  reserve(bytes: number): void {
    const { bytesMax } = this.#options
    this.#relievePressure(bytes)
    if (this.#usedBytes + bytes > bytesMax) throw storeFull(bytes, { bytesMax, usedBytes: this.#usedBytes })
    this.#usedBytes += bytes
  }

  unreserve(bytes: number): void {
    this.#usedBytes -= bytes
  }

  /** Takes note of a value that a client has written. False when the name is not one of the store. */
  stored(name: string, bytes: number, owner: ClientId): boolean {
    if (!isStoredName(name) || !Number.isSafeInteger(bytes) || bytes < 0) return false
    if (this.#files.has(name)) return true
    this.#files.set(name, { bytes, owner })
    const names = this.#namesByOwner.get(owner)
    if (names === undefined) this.#namesByOwner.set(owner, new Set([name]))
    else names.add(name)
    this.#usedBytes += bytes
    this.#relievePressure()
    return true
  }

  /** Takes note of a copy of another node's value. It may be dropped when room is short: it can be had again. */
  copied(name: string, bytes: number): void {
    this.#copies.set(name, this.#options.now())
    this.stored(name, bytes, nodeOf(name))
  }

  /** Somebody is about to read a value: if it is a copy, it stays for a while. */
  wanted(name: string): void {
    if (this.#copies.delete(name)) this.#copies.set(name, this.#options.now())
  }

  /** Deletes values; names that are none of the store's are left alone. */
  freed(names: Iterable<string>): void {
    const freed: string[] = []
    for (const name of names) {
      if (!isStoredName(name)) continue
      freed.push(name)
      const file = this.#files.get(name)
      if (file !== undefined) {
        this.#files.delete(name)
        this.#copies.delete(name)
        this.#usedBytes -= file.bytes
        const owned = this.#namesByOwner.get(file.owner)
        owned?.delete(name)
        if (owned?.size === 0) this.#namesByOwner.delete(file.owner)
      }
      if (this.#deleting.has(name)) continue
      this.#deleting.set(name, undefined)
      this.#toUnlink.push(name)
    }
    while (this.#unlinksRunning < unlinksAtOnceMax && this.#toUnlink.length > 0) void this.#unlinkNext()
    if (freed.length > 0) this.onFreed?.(freed)
  }

  /** Fulfilled when no file of this name is being deleted, so that there may be a new one. */
  async deleted(name: string): Promise<void> {
    while (this.#deleting.has(name)) {
      const waiting = this.#deleting.get(name) ?? Promise.withResolvers<void>()
      this.#deleting.set(name, waiting)
      await waiting.promise
    }
  }

  /** Deletes all that a client owned. */
  ownerGone(owner: ClientId): void {
    const names = this.#namesByOwner.get(owner)
    if (names !== undefined) this.freed([...names])
  }

  /** Deletes all that clients of another node owned, and the copies of its values. */
  ownersOfNodeGone(node: NodeId): void {
    for (const owner of [...this.#namesByOwner.keys()]) if (nodeOf(owner) === node) this.ownerGone(owner)
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
        await unlink(this.fileOf(name))
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        if (code !== 'ENOENT') this.#options.log(`a stored value could not be deleted: ${message}`)
      }
      const waiting = this.#deleting.get(name)
      this.#deleting.delete(name)
      waiting?.resolve()
    }
    this.#unlinksRunning--
  }

  /** Over a share of the store old copies go first; if that is not enough, clients are asked to drop what they can. */
  #relievePressure(moreBytes = 0): void {
    const { bytesMax, now, onPressure } = this.#options
    const isHigh = (): boolean => this.#usedBytes + moreBytes > bytesMax * pressureShare
    for (const [name, wantedAt] of this.#copies) {
      if (!isHigh() || now() - wantedAt < copyAgeMsMin) break
      this.freed([name])
    }
    if (!isHigh() || now() - this.#pressureToldAt < pressureIntervalMs) return
    this.#pressureToldAt = now()
    onPressure(this.#usedBytes)
  }
}
