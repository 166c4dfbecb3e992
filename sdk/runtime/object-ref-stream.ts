import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { StreamRecord } from '../tasks/stream-record.ts'

export interface StreamHost {
  refOf(record: ObjectRecord): ObjectRef
  decodeError(wire: WireValue): Promise<unknown>
  /** Tells the producer how many items have been taken, so that it makes more. */
  consumed(count: number): void
  /** Tells the producer to make no more. */
  stop(): void
  wait<T>(promise: Promise<T>): Promise<T>
}

const onDropped = new FinalizationRegistry<() => void>((stop) => stop())

/**
 * The results of a streaming task: an async iterable of refs, in order, each there as soon as the task yields it. The
 * producer stays at most 16 items ahead. Leaving a `for await` loop, `return()`, `await using`, or dropping the stream
 * stops the producer. An error of the task is thrown by the step that would have given the next item.
 *
 * @example
 * const count = remote(function* (n: number) { for (let i = 0; i < n; i++) yield i })
 * for await (const ref of count.remote(3)) console.log(await get(ref)) // 0, 1, 2
 */
export class ObjectRefStream<T> implements AsyncIterableIterator<ObjectRef<T>, undefined>, AsyncDisposable {
  readonly #stream: StreamRecord
  readonly #host: StreamHost
  #turn: Promise<unknown> = Promise.resolve()

  /** @internal Streams come from calls of remote generator functions. */
  constructor(stream: StreamRecord, host: StreamHost) {
    this.#stream = stream
    this.#host = host
    // The callback must not reach `this`, or it would never be dropped.
    onDropped.register(this, () => host.stop(), this)
  }

  /** The next ref, when there is one. Calls that overlap are answered in their order. */
  next(): Promise<IteratorResult<ObjectRef<T>, undefined>> {
    const step = this.#turn.then(() => this.#step())
    this.#turn = step.catch(() => undefined)
    return step
  }

  async #step(): Promise<IteratorResult<ObjectRef<T>, undefined>> {
    const stream = this.#stream
    for (;;) {
      const record = stream.take()
      if (record !== undefined) {
        this.#host.consumed(stream.consumed)
        return { done: false, value: this.#host.refOf(record) as ObjectRef<T> }
      }
      if (stream.end !== undefined) {
        onDropped.unregister(this)
        const { error } = stream.end
        if (error === undefined) return { done: true, value: undefined }
        try {
          throw await this.#host.decodeError(error)
        } finally {
          // Thrown once; after it the stream is simply at its end.
          stream.end = { error: undefined }
        }
      }
      const { promise, resolve } = Promise.withResolvers<void>()
      stream.onChange(resolve)
      await this.#host.wait(promise)
    }
  }

  /** Stops the producer. */
  async return(): Promise<IteratorResult<ObjectRef<T>, undefined>> {
    onDropped.unregister(this)
    this.#host.stop()
    return { done: true, value: undefined }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
