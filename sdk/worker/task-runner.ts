import { TaskCancelledError, TaskError } from '../../protocols/errors.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { TaskContext } from '../api/task-context.ts'
import type { AnyFunction } from '../functions/function-table.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { StreamSender } from './stream-sender.ts'

export interface RunnerHost {
  /** Sends one item of the running stream. */
  sendItem(task: RunningTask, index: number, value: WireValue): void
  /** The running task begins to wait for what others may have to do first; what is returned is called when that ends. */
  beginWait(): () => void
  /** Copies a result on behalf of the task's owner; it is one of `share` that travel together. */
  encodeResult(value: unknown, share: number): WireValue
  encodeError(error: unknown): WireValue
}

/** A task on this worker, from its start to its end. */
export class RunningTask implements TaskContext {
  readonly spec: TaskSpec
  readonly gpuIds: readonly number[]
  /** Refs inside the arguments, alive while the task runs. */
  readonly holds: readonly (ObjectRef[] | undefined)[]
  stream: StreamSender | undefined
  /** Calls of `get` and `wait` that it waits in. */
  waits = 0
  readonly #cancelled = Promise.withResolvers<never>()
  #abort: AbortController | undefined
  isCancelled = false

  constructor(spec: TaskSpec, gpuIds: readonly number[], holds: readonly (ObjectRef[] | undefined)[]) {
    this.spec = spec
    this.gpuIds = gpuIds
    this.holds = holds
    this.#cancelled.promise.catch(() => undefined)
  }

  get taskName(): string {
    return this.spec.name
  }

  get attempt(): number {
    return this.spec.attempt
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.isCancelled) this.#abort.abort(this.#reason())
    return this.#abort.signal
  }

  /** Rejects when the task is cancelled: what the task waits for is raced with it. */
  get cancelled(): Promise<never> {
    return this.#cancelled.promise
  }

  cancel(): void {
    this.isCancelled = true
    this.#abort?.abort(this.#reason())
    this.#cancelled.reject(this.#reason())
    this.stream?.stop()
  }

  #reason(): TaskCancelledError {
    return new TaskCancelledError(`task ${this.spec.name} was cancelled`, { task: this.spec.name })
  }
}

/** Runs single tasks: gets the function and the arguments, calls, and codes what comes of it. */
export class TaskRunner {
  readonly #runtime: Runtime
  readonly #host: RunnerHost

  constructor(runtime: Runtime, host: RunnerHost) {
    this.#runtime = runtime
    this.#host = host
  }

  /** Runs a task. Returns its result at once when nothing in it waits. */
  run(task: RunningTask): TaskResult | Promise<TaskResult> {
    const { spec } = task
    const fn = this.#runtime.functions.table.loaded(spec.functionId)
    const { coder } = this.#runtime
    const isHere = coder.isHere(spec.args) && spec.resolved.every(({ value }) => coder.isHere(value))
    if (fn === undefined || !isHere) return this.#prepareAndRun(task)
    let args: unknown[]
    try {
      args = coder.decodeNow(spec.args as never) as unknown[]
      for (const { position, value } of spec.resolved) args[position] = coder.decodeNow(value as never)
    } catch (error) {
      return this.#failed(spec, error, 0)
    }
    return this.#call(task, fn, args)
  }

  async #prepareAndRun(task: RunningTask): Promise<TaskResult> {
    const { spec } = task
    const { coder } = this.#runtime
    const functions = this.#runtime.functions.table
    try {
      const [fn, args] = await Promise.all([functions.load(spec.functionId), coder.decode(spec.args)])
      for (const { position, value } of spec.resolved) (args as unknown[])[position] = await coder.decode(value)
      if (task.isCancelled) return { sequence: spec.sequence, status: 'cancelled', durationUs: 0, values: [] }
      return await this.#call(task, fn, args as unknown[])
    } catch (error) {
      return this.#failed(spec, error, 0)
    }
  }

  #call(task: RunningTask, fn: AnyFunction, args: unknown[]): TaskResult | Promise<TaskResult> {
    const startMs = performance.now()
    let value: unknown
    try {
      value = (fn as (...args: unknown[]) => unknown)(...args)
    } catch (error) {
      return this.#failed(task.spec, error, startMs)
    }
    if (task.spec.returnCount === 0) return this.#stream(task, value, startMs)
    if (isThenable(value)) return this.#settle(task, value, startMs)
    return this.#finished(task.spec, value, startMs)
  }

  async #settle(task: RunningTask, value: PromiseLike<unknown>, startMs: number): Promise<TaskResult> {
    try {
      return this.#finished(task.spec, await value, startMs)
    } catch (error) {
      if (task.isCancelled) return this.#cancelled(task.spec, startMs)
      return this.#failed(task.spec, error, startMs)
    }
  }

  async #stream(task: RunningTask, value: unknown, startMs: number): Promise<TaskResult> {
    const { spec } = task
    try {
      const items = iteratorOf(await value, spec.name)
      const sender = new StreamSender(items, spec.streamSkip, {
        send: (index, item) => this.#host.sendItem(task, index, this.#host.encodeResult(item, 1)),
        beginStall: () => this.#host.beginWait(),
      })
      task.stream = sender
      if (task.isCancelled) sender.stop()
      await sender.run()
    } catch (error) {
      return this.#failed(spec, error, startMs)
    }
    if (task.isCancelled) return this.#cancelled(spec, startMs)
    return { sequence: spec.sequence, status: 'streamEnd', durationUs: sinceUs(startMs), values: [] }
  }

  #finished(spec: TaskSpec, value: unknown, startMs: number): TaskResult {
    const durationUs = sinceUs(startMs)
    try {
      const values = spec.returnCount === 1 ? [this.#host.encodeResult(value, 1)] : this.#several(spec, value)
      return { sequence: spec.sequence, status: 'ok', durationUs, values }
    } catch (error) {
      return this.#failed(spec, error, startMs)
    }
  }

  #several(spec: TaskSpec, value: unknown): WireValue[] {
    const items =
      typeof value === 'object' && value !== null && Symbol.iterator in value
        ? [...(value as Iterable<unknown>)]
        : undefined
    if (items?.length !== spec.returnCount) {
      const got = items === undefined ? typeof value : `${items.length} values`
      throw new TaskError(`task ${spec.name} has numReturns ${spec.returnCount} but returned ${got}`)
    }
    return items.map((item) => this.#host.encodeResult(item, spec.returnCount))
  }

  #failed(spec: TaskSpec, error: unknown, startMs: number): TaskResult {
    const thrown =
      error instanceof Error
        ? error
        : new TaskError(`task ${spec.name} threw something that is no Error: ${String(error)}`, { cause: error })
    return {
      sequence: spec.sequence,
      status: 'error',
      durationUs: startMs === 0 ? 0 : sinceUs(startMs),
      values: [this.#host.encodeError(withOrigin(thrown, spec.name))],
    }
  }

  #cancelled(spec: TaskSpec, startMs: number): TaskResult {
    return { sequence: spec.sequence, status: 'cancelled', durationUs: sinceUs(startMs), values: [] }
  }
}

function sinceUs(startMs: number): number {
  return Math.round((performance.now() - startMs) * 1000)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

function iteratorOf(value: unknown, name: string): AsyncIterator<unknown> | Iterator<unknown> {
  if (typeof value === 'object' && value !== null) {
    if (Symbol.asyncIterator in value) return (value as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    if (Symbol.iterator in value) return (value as Iterable<unknown>)[Symbol.iterator]()
  }
  throw new TaskError(`task ${name} has numReturns 'streaming' but is no generator, nor did it return an iterable`)
}

const ownFrame = new RegExp(`${import.meta.dirname.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}|node:internal`)

/** Cuts this worker's own frames off the stack, and says where the user's frames ran. */
function withOrigin(error: Error, name: string): Error {
  const stack = typeof error.stack === 'string' ? error.stack : `${error.name}: ${error.message}`
  const lines = stack.split('\n')
  const firstOwn = lines.findIndex((line) => /^\s+at /.test(line) && ownFrame.test(line))
  const kept = firstOwn < 0 ? lines : lines.slice(0, firstOwn)
  const origin = `    in task ${name} (pid ${process.pid})`
  if (!kept.includes(origin)) kept.push(origin)
  try {
    error.stack = kept.join('\n')
  } catch {
    // A frozen error keeps the stack that it has.
  }
  return error
}
