import type { StoredValue, WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'

export interface LocalWaitHost {
  /** True when a value can be read here without another node. */
  isHere(value: WireValue): boolean
  /** Brings a value here. Rejects when it cannot be had, and when the signal aborts. */
  bring(value: StoredValue, signal: AbortSignal): Promise<void>
  /**
   * Says that a value could not be had, so that its record gets another one, or an error. True when that was news. Throws
   * when nothing can be done.
   */
  report(record: ObjectRecord, value: StoredValue, error: unknown): boolean
}

/** One value may be lost so often while it is waited for. */
const lossesMax = 100

/**
 * Waits until the values of some objects can be read on this node. Those that lie elsewhere are brought here, in the order
 * in which they became ready, never more at once than are still needed. An object whose value cannot be had counts as ready,
 * as one with an error does. Knows no socket and no clock.
 *
 * @example
 * const waiting = new LocalWait(host, records, 1)
 * if (!waiting.isDone) await waiting.begin().finally(() => waiting.end())
 * console.log(waiting.ready)
 */
export class LocalWait {
  readonly ready = new Set<ObjectRecord>()
  readonly #host: LocalWaitHost
  readonly #records: readonly ObjectRecord[]
  readonly #count: number
  readonly #done = Promise.withResolvers<void>()
  readonly #abort = new AbortController()
  readonly #waiting = new Map<ObjectRecord, () => void>()
  /** Those with a value that is not here. */
  readonly #elsewhere: ObjectRecord[] = []
  /** What was said to be lost, and how often. */
  readonly #losses = new Map<ObjectRecord, { name: string; count: number }>()
  #coming = 0

  constructor(host: LocalWaitHost, records: readonly ObjectRecord[], count: number) {
    this.#host = host
    this.#records = records
    this.#count = count
    for (const record of records) {
      if (this.isDone) return
      if (record.value !== undefined && host.isHere(record.value)) this.ready.add(record)
    }
  }

  get isDone(): boolean {
    return this.ready.size >= this.#count
  }

  /** Resolves when `count` objects are ready. Call `end` afterwards, or when nobody waits any more. */
  begin(): Promise<void> {
    for (const record of this.#records) if (!this.ready.has(record)) this.#waitFor(record)
    return this.#done.promise
  }

  /** Leaves nothing behind. */
  end(): void {
    for (const [record, onReady] of this.#waiting) record.forget(onReady)
    this.#waiting.clear()
    this.#elsewhere.length = 0
    this.#abort.abort()
  }

  #waitFor(record: ObjectRecord): void {
    const onReady = (): void => {
      this.#waiting.delete(record)
      if (this.#host.isHere(record.value as WireValue)) this.#isReady(record)
      else {
        this.#elsewhere.push(record)
        this.#bringMore()
      }
    }
    this.#waiting.set(record, onReady)
    record.whenReady(onReady)
  }

  #isReady(record: ObjectRecord): void {
    this.ready.add(record)
    if (this.isDone) this.#done.resolve()
  }

  #bringMore(): void {
    while (this.#coming < this.#count - this.ready.size && !this.#abort.signal.aborted) {
      const record = this.#elsewhere.shift()
      if (record === undefined) return
      const { value } = record
      // It may have been found to be lost meanwhile.
      if (value === undefined || this.#host.isHere(value)) this.#waitFor(record)
      else void this.#bring(record, value as StoredValue)
    }
  }

  async #bring(record: ObjectRecord, value: StoredValue): Promise<void> {
    this.#coming += 1
    try {
      await this.#host.bring(value, this.#abort.signal)
      this.#isReady(record)
    } catch (error) {
      if (this.#abort.signal.aborted) return
      if (this.#isTriedAgain(record, value, error)) this.#waitFor(record)
      // Why it cannot be read is for `get` to say.
      else this.#isReady(record)
    } finally {
      this.#coming -= 1
    }
    this.#bringMore()
  }

  #isTriedAgain(record: ObjectRecord, value: StoredValue, error: unknown): boolean {
    const { name, count } = this.#losses.get(record) ?? { name: '', count: 0 }
    // Its owner can read it, or does not know better.
    if (name === value.name || count === lossesMax) return false
    try {
      const isNews = this.#host.report(record, value, error)
      this.#losses.set(record, { name: isNews ? value.name : name, count: count + 1 })
      return true
    } catch {
      return false
    }
  }
}
