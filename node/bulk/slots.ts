import { UnreachableError } from '../../protocols/errors.ts'

/** Lets so many do something at a time. The others wait for their turn, in order; what is over the bound is refused. */
export class Slots {
  readonly #waitingMax: number
  readonly #what: string
  readonly #waiting: (() => void)[] = []
  #free: number

  /** @param what those are that wait, for the error of one that is refused */
  constructor(countMax: number, waitingMax: number, what = 'transfers between nodes') {
    this.#free = countMax
    this.#waitingMax = waitingMax
    this.#what = what
  }

  /** Fulfilled when it is this one's turn; `release` must follow. Rejects with UnreachableError when too many wait. */
  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free--
      return
    }
    if (this.#waiting.length >= this.#waitingMax) {
      throw new UnreachableError(
        `${this.#waitingMax} ${this.#what} wait for their turn already: try again when some of them are done`,
      )
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Does something when it is its turn. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    await this.take()
    try {
      return await work()
    } finally {
      this.release()
    }
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
