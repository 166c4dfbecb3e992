import { availableParallelism } from 'node:os'
import { Wakefulness } from './wakefulness.ts'

export interface WakefulLoopHost {
  readonly cores: number
  nowMs(): number
  /** Calls back in the next turn of the event loop, which does not go to sleep before. */
  nextTurn(callback: () => void): void
}

const engine: WakefulLoopHost = {
  cores: availableParallelism(),
  nowMs: () => performance.now(),
  nextTurn: (callback) => void setImmediate(callback),
}

/**
 * Keeps the event loop from going to sleep during short waits: a callback that is always due has it look for messages again
 * and again. Everything else that the program does goes on as ever.
 */
export class WakefulLoop {
  readonly #host: WakefulLoopHost
  readonly #wakefulness: Wakefulness
  #isPlanned = false

  /** @param coresOfOthers that are to be left for who does the work meanwhile */
  constructor(coresOfOthers: number, host = engine) {
    this.#host = host
    this.#wakefulness = new Wakefulness(host.cores, coresOfOthers)
  }

  /** A wait begins. */
  begin(): void {
    if (this.#wakefulness.begin(this.#host.nowMs())) this.#plan()
  }

  /** A wait has ended. */
  end(): void {
    this.#wakefulness.end(this.#host.nowMs())
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#host.nextTurn(this.#onTurn)
  }

  readonly #onTurn = (): void => {
    this.#isPlanned = false
    if (this.#wakefulness.isOn(this.#host.nowMs())) this.#plan()
  }
}
