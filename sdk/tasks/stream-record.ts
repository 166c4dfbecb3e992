import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { ObjectRecord } from '../objects/object-record.ts'

/** The results of a streaming task, as they arrive at its owner. */
export class StreamRecord {
  /** Items that have arrived in all, over every try. */
  received = 0
  /** Items that the consumer has taken. */
  consumed = 0
  /** The item that its task sends next. Those before it do not come any more, unless the task runs again. */
  next = 0
  /** The item before which its task ends, though there are others behind it; 0 when it makes all. */
  limit = 0
  /** Its task has ended: there are no items but those that have been received. */
  isOver = false
  /** How the stream ended; its items come first. */
  end: { error: WireValue | undefined; holds?: readonly ObjectRef[] | undefined } | undefined
  readonly #waiting: ObjectRecord[] = []
  #wake: (() => void) | undefined

  /** Takes the item after those that have been received. */
  add(item: ObjectRecord): void {
    this.received += 1
    this.#waiting.push(item)
    this.#notify()
  }

  /** Its task begins anew. */
  rewind(): void {
    this.next = 0
  }

  /** False when its task has ended where that item should have come. */
  isPast(index: number): boolean {
    return index < this.next || (this.limit > 0 && this.next >= this.limit)
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
