import { ProtocolError, ShoalError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { BulkStream } from '../network/network.ts'
import type { ByteSource } from './byte-source.ts'
import { withinTime } from './within-time.ts'

export interface IncomingOptions {
  node: NodeId
  name: string
  size: number
  stream: BulkStream
  source: ByteSource
  stallMs: number
  /** Called once: all has come, or nothing more will. */
  onEnd(): void
}

/** The bytes that another node sends: as many as it has said, or an error. */
export class IncomingBytes implements AsyncIterableIterator<Uint8Array> {
  readonly #options: IncomingOptions
  #left: number
  #isEnded = false

  constructor(options: IncomingOptions) {
    this.#options = options
    this.#left = options.size
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#isEnded) return { done: true, value: undefined }
    try {
      const value = await this.#take()
      if (value !== undefined) return { done: false, value }
      await this.#options.source.leave()
      this.#end()
      return { done: true, value }
    } catch (error) {
      this.cancel((error as Error).message)
      throw asShoalError(error, this.#options.node)
    }
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.cancel('it is no longer needed')
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Ends the transfer now, wherever it is. */
  cancel(reason: string): void {
    if (this.#isEnded) return
    this.#options.stream.abort(reason)
    this.#end()
  }

  #end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#options.onEnd()
  }

  async #take(): Promise<Uint8Array | undefined> {
    const { node, name, size, source, stallMs } = this.#options
    // The end of the stream says no more than this, and may be late.
    if (this.#left === 0) return undefined
    const bytes = await withinTime(
      source.next(),
      stallMs,
      () => `node ${node} has sent nothing more of ${name} for ${stallMs} ms, with ${this.#left} bytes to come`,
    )
    // Cancelled meanwhile, and the stream has ended in good order.
    if (this.#isEnded) throw new UnreachableError(`the transfer of ${name} from node ${node} was broken off`)
    if (bytes === undefined) {
      throw new UnreachableError(`node ${node} stopped sending ${name} with ${this.#left} of ${size} bytes to come`)
    }
    if (bytes.length > this.#left) throw new ProtocolError(`node ${node} sends more than the ${size} bytes of ${name}`)
    this.#left -= bytes.length
    return bytes
  }
}

/** What a broken stream throws has no class of ours. */
export function asShoalError(error: unknown, node: NodeId): ShoalError {
  if (error instanceof ShoalError) return error
  return new UnreachableError(`a transfer from node ${node} broke off: ${(error as Error).message}`, { cause: error })
}
