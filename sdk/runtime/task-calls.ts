import { TaskError, TooManyTasksError } from '../../protocols/errors.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageHandlers } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { RemoteFunction } from '../api/remote-function.ts'
import type { ResolvedOptions } from '../api/task-options.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { FunctionTable } from '../functions/function-table.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef } from '../objects/object-ref.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { TaskCounter, type TaskCounts } from '../tasks/task-counter.ts'
import { TaskSubmitter } from '../tasks/task-submitter.ts'
import type { CodedValue, ValueCoder } from '../values/value-coder.ts'
import type { ObjectExchange } from './object-exchange.ts'
import { ObjectRefStream } from './object-ref-stream.ts'
import type { RuntimeRole } from './runtime.ts'
import type { StoredValues } from './stored-values.ts'

export interface TaskCallsHost {
  readonly connection: NodeConnection
  readonly role: RuntimeRole
  readonly objects: ObjectExchange
  readonly functions: FunctionTable
  readonly coder: ValueCoder
  readonly stored: StoredValues
  encodeError(error: unknown): WireValue
  waiting<T>(promise: Promise<T>): Promise<T>
}

/** Calls of remote functions: from the arguments to a task, and from its results to objects. */
export class TaskCalls {
  readonly submitter: TaskSubmitter
  readonly #host: TaskCallsHost
  readonly #counter: TaskCounter
  readonly #streams = new Map<number, StreamRecord>()
  /** Arguments that were too large for their message, to be freed with their task. */
  readonly #movedArguments = new Map<TaskRecord, string[]>()

  constructor(host: TaskCallsHost) {
    this.#host = host
    const { connection, role } = host
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, terms, job, label) =>
          connection.send('leaseRequest', {
            requestId,
            resources: { ...terms.resources },
            strategy: terms.strategy,
            envVars: { ...terms.envVars },
            envKey: terms.envKey,
            depth: role.depth(),
            label,
            job,
          }),
        cancelRequest: (requestId) => connection.send('leaseCancel', { requestId }),
        returnLease: (leaseId) => connection.send('leaseReturn', { leaseId }),
        killLease: (leaseId, reason) => connection.send('leaseKill', { leaseId, reason }),
        push: (leaseId, tasks) => connection.send('taskPush', { leaseId, tasks }),
        cancelTask: (leaseId, sequence, recursive) => connection.send('taskCancel', { leaseId, sequence, recursive }),
      },
      {
        // What a task leases for its own tasks keeps others from the CPUs while the task itself goes on.
        idleLeaseMs: role.kind === 'driver' ? 300 : 0,
        nowMs: () => performance.now(),
        defer: queueMicrotask,
        after: (delayMs, callback) => void setTimeout(callback, delayMs).unref(),
        settle: (task, result) => this.#settle(task, result),
        discard: (result) => this.#discard(result),
        fail: (task, error) => this.#fail(task, host.encodeError(error)),
        failWith: (task, error) => this.#fail(task, error),
        isRetriable: (task, error) => this.#isRetriable(task, error),
        moveToStore: (task, value) => this.#moveToStore(task, value),
      },
    )
    const counts = (): TaskCounts => {
      const running = this.submitter.pushedCount
      return { running, queued: Math.max(0, this.submitter.pendingCount - running) }
    }
    this.#counter = new TaskCounter(counts, (told) => connection.send('taskCounts', told))
  }

  close(): void {
    this.#counter.close()
  }

  handlers(): MessageHandlers {
    const { submitter } = this
    return {
      leaseGrant: (body) => submitter.onGrant(body),
      leaseRefuse: (body) => submitter.onRefuse(body),
      leaseReclaim: ({ leaseId }) => submitter.onReclaim(leaseId),
      leaseLost: ({ leaseId, reason }) => submitter.onLost(leaseId, reason),
      leaseBlocked: ({ leaseId, isBlocked }) => submitter.onBlocked(leaseId, isBlocked),
      taskHandBack: ({ leaseId, sequences }) => submitter.onHandBack(leaseId, sequences),
      taskCancelOwned: ({ object, force, recursive }) => {
        const record = this.#host.objects.owned.find(object)
        if (record !== undefined) this.cancel(record, { force, recursive })
      },
      taskDone: ({ leaseId, results }) => submitter.onDone(leaseId, results),
      streamItem: ({ sequence, index, value }) => this.#onStreamItem(sequence, index, value),
    }
  }

  /** Submits a call. Throws what can be known at once: a function or an argument that cannot travel. */
  call(remote: RemoteFunction, args: readonly unknown[], options: ResolvedOptions): unknown {
    const { objects, functions, role } = this.#host
    if (this.submitter.pendingCount >= limits.tasksPendingMax) throw tooManyTasks()
    const target = remote.prepare(functions)
    const numReturns = options.numReturns ?? (remote.isGenerator ? 'streaming' : 1)
    const coded = this.#encodeArguments(args)
    const returns: ObjectRecord[] = []
    if (numReturns !== 'streaming') for (let i = 0; i < numReturns; i++) returns.push(objects.owned.create())
    const stream = numReturns === 'streaming' ? new StreamRecord() : undefined
    const task: TaskRecord = {
      sequence: returns[0]?.sequence ?? objects.owned.takeSequence(),
      name: options.name ?? target.name,
      function: target,
      terms: options.terms,
      job: role.job(),
      args: coded.wire,
      argsBytes: wireBytes(coded.wire),
      holds: coded.holds,
      resolvedRefs: coded.resolvedRefs,
      returns,
      stream,
      retryExceptions: options.retryExceptions,
      parent: role.currentTask(),
      retriesLeft: options.maxRetries,
      attempt: 0,
      state: 'waiting',
      leaseId: undefined,
      isCancelled: false,
    }
    for (const record of returns) record.task = task
    if (stream !== undefined) this.#streams.set(task.sequence, stream)
    this.submitter.submit(task)
    this.#counter.wake()
    if (stream !== undefined) return this.#openStream(task, stream)
    if (numReturns === 1) return new ObjectRef(returns[0] as ObjectRecord)
    return returns.map((record) => new ObjectRef(record))
  }

  /** Cancels the task that makes an object of this process; nothing if it is there already. */
  cancel(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void {
    if (record.task !== undefined) this.submitter.cancel(record.task, how)
  }

  #encodeArguments(args: readonly unknown[]): CodedValue & { resolvedRefs: TaskRecord['resolvedRefs'] } {
    let resolvedRefs: { position: number; ref: ObjectRef }[] | undefined
    let plain: unknown[] | undefined
    for (let position = 0; position < args.length; position++) {
      const ref = args[position]
      if (!(ref instanceof ObjectRef)) continue
      plain ??= [...args]
      plain[position] = undefined
      ;(resolvedRefs ??= []).push({ position, ref })
    }
    const { wire, holds } = this.#host.coder.encode(plain ?? args)
    return { wire, holds, resolvedRefs: resolvedRefs ?? noResolvedRefs }
  }

  #settle(task: TaskRecord, result: TaskResult): void {
    this.#freeArguments(task)
    const { status, values } = result
    if (status === 'error' && values[0] !== undefined) {
      this.#spread(task, values[0])
    } else if (status === 'streamEnd') {
      this.#streams.delete(task.sequence)
      task.stream?.finish()
    } else if (status === 'ok' && values.length === task.returns.length) {
      task.returns.forEach((record, i) => this.#settleRecord(record, values[i] as WireValue))
    } else {
      const text = `task ${task.name} gave ${values.length} results where ${task.returns.length} were expected`
      this.#spread(task, this.#host.encodeError(new TaskError(text)))
    }
  }

  #settleRecord(record: ObjectRecord, wire: WireValue): void {
    this.#host.stored.attach(record, wire)
    record.settle(wire, this.#host.objects.adopt(wire))
  }

  #fail(task: TaskRecord, error: WireValue): void {
    this.#freeArguments(task)
    this.#spread(task, error)
  }

  /** One error for all results of a task. */
  #spread(task: TaskRecord, error: WireValue): void {
    this.#streams.delete(task.sequence)
    task.stream?.finish(error)
    for (const record of task.returns) this.#settleRecord(record, error)
  }

  /** A result that came after its task was given up: what it holds is let go. */
  #discard(result: TaskResult): void {
    for (const wire of result.values) {
      this.#host.objects.adopt(wire)
      if (wire.kind === 'stored') this.#host.stored.free(wire.name)
    }
  }

  #freeArguments(task: TaskRecord): void {
    if (task.args.kind === 'stored') this.#host.stored.free(task.args.name)
    for (const name of this.#movedArguments.get(task) ?? []) this.#host.stored.free(name)
    this.#movedArguments.delete(task)
  }

  #moveToStore(task: TaskRecord, value: WireValue): WireValue {
    if (value.kind === 'stored') return value
    const stored = this.#host.coder.toStored(value)
    const names = this.#movedArguments.get(task)
    if (names === undefined) this.#movedArguments.set(task, [stored.name])
    else names.push(stored.name)
    return stored
  }

  #isRetriable(task: TaskRecord, error: WireValue): boolean {
    const { retryExceptions } = task
    if (typeof retryExceptions === 'boolean') return retryExceptions
    if (error.kind === 'stored') return false
    try {
      const decoded = this.#host.coder.decodeNow(error)
      return retryExceptions.some((errorClass) => decoded instanceof errorClass)
    } catch {
      // Of a class that is not known here, so it is none of those named.
      return false
    }
  }

  #openStream(task: TaskRecord, stream: StreamRecord): ObjectRefStream<unknown> {
    const { connection, coder } = this.#host
    const { sequence } = task
    return new ObjectRefStream(stream, {
      refOf: (record) => new ObjectRef(record),
      decodeError: (wire) => coder.decode(wire),
      consumed: (count) => {
        if (task.leaseId !== undefined) connection.send('streamConsumed', { leaseId: task.leaseId, sequence, count })
      },
      stop: () => this.#stopStream(task, stream),
      wait: <T>(promise: Promise<T>) => this.#host.waiting(promise),
    })
  }

  #stopStream(task: TaskRecord, stream: StreamRecord): void {
    if (stream.end !== undefined) return
    stream.finish()
    stream.discard()
    this.#streams.delete(task.sequence)
    this.submitter.cancel(task, { force: false, recursive: true })
  }

  #onStreamItem(sequence: number, index: number, value: WireValue): void {
    const record = this.#host.objects.owned.create()
    this.#settleRecord(record, value)
    this.#streams.get(sequence)?.add(index, record)
  }
}

function tooManyTasks(): TooManyTasksError {
  return new TooManyTasksError(
    `${limits.tasksPendingMax} tasks of this program have no result yet, which is the most that is possible: wait() for some of them before you submit more`,
    { tasksPendingMax: limits.tasksPendingMax },
  )
}

const noResolvedRefs: TaskRecord['resolvedRefs'] = []
