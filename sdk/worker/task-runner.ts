import { ObjectLostError, TaskError } from '../../protocols/errors.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { AnyFunction } from '../functions/function-table.ts'
import { recordOf } from '../objects/object-ref.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { isReadFailure } from '../runtime/object-reader.ts'
import { taskStorage, type RunningTask } from './running-task.ts'
import type { StartOrder, Turn } from './start-order.ts'
import { StreamSender } from './stream-sender.ts'
import { errorOf } from './thrown.ts'

export interface RunnerHost {
  /** Sends one item of the running stream. */
  sendItem(task: RunningTask, index: number, value: WireValue): void
  /** The running task begins to wait for what others may have to do first; what is returned is called when that ends. */
  beginWait(): () => void
  /**
   * Copies a result on behalf of the task's owner; it is one of `share` that travel together. `sequence`: the owner's number
   * for it, 0 when that is not known yet.
   */
  encodeResult(task: RunningTask, value: unknown, share: number, sequence: number): WireValue
  encodeError(task: RunningTask, error: unknown): WireValue
  /** Lets go of results that will not be sent. */
  dropResults(values: readonly WireValue[]): void
}

/** Runs single tasks: gets the function and the arguments, calls, and codes what comes of it. */
export class TaskRunner {
  readonly #runtime: Runtime
  readonly #host: RunnerHost

  constructor(runtime: Runtime, host: RunnerHost) {
    this.#runtime = runtime
    this.#host = host
  }

  /**
   * Runs a task. Returns its result at once when nothing in it waits.
   *
   * @param order it begins behind those of its caller that are in there and wait for their arguments.
   */
  run(task: RunningTask, order?: StartOrder): TaskResult | Promise<TaskResult> {
    const { spec } = task
    const fn = task.method ?? this.#runtime.functions.table.loaded(spec.functionId)
    const { coder } = this.#runtime
    const isHere = coder.isHere(spec.args) && spec.resolved.every(({ value }) => coder.isHere(value))
    if (fn === undefined || !isHere || order?.isAhead(task.caller) === true) {
      return this.#prepareAndRun(task, order?.turn(task.caller))
    }
    let args: unknown[]
    try {
      args = coder.decodeNow(spec.args as never) as unknown[]
      for (const { position, value } of spec.resolved) args[position] = coder.decodeNow(value as never)
    } catch (error) {
      return this.#failed(task, error, 0)
    }
    return taskStorage.run(task, () => this.#call(task, fn, args))
  }

  async #prepareAndRun(task: RunningTask, turn?: Turn): Promise<TaskResult> {
    const { spec } = task
    const functions = this.#runtime.functions.table
    try {
      const [fn, args] = await Promise.all([task.method ?? functions.load(spec.functionId), this.#readArguments(spec)])
      // Together: when several are lost, they are made again at the same time.
      const resolved = await Promise.all(spec.resolved.map((argument) => this.#readResolved(task, argument, turn)))
      for (const [i, { position }] of spec.resolved.entries()) args[position] = resolved[i]
      await turn?.before
      if (task.isCancelled) return { sequence: spec.sequence, status: 'cancelled', durationUs: 0, values: [] }
      const outcome = taskStorage.run(task, () => this.#call(task, fn, args))
      turn?.taken()
      return await outcome
    } catch (error) {
      if (task.isCancelled) return { sequence: spec.sequence, status: 'cancelled', durationUs: 0, values: [] }
      return this.#failed(task, error, 0)
    } finally {
      turn?.taken()
    }
  }

  async #readArguments({ args, name }: TaskSpec): Promise<unknown[]> {
    try {
      return (await this.#runtime.coder.decode(args, 'args')) as unknown[]
    } catch (error) {
      if (args.kind !== 'stored' || !isReadFailure(error, args.name)) throw error
      const details = { ...error.details, tries: 0 }
      throw new ObjectLostError(`the arguments of task ${name} cannot be read: ${error.message}`, details)
    }
  }

  /** An argument that was given as a ref. If its value is lost, the ref's owner is asked for another one. */
  async #readResolved(
    task: RunningTask,
    { object, value }: TaskSpec['resolved'][number],
    turn: Turn | undefined,
  ): Promise<unknown> {
    const { coder, objects, reader } = this.#runtime
    try {
      return await coder.decode(value, 'args')
    } catch (error) {
      if (value.kind !== 'stored' || !isReadFailure(error, value.name)) throw error
      // It may be what one of those behind this one makes again.
      turn?.taken()
      const ref = objects.acquireRef(object)
      task.recovered.push(ref)
      reader.report(recordOf(ref), value, error)
      return reader.read(recordOf(ref), {
        decode: (wire) => coder.decode(wire, 'args'),
        // On the task's account: its CPU may be needed to make the value again.
        ready: (record) => taskStorage.run(task, () => this.#runtime.ready(record)),
      })
    }
  }

  #call(task: RunningTask, fn: AnyFunction, args: unknown[]): TaskResult | Promise<TaskResult> {
    const startMs = performance.now()
    task.calledAtMs = startMs
    try {
      const value = (fn as (...args: unknown[]) => unknown)(...args)
      if (task.spec.returnCount === 0) return this.#stream(task, value, startMs)
      if (isThenable(value)) return this.#settle(task, value, startMs)
      return this.#finished(task, value, startMs)
    } catch (error) {
      return this.#failed(task, error, startMs)
    }
  }

  async #settle(task: RunningTask, value: PromiseLike<unknown>, startMs: number): Promise<TaskResult> {
    try {
      return this.#finished(task, await value, startMs)
    } catch (error) {
      if (task.isCancelled) return this.#cancelled(task.spec, startMs)
      return this.#failed(task, error, startMs)
    }
  }

  async #stream(task: RunningTask, value: unknown, startMs: number): Promise<TaskResult> {
    const { spec } = task
    try {
      const items = iteratorOf(await value, spec.name)
      const part = { skip: spec.streamSkip, limit: spec.streamLimit }
      const sender = new StreamSender(items, part, {
        send: (index, item) => this.#host.sendItem(task, index, this.#host.encodeResult(task, item, 1, 0)),
        beginStall: () => this.#host.beginWait(),
      })
      task.stream = sender
      if (task.isCancelled || task.isAbandoned) sender.stop()
      await sender.run()
    } catch (error) {
      return this.#failed(task, error, startMs)
    }
    if (task.isCancelled) return this.#cancelled(spec, startMs)
    return { sequence: spec.sequence, status: 'streamEnd', durationUs: sinceUs(startMs), values: [] }
  }

  #finished(task: RunningTask, value: unknown, startMs: number): TaskResult {
    const { spec } = task
    const durationUs = sinceUs(startMs)
    try {
      const values =
        spec.returnCount === 1 ? [this.#host.encodeResult(task, value, 1, spec.sequence)] : this.#several(task, value)
      return { sequence: spec.sequence, status: 'ok', durationUs, values }
    } catch (error) {
      return this.#failed(task, error, startMs)
    }
  }

  #several(task: RunningTask, value: unknown): WireValue[] {
    const { spec } = task
    const items =
      typeof value === 'object' && value !== null && Symbol.iterator in value
        ? [...(value as Iterable<unknown>)]
        : undefined
    if (items?.length !== spec.returnCount) {
      const got = items === undefined ? typeof value : `${items.length} values`
      throw new TaskError(`task ${spec.name} has numReturns ${spec.returnCount} but returned ${got}`)
    }
    const values: WireValue[] = []
    try {
      for (const [i, item] of items.entries()) {
        values.push(this.#host.encodeResult(task, item, spec.returnCount, spec.sequence + i))
      }
    } catch (error) {
      this.#host.dropResults(values)
      throw error
    }
    return values
  }

  #failed(task: RunningTask, error: unknown, startMs: number): TaskResult {
    const { spec } = task
    return {
      sequence: spec.sequence,
      status: 'error',
      durationUs: startMs === 0 ? 0 : sinceUs(startMs),
      values: [this.#host.encodeError(task, errorOf(error, spec.name))],
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
