import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { ItemRun, valuesOf, type ItemOutcome } from '../pools/item-run.ts'
import { countOf, ItemSource, type Items } from '../pools/item-source.ts'
import { mapItem, skip, type Skip } from '../pools/map-task.ts'
import { shippedOf, type MapProgress, type Mapper } from './pool.ts'
import { remote } from './remote-function.ts'
import { abortSignal, boolean, checkOptions, invalid, taskOptionChecks, type TaskOptions } from './task-options.ts'
import { cancel, get } from './values.ts'

interface Common extends Omit<TaskOptions, 'numReturns'> {
  /** Items that are worked on at a time, at most; Infinity for as many as there can be. @default 1000 */
  concurrency?: number
  /** Ends it with the signal's reason; tasks that run are cancelled. */
  signal?: AbortSignal
}

/** What `parallelMap` takes: besides these, options of tasks such as `numCpus` and `maxRetries`. */
export interface ParallelMapOptions extends Common {
  /**
   * True: it ends with the first error, and what runs is cancelled. False: it goes on to the end, and rejects with an
   * AggregateError of all errors, in the order of the items. @default true
   */
  stopOnError?: boolean
  /** Called when an item is done. */
  onProgress?: (progress: MapProgress) => void
}

/** What `parallelMapIterable` takes: besides these, options of tasks such as `numCpus` and `maxRetries`. */
export interface ParallelMapIterableOptions extends Common {
  /** Items that are worked on or done and not taken: while there are so many, no more are read. @default `concurrency` */
  backpressure?: number
}

/** What a mapper gets for an item. */
type ItemValue<T> = Resolved<Awaited<T>>
type Resolved<T> = T extends ObjectRef<infer V> ? V : T
type MapResult<R> = Exclude<Awaited<R>, Skip>

const concurrencyDefault = 1000
const concurrencyMax = 100_000

const { numReturns: _, ...taskChecks } = taskOptionChecks
const commonChecks = { ...taskChecks, concurrency: atATime, signal: abortSignal }
const mapChecks = {
  ...commonChecks,
  stopOnError: boolean,
  onProgress: (value: unknown, name: string) => {
    if (typeof value !== 'function') throw invalid(name, value, 'a function')
  },
}
const iterableChecks = { ...commonChecks, backpressure: atATime }

function atATime(value: unknown, name: string): void {
  if (value !== Infinity && (!Number.isInteger(value) || (value as number) < 1)) {
    throw invalid(name, value, 'a whole number, 1 or more, or Infinity')
  }
}

/** The same as `parallelMap.skip`. */
export const parallelMapSkip: Skip = skip

/**
 * Calls `mapper(item, index)` on workers, anywhere in the mesh, for each item, and gives all results in the order of the items.
 * The mapper is shipped once, and each call is a task. Items are read as they are needed; promises among them are awaited, and
 * an ObjectRef is replaced by its value. A remote function keeps its own options, but for those given here.
 *
 * A mapper that returns `parallelMap.skip` has no result for that item.
 *
 * Rejects with the mapper's own error, or, by `stopOnError: false`, with an AggregateError; with the signal's reason;
 * FunctionNotShippableError when the mapper cannot travel.
 *
 * @example
 * console.log(await parallelMap([1, 2, 3], async (x) => x * x, { concurrency: 2 })) // [1, 4, 9]
 *
 * @example
 * const even = await parallelMap([1, 2, 3, 4], (x) => (x % 2 === 0 ? x : parallelMap.skip))
 * console.log(even) // [2, 4]
 */
export async function parallelMap<T, R>(
  items: Items<T>,
  mapper: Mapper<ItemValue<T>, R>,
  options: ParallelMapOptions = {},
): Promise<MapResult<R>[]> {
  checkOptions(options, mapChecks, 'parallelMap()')
  const { stopOnError = true, onProgress, concurrency = concurrencyDefault, signal, ...taskOptions } = options
  const total = countOf(items)
  const run = runOf('parallelMap()', { items, mapper, taskOptions, concurrency, signal, isOrdered: false })
  const results: (readonly unknown[])[] = []
  const errors: { index: number; error: unknown }[] = []
  let done = 0
  try {
    for (let outcome = await run.next(); outcome !== undefined; outcome = await run.next()) {
      if ('error' in outcome) {
        if (stopOnError) throw outcome.error
        errors.push(outcome)
      } else results[outcome.index] = outcome.value
      done += 1
      onProgress?.({ done, total })
    }
  } finally {
    await run.stop()
  }
  if (errors.length > 0) throw allErrors(errors, done)
  return results.flat() as MapResult<R>[]
}

/** What a mapper returns for an item that is to have no result. */
parallelMap.skip = skip

/**
 * As {@link parallelMap}, but gives the results one after the other, in the order of the items, as an async iterable. No more items
 * are read than the loop takes results, but for `backpressure`. The first error ends the loop; leaving it cancels what runs.
 *
 * @example
 * for await (const y of parallelMapIterable([1, 2, 3], (x) => x + 1, { concurrency: 2 })) console.log(y) // 2, 3, 4
 */
export async function* parallelMapIterable<T, R>(
  items: Items<T>,
  mapper: Mapper<ItemValue<T>, R>,
  options: ParallelMapIterableOptions = {},
): AsyncGenerator<MapResult<R>, undefined> {
  const where = 'parallelMapIterable()'
  checkOptions(options, iterableChecks, where)
  const { concurrency = concurrencyDefault, backpressure = concurrency, signal, ...taskOptions } = options
  if (backpressure < concurrency) {
    throw new InvalidArgumentError(
      `backpressure must be ${concurrency}, which is the concurrency, or more; got ${backpressure}`,
      { option: 'backpressure' },
    )
  }
  const run = runOf(where, { items, mapper, taskOptions, concurrency, backpressure, signal, isOrdered: true })
  for await (const result of valuesOf(run, ({ error }) => error)) yield* result as MapResult<R>[]
  return undefined
}

interface MapWork<T, R> {
  items: Items<T>
  mapper: Mapper<ItemValue<T>, R>
  taskOptions: Omit<TaskOptions, 'numReturns'>
  concurrency: number
  backpressure?: number
  signal: AbortSignal | undefined
  isOrdered: boolean
}

function runOf<T, R>(where: string, work: MapWork<T, R>): ItemRun<T, readonly unknown[]> {
  const { items, mapper, taskOptions, signal, isOrdered } = work
  const concurrency = Math.min(work.concurrency, concurrencyMax)
  const shipped = shippedOf(mapper)
  const own = { name: (mapper.name || 'mapper').slice(0, 200), ...shipped.callOptions }
  const task = remote(mapItem, own).options(taskOptions)
  return new ItemRun<T, readonly unknown[]>({
    source: new ItemSource(items, where),
    start: (item, index) => {
      const ref = task.remote(shipped, item, index)
      return { result: get(ref), cancel: () => cancel(ref) }
    },
    concurrency,
    aheadMax: Math.min(work.backpressure ?? Infinity, concurrencyMax),
    isOrdered,
    signal,
  })
}

const indexesShown = 10

function allErrors(errors: (ItemOutcome<never> & { error: unknown })[], count: number): AggregateError {
  errors.sort((a, b) => a.index - b.index)
  const shown = errors.slice(0, indexesShown).map(({ index }) => index)
  const more = errors.length > indexesShown ? ', …' : ''
  return new AggregateError(
    errors.map(({ error }) => error),
    `${errors.length} of ${count} items have failed: ${shown.join(', ')}${more}`,
  )
}
