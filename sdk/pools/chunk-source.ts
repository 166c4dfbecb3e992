import type { ItemSource } from './item-source.ts'
import type { Chunk } from './pool-worker.ts'

/** The same items, several at a time, as the arguments of calls. */
export class ChunkSource<T> implements Pick<ItemSource<Chunk>, 'next' | 'close'> {
  readonly #items: ItemSource<T>
  readonly #size: number
  readonly #argsOf: (item: T, index: number) => readonly unknown[]
  #from = 0

  constructor(items: ItemSource<T>, size: number, argsOf: (item: T, index: number) => readonly unknown[]) {
    this.#items = items
    this.#size = size
    this.#argsOf = argsOf
  }

  next(): IteratorResult<Chunk> | Promise<IteratorResult<Chunk>> {
    const calls: (readonly unknown[])[] = []
    while (calls.length < this.#size) {
      const step = this.#items.next()
      if (step instanceof Promise) return this.#more(calls, step)
      if (!this.#add(calls, step)) break
    }
    return this.#chunk(calls)
  }

  async #more(calls: (readonly unknown[])[], first: Promise<IteratorResult<T>>): Promise<IteratorResult<Chunk>> {
    let step = await first
    while (this.#add(calls, step) && calls.length < this.#size) step = await this.#items.next()
    return this.#chunk(calls)
  }

  #add(calls: (readonly unknown[])[], step: IteratorResult<T>): boolean {
    if (step.done === true) return false
    calls.push(this.#argsOf(step.value, this.#from + calls.length))
    return true
  }

  #chunk(calls: (readonly unknown[])[]): IteratorResult<Chunk> {
    if (calls.length === 0) return { done: true, value: undefined }
    const from = this.#from
    this.#from += calls.length
    return { done: false, value: { from, calls } }
  }

  close(): Promise<void> {
    return this.#items.close()
  }
}
