import { renameSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { ObjectLostError, type ShoalError } from '../../protocols/errors.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { BulkExchange, FetchedBulk } from '../bulk/bulk-exchange.ts'
import { storeFull } from './store-full.ts'
import type { StoredFiles } from './stored-files.ts'

export interface IncomingCopyParts {
  files: StoredFiles
  bulk: Pick<BulkExchange, 'fetch'>
}

let copies = 0

/** One value of another node on its way into the store here. */
export class IncomingCopy {
  readonly name: string
  readonly bytes: number
  /** Fulfilled when the value is in the store, as a copy that belongs to the node that it came from. */
  readonly done: Promise<void>
  readonly #parts: IncomingCopyParts
  readonly #stopped = Promise.withResolvers<never>()
  #stopReason: ShoalError | undefined
  #fetched: FetchedBulk | undefined

  /** Throws ObjectStoreFullError when there is no room. */
  constructor(name: string, bytes: number, parts: IncomingCopyParts) {
    this.name = name
    this.bytes = bytes
    this.#parts = parts
    parts.files.reserve(bytes)
    this.done = Promise.race([this.#bring(), this.#stopped.promise])
  }

  /** The value is not needed, or cannot come any more: who waits for it is told at once. */
  stop(reason: ShoalError): void {
    this.#stopReason ??= reason
    this.#stopped.reject(reason)
    this.#fetched?.cancel(reason.message)
  }

  async #bring(): Promise<void> {
    const { files } = this.#parts
    const { name, bytes } = this
    let isReserved = true
    // No name of a stored value, so that nobody takes it for one; and another for each attempt.
    const temporary = path.join(path.dirname(files.fileOf(name)), `.${name}.${copies++}.part`)
    try {
      await this.#write(temporary)
      await files.deleted(name)
      this.#check()
      // From here on in one go: the value is there and known to be, or neither.
      renameSync(temporary, files.fileOf(name))
      files.unreserve(bytes)
      isReserved = false
      files.copied(name, bytes)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      if (isReserved) files.unreserve(bytes)
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw storeFull(bytes, { name })
      throw error
    }
  }

  async #write(temporary: string): Promise<void> {
    const { name, bytes } = this
    const fetched = await this.#parts.bulk.fetch(nodeOf(name), { kind: 'stored', name, bytesMax: bytes })
    this.#fetched = fetched
    try {
      this.#check()
      if (fetched.size !== bytes) {
        const text = `the value ${name} has ${fetched.size} of ${bytes} bytes on node ${nodeOf(name)}`
        throw new ObjectLostError(text, { name, bytes })
      }
      await using handle = await open(temporary, 'wx', 0o600)
      for await (const chunk of fetched.bytes) {
        for (let rest = chunk; rest.length > 0;) rest = rest.subarray((await handle.write(rest)).bytesWritten)
      }
    } finally {
      fetched.cancel('it is no longer needed')
    }
  }

  #check(): void {
    if (this.#stopReason !== undefined) throw this.#stopReason
  }
}
