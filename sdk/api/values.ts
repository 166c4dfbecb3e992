import {
  GetTimeoutError,
  InvalidArgumentError,
  NotCloneableError,
  ObjectStoreFullError,
} from '../../protocols/errors.ts'
import { plural } from '../../protocols/plural.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import { LocalWait } from '../runtime/local-wait.ts'
import { lastWordMs } from '../runtime/requests.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { timerMs } from '../runtime/timer-ms.ts'
import { releaseView } from '../store/views.ts'
import { abortSignal, amount, boolean, checkOptions, oneOrMore, show } from './task-options.ts'

export interface GetOptions {
  /** How long to wait, in milliseconds. @default no limit */
  timeoutMs?: number
  /** Ends the wait with the signal's reason. The task goes on. */
  signal?: AbortSignal
}

export interface WaitOptions extends GetOptions {
  /** How many refs must be ready. @default 1 */
  count?: number
  /**
   * True: a ref is ready when its value can be read on this node without waiting for another one; large values of other
   * nodes are brought here for that, as many as are needed. False: when its value exists anywhere. @default true
   */
  fetchLocal?: boolean
}

export interface PutOptions {
  /**
   * On how many nodes the value is kept, this one included; on all there are when there are fewer. They are made in the
   * background. A value that is not over 100 KiB lies in this process alone. @default 1
   */
  replicas?: number
}

type Values<T extends readonly ObjectRef[]> = { -readonly [K in keyof T]: T[K] extends ObjectRef<infer V> ? V : never }

const putChecks = { replicas: oneOrMore }
export const getChecks = { timeoutMs: amount, signal: abortSignal }
const waitChecks = {
  ...getChecks,
  count: oneOrMore,
  fetchLocal: boolean,
}

/**
 * Copies a value into the object store and returns a ref to it, so that it is sent once however many tasks use it. The
 * value is copied at the call: later changes to it are not seen.
 *
 * The value is this process's, and ends with it, and so with its node. With `replicas` it is on other nodes besides: it
 * outlives a damaged disk here, and many nodes that read it have it from several. For values that are to outlive the node
 * that makes them, let a task with `replicas` make them.
 *
 * Throws NotCloneableError with the path to what cannot be copied, ObjectStoreFullError when there is no room.
 *
 * @example
 * const big = put(new Float64Array(1e6))
 * console.log(await get(remote((data: Float64Array) => data.length).remote(big))) // 1000000
 *
 * @example
 * const weights = put(new Float32Array(1e8), { replicas: 3 })
 */
export function put<T>(value: T, options: PutOptions = {}): ObjectRef<T> {
  try {
    checkOptions(options, putChecks, 'put()')
    if (value instanceof ObjectRef) {
      throw new InvalidArgumentError('put() takes a value, not an ObjectRef: pass the ref on as it is')
    }
    return currentRuntime().put(value, options.replicas ?? 1) as ObjectRef<T>
  } catch (error) {
    if (putErrors.some((each) => error instanceof each)) Error.captureStackTrace(error as Error, put)
    throw error
  }
}

/** What `put` itself throws; their stacks begin where it was called, not deep inside. */
const putErrors = [InvalidArgumentError, NotCloneableError, ObjectStoreFullError]

/**
 * Waits for the value of a ref, or of every ref of an array, in its order. Throws the task's own error if it threw, as
 * soon as the first of many has failed. Otherwise rejects with GetTimeoutError, TaskCancelledError, WorkerCrashedError,
 * OutOfMemoryError, ActorDiedError, ActorUnavailableError, PlacementGroupRemovedError, ObjectLostError,
 * ObjectUnavailableError, OwnerDiedError, InfeasibleError, UnreachableError, NodeDiedError, ObjectStoreFullError when this
 * node's store has no room to bring a large value here, or a ShoalError with the code OBJECT_FREED when the value was freed,
 * since nothing was known to refer to it.
 *
 * Every call gives a value of its own, as if it were a copy: large buffers in it share memory with others until they are
 * written to. What takes buffers away must be given a copy of them: of a buffer that goes into a `ReadableStream` of type
 * `bytes` the process dies, and nothing can catch that.
 *
 * @example
 * const [a, b] = await get([square.remote(2), square.remote(3)], { timeoutMs: 5000 })
 */
export function get<T>(ref: ObjectRef<T>, options?: GetOptions): Promise<T>
export function get<const T extends readonly ObjectRef[]>(refs: T, options?: GetOptions): Promise<Values<T>>
export async function get(target: ObjectRef | readonly ObjectRef[], options: GetOptions = {}): Promise<unknown> {
  try {
    checkOptions(options, getChecks, 'get()')
    const runtime = currentRuntime()
    const { timeoutMs } = options
    const endMs = timeoutMs === undefined ? undefined : performance.now() + timeoutMs
    if (target instanceof ObjectRef) {
      const record = recordOf(target)
      if (record.value === undefined) await ready(runtime, [record], options, { count: 1, of: 1, isGet: true })
      return valueOf(runtime, record, options, endMs)
    }
    const records = asRefs(target, 'get() takes an ObjectRef or an array of them').map(recordOf)
    const missing = records.filter((record) => record.value === undefined)
    const failed = records.find((record) => record.value?.isError === true)
    if (failed !== undefined) return valueOf(runtime, failed, options, endMs)
    if (missing.length > 0) {
      await ready(runtime, missing, options, { count: missing.length, of: records.length, isGet: true })
    }
    const firstFailed = missing.find((record) => record.value?.isError === true)
    if (firstFailed !== undefined) return valueOf(runtime, firstFailed, options, endMs)
    const values: unknown[] = []
    for (let at = 0; at < records.length; at += readsMax) {
      const some = records.slice(at, at + readsMax)
      if (some.every(({ value }) => value !== undefined && runtime.coder.isHere(value))) {
        for (const record of some) values.push(valueOf(runtime, record, options, endMs))
      } else {
        // Together: when several are lost, they are made again at the same time.
        values.push(...(await Promise.all(some.map(async (record) => valueOf(runtime, record, options, endMs)))))
      }
    }
    return values
  } catch (error) {
    throw placed(error, get)
  }
}

/** Values that one `get` reads at a time. */
const readsMax = 64

/** The value, or a promise of it when it must be read or its classes loaded first. Throws or rejects for an error. */
function valueOf(runtime: Runtime, record: ObjectRecord, options: GetOptions, endMs: number | undefined): unknown {
  const wire = record.value
  if (wire !== undefined && runtime.coder.isHere(wire)) {
    const value = runtime.coder.decodeNow(wire)
    if (wire.isError) throw value
    return value
  }
  const read = wire?.kind === 'stored' ? runtime.coder.decodeHere(wire) : undefined
  if (read !== undefined) {
    if (wire?.isError === true) throw read.value
    return read.value
  }
  if (endMs !== undefined || options.signal !== undefined) return readWithin(runtime, record, options, endMs)
  return runtime.reader.read(record, {
    decode: (value) =>
      value.classes.length > 0 ? runtime.waiting(runtime.coder.decode(value)) : runtime.coder.decode(value),
    // It was lost; making it again takes as long as making it did.
    ready: () => ready(runtime, [record], {}, { count: 1, of: 1, isGet: true }),
  })
}

/** What lies on this node, and has not been read here, is given so long at least: it takes a moment, and is not waited for. */
const readHereMsMin = 1000

/** Reads the value. Rejects when the time is up, and with the signal's reason; it is not brought here any further then. */
async function readWithin(
  runtime: Runtime,
  record: ObjectRecord,
  { timeoutMs, signal }: GetOptions,
  endMs: number | undefined,
): Promise<unknown> {
  const isHere = record.value !== undefined && runtime.isHere(record.value)
  const leftMs = endMs === undefined ? undefined : Math.max(isHere ? readHereMsMin : 0, endMs - performance.now())
  const ends = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  let lastWord: NodeJS.Timeout | undefined
  const end = (reason: unknown): void => {
    reject(reason)
    ends.abort(reason)
  }
  const read = runtime.reader.read(record, {
    decode: (value) => runtime.coder.decode(value, 'get', ends.signal),
    ready: () => ready(runtime, [record], { signal: ends.signal }, { count: 1, of: 1, isGet: true }),
  })
  try {
    return await within(
      runtime,
      Promise.race([read, ended]),
      { timeoutMs: leftMs, signal },
      {
        onTimeout: () => {
          const late = timeoutError(1, 1, timeoutMs as number)
          // The node may say what has kept the value: that is the cause then.
          lastWord = setTimeout(reject, lastWordMs, late)
          ends.abort(late)
        },
        onAbort: end,
        onEnd: () => clearTimeout(lastWord),
      },
    )
  } catch (error) {
    throw placed(error, readWithin)
  }
}

/**
 * Waits until `count` of the refs have a value or an error, and tells which: at most `count` in `ready`, in the order
 * given, all others in `pending`. When `timeoutMs` passes first, `ready` is shorter; that is no error.
 *
 * A value of another node counts once it is on this one, where it is brought meanwhile (`fetchLocal: false`: at once), so
 * that `get` has it without delay and it outlives its node. One that cannot be had counts, too: `get` says why. When the
 * wait ends first, a value that has begun to come is brought here all the same.
 *
 * @example
 * let pending = [1, 2, 3].map((x) => square.remote(x))
 * while (pending.length > 0) {
 *   const next = await wait(pending, { count: 1 })
 *   console.log(await get(next.ready))
 *   pending = next.pending
 * }
 *
 * @example
 * // Only to know what is done: large results stay where they are.
 * const { ready } = await wait(refs, { count: refs.length, timeoutMs: 1000, fetchLocal: false })
 */
export async function wait<T>(
  refs: readonly ObjectRef<T>[],
  options: WaitOptions = {},
): Promise<{ ready: ObjectRef<T>[]; pending: ObjectRef<T>[] }> {
  checkOptions(options, waitChecks, 'wait()')
  asRefs(refs, 'wait() takes an array of ObjectRefs')
  const { count = 1, fetchLocal = true } = options
  if (count > refs.length) {
    throw new InvalidArgumentError(`wait() has a count of ${count} but only ${plural(refs.length, 'ref')}`, {
      option: 'count',
    })
  }
  if (new Set(refs.map(recordOf)).size < refs.length) {
    throw new InvalidArgumentError('wait() was given the same ref twice')
  }
  const runtime = currentRuntime()
  const records = refs.map(recordOf)
  const isReady = await (fetchLocal ? here : anywhere)(runtime, records, count, options)
  const result: { ready: ObjectRef<T>[]; pending: ObjectRef<T>[] } = { ready: [], pending: [] }
  for (const [i, ref] of refs.entries()) {
    const isNext = result.ready.length < count && isReady(records[i] as ObjectRecord)
    result[isNext ? 'ready' : 'pending'].push(ref)
  }
  return result
}

/**
 * Gives the memory under a large value back now, and not when the engine finds out that nothing looks at the value any more:
 * its memory in the node's store can be used again, and the engine need not look. Takes what `get` gave, or a task was
 * given, or a large buffer in it. All large buffers that came in one value go together, and are empty from then on. Not while
 * something still works on them, such as a write to a file that has not ended.
 *
 * True when memory was given back; false for what has none, such as small values, which are copies, and for what was released
 * before. Throws InvalidArgumentError for an ObjectRef.
 *
 * @example
 * const ref = put(new Float64Array(1e6))
 * const samples = await get(ref)
 * console.log(samples.length) // 1000000
 * release(samples)
 * console.log(samples.length, (await get(ref)).length) // 0 1000000
 */
export function release(value: unknown): boolean {
  if (value instanceof ObjectRef) {
    throw new InvalidArgumentError('release() takes a value that get() gave; a ref is let go of by dropping it')
  }
  return typeof value === 'object' && value !== null && releaseView(value)
}

type ReadyCheck = (record: ObjectRecord) => boolean

/** Waits until so many values exist. */
async function anywhere(
  runtime: Runtime,
  records: readonly ObjectRecord[],
  count: number,
  options: GetOptions,
): Promise<ReadyCheck> {
  const missing = records.filter((record) => record.value === undefined)
  const needed = count - (records.length - missing.length)
  if (needed > 0) await ready(runtime, missing, options, { count: needed, of: count, isGet: false })
  return (record) => record.value !== undefined
}

/** Waits until so many values are on this node. */
async function here(
  runtime: Runtime,
  records: readonly ObjectRecord[],
  count: number,
  options: GetOptions,
): Promise<ReadyCheck> {
  const waiting = new LocalWait(
    {
      isHere: (value) => runtime.isHere(value),
      bring: (value, signal) => runtime.bring(value, signal),
      report: (record, value, error) => runtime.reader.report(record, value, error),
    },
    records,
    count,
  )
  if (!waiting.isDone) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    void waiting.begin().then(resolve)
    await within(runtime, promise, options, { onTimeout: resolve, onAbort: reject, onEnd: () => waiting.end() })
  }
  return (record) => waiting.ready.has(record)
}

interface Readiness {
  /** How many of the records must have a value. */
  count: number
  /** How many values are asked for, with those that are there. */
  of: number
  isGet: boolean
}

/**
 * Resolves when `count` records have values, or when the time is up; for `get` also when one has failed, and it rejects
 * when the time is up. Rejects when the signal aborts.
 */
function ready(
  runtime: Runtime,
  records: readonly ObjectRecord[],
  options: GetOptions,
  { count, of, isGet }: Readiness,
): Promise<void> {
  const { timeoutMs } = options
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let missing = count
  const callbacks: (() => void)[] = []
  for (const record of records) {
    const callback = (): void => {
      if (--missing === 0 || (isGet && record.value?.isError === true)) resolve()
    }
    callbacks.push(callback)
    record.whenReady(callback)
  }
  if (timeoutMs === undefined && options.signal === undefined && records.length === 1) return runtime.waiting(promise)
  const onTimeout = (): void => {
    if (isGet) reject(timeoutError(missing, of, timeoutMs as number))
    else resolve()
  }
  return within(runtime, promise, options, {
    onTimeout,
    onAbort: reject,
    onEnd: () => records.forEach((record, i) => record.forget(callbacks[i] as () => void)),
  })
}

interface Limits {
  onTimeout(): void
  onAbort(reason: unknown): void
  /** However it ends. */
  onEnd(): void
}

/** Waits for the promise; tells when the time is up, and when the signal aborts. */
function within<T>(
  runtime: Runtime,
  promise: Promise<T>,
  { timeoutMs, signal }: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  { onTimeout, onAbort, onEnd }: Limits,
): Promise<T> {
  const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timerMs(timeoutMs))
  const onSignal = (): void => onAbort(signal?.reason)
  if (signal?.aborted === true) onSignal()
  else signal?.addEventListener('abort', onSignal, { once: true })
  return runtime.waiting(promise).finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onSignal)
    onEnd()
  })
}

function timeoutError(missing: number, count: number, timeoutMs: number): GetTimeoutError {
  const what = count === 1 ? 'the value is' : `${missing} of ${count} values are`
  const message = `${what} not there after ${timeoutMs} ms; the tasks go on`
  const error = new GetTimeoutError(message, { missing, count, timeoutMs })
  fromTimers.add(error)
  return error
}

/** Errors that were made by a timer here, whose stacks show that and not who has waited. */
const fromTimers = new WeakSet<Error>()

/**
 * The error, with a stack that begins where `from` was called if it was made by a timer here: not one of a task. To be called
 * in `from` itself, in which the engine still knows who waits for it.
 */
function placed(error: unknown, from: (...args: never[]) => unknown): unknown {
  if (error instanceof GetTimeoutError && fromTimers.has(error)) Error.captureStackTrace(error, from)
  return error
}

function asRefs<T>(refs: readonly ObjectRef<T>[], rule: string): readonly ObjectRef<T>[] {
  if (!Array.isArray(refs)) throw new InvalidArgumentError(`${rule}; got ${show(refs)}`)
  const wrong = refs.findIndex((ref) => !(ref instanceof ObjectRef))
  if (wrong >= 0) {
    throw new InvalidArgumentError(`${rule}; item ${wrong} is ${show(refs[wrong])}`, { index: wrong })
  }
  return refs
}

export interface CancelOptions {
  /** Kills the worker at once when the task is running there. Not for calls of actors. @default false */
  force?: boolean
  /** Cancels what the task has submitted, too. @default true */
  recursive?: boolean
}

/**
 * Cancels the task that makes this object: `get` throws TaskCancelledError. A task that has not started never will. One
 * that runs is interrupted in its `get()` and `wait()` and told by `taskContext().signal`; when it has not ended two
 * seconds later, its worker is killed, and what it owns is lost. With `force` that happens at once. Cancelling what is
 * finished does nothing.
 *
 * The call of an actor is cancelled alike, but never ended by force, since its actor is there for others, too: when it does not
 * look at its signal it goes on, and its result is dropped. `kill()` ends the actor. Throws InvalidArgumentError for `force`
 * with a call that this process has made; of another process's ref it is not known here what makes it, and a call is cancelled
 * without force then.
 *
 * @example
 * const ref = endless.remote()
 * cancel(ref, { force: true })
 */
export function cancel(ref: ObjectRef, options: CancelOptions = {}): void {
  if (!(ref instanceof ObjectRef)) throw new InvalidArgumentError(`cancel() takes an ObjectRef; got ${show(ref)}`)
  checkOptions(options, cancelChecks, 'cancel()')
  const { force = false, recursive = true } = options
  currentRuntime().cancel(recordOf(ref), { force, recursive })
}

const cancelChecks = { force: boolean, recursive: boolean }
