import { GetTimeoutError, InvalidArgumentError } from '../../protocols/errors.ts'
import { isActorHandle, type ActorHandle } from '../actors/actor-handle.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { ItemRun, valuesOf } from '../pools/item-run.ts'
import { ItemSource, type Items } from '../pools/item-source.ts'
import { deskOf, itemFailed } from '../pools/pooled-actors.ts'
import { settledWithin } from '../pools/settled-within.ts'
import { abortSignal, checkOptions, oneOrMore, show } from './task-options.ts'
import { getChecks, type GetOptions } from './values.ts'

export interface ActorPoolMapOptions {
  /** Ends the loop with the signal's reason; calls that run are cancelled. */
  signal?: AbortSignal
  /**
   * Items that are worked on or done and not taken yet: while there are so many, no more are read.
   * @default twice as many as there are actors
   */
  ahead?: number
}

/** Calls some actor for an item. */
type CallItem<A extends ActorHandle, T, R> = (actor: A, item: T, index: number) => ObjectRef<R>

interface Submission<S> {
  readonly index: number
  readonly result: Promise<S>
}

const mapChecks = { signal: abortSignal, ahead: oneOrMore }

/**
 * A few actors that share many items: each gets one at a time, and the next when it is done.
 *
 * An actor that dies is left out. The item that it had goes to another one if the actors' `maxTaskRetries` allows that, since it
 * may have run; else it fails. When none is left, what waits fails with PoolEmptyError. An actor that is started again
 * (`maxRestarts`) stays in. `S` is what `submit`ted calls give.
 *
 * @example
 * const Doubler = remote(class { double(x: number) { return 2 * x } })
 * const pool = new ActorPool([Doubler.remote(), Doubler.remote()])
 * for await (const y of pool.map((actor, x) => actor.double.remote(x), [1, 2, 3])) console.log(y) // 2, 4, 6
 */
export class ActorPool<A extends ActorHandle = ActorHandle, S = unknown> {
  readonly #desk = deskOf<A>()
  /** What was submitted and not taken, in its order. */
  readonly #submitted = new Map<number, Submission<S>>()
  /** Those of them that are done, the first one first. */
  readonly #settled = new Map<number, Submission<S>>()
  #submittedCount = 0
  #wake: (() => void)[] = []

  /** Throws InvalidArgumentError for what is no handle, or given twice. */
  constructor(actors: Iterable<A>) {
    for (const actor of actors) this.push(actor)
  }

  /** Actors that are in the pool now: idle ones, and those that work. */
  get size(): number {
    return this.#desk.size
  }

  /**
   * Calls `fn` for each item with an actor that is free, and gives the results in the order of the items. Items may be an async
   * iterable, which is read only as far as is needed.
   *
   * The loop ends with ItemFailedError for the first item, in their order, whose call has failed; the error itself is its
   * `cause`. Leaving the loop cancels what runs.
   *
   * @example
   * const Reader = remote(class { length(text: string) { return text.length } })
   * const readers = new ActorPool([Reader.remote()])
   * const lengths = readers.map((reader, line) => reader.length.remote(line), ['a', 'bcd'])
   * console.log(await Array.fromAsync(lengths)) // [1, 3]
   */
  map<T, R>(fn: CallItem<A, T, R>, items: Items<T>, options: ActorPoolMapOptions = {}): AsyncGenerator<R, undefined> {
    return this.#map('ActorPool.map()', { fn, items, options, isOrdered: true })
  }

  /** As {@link map}, but results come as they are there. */
  mapUnordered<T, R>(
    fn: CallItem<A, T, R>,
    items: Items<T>,
    options: ActorPoolMapOptions = {},
  ): AsyncGenerator<R, undefined> {
    return this.#map('ActorPool.mapUnordered()', { fn, items, options, isOrdered: false })
  }

  #map<T, R>(
    where: string,
    work: { fn: CallItem<A, T, R>; items: Items<T>; options: ActorPoolMapOptions; isOrdered: boolean },
  ): AsyncGenerator<R, undefined> {
    const { fn, items, options, isOrdered } = work
    checkFunction(fn, where)
    checkOptions(options, mapChecks, where)
    const run = new ItemRun<T, R>({
      source: new ItemSource(items, where),
      start: (item, index) => this.#desk.submit((actor) => fn(actor, item, index)),
      concurrency: Infinity,
      aheadMax: options.ahead ?? Math.max(2, 2 * this.size),
      isOrdered,
      signal: options.signal,
    })
    return valuesOf(run, (outcome) => itemFailed(where, outcome))
  }

  /**
   * Has `fn` called for one item as soon as an actor is free; `getNext` and `getNextUnordered` give the result.
   *
   * @example
   * const Doubler = remote(class { double(x: number) { return 2 * x } })
   * const pool = new ActorPool([Doubler.remote()])
   * pool.submit((actor, x) => actor.double.remote(x), 4)
   * while (pool.hasNext()) console.log(await pool.getNext()) // 8
   */
  submit<T>(fn: CallItem<A, T, S>, item: T): void {
    checkFunction(fn, 'ActorPool.submit()')
    const index = this.#submittedCount
    const { result } = this.#desk.submit((actor) => fn(actor, item, index))
    this.#submittedCount += 1
    const submission = { index, result }
    this.#submitted.set(index, submission)
    const onSettled = (): void => {
      if (this.#submitted.has(index)) this.#settled.set(index, submission)
      for (const wake of this.#wake.splice(0)) wake()
    }
    result.then(onSettled, onSettled)
  }

  /** True while there are results of submitted items that were not taken. */
  hasNext(): boolean {
    return this.#submitted.size > 0
  }

  /** True when an item that is submitted now need not wait. */
  hasFree(): boolean {
    return this.#desk.hasFree
  }

  /**
   * The result of the item that was submitted first, of those that were not taken.
   *
   * Rejects with ItemFailedError when its call has failed, GetTimeoutError when it is not there in time (it can be asked for
   * again then), InvalidArgumentError when nothing was submitted.
   */
  async getNext(options: GetOptions = {}): Promise<S> {
    checkOptions(options, getChecks, 'ActorPool.getNext()')
    for (;;) {
      const [first] = this.#submitted.values()
      if (first === undefined) throw nothingSubmitted('getNext')
      await settledWithin(first.result, options, timedOut)
      // Somebody else may have waited for it, too.
      if (this.#submitted.has(first.index)) return this.#taken(first)
    }
  }

  /** As {@link getNext}, but the result that is there first. */
  async getNextUnordered(options: GetOptions = {}): Promise<S> {
    checkOptions(options, getChecks, 'ActorPool.getNextUnordered()')
    for (;;) {
      const [next] = this.#settled.values()
      if (next !== undefined) return this.#taken(next)
      if (this.#submitted.size === 0) throw nothingSubmitted('getNextUnordered')
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake.push(resolve)
      await settledWithin(promise, options, timedOut)
    }
  }

  async #taken({ index, result }: Submission<S>): Promise<S> {
    this.#submitted.delete(index)
    this.#settled.delete(index)
    try {
      return await result
    } catch (error) {
      throw itemFailed('ActorPool.submit()', { index, error })
    }
  }

  /** Brings another actor into the pool. Throws InvalidArgumentError for what is no handle, or is in the pool already. */
  push(actor: A): void {
    if (!isActorHandle(actor)) {
      throw new InvalidArgumentError(`an ActorPool is made of handles of actors; got ${show(actor)}`)
    }
    if (this.#desk.has(actor)) throw new InvalidArgumentError('this actor is in the pool already')
    this.#desk.push(actor)
  }

  /** Takes an actor that does nothing out of the pool; undefined when all work. */
  popIdle(): A | undefined {
    return this.#desk.popIdle()
  }
}

function checkFunction(fn: unknown, where: string): void {
  if (typeof fn === 'function') return
  throw new InvalidArgumentError(`${where} takes a function that calls an actor for an item; got ${show(fn)}`)
}

function nothingSubmitted(method: string): InvalidArgumentError {
  return new InvalidArgumentError(`ActorPool.${method}() has no result to wait for: submit() something first`)
}

function timedOut(timeoutMs: number): GetTimeoutError {
  return new GetTimeoutError(`no result is there after ${timeoutMs} ms; the call goes on`, { timeoutMs })
}
