import { LastWords } from './last-words.ts'
import { OutputCollector, type OutputBlock, type Whose } from './output-collector.ts'

const partialLineMs = 100
const turnsMax = 20
/** In the first turn the pipe may have been looked at already. */
const quietTurns = 2

/** One output stream of a worker: passes its lines on once a turn, and an unfinished line after a short while. */
export class WorkerStream {
  readonly #collector: OutputCollector
  readonly #onBlocks: (blocks: OutputBlock[]) => void
  readonly #lastWords = new LastWords()
  #turn: NodeJS.Immediate | undefined
  #partialTimer: NodeJS.Timeout | undefined
  #next: { whose: Whose; markersBefore: number; turns: number; quiet: number } | undefined
  #hasRead = false

  constructor(marker: string, onBlocks: (blocks: OutputBlock[]) => void) {
    this.#collector = new OutputCollector(marker)
    this.#onBlocks = onBlocks
  }

  push(chunk: Buffer): void {
    this.#hasRead = true
    this.#collector.push(chunk)
    this.#turn ??= setImmediate(() => this.#pass())
    clearTimeout(this.#partialTimer)
    if (this.#collector.hasPartialLine) this.#partialTimer = setTimeout(() => this.flush(), partialLineMs)
  }

  flush(): void {
    clearTimeout(this.#partialTimer)
    this.#collector.flushPartial()
    this.#pass()
  }

  /**
   * The worker has another lease: what it writes from now on is theirs, until a marker says more. What the pipe still
   * holds is not; it has been read when turns of the loop bring nothing more.
   */
  turnTo(whose: Whose): void {
    if (this.#next === undefined) setImmediate(this.#turnWhenQuiet)
    this.#next = { whose, markersBefore: this.#collector.markerCount, turns: 0, quiet: 0 }
    this.#hasRead = false
  }

  /** What was written last since the worker has its lease, in one line. */
  lastWords(): string {
    this.flush()
    return this.#lastWords.text
  }

  readonly #turnWhenQuiet = (): void => {
    const next = this.#next
    if (next === undefined) return
    next.quiet = this.#hasRead ? 0 : next.quiet + 1
    this.#hasRead = false
    if (next.quiet < quietTurns && ++next.turns < turnsMax) {
      setImmediate(this.#turnWhenQuiet)
      return
    }
    this.#next = undefined
    // A marker that came meanwhile and names the same client is the new task's own.
    const isMarked = this.#collector.markerCount > next.markersBefore && this.#collector.whose.to === next.whose.to
    if (isMarked) return
    this.#collector.turnTo(next.whose)
    this.#pass()
    this.#lastWords.forget()
  }

  #pass(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    const blocks = this.#collector.take()
    if (blocks.length === 0) return
    for (const { lines } of blocks) this.#lastWords.add(lines)
    this.#onBlocks(blocks)
  }
}
