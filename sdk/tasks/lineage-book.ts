import type { Lineage, Weak } from './lineage.ts'

export interface LineageBookOptions {
  /** What all lineages together may take in memory; beyond it those of the tasks that ended first are dropped. */
  bytesMax: number
  /** Lets go of a value in the store: arguments that were too large for a message. */
  free(name: string): void
}

interface Entry {
  readonly lineage: Weak<Lineage>
  readonly bytes: number
  /** The stored arguments, which live as long as the lineage. */
  readonly argsName: string | undefined
}

/** The lineages of tasks that have ended, within bounds. It keeps none of them alive. */
export class LineageBook {
  readonly #options: LineageBookOptions
  /** Those of the tasks that ended first are first. */
  readonly #entries = new Map<number, Entry>()
  readonly #numbers = new WeakMap<Lineage, number>()
  #lastNumber = 0
  #bytes = 0
  readonly #onCollected = new FinalizationRegistry<number>((number) => this.#remove(number))

  constructor(options: LineageBookOptions) {
    this.#options = options
  }

  /** What those kept take in memory, about. */
  get bytes(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#entries.size
  }

  *lineages(): Generator<Lineage> {
    for (const entry of this.#entries.values()) {
      const lineage = entry.lineage.deref()
      if (lineage !== undefined) yield lineage
    }
  }

  keep(lineage: Lineage, bytes: number, argsName: string | undefined): void {
    const number = ++this.#lastNumber
    this.#numbers.set(lineage, number)
    this.#entries.set(number, { lineage: new WeakRef(lineage), bytes, argsName })
    this.#onCollected.register(lineage, number, lineage)
    this.#bytes += bytes
    const { bytesMax } = this.#options
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= bytesMax) return
      const dropped = entry.lineage.deref()
      if (dropped !== undefined) this.#onCollected.unregister(dropped)
      dropped?.drop(
        `what is needed to run task ${dropped.name} again has been dropped, because finished tasks kept more than ${bytesMax} bytes for such a case`,
      )
      this.#remove(oldest)
    }
  }

  /** Its task runs again, so its arguments are the task's. */
  take(lineage: Lineage): void {
    const number = this.#numbers.get(lineage)
    const entry = number === undefined ? undefined : this.#entries.get(number)
    if (number === undefined || entry === undefined) return
    this.#onCollected.unregister(lineage)
    this.#entries.delete(number)
    this.#bytes -= entry.bytes
  }

  #remove(number: number): void {
    const entry = this.#entries.get(number)
    if (entry === undefined) return
    this.#entries.delete(number)
    this.#bytes -= entry.bytes
    if (entry.argsName !== undefined) this.#options.free(entry.argsName)
  }
}
