import { InvalidArgumentError } from '../../protocols/errors.ts'
import { show } from '../api/task-options.ts'

/** What items can come from. */
export type Items<T> = Iterable<T | PromiseLike<T>> | AsyncIterable<T>

type Step<T> = IteratorResult<T | PromiseLike<T>>

/** One after the other, what an iterable or an async iterable gives; promises in it are awaited. */
export class ItemSource<T> {
  readonly #items: Iterator<T | PromiseLike<T>> | AsyncIterator<T>
  #isAtEnd = false

  /** Throws InvalidArgumentError for what cannot be iterated over. */
  constructor(items: Items<T>, where: string) {
    this.#items = iteratorOf(items, where)
  }

  /** The next item. Not a promise when it is there at once. */
  next(): IteratorResult<T> | Promise<IteratorResult<T>> {
    if (this.#isAtEnd) return { done: true, value: undefined }
    const step = this.#items.next()
    return isThenable(step) ? this.#later(step) : this.#settled(step)
  }

  async #later(step: PromiseLike<Step<T>>): Promise<IteratorResult<T>> {
    return this.#settled(await step)
  }

  #settled(step: Step<T>): IteratorResult<T> | Promise<IteratorResult<T>> {
    if (step.done === true) {
      this.#isAtEnd = true
      return { done: true, value: undefined }
    }
    const { value } = step
    if (!isThenable(value)) return { done: false, value }
    return Promise.resolve(value).then((item) => ({ done: false, value: item }))
  }

  /** No more are wanted: a generator's `finally` blocks run. */
  async close(): Promise<void> {
    if (this.#isAtEnd) return
    this.#isAtEnd = true
    await this.#items.return?.()
  }
}

function iteratorOf<T>(items: Items<T>, where: string): Iterator<T | PromiseLike<T>> | AsyncIterator<T> {
  // A text is iterable, but nobody means its letters.
  if (typeof items === 'object' && items !== null) {
    if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]()
    if (Symbol.iterator in items) return items[Symbol.iterator]()
  }
  throw new InvalidArgumentError(`${where} takes an iterable or an async iterable of items; got ${show(items)}`)
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** How many items there are, where that is known beforehand. */
export function countOf(items: Items<unknown>): number | undefined {
  if (Array.isArray(items)) return items.length
  return items instanceof Set || items instanceof Map ? items.size : undefined
}
