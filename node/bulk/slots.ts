import { UnreachableError } from '../../protocols/errors.ts'

/** Lets so many do something at a time. The others wait for their turn, in order; what is over the bound is refused. */
export class Slots {
  readonly #waitingMax: number
  readonly #what: string
  readonly #waiting = new Set<() => void>()
  #free: number

  /** @param what the things that wait, for the error of those that are refused */
  constructor(countMax: number, waitingMax: number, what = 'transfers between nodes') {
    this.#free = countMax
    this.#waitingMax = waitingMax
    this.#what = what
  }

  /**
   * Fulfilled when it is this one's turn; `release` must follow. Rejects with UnreachableError when too many wait, and with the
   * signal's reason.
   */
  async take(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    if (this.#waiting.size >= this.#waitingMax) {
      throw new UnreachableError(
        `${this.#waitingMax} ${this.#what} wait for their turn already: try again when some of them are done`,
      )
    }
    const { promise: turn, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    const giveUp = (): void => {
      if (this.#waiting.delete(resolve)) reject(signal?.reason)
    }
    signal?.addEventListener('abort', giveUp, { once: true })
    await turn.finally(() => signal?.removeEventListener('abort', giveUp))
  }

  /** Does something when it is its turn. */
  async use<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.take(signal)
    try {
      return await work()
    } finally {
      this.release()
    }
  }

  release(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
