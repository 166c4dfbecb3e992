import { ObjectLostError, ObjectStoreFullError } from '../../protocols/errors.ts'
import type { ObjectStore, StoredBytes } from './object-store.ts'
import { privateBytes } from './private-bytes.ts'

/** An {@link ObjectStore} inside one process, for tests and simulations. */
export class MemoryStore implements ObjectStore {
  readonly #values = new Map<string, Uint8Array>()
  readonly #bytesMax: number
  #bytesUsed = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  write(name: string, parts: readonly Uint8Array[]): void {
    if (this.#values.has(name)) throw new Error(`the value ${name} is already in the object store`)
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (this.#bytesUsed + bytes > this.#bytesMax) {
      throw new ObjectStoreFullError(`no room in the object store for a value of ${bytes} bytes`, { bytes })
    }
    this.#values.set(name, Buffer.concat(parts, bytes))
    this.#bytesUsed += bytes
  }

  async read(name: string, bytes: number): Promise<StoredBytes> {
    const here = this.readHere(name, bytes)
    if (here === undefined) throw lost(name, bytes)
    return here
  }

  readHere(name: string, bytes: number): StoredBytes | undefined {
    const shown = this.#values.get(name)
    return shown?.length === bytes ? privateBytes(shown) : undefined
  }

  isHere(name: string, bytes: number): boolean {
    return this.#values.get(name)?.length === bytes
  }

  async bring(name: string, bytes: number): Promise<void> {
    if (!this.isHere(name, bytes)) throw lost(name, bytes)
  }

  free(names: readonly string[]): void {
    for (const name of names) {
      this.#bytesUsed -= this.#values.get(name)?.length ?? 0
      this.#values.delete(name)
    }
  }
}

function lost(name: string, bytes: number): ObjectLostError {
  return new ObjectLostError(`the value ${name} (${bytes} bytes) is not in the object store`, { name, bytes })
}
