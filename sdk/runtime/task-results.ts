import { TaskCancelledError, TaskError } from '../../protocols/errors.ts'
import type { ClientId } from '../../protocols/ids.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import type { LineageBook } from '../tasks/lineage-book.ts'
import { Lineage, type LineageHost } from '../tasks/lineage.ts'
import type { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { notMadeAgain } from './lost-object.ts'
import type { Recovery } from './recovery.ts'

export interface TaskResultsHost extends LineageHost {
  readonly lineages: LineageBook
  readonly recovery: Recovery
  encodeError(error: unknown): WireValue
  /** Refs inside a value that has come from that process; to be called once for each that comes. */
  adopt(wire: WireValue, lender: ClientId): readonly ObjectRef[] | undefined
  /** A new object, which has no name outside of this process yet. */
  create(): ObjectRecord
  /** A stored value is freed with its record. */
  attach(record: ObjectRecord, wire: WireValue): void
  /** Has a large value kept on so many nodes. */
  replicate(record: ObjectRecord, wire: WireValue, replicas: number): void
  /** Lets go of a value in the store. */
  free(name: string): void
}

/** What comes of tasks, on its way to the objects that wait for it. */
export class TaskResults {
  readonly #host: TaskResultsHost
  /** Arguments that were moved into the store because together they were too large for a message. */
  readonly #movedArguments = new Map<TaskRecord, string[]>()

  constructor(host: TaskResultsHost) {
    this.#host = host
  }

  settle(task: TaskRecord, { status, values }: TaskResult, worker: ClientId): void {
    if (status === 'error' && values[0] !== undefined) this.#failWith(task, values[0], [this.#keep(values[0], worker)])
    else if (status === 'streamEnd') this.#endStream(task)
    else if (status === 'ok' && values.length === task.returns.length) {
      for (const i of task.returns.keys()) this.#settleOne(task, i, values[i] as WireValue, worker)
      this.#end(task)
    } else {
      for (const value of values) this.drop(value, worker)
      const text = `task ${task.name} gave ${values.length} results where ${task.returns.length} were expected`
      this.#failWith(task, this.#host.encodeError(new TaskError(text)))
    }
  }

  #settleOne(task: TaskRecord, index: number, wire: WireValue, worker: ClientId): void {
    const record = task.returns[index] ?? this.#lostToo(task, index)
    if (record === undefined) {
      // Of a task that ran again for others of its results.
      this.drop(wire, worker)
      return
    }
    this.#host.recovery.ended(record, true)
    if (wire.kind !== 'stored') record.lineage = undefined
    else if (task.call !== undefined) record.lineage = 'actor'
    else record.lineage = task.lineage ??= new Lineage(task, this.#host)
    this.#give(record, wire, worker)
    this.#host.replicate(record, wire, task.replicas)
  }

  /** A result for which the task did not run again, but which had been lost as well: else it would run once for each. */
  #lostToo({ lineage }: TaskRecord, index: number): ObjectRecord | undefined {
    const record = lineage?.known(index)
    return record !== undefined && this.#host.recovery.lostToo(record) ? record : undefined
  }

  /** An item of a stream: the next one, or one that comes again because it was lost. */
  settleItem(task: TaskRecord, stream: StreamRecord, index: number, wire: WireValue, worker: ClientId): void {
    stream.next = index + 1
    if (index < stream.received) {
      this.#settleOne(task, index, wire, worker)
      task.returns[index] = undefined
    } else if (index > stream.received || stream.end !== undefined) this.drop(wire, worker)
    else {
      const record = this.#host.create()
      if (wire.kind === 'stored' && task.call !== undefined) record.lineage = 'actor'
      else if (wire.kind === 'stored') {
        record.lineage = task.lineage ??= new Lineage(task, this.#host)
        record.lineage.addItem(index, record)
      }
      this.#give(record, wire, worker)
      stream.add(record)
      this.#host.replicate(record, wire, task.replicas)
    }
  }

  #endStream(task: TaskRecord): void {
    const { stream, returns } = task
    const { recovery, encodeError } = this.#host
    stream?.finish()
    // Items that were lost, and have not come again.
    const late: ObjectRecord[] = []
    for (const [index, record] of returns.entries()) {
      if (record === undefined) continue
      if (stream?.isPast(index) === true) late.push(record)
      else {
        const error = new TaskError(`task ${task.name} has ended without this item`)
        const loss = recovery.ended(record, false)
        if (loss !== undefined) this.#giveOwn(record, encodeError(notMadeAgain(record, loss, error)))
      }
    }
    this.#end(task, late.length > 0)
    for (const record of late) recovery.remakeItem(record)
  }

  #give(record: ObjectRecord, wire: WireValue, worker: ClientId): void {
    this.#host.attach(record, wire)
    record.settle(wire, this.#host.adopt(wire, worker))
  }

  /** An error that this process has made itself. */
  #giveOwn(record: ObjectRecord, wire: WireValue): void {
    this.#host.attach(record, wire)
    record.settle(wire)
  }

  /** A value that several objects share, as an object that they all hold. */
  #keep(wire: WireValue, worker: ClientId): ObjectRef {
    const record = this.#host.create()
    this.#give(record, wire, worker)
    return new ObjectRef(record)
  }

  /** The task has no result and never will. */
  fail(task: TaskRecord, error: unknown): void {
    const { recovery, encodeError } = this.#host
    for (const record of task.returns) {
      if (record === undefined) continue
      const loss = recovery.ended(record, false)
      this.#giveOwn(record, encodeError(loss === undefined ? error : notMadeAgain(record, loss, error)))
    }
    if (task.stream !== undefined) task.stream.finish(encodeError(error))
    // Its worker may still be at it, so that another run under the same number would be taken for this one.
    if (error instanceof TaskCancelledError) task.lineage?.drop(`task ${task.name}, which made it, was cancelled`)
    this.#end(task)
  }

  /** An argument of the task is an error, and that is the task's own. */
  failWith(task: TaskRecord, argument: ObjectRef): void {
    this.#failWith(task, recordOf(argument).value as WireValue, [argument])
  }

  /** The task has no result: this error, as it came, is that of all its results. */
  failAs(task: TaskRecord, error: WireValue): void {
    this.#failWith(task, error)
  }

  /** One error, as it came, for all results of a task. */
  #failWith(task: TaskRecord, error: WireValue, holds?: readonly ObjectRef[]): void {
    task.stream?.finish(error, holds)
    for (const record of task.returns) {
      if (record === undefined) continue
      this.#host.recovery.ended(record, false)
      record.settle(error, holds)
    }
    this.#end(task)
  }

  /** The task has ended: its arguments go, unless it may have to run again. */
  #end(task: TaskRecord, mustRunAgain = false): void {
    const { lineages, free } = this.#host
    for (const name of this.#movedArguments.get(task) ?? []) free(name)
    this.#movedArguments.delete(task)
    const { lineage } = task
    const argsName = task.args.kind === 'stored' ? task.args.name : undefined
    if (lineage?.isRunning === true) {
      const bytes = lineage.rest()
      if (lineage.refusal === undefined && (mustRunAgain || lineage.hasStored)) {
        lineages.keep(lineage, bytes, argsName)
        return
      }
      lineage.drop(lineage.refusal ?? `task ${lineage.name}, which made it, has failed since`)
    }
    if (argsName !== undefined) free(argsName)
  }

  /** Remembers an argument that went into the store for as long as its task runs. */
  moved(task: TaskRecord, name: string): void {
    const names = this.#movedArguments.get(task)
    if (names === undefined) this.#movedArguments.set(task, [name])
    else names.push(name)
  }

  /** A value that nobody waits for: what it holds is let go. */
  drop(wire: WireValue, worker: ClientId | undefined): void {
    if (worker !== undefined) this.#host.adopt(wire, worker)
    if (wire.kind === 'stored') this.#host.free(wire.name)
  }
}
