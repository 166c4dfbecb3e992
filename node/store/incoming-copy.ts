import { ObjectLostError, type ShoalError } from '../../protocols/errors.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { BulkExchange } from '../bulk/bulk-exchange.ts'
import type { IncomingSpec, TransferStore } from './transfer-store.ts'

export interface IncomingCopyParts {
  store: TransferStore
  bulk: Pick<BulkExchange, 'fetch'>
}

/** One value of another node on its way into the store here. */
export class IncomingCopy {
  readonly name: string
  /** Fulfilled when the value is in the store, as a copy that belongs to the node that it came from. */
  readonly done: Promise<void>
  readonly #parts: IncomingCopyParts
  readonly #abort = new AbortController()
  readonly #stopped = Promise.withResolvers<never>()

  constructor(value: IncomingSpec, parts: IncomingCopyParts) {
    this.name = value.name
    this.#parts = parts
    this.done = Promise.race([this.#bring(value), this.#stopped.promise])
  }

  /** The value is not needed, or cannot come any more: who waits for it is told at once. */
  stop(reason: ShoalError): void {
    this.#abort.abort(reason)
    this.#stopped.reject(reason)
  }

  async #bring(value: IncomingSpec): Promise<void> {
    const { signal } = this.#abort
    const { store, bulk } = this.#parts
    const { name, bytes } = value
    const room = await store.begin(value, { signal })
    try {
      const fetched = await bulk.fetch(nodeOf(name), { kind: 'stored', name, bytesMax: bytes })
      signal.addEventListener('abort', () => fetched.cancel('it is no longer needed'))
      signal.throwIfAborted()
      if (fetched.size !== bytes) {
        const text = `the value ${name} has ${fetched.size} of ${bytes} bytes on node ${nodeOf(name)}`
        throw new ObjectLostError(text, { name, bytes })
      }
      let at = 0
      for await (const chunk of fetched.bytes) {
        room.slice(at, chunk.length).set(chunk)
        at += chunk.length
      }
      signal.throwIfAborted()
      room.commit()
    } finally {
      room.abort()
    }
  }
}
