import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { ObjectRecord } from '../objects/object-record.ts'

/** The results of a streaming task, as they arrive at its owner. */
export class StreamRecord {
  /** On how many nodes large items are kept. */
  readonly replicas: number
  /** Items that have arrived in all, over every try. */
  received = 0
  /** Items that the consumer has taken. */
  consumed = 0
  /** How the stream ended; its items come first. */
  end: { error: WireValue | undefined; holds?: readonly ObjectRef[] | undefined } | undefined
  readonly #waiting: ObjectRecord[] = []
  #wake: (() => void) | undefined

  constructor(replicas = 1) {
    this.replicas = replicas
  }

  /** Takes an item. False when it was here already, from an earlier try. */
  add(index: number, item: ObjectRecord): boolean {
    if (index !== this.received || this.end !== undefined) return false
    this.received += 1
    this.#waiting.push(item)
    this.#notify()
    return true
  }

  /** @param holds what the error needs to be read */
  finish(error?: WireValue, holds?: readonly ObjectRef[]): void {
    this.end ??= { error, holds }
    this.#notify()
  }

  take(): ObjectRecord | undefined {
    const item = this.#waiting.shift()
    if (item !== undefined) this.consumed += 1
    return item
  }

  /** Drops the items that nobody will take. */
  discard(): void {
    this.#waiting.length = 0
  }

  /** Calls back once, when there is something new. One reader at a time. */
  onChange(wake: () => void): void {
    this.#wake = wake
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
