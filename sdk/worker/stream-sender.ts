import { limits } from '../../protocols/limits.ts'

export interface StreamSenderHost {
  send(index: number, item: unknown): void
  /** The stream begins to wait for its consumer; what is returned is called when that ends. */
  beginStall(): () => void
}

/** How long a generator may run without a look at what came in. */
const sliceMs = 5

/** Which items of a stream are wanted. */
export interface StreamPart {
  /** So many at the beginning are not, because the consumer has had them from an earlier try. */
  skip: number
  /** What comes after so many is not; 0 when all of it is. */
  limit: number
}

/** Sends what a generator yields, and stops when its consumer is too far behind until that has caught up. */
export class StreamSender {
  readonly #items: AsyncIterator<unknown> | Iterator<unknown>
  readonly #part: StreamPart
  readonly #host: StreamSenderHost
  #sent = 0
  #consumed = 0
  #isStopped = false
  #wake: (() => void) | undefined

  constructor(items: AsyncIterator<unknown> | Iterator<unknown>, part: StreamPart, host: StreamSenderHost) {
    this.#items = items
    this.#part = part
    this.#consumed = part.skip
    this.#host = host
  }

  /**
   * Resolves when the generator has ended or was stopped. Rejects with what the generator throws, or with what is wrong with an
   * item that cannot be sent: then the generator is closed, as a loop closes it that ends early.
   */
  async run(): Promise<void> {
    const { skip, limit } = this.#part
    let sliceEndMs = performance.now() + sliceMs
    while (!this.#isStopped) {
      const step = this.#items.next()
      const { done, value } = step instanceof Promise ? await step : step
      if (done === true) return
      try {
        if (this.#sent >= skip) this.#host.send(this.#sent, value)
      } catch (error) {
        await this.#close().catch(() => undefined)
        throw error
      }
      this.#sent += 1
      if (this.#sent === limit) break
      if (performance.now() > sliceEndMs) {
        await new Promise(setImmediate)
        sliceEndMs = performance.now() + sliceMs
      }
      if (this.#isAhead()) await this.#catchUp()
    }
    await this.#close()
  }

  /** Has the generator's `finally` blocks run. */
  async #close(): Promise<void> {
    await this.#items.return?.(undefined)
  }

  #isAhead(): boolean {
    return !this.#isStopped && this.#sent - this.#consumed >= limits.streamItemsAheadMax
  }

  async #catchUp(): Promise<void> {
    const endStall = this.#host.beginStall()
    try {
      while (this.#isAhead()) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        await promise
      }
    } finally {
      endStall()
    }
  }

  onConsumed(count: number): void {
    this.#consumed = Math.max(this.#consumed, count)
    this.#wake?.()
  }

  /** No more items are wanted: the generator's `finally` blocks run, and the task ends. */
  stop(): void {
    this.#isStopped = true
    this.#wake?.()
  }
}
