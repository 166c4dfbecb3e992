import { availableParallelism } from 'node:os'
import { InvalidArgumentError, ItemFailedError, PoolClosedError } from '../../protocols/errors.ts'
import type { ActorHandle } from '../actors/actor-handle.ts'
import type { ActorOptions } from '../actors/actor-options.ts'
import { AsyncResult } from '../pools/async-result.ts'
import { ChunkSource } from '../pools/chunk-source.ts'
import { ItemRun, valuesOf, type StartedItem } from '../pools/item-run.ts'
import { countOf, ItemSource, type Items } from '../pools/item-source.ts'
import { PoolWorker, type Chunk, type Shipped } from '../pools/pool-worker.ts'
import { deskOf, itemFailed } from '../pools/pooled-actors.ts'
import { kill } from './actors.ts'
import { remote, RemoteFunction } from './remote-function.ts'
import { abortSignal, checkOptions, invalid, oneOrMore, show, taskOptionChecks } from './task-options.ts'
import { get } from './values.ts'

type Placing = Pick<
  ActorOptions,
  'numCpus' | 'numGpus' | 'resources' | 'memoryBytes' | 'runtimeEnv' | 'schedulingStrategy'
>

export interface PoolOptions<I extends unknown[] = []> extends Placing {
  /** How many processes. @default the CPUs of this machine */
  size?: number
  /** CPUs that each process holds. @default 1 */
  numCpus?: number
  /** Called once in each process before anything else, and again in one that replaces another. */
  initializer?: Work<I, unknown>
  /** The arguments of `initializer`. @default none */
  initArgs?: I
  /** How often calls are made again whose process has died under them. @default 3 */
  maxRetries?: number
}

/** How far many calls are. */
export interface MapProgress {
  /** Items that are done. */
  readonly done: number
  /** How many there are; undefined while that is not known. */
  readonly total: number | undefined
}

export interface PoolMapOptions {
  /** Items that a process gets at a time. @default for `map` and `starmap` of an array a quarter of its share, else 1 */
  chunkSize?: number
  /** Ends it with the signal's reason. */
  signal?: AbortSignal
  /** Called when items are done. */
  onProgress?: (progress: MapProgress) => void
}

/** A function, as `map` and `apply` take it: a plain one, or one that is remote already. */
export type Work<A extends unknown[], R> = ((...args: A) => R) | RemoteFunction<A, Awaited<R>, 1>

/** A function of one item, and perhaps of its number: a plain one, or one that is remote already. */
export type Mapper<T, R> =
  | ((item: T, index: number) => R)
  | RemoteFunction<[item: T, index: number], Awaited<R>, 1>
  | RemoteFunction<[item: T], Awaited<R>, 1>

type AnyWork = ((...args: never[]) => unknown) | Shipped

const poolChecks = {
  size: oneOrMore,
  numCpus: taskOptionChecks.numCpus,
  numGpus: taskOptionChecks.numGpus,
  resources: taskOptionChecks.resources,
  memoryBytes: taskOptionChecks.memoryBytes,
  runtimeEnv: taskOptionChecks.runtimeEnv,
  schedulingStrategy: taskOptionChecks.schedulingStrategy,
  initializer: isFunction,
  initArgs: (value: unknown, name: string) => {
    if (!Array.isArray(value)) throw invalid(name, value, 'a list of arguments')
  },
  maxRetries: taskOptionChecks.maxRetries,
}
const mapChecks = { chunkSize: oneOrMore, signal: abortSignal, onProgress: isFunction }
/** A process gets so many chunks in all, so that one slow chunk does not make all others wait. */
const chunksPerProcess = 4

/**
 * Processes that many calls share, as `multiprocessing.Pool` is to Python: each is an actor, which runs one call at a time and
 * keeps what its module variables hold. One that dies is started again, and its calls are made again.
 *
 * @example
 * await using pool = new Pool({ size: 2 })
 * console.log(await pool.map((x: number) => x * x, [1, 2, 3])) // [1, 4, 9]
 *
 * @example
 * await using pool = new Pool({ size: 2, initializer: (level: string) => console.log(`ready at ${level}`), initArgs: ['info'] })
 */
export class Pool<I extends unknown[] = []> implements AsyncDisposable {
  readonly #desk = deskOf<ActorHandle<typeof PoolWorker>>()
  readonly #workers: ActorHandle<typeof PoolWorker>[] = []
  /** Calls for many items that go on. */
  readonly #maps = new Set<Promise<unknown>>()
  #state: 'open' | 'closed' | 'ended' = 'open'

  /** Throws InvalidArgumentError for a wrong option, FunctionNotShippableError when the initializer cannot travel. */
  constructor(options: PoolOptions<I> = {}) {
    checkOptions(options, poolChecks, 'Pool')
    const { size = availableParallelism(), initializer, initArgs, maxRetries = 3, numCpus = 1, ...placing } = options
    const workers = remote(PoolWorker, {
      ...placing,
      numCpus,
      maxConcurrency: 1,
      maxRestarts: -1,
      maxTaskRetries: maxRetries,
    })
    const first = initializer === undefined ? undefined : shippedOf(initializer)
    for (let i = 0; i < size; i++) {
      const worker = workers.remote(first, initArgs ?? [])
      this.#workers.push(worker)
      // Not before it is ready: where there is no room for all, those that there are do the work.
      void this.#desk.expect(worker, get(worker.ready.remote()))
    }
  }

  /** How many processes it has. */
  get size(): number {
    return this.#desk.size
  }

  /**
   * Calls `fn(item, index)` for each item, and gives all results in the order of the items.
   *
   * Rejects with ItemFailedError as soon as one has failed, FunctionNotShippableError when `fn` cannot travel, PoolClosedError
   * after `close()`.
   */
  async map<T, R>(fn: Mapper<T, R>, items: Items<T>, options: PoolMapOptions = {}): Promise<Awaited<R>[]> {
    return this.#tracked('Pool.map()', { fn, items, options, argsOf: itemAndIndex })
  }

  /**
   * As {@link map}, but each item is the list of the arguments.
   *
   * @example
   * await using pool = new Pool({ size: 1 })
   * console.log(await pool.starmap((a: number, b: number) => a + b, [[1, 2], [3, 4]])) // [3, 7]
   */
  async starmap<A extends unknown[], R>(
    fn: Work<A, R>,
    items: Items<A>,
    options: PoolMapOptions = {},
  ): Promise<Awaited<R>[]> {
    return this.#tracked('Pool.starmap()', { fn, items, options, argsOf: (args) => args })
  }

  /**
   * As {@link map}, but gives the results one after the other, in the order of the items, as they are there. Items are read only
   * as far as is needed. The loop ends with ItemFailedError for the first item that has failed.
   *
   * @example
   * await using pool = new Pool({ size: 2 })
   * for await (const y of pool.imap((x: number) => x + 1, [1, 2, 3])) console.log(y) // 2, 3, 4
   */
  imap<T, R>(fn: Mapper<T, R>, items: Items<T>, options: PoolMapOptions = {}): AsyncGenerator<Awaited<R>> {
    return this.#each('Pool.imap()', { fn, items, options, isOrdered: true })
  }

  /** As {@link imap}, but results come in any order. */
  imapUnordered<T, R>(fn: Mapper<T, R>, items: Items<T>, options: PoolMapOptions = {}): AsyncGenerator<Awaited<R>> {
    return this.#each('Pool.imapUnordered()', { fn, items, options, isOrdered: false })
  }

  /** Calls `fn` once, and gives its result. Rejects with the error that it throws. */
  async apply<A extends unknown[], R>(fn: Work<A, R>, ...args: A): Promise<Awaited<R>> {
    return this.#apply(fn, args)
  }

  /**
   * Calls `fn` once, and goes on.
   *
   * @example
   * await using pool = new Pool({ size: 1 })
   * const result = pool.applyAsync((x: number) => 2 * x, 21)
   * console.log(await result.get()) // 42
   */
  applyAsync<A extends unknown[], R>(fn: Work<A, R>, ...args: A): AsyncResult<Awaited<R>> {
    return new AsyncResult(this.#apply(fn, args))
  }

  #apply<A extends unknown[], R>(fn: Work<A, R>, args: A): Promise<Awaited<R>> {
    this.#assertOpen()
    const shipped = shippedOf(fn)
    const { result } = this.#desk.submit((worker) => worker.apply.remote(shipped, args))
    return result as Promise<Awaited<R>>
  }

  #tracked<T, R>(where: string, work: AllWork<T>): Promise<Awaited<R>[]> {
    const all = this.#all<T, R>(where, work)
    const forget = (): void => void this.#maps.delete(all)
    this.#maps.add(all)
    all.then(forget, forget)
    return all
  }

  async #all<T, R>(where: string, work: AllWork<T>): Promise<Awaited<R>[]> {
    const { items, options } = work
    const total = countOf(items)
    const share = total === undefined ? 1 : Math.ceil(total / (Math.max(1, this.size) * chunksPerProcess))
    const chunkSize = options.chunkSize ?? Math.max(1, share)
    const run = this.#run<T, R>(where, { ...work, chunkSize, isOrdered: false })
    const chunks: Awaited<R>[][] = []
    const report = reporter(options, total)
    try {
      for (let outcome = await run.next(); outcome !== undefined; outcome = await run.next()) {
        if ('error' in outcome) throw chunkFailed(where, chunkSize, outcome)
        chunks[outcome.index] = outcome.value
        report(outcome.value.length)
      }
    } finally {
      await run.stop()
    }
    return chunks.flat()
  }

  async *#each<T, R>(
    where: string,
    work: { fn: Mapper<T, R>; items: Items<T>; options: PoolMapOptions; isOrdered: boolean },
  ): AsyncGenerator<Awaited<R>> {
    const { items, options } = work
    const { chunkSize = 1 } = options
    const run = this.#run<T, R>(where, { ...work, argsOf: itemAndIndex, chunkSize })
    const report = reporter(options, countOf(items))
    for await (const values of valuesOf(run, (outcome) => chunkFailed(where, chunkSize, outcome))) {
      report(values.length)
      yield* values
    }
  }

  #run<T, R>(
    where: string,
    work: {
      fn: AnyWork
      items: Items<T>
      options: PoolMapOptions
      argsOf: (item: T, index: number) => readonly unknown[]
      chunkSize: number
      isOrdered: boolean
    },
  ): ItemRun<Chunk, Awaited<R>[]> {
    const { items, options, argsOf, chunkSize, isOrdered } = work
    checkOptions(options, mapChecks, where)
    this.#assertOpen()
    const fn = shippedOf(work.fn)
    return new ItemRun<Chunk, Awaited<R>[]>({
      source: new ChunkSource(new ItemSource(items, where), chunkSize, argsOf),
      start: (chunk) => this.#desk.submit((worker) => worker.run.remote(fn, where, chunk)) as StartedItem<Awaited<R>[]>,
      concurrency: Infinity,
      aheadMax: Math.max(2, 2 * this.size),
      isOrdered,
      signal: options.signal,
    })
  }

  #assertOpen(): void {
    if (this.#state === 'open') return
    throw new PoolClosedError(this.#state === 'closed' ? 'the pool was closed by close()' : 'the pool has ended')
  }

  /** No more calls are taken. Those that there are go on. */
  close(): void {
    if (this.#state === 'open') this.#state = 'closed'
  }

  /**
   * Waits until all calls are done, and ends the processes.
   *
   * Rejects with InvalidArgumentError when the pool was not closed.
   */
  async join(): Promise<void> {
    if (this.#state === 'open') throw new InvalidArgumentError('join() waits for the end: close() the pool first')
    await Promise.allSettled(this.#maps)
    await this.#desk.idle()
    this.terminate()
  }

  /** Ends the processes at once. Calls that have no result fail with PoolClosedError. */
  terminate(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#desk.close(new PoolClosedError('the pool was ended by terminate()'))
    for (const worker of this.#workers.splice(0)) kill(worker)
  }

  /** Waits until all calls are done, and ends the processes: `close()` and `join()`. After `terminate()` it waits for nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    await this.join()
  }
}

interface AllWork<T> {
  fn: AnyWork
  items: Items<T>
  options: PoolMapOptions
  argsOf: (item: T, index: number) => readonly unknown[]
}

function itemAndIndex(item: unknown, index: number): readonly unknown[] {
  return [item, index]
}

/** Functions are shipped once, however often they are wrapped. */
export function shippedOf(fn: AnyWork): Shipped {
  return fn instanceof RemoteFunction ? fn : remote(fn)
}

function reporter({ onProgress }: PoolMapOptions, total: number | undefined): (count: number) => void {
  let done = 0
  return (count) => {
    done += count
    onProgress?.({ done, total })
  }
}

/** A worker says which item it was; when the worker is gone, it may have been any of the chunk. */
function chunkFailed(
  where: string,
  size: number,
  { index, error }: { index: number; error: unknown },
): ItemFailedError {
  return error instanceof ItemFailedError ? error : itemFailed(where, { index: index * size, error })
}

function isFunction(value: unknown, name: string): void {
  if (typeof value !== 'function' && !(value instanceof RemoteFunction)) {
    throw new InvalidArgumentError(`${name} must be a function; got ${show(value)}`, { option: name })
  }
}
