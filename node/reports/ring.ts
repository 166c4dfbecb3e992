/** A part of what a ring holds, for one who comes back for more. */
export interface RingPart<T> {
  items: T[]
  /** To be asked for next. */
  next: number
  /** There are more already. */
  hasMore: boolean
  /** So many that were asked for are gone. */
  lost: number
}

/** The last so many of what has happened, each with a number that counts on. */
export class Ring<T> {
  readonly #max: number
  readonly #items: T[] = []
  /** The number of the item that comes next. */
  #next = 0

  constructor(max: number) {
    this.#max = max
  }

  /** The number of the item that comes next. */
  get next(): number {
    return this.#next
  }

  get size(): number {
    return Math.min(this.#next, this.#max)
  }

  push(item: T): void {
    this.#items[this.#next++ % this.#max] = item
  }

  /** Those from that number on, so many at most. */
  from(first: number, limit: number): RingPart<T> {
    const oldest = this.#next - this.size
    // A number beyond the end is of an earlier ring in this place: whoever has it starts anew.
    const begin = first > this.#next ? oldest : Math.max(first, oldest)
    const end = Math.min(this.#next, begin + limit)
    const items: T[] = []
    for (let at = begin; at < end; at++) items.push(this.#items[at % this.#max] as T)
    return { items, next: end, hasMore: end < this.#next, lost: first > this.#next ? 0 : begin - first }
  }

  /** The last so many, the oldest first. */
  last(limit: number): T[] {
    return this.from(Math.max(0, this.#next - limit), limit).items
  }
}
