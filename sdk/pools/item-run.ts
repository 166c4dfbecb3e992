import type { ItemSource } from './item-source.ts'

/** The work on one item, as it goes on somewhere. */
export interface StartedItem<R> {
  readonly result: Promise<R>
  cancel(): void
}

/** What has come of one item. */
export type ItemOutcome<R> = { readonly index: number } & ({ readonly value: R } | { readonly error: unknown })

export interface ItemRunOptions<T, R> {
  readonly source: Pick<ItemSource<T>, 'next' | 'close'>
  /** Begins the work on an item. What it throws is that item's error. */
  readonly start: (item: T, index: number) => StartedItem<R>
  /** Items that are worked on at a time. */
  readonly concurrency: number
  /** Items that are worked on or done, and not taken: no more are read from the source while there are so many. */
  readonly aheadMax: number
  /** True: outcomes come in the order of the items, else as they are there. */
  readonly isOrdered: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * Works through items, some at a time: reads them as they are needed, and gives their outcomes. It begins with the first
 * `next()`, and goes on by itself between calls of it.
 */
export class ItemRun<T, R> {
  readonly #options: ItemRunOptions<T, R>
  readonly #started = new Map<number, StartedItem<R>>()
  /** Those that are done and not taken. In order: by their index. */
  readonly #outcomes = new Map<number, ItemOutcome<R>>()
  #nextIndex = 0
  #nextTaken = 0
  #isReading = false
  #isAtEnd = false
  #hasStopped = false
  #failure: { error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(options: ItemRunOptions<T, R>) {
    this.#options = options
  }

  /** The next outcome; undefined at the end. Rejects when the source fails, and with the signal's reason. */
  async next(): Promise<ItemOutcome<R> | undefined> {
    const { signal } = this.#options
    for (;;) {
      signal?.throwIfAborted()
      this.#read()
      const outcome = this.#take()
      if (outcome !== undefined) return outcome
      if (this.#started.size === 0 && this.#outcomes.size === 0) {
        if (this.#failure !== undefined) throw this.#failure.error
        if (this.#isAtEnd || this.#hasStopped) return undefined
      }
      await this.#change(signal)
    }
  }

  /** Reads and starts as much as may be. */
  #read(): void {
    const { source, concurrency, aheadMax } = this.#options
    while (!this.#isReading && !this.#isAtEnd && !this.#hasStopped) {
      if (this.#started.size >= concurrency || this.#started.size + this.#outcomes.size >= aheadMax) return
      let step
      try {
        step = source.next()
      } catch (error) {
        this.#fail(error)
        return
      }
      if (!(step instanceof Promise)) {
        this.#onItem(step)
        continue
      }
      this.#isReading = true
      step
        .then(
          (read) => this.#onItem(read),
          (error: unknown) => this.#fail(error),
        )
        .finally(() => {
          this.#isReading = false
          this.#read()
          this.#wake?.()
        })
      return
    }
  }

  #fail(error: unknown): void {
    this.#failure = { error }
    this.#isAtEnd = true
  }

  #onItem({ done, value }: IteratorResult<T>): void {
    if (done === true) this.#isAtEnd = true
    if (this.#isAtEnd || this.#hasStopped) return
    const index = this.#nextIndex++
    let started: StartedItem<R>
    try {
      started = this.#options.start(value, index)
    } catch (error) {
      this.#outcomes.set(index, { index, error })
      return
    }
    this.#started.set(index, started)
    const finish = (outcome: ItemOutcome<R>): void => {
      this.#started.delete(index)
      if (this.#hasStopped) return
      this.#outcomes.set(index, outcome)
      this.#read()
      this.#wake?.()
    }
    started.result.then(
      (result) => finish({ index, value: result }),
      (error: unknown) => finish({ index, error }),
    )
  }

  #take(): ItemOutcome<R> | undefined {
    const index = this.#options.isOrdered ? this.#nextTaken : (this.#outcomes.keys().next().value ?? -1)
    const outcome = this.#outcomes.get(index)
    if (outcome === undefined) return undefined
    this.#outcomes.delete(index)
    this.#nextTaken = index + 1
    this.#read()
    return outcome
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const onAbort = (): void => resolve()
    this.#wake = resolve
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#wake = undefined
    }
  }

  /** Nothing more is wanted: what is worked on is cancelled, and the source is closed. */
  async stop(): Promise<void> {
    if (this.#hasStopped) return
    this.#hasStopped = true
    for (const { cancel } of this.#started.values()) cancel()
    this.#started.clear()
    this.#outcomes.clear()
    this.#wake?.()
    // A generator that waits for something would not close before that is there.
    if (this.#isReading) this.#options.source.close().catch(() => undefined)
    else await this.#options.source.close()
  }
}

/** The values in the run's order. The first error ends it, as does leaving the loop. */
export async function* valuesOf<R>(
  run: Pick<ItemRun<unknown, R>, 'next' | 'stop'>,
  errorOf: (outcome: { index: number; error: unknown }) => unknown,
): AsyncGenerator<R, undefined> {
  try {
    for (let outcome = await run.next(); outcome !== undefined; outcome = await run.next()) {
      if ('error' in outcome) throw errorOf(outcome)
      yield outcome.value
    }
    return undefined
  } finally {
    await run.stop()
  }
}
