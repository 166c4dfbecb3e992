import { TooManyTasksError } from '../../protocols/errors.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { RemoteFunction } from '../api/remote-function.ts'
import type { ResolvedOptions } from '../api/task-options.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { FunctionTable } from '../functions/function-table.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { anotherRef, ObjectRef, recordOf } from '../objects/object-ref.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { leaseRequest } from '../tasks/lease-request.ts'
import { LineageBook } from '../tasks/lineage-book.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { TaskCounter, type TaskCounts } from '../tasks/task-counter.ts'
import { RunLog, unfinishedRun, wallOffset } from '../tasks/run-log.ts'
import { TaskSubmitter } from '../tasks/task-submitter.ts'
import type { CodedValue, ValueCoder } from '../values/value-coder.ts'
import type { ObjectExchange } from './object-exchange.ts'
import { ObjectNews } from './object-news.ts'
import { ObjectRefStream, type StreamHost } from './object-ref-stream.ts'
import { Recovery } from './recovery.ts'
import type { RuntimeRole } from './runtime.ts'
import type { StoredValues } from './stored-values.ts'
import { TaskResults } from './task-results.ts'

export interface TaskCallsHost {
  readonly connection: NodeConnection
  readonly role: RuntimeRole
  readonly objects: ObjectExchange
  readonly functions: FunctionTable
  readonly coder: ValueCoder
  readonly stored: StoredValues
  readonly store: ObjectStore
  encodeError(error: unknown): WireValue
  /** Has a large value kept on so many nodes. */
  replicate(record: ObjectRecord, wire: WireValue, replicas: number): void
  /** Cancels whatever makes an object of this process. */
  cancelOwn(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void
  /** Calls of actors: those without a result, and those of them that are with their actors. */
  callCounts(): { pending: number; running: number }
  waiting<T>(promise: Promise<T>): Promise<T>
}

interface CodedArguments extends CodedValue {
  resolvedRefs: TaskRecord['resolvedRefs']
}

/** Calls of remote functions: from the arguments to a task, and from its results to objects. */
export class TaskCalls {
  readonly submitter: TaskSubmitter
  readonly recovery: Recovery
  readonly results: TaskResults
  readonly runs: RunLog
  readonly #host: TaskCallsHost
  readonly #counter: TaskCounter
  readonly lineages: LineageBook
  readonly #streams = new Map<number, TaskRecord>()
  #noArguments: CodedArguments | undefined

  constructor(host: TaskCallsHost) {
    this.#host = host
    const { connection, role, objects, encodeError } = host
    const owner = connection.welcome.clientId
    const after = (delayMs: number, callback: () => void): void => void setTimeout(callback, delayMs).unref()
    const news = new ObjectNews(after, (told) => connection.send('objectNews', told))
    this.runs = new RunLog({
      wallOffsetMs: wallOffset(),
      after,
      send: (told) => connection.send('taskRuns', told),
    })
    const free = (name: string): void => host.stored.free(name)
    const lineages = (this.lineages = new LineageBook({ bytesMax: limits.lineageBytesMax, free }))
    this.recovery = new Recovery({
      lineages,
      probe: async ({ name, bytes, ...whose }) => (await host.store.read(name, bytes, whose, 'get')).close(),
      submit: (task) => this.#submit(task),
      free,
      encodeError,
      defer: queueMicrotask,
      tell: (what, record, reason) => news.tell(what, record.id, reason),
    })
    this.results = new TaskResults({
      lineages,
      recovery: this.recovery,
      encodeError,
      adopt: (wire, lender) => objects.adopt(wire, lender),
      create: () => objects.owned.create(),
      attach: (record, wire) => host.stored.attach(record, wire),
      replicate: (record, wire, replicas) => host.replicate(record, wire, replicas),
      free,
      weakly: (record) => new WeakRef(record),
      recreate: (sequence) => {
        const record = objects.owned.recreate(sequence)
        record.fetch = () => this.recovery.remake(record)
        return record
      },
    })
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, terms, job, label) =>
          connection.send(
            'leaseRequest',
            leaseRequest(requestId, terms, { label, job, depth: role.depth(), isActor: false }),
          ),
        cancelRequest: (requestId) => connection.send('leaseCancel', { requestId }),
        returnLease: (leaseId) => connection.send('leaseReturn', { leaseId }),
        killLease: (leaseId, reason) => connection.send('leaseKill', { leaseId, reason }),
        push: ({ id: leaseId, worker }, tasks) => {
          for (const { args, resolved } of tasks) {
            objects.lend(args, worker)
            for (const { value } of resolved) objects.lend(value, worker)
          }
          connection.send('taskPush', { leaseId, tasks })
        },
        cancelTask: (leaseId, sequence, recursive) => connection.send('taskCancel', { leaseId, sequence, recursive }),
      },
      {
        // What a task leases for its own tasks keeps others from the CPUs while the task itself goes on.
        idleLeaseMs: role.kind === 'driver' ? 300 : 0,
        nowMs: () => performance.now(),
        defer: queueMicrotask,
        after,
        settle: (task, result, worker) => {
          this.#streams.delete(task.sequence)
          this.results.settle(task, result, worker)
        },
        discard: ({ values }, worker) => {
          for (const value of values) this.results.drop(value, worker)
        },
        fail: (task, error) => {
          this.#streams.delete(task.sequence)
          this.runs.add(unfinishedRun(task, { owner, error, nowMs: performance.now() }))
          this.results.fail(task, error)
        },
        failWith: (task, argument) => {
          this.#streams.delete(task.sequence)
          this.runs.add(unfinishedRun(task, { owner, nowMs: performance.now() }))
          this.results.failWith(task, argument)
        },
        isRetriable: (task, error) => this.isRetriable(task, error),
        named: (argument) => this.named(argument),
        streamPart: (task, stream) => this.recovery.streamPart(task, stream),
        moveToStore: (task, value) => this.moveToStore(task, value),
      },
    )
    const counts = (): TaskCounts => {
      const { actors, submitter } = { actors: host.callCounts(), submitter: this.submitter }
      const running = submitter.pushedCount + actors.running
      return { running, queued: Math.max(0, submitter.pendingCount + actors.pending - running) }
    }
    this.#counter = new TaskCounter(counts, (told) => connection.send('taskCounts', told))
  }

  /** The value of an argument goes off as a name: whoever cannot read it will ask by its id. */
  named(argument: ObjectRecord): void {
    const { objects } = this.#host
    if (objects.isOwn(argument.id)) objects.owned.share(argument)
  }

  /** There is a new call. */
  wakeCounter(): void {
    this.#counter.wake()
  }

  collectGarbage(): void {
    this.#host.stored.collectGarbage()
  }

  close(): void {
    this.#counter.close()
    this.runs.flush()
  }

  handlers(): MessageHandlers {
    const { submitter } = this
    return {
      leaseReclaim: ({ leaseId }) => submitter.onReclaim(leaseId),
      leaseBlocked: ({ leaseId, isBlocked }) => submitter.onBlocked(leaseId, isBlocked),
      taskHandBack: ({ leaseId, sequences }) => submitter.onHandBack(leaseId, sequences),
      taskCancelOwned: ({ object, force, recursive }) => {
        const record = this.#host.objects.owned.find(object)
        if (record !== undefined) this.#host.cancelOwn(record, { force, recursive })
      },
      taskDone: ({ leaseId, results }) => submitter.onDone(leaseId, results),
      streamItem: (body) => this.#onStreamItem(body),
    }
  }

  /** Submits a call. Throws what can be known at once: a function or an argument that cannot travel. */
  call(remote: RemoteFunction, args: readonly unknown[], options: ResolvedOptions): unknown {
    const { objects, functions, role } = this.#host
    if (this.submitter.pendingCount >= limits.tasksPendingMax) throw tooManyTasks()
    const target = remote.prepare(functions)
    const numReturns = options.numReturns ?? (remote.isGenerator ? 'streaming' : 1)
    const coded = this.encodeArguments(args)
    const returns: ObjectRecord[] = []
    if (numReturns !== 'streaming') for (let i = 0; i < numReturns; i++) returns.push(objects.owned.create())
    const stream = numReturns === 'streaming' ? new StreamRecord() : undefined
    const task: TaskRecord = {
      sequence: returns[0]?.sequence ?? objects.owned.takeSequence(),
      name: options.name ?? target.name,
      function: target,
      terms: options.terms,
      call: undefined,
      job: role.job(),
      args: coded.wire,
      argsBytes: wireBytes(coded.wire),
      holds: coded.holds,
      resolvedRefs: coded.resolvedRefs,
      returns,
      stream,
      retryExceptions: options.retryExceptions,
      replicas: options.replicas,
      parent: role.currentTask(),
      sinceMs: 0,
      retriesLeft: options.maxRetries,
      attempt: 0,
      state: 'waiting',
      leaseId: undefined,
      isCancelled: false,
      lineage: undefined,
    }
    for (const record of returns) record.task = task
    this.#submit(task)
    if (stream !== undefined) return this.#openStream(task, stream)
    if (numReturns === 1) return new ObjectRef(returns[0] as ObjectRecord)
    return returns.map((record) => new ObjectRef(record))
  }

  #submit(task: TaskRecord): void {
    if (task.stream !== undefined) this.#streams.set(task.sequence, task)
    this.submitter.submit(task)
    this.#counter.wake()
  }

  /** Cancels the task that makes an object of this process; nothing if it is there already. */
  cancel(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void {
    if (record.task !== undefined) this.submitter.cancel(record.task, how)
  }

  encodeArguments(args: readonly unknown[]): CodedArguments {
    if (args.length === 0)
      return (this.#noArguments ??= { ...this.#host.coder.encode([]), resolvedRefs: noResolvedRefs })
    let resolvedRefs: { position: number; ref: ObjectRef }[] | undefined
    let plain: unknown[] | undefined
    for (let position = 0; position < args.length; position++) {
      const ref = args[position]
      if (!(ref instanceof ObjectRef)) continue
      plain ??= [...args]
      plain[position] = undefined
      recordOf(ref).noteUse(ref)
      ;(resolvedRefs ??= []).push({ position, ref: anotherRef(ref) })
    }
    const { wire, holds } = this.#host.coder.encode(plain ?? args)
    return { wire, holds, resolvedRefs: resolvedRefs ?? noResolvedRefs }
  }

  moveToStore(task: TaskRecord, value: WireValue): WireValue {
    if (value.kind === 'stored') return value
    const stored = this.#host.coder.toStored(value)
    this.results.moved(task, stored.name)
    return stored
  }

  isRetriable(task: TaskRecord, error: WireValue): boolean {
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
    return this.streamOf(stream, {
      consumed: (count) => this.#consumed(task, count),
      stop: () => this.#stopStream(task, stream),
    })
  }

  /** What a caller gets of a stream of results. */
  streamOf(stream: StreamRecord, host: Pick<StreamHost, 'consumed' | 'stop'>): ObjectRefStream<unknown> {
    const { coder } = this.#host
    return new ObjectRefStream(stream, {
      ...host,
      refOf: (record) => new ObjectRef(record),
      decodeError: (wire) => coder.decode(wire),
      wait: <T>(promise: Promise<T>) => this.#host.waiting(promise),
    })
  }

  #stopStream(task: TaskRecord, stream: StreamRecord): void {
    // The task may be kept, for items that are lost later.
    stream.discard()
    if (stream.end !== undefined) return
    stream.finish()
    this.#streams.delete(task.sequence)
    this.submitter.cancel(task, { force: false, recursive: true })
  }

  #onStreamItem({ leaseId, sequence, index, value }: MessageBody<'streamItem'>): void {
    const worker = this.submitter.workerOf(leaseId)
    const task = this.#streams.get(sequence)
    if (worker === undefined || task?.stream === undefined || task.leaseId !== leaseId) {
      this.results.drop(value, worker)
      return
    }
    const { stream } = task
    const isAgain = index < stream.received
    this.results.settleItem(task, stream, index, value, worker)
    // Nobody takes these from the stream, so it is not for its consumer to let the producer go on.
    if (isAgain) this.#consumed(task, Math.max(index + 1, stream.consumed))
  }

  /** Lets the producer of a stream go on. */
  #consumed({ leaseId, sequence }: TaskRecord, count: number): void {
    if (leaseId !== undefined) this.#host.connection.send('streamConsumed', { leaseId, sequence, count })
  }
}

function tooManyTasks(): TooManyTasksError {
  return new TooManyTasksError(
    `${limits.tasksPendingMax} tasks of this program have no result yet, which is the most that is possible: wait() for some of them before you submit more`,
    { tasksPendingMax: limits.tasksPendingMax },
  )
}

const noResolvedRefs: TaskRecord['resolvedRefs'] = []
