import { closeSync, openSync, readdirSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { ObjectLostError, ObjectStoreFullError } from '../../protocols/errors.ts'
import { mapFile } from './mapped-file.ts'
import type { ObjectStore } from './object-store.ts'

/** One system call moves less than 2 GiB, so larger values go in pieces. */
const pieceBytesMax = 1024 ** 3
/** To map a file takes as long as to copy so much. */
const mappedBytesMin = 1024 * 1024
/** After writing this share of the store the folder is looked at again: others write to it, too. */
const recountShare = 0.05

/** An {@link ObjectStore} of one file per value, in a folder that the node made (in memory, where the system can). */
export class FileStore implements ObjectStore {
  readonly #directory: string
  readonly #bytesMax: number
  #countedBytes = Number.POSITIVE_INFINITY
  #writtenSince = 0

  /** @param bytesMax what all values together may have. Several processes that write at once may pass it by a little. */
  constructor(directory: string, bytesMax: number) {
    this.#directory = directory
    this.#bytesMax = bytesMax
  }

  write(name: string, parts: readonly Uint8Array[]): void {
    const total = parts.reduce((sum, part) => sum + part.length, 0)
    this.#assertRoom(total)
    const file = path.join(this.#directory, name)
    const descriptor = openSync(file, 'wx', 0o600)
    try {
      for (let piece of inPieces(parts)) {
        while (piece.length > 0) piece = piece.subarray(writeSync(descriptor, piece))
      }
    } catch (error) {
      unlinkSync(file)
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw storeFull(total, { directory: this.#directory })
      throw error
    } finally {
      closeSync(descriptor)
    }
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

  async read(name: string, bytes: number): Promise<Uint8Array> {
    let handle
    try {
      handle = await open(path.join(this.#directory, name), 'r')
    } catch {
      throw new ObjectLostError(`the value ${name} (${bytes} bytes) is no longer in the object store`, { name, bytes })
    }
    try {
      const size = (await handle.stat()).size
      if (size !== bytes) {
        throw new ObjectLostError(`the value ${name} has ${size} of ${bytes} bytes in the object store`, {
          name,
          bytes,
        })
      }
      const mapped = bytes >= mappedBytesMin ? await mapFile(handle.fd, bytes) : undefined
      if (mapped !== undefined) return mapped
      const target = Buffer.allocUnsafeSlow(bytes)
      let at = 0
      while (at < bytes) {
        const { bytesRead } = await handle.read(target, at, Math.min(bytes - at, pieceBytesMax), at)
        if (bytesRead === 0) throw new ObjectLostError(`the value ${name} was cut short while it was read`, { name })
        at += bytesRead
      }
      return target
    } finally {
      await handle.close()
    }
  }

  delete(name: string): void {
    try {
      unlinkSync(path.join(this.#directory, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

function* inPieces(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += pieceBytesMax) yield part.subarray(at, at + pieceBytesMax)
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

function storeFull(bytes: number, details: Record<string, unknown>): ObjectStoreFullError {
  return new ObjectStoreFullError(
    `no room in the object store for a value of ${bytes} bytes: drop refs that are no longer needed, or start the node with a larger --store`,
    { bytes, ...details },
  )
}
