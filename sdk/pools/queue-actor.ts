import { TaskQueue } from '../tasks/task-queue.ts'
import { taskContext } from '../api/task-context.ts'

/** How a put or a get has ended. */
export type QueueState = 'ok' | 'withdrawn' | 'closed'

interface Putter {
  readonly token: string
  readonly items: readonly unknown[]
  /** So many of them are in the queue. */
  count: number
  readonly resolve: (answer: { count: number; state: QueueState }) => void
}

interface Getter {
  readonly token: string
  readonly countMax: number
  readonly resolve: (answer: { items: unknown[]; state: QueueState }) => void
}

/**
 * The actor behind a Queue: the items, and who waits to put some or to get some, each in the order of their calls. Whoever
 * may give up waiting names a token, and withdraws by it: then an item is never given to somebody who does not take it.
 */
export class QueueActor {
  readonly #sizeMax: number
  /** Boxed, so that undefined is an item like any other. */
  readonly #items = new TaskQueue<{ readonly item: unknown }>()
  readonly #putters = new TaskQueue<Putter>()
  readonly #getters = new TaskQueue<Getter>()
  #isClosed = false

  /** @param sizeMax 0 for no limit */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  /** Puts all, each when there is room for it. */
  async put(items: readonly unknown[], token: string): Promise<{ count: number; state: QueueState }> {
    if (this.#isClosed) return { count: 0, state: 'closed' }
    const { promise, resolve } = Promise.withResolvers<{ count: number; state: QueueState }>()
    const putter = { token, items, count: 0, resolve }
    this.#putters.push(putter)
    this.#move()
    return this.#unlessCancelled(promise, () => this.#withdrawPutter(putter))
  }

  /** Waits for one item, and gives as many as there are then. */
  async get(countMax: number, token: string): Promise<{ items: unknown[]; state: QueueState }> {
    if (taskContext().signal.aborted) return { items: [], state: 'withdrawn' }
    if (this.#isClosed && this.#items.length === 0 && this.#putters.length === 0) return { items: [], state: 'closed' }
    const { promise, resolve } = Promise.withResolvers<{ items: unknown[]; state: QueueState }>()
    const getter = { token, countMax, resolve }
    this.#getters.push(getter)
    this.#move()
    return this.#unlessCancelled(promise, () => this.#withdrawGetter(getter))
  }

  /** Puts all or none. Tells how many items there were before. */
  putNow(items: readonly unknown[]): { state: QueueState | 'full'; size: number } {
    const size = this.#items.length
    if (this.#isClosed) return { state: 'closed', size }
    if (this.#putters.length > 0 || this.#room < items.length) return { state: 'full', size }
    for (const item of items) this.#items.push({ item })
    this.#move()
    return { state: 'ok', size }
  }

  /** Gives so many or none. */
  getNow(count: number): { items: unknown[]; state: QueueState | 'empty'; size: number } {
    const size = this.#items.length
    if (size < count) return { items: [], state: this.#isClosed && size === 0 ? 'closed' : 'empty', size }
    const items = this.#taken(count)
    this.#move()
    return { items, state: 'ok', size }
  }

  /** Gives up a put or a get that still waits. */
  withdraw(token: string): void {
    for (let at = 0; at < this.#putters.length; at++) {
      const putter = this.#putters.peek(at)
      if (putter?.token === token) return this.#withdrawPutter(putter)
    }
    for (let at = 0; at < this.#getters.length; at++) {
      const getter = this.#getters.peek(at)
      if (getter?.token === token) return this.#withdrawGetter(getter)
    }
  }

  size(): number {
    return this.#items.length
  }

  sizeMax(): number {
    return this.#sizeMax
  }

  /** No more is put. What waits to be put is put yet. */
  close(): void {
    this.#isClosed = true
    this.#move()
  }

  get #room(): number {
    return this.#sizeMax === 0 ? Infinity : this.#sizeMax - this.#items.length
  }

  /** Moves items as far as they go. */
  #move(): void {
    for (;;) {
      const putter = this.#putters.peek()
      if (putter !== undefined && this.#admit(putter)) {
        this.#putters.shift()
        putter.resolve({ count: putter.count, state: 'ok' })
        continue
      }
      if (this.#items.length === 0) break
      const getter = this.#getters.shift()
      if (getter === undefined) return
      getter.resolve({ items: this.#taken(getter.countMax), state: 'ok' })
    }
    if (!this.#isClosed) return
    for (const getter of this.#getters.drain()) getter.resolve({ items: [], state: 'closed' })
  }

  /** Takes in as many of its items as there is room for. True when that is all of them. */
  #admit(putter: Putter): boolean {
    const { items } = putter
    while (this.#room > 0 && putter.count < items.length) this.#items.push({ item: items[putter.count++] })
    return putter.count === items.length
  }

  #taken(countMax: number): unknown[] {
    const items: unknown[] = []
    while (items.length < countMax && this.#items.length > 0) items.push(this.#items.shift()?.item)
    return items
  }

  #withdrawPutter(putter: Putter): void {
    if (!this.#putters.remove(putter)) return
    putter.resolve({ count: putter.count, state: 'withdrawn' })
    this.#move()
  }

  #withdrawGetter(getter: Getter): void {
    if (this.#getters.remove(getter)) getter.resolve({ items: [], state: 'withdrawn' })
  }

  /** A call that is cancelled, or whose caller is gone, does not wait any more: it would take an item along. */
  async #unlessCancelled<T>(promise: Promise<T>, withdraw: () => void): Promise<T> {
    const { signal } = taskContext()
    if (signal.aborted) withdraw()
    signal.addEventListener('abort', withdraw, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', withdraw)
    }
  }
}
