import { ActorDiedError, InvalidArgumentError, NotCloneableError } from '../../protocols/errors.ts'
import type { ActorCall } from '../../protocols/actor-messages.ts'
import type { ClientId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { isPlain, wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import { exitHooks, hasAsyncMethods, hooks } from '../actors/describe-methods.ts'
import type { ActorContext } from '../api/actor-context.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { DirectCallers } from '../direct/direct-callers.ts'
import type { AnyFunction } from '../functions/function-table.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { CodedValue } from '../values/value-coder.ts'
import { CallIntake } from './call-intake.ts'
import { CallQueue } from './call-queue.ts'
import { RunRecorder } from './run-recorder.ts'
import { RunningTask } from './running-task.ts'
import { TaskRunner } from './task-runner.ts'
import type { WorkerOutput } from './worker-output.ts'

/** After this long in user code without a break, the event loop gets a turn before the next call. */
const sliceMs = 5
const resultDelayMs = 0.5
const resultsPerMessageMax = 256
const resultBytesMax = limits.frameBytesMax / 8
/** Calls that run at a time in an actor with async methods, when nothing else is said. */
const asyncConcurrency = 1000
/** How long its exit hooks may take. */
const exitMs = 5000

type LeaseStart = MessageBody<'leaseStart'>
type Holds = readonly ObjectRef[] | undefined

/** Results for one caller that are not sent yet. */
interface Outbox {
  /** Those that go over the line to the caller, if it is still there. */
  direct: TaskResult[]
  /** Those that go through the node, behind what they speak of. */
  results: TaskResult[]
  /** Refs inside of results: they are to live until those are on their way. */
  holds: Holds[]
  bytes: number
}

interface QueuedCall {
  call: ActorCall
  from: ClientId
  /** It has come over a line, and so goes its answer, unless that brings along what others count. */
  isDirect: boolean
  holds: Holds[]
  /** Its caller is gone. */
  isAbandoned?: boolean
}

export interface ActorHostOptions {
  readonly connection: NodeConnection
  readonly runtime: Runtime
  readonly output: WorkerOutput
  /** Whose worker this is. */
  readonly lease: LeaseStart
  readonly start: MessageBody<'actorStart'>
}

type Instance = Record<string | symbol, unknown>

/** The actor that this worker has become: its instance, and the calls that come for it. */
export class ActorHost {
  readonly #connection: NodeConnection
  readonly #runtime: Runtime
  readonly #output: WorkerOutput
  readonly #lease: LeaseStart
  readonly #start: MessageBody<'actorStart'>
  readonly #runner: TaskRunner
  readonly #recorder: RunRecorder
  readonly #outboxes = new Map<ClientId, Outbox>()
  readonly #groups = new Map<string, CallQueue<QueuedCall>>()
  readonly #intake = new CallIntake()
  readonly #callers: DirectCallers
  readonly #groupOfMethod = new Map<string, string>()
  readonly #running = new Set<RunningTask>()
  /** Those that run, by their caller and number: of two tries of one call the later. */
  readonly #runningByCall = new Map<string, RunningTask>()
  #instance: Instance | undefined
  /** Those that wait for others. */
  #waitingCount = 0
  #isBlocked = false
  #sliceEndMs = 0
  #lastSentMs = 0
  #isSendPlanned = false
  /** It is to end, for this reason, when it has done what it was asked for. */
  #ending: { reason: string; isNow: boolean } | undefined
  #hasEnded = false
  readonly context: ActorContext

  constructor({ connection, runtime, output, lease, start }: ActorHostOptions) {
    this.#connection = connection
    this.#output = output
    this.#callers = new DirectCallers({
      connection,
      onPush: (push) => this.#onPush(push, true),
      onCancel: (cancel) => this.onCancel(cancel),
    })
    this.#runtime = runtime
    this.#recorder = new RunRecorder(runtime.calls.runs)
    this.#lease = lease
    this.#start = start
    const { settings, actor } = start
    const { name, namespace, className, restarts } = settings
    this.context = {
      actorId: actor,
      className,
      name,
      namespace,
      restarts,
      wasRestarted: restarts > 0,
      nodeId: connection.welcome.nodeId,
      gpuIds: lease.gpuIds,
    }
    this.#runner = new TaskRunner(runtime, {
      sendItem: (task, index, value) => this.#sendItem(task, index, value),
      beginWait: () => () => undefined,
      encodeResult: ({ caller }, value, share, sequence) => {
        const inlineBytesMax = Math.min(limits.inlineBytesMax, resultBytesMax / share)
        return this.#held(caller, runtime.coder.encode(value, { owner: caller, sequence, inlineBytesMax }))
      },
      dropResults: (values) => runtime.dropValues(values),
      encodeError: ({ caller }, error) => {
        const wire = this.#held(caller, runtime.encodeError(error, caller))
        this.#recorder.failed(wire, error)
        return wire
      },
    })
  }

  /** Runs the constructor. */
  async construct(): Promise<void> {
    const { creation, settings } = this.#start
    const { functions, objects } = this.#runtime
    const holds: Holds[] = [objects.adopt(creation.args, this.#lease.owner)]
    for (const { value } of creation.resolved) holds.push(objects.adopt(value, this.#lease.owner))
    let result: TaskResult
    try {
      const loaded = (await functions.table.load(creation.functionId)) as unknown as new (
        ...args: unknown[]
      ) => Instance
      const construct = async (...args: unknown[]): Promise<void> => {
        const instance = new loaded(...args)
        if (typeof instance['onStart'] === 'function') await (instance['onStart'] as () => unknown)()
        this.#instance = instance
      }
      const task = new RunningTask(creation, this.#lease, holds, this.context.nodeId, construct)
      this.#began(task)
      result = await this.#runner.run(task)
      this.#ended(task, result)
      this.#open(loaded.prototype as object, settings)
    } catch (error) {
      const wire = this.#runtime.encodeError(error, this.#lease.owner).wire
      result = { sequence: creation.sequence, status: 'error', durationUs: 0, values: [wire] }
    }
    for (const value of result.values) objects.lend(value, this.#lease.owner)
    this.#connection.send('actorStarted', { leaseId: this.#lease.leaseId, result })
    this.#connection.flush()
    for (const group of this.#groups.values()) this.#pump(group)
  }

  #open(prototype: object, { maxConcurrency, groups }: MessageBody<'actorStart'>['settings']): void {
    const usual = maxConcurrency > 0 ? maxConcurrency : hasAsyncMethods(prototype) ? asyncConcurrency : 1
    this.#groupFor('').concurrencyMax = usual
    for (const group of groups) {
      this.#groupFor(group.name).concurrencyMax = group.maxConcurrency
      for (const method of group.methods) this.#groupOfMethod.set(method, group.name)
    }
  }

  #groupFor(name: string): CallQueue<QueuedCall> {
    let group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, (group = new CallQueue()))
    return group
  }

  /** Calls have come through the node. */
  onPush(push: MessageBody<'actorPush'>): void {
    this.#onPush(push, false)
  }

  onMeet(meet: MessageBody<'actorMeet'>): void {
    this.#callers.onMeet(meet)
  }

  #onPush({ from, actor, handle, calls }: MessageBody<'actorPush'>, isDirect: boolean): void {
    const { objects } = this.#runtime
    for (const call of calls) {
      const { args, resolved } = call.task
      const holds: Holds[] = [objects.adopt(args, from)]
      for (const { value } of resolved) holds.push(objects.adopt(value, from))
      if (!this.#intake.isNew(from, handle, call.task)) continue
      if (actor !== this.#start.actor || this.#hasEnded || this.#ending?.isNow === true) {
        this.#refuse({ call, from, isDirect, holds }, this.#endedError())
        continue
      }
      const name = call.group === '' ? (this.#groupOfMethod.get(call.method) ?? '') : call.group
      const group = this.#groups.get(name)
      if (group === undefined && this.#instance !== undefined) {
        const text = `actor ${this.context.className} has no concurrency group '${name}'`
        this.#refuse({ call, from, isDirect, holds }, new InvalidArgumentError(text, { concurrencyGroup: name }))
      } else (group ?? this.#groupFor(name)).waiting.push({ call, from, isDirect, holds })
    }
    for (const group of this.#groups.values()) this.#pump(group)
  }

  #endedError(): ActorDiedError {
    const { className, actorId: actor } = this.context
    const reason = this.#ending?.reason ?? 'its worker runs another actor'
    return new ActorDiedError(`actor ${className} is dead: ${reason}`, { details: { actor, reason } })
  }

  /** Starts what may run. */
  #pump(group: CallQueue<QueuedCall>): void {
    if (this.#instance === undefined || group.isPumping) return
    group.isPumping = true
    this.#sliceEndMs = Math.max(this.#sliceEndMs, performance.now())
    while (group.mayStart && this.#ending?.isNow !== true) {
      const next = group.waiting.shift() as QueuedCall
      this.#begin(group, next)
      const nowMs = performance.now()
      if (nowMs - this.#lastSentMs > resultDelayMs) this.send()
      if (nowMs - this.#sliceEndMs > sliceMs && group.mayStart) {
        setImmediate(() => {
          group.isPumping = false
          this.#sliceEndMs = performance.now()
          this.#pump(group)
        })
        this.send()
        return
      }
    }
    group.isPumping = false
    this.#sendSoon()
    this.#endIfDone()
    if (this.#running.size === 0) this.#runtime.onIdle()
  }

  #begin(group: CallQueue<QueuedCall>, queued: QueuedCall): void {
    const { call, from, isDirect, holds } = queued
    const method = this.#methodOf(call.method)
    if (method === undefined) {
      const text = `actor ${this.context.className} has no method ${call.method}`
      this.#refuse(queued, new InvalidArgumentError(text, { method: call.method }))
      return
    }
    const { job, depth, gpuIds } = this.#lease
    const lease = { owner: from, job, depth, gpuIds, group: this.#start.creation.group }
    const task = new RunningTask(call.task, lease, holds, this.context.nodeId, method)
    if (queued.isAbandoned === true) task.abandon()
    this.#began(task)
    const outcome = this.#runner.run(task, group.starts)
    if (!(outcome instanceof Promise)) {
      this.#ended(task, outcome)
      this.#add(from, outcome, isDirect)
      return
    }
    group.running++
    void outcome.then((result) => {
      group.running--
      this.#ended(task, result)
      this.#add(from, result, isDirect)
      if (group.isPumping) this.#sendSoon()
      else this.#pump(group)
    })
  }

  #methodOf(name: string): AnyFunction | undefined {
    const instance = this.#instance as Instance
    if (name === 'constructor' || hooks.has(name) || name in Object.prototype) return undefined
    const method = instance[name]
    return typeof method === 'function' ? (...args) => Reflect.apply(method, instance, args) as unknown : undefined
  }

  #refuse({ call, from, isDirect }: QueuedCall, error: Error): void {
    const { sequence } = call.task
    const values = [this.#runtime.encodeError(error, from).wire]
    this.#add(from, { sequence, status: 'error', durationUs: 0, values }, isDirect)
    this.#sendSoon()
  }

  /**
   * Callers have gone: nobody takes what their calls give. Who waits in one for something that he would take along is told
   * by its signal. All else of them is done: a program may leave when it has said what is to be done.
   */
  callersGone(isGone: (caller: ClientId) => boolean): void {
    this.#intake.forget(isGone)
    for (const group of this.#groups.values()) {
      for (const queued of group.meant(({ from }) => isGone(from))) queued.isAbandoned = true
    }
    for (const task of this.#running) if (isGone(task.caller)) task.abandon()
  }

  onConsumed({ from, sequence, count }: MessageBody<'actorConsumed'>): void {
    this.#runningByCall.get(callKey(from, sequence))?.stream?.onConsumed(count)
  }

  onCancel({ from, sequence, recursive }: MessageBody<'actorCancel'>): void {
    const running = this.#runningByCall.get(callKey(from, sequence))
    running?.cancel()
    if (running !== undefined && recursive) this.#runtime.cancelChildren(running)
    // It may be here twice, when its caller has taken it for lost.
    for (const group of this.#groups.values()) {
      for (const { isDirect } of group.remove((each) => each.from === from && each.call.task.sequence === sequence)) {
        // The caller counts it as being here until it is answered.
        this.#add(from, { sequence, status: 'cancelled', durationUs: 0, values: [] }, isDirect)
        this.#sendSoon()
      }
    }
    this.#endIfDone()
  }

  // --- results

  #held(caller: ClientId, { wire, holds }: CodedValue): WireValue {
    if (holds !== undefined) this.#outboxFor(caller).holds.push(holds)
    return wire
  }

  #outboxFor(caller: ClientId): Outbox {
    let outbox = this.#outboxes.get(caller)
    if (outbox === undefined) this.#outboxes.set(caller, (outbox = { direct: [], results: [], holds: [], bytes: 0 }))
    return outbox
  }

  #add(caller: ClientId, result: TaskResult, isDirect: boolean): void {
    const { objects } = this.#runtime
    let bytes = 0
    for (const value of result.values) bytes += wireBytes(value)
    let kept = result
    if (bytes > resultBytesMax * 4) {
      this.#runtime.dropValues(result.values)
      const text = `the results of a call take ${bytes} bytes in their message: there are too many ObjectRefs in them`
      const error = this.#runtime.encodeError(new NotCloneableError(text), caller).wire
      kept = { ...result, status: 'error', values: [error] }
      bytes = wireBytes(error)
    }
    for (const value of kept.values) objects.lend(value, caller)
    const outbox = this.#outboxFor(caller)
    const results = isDirect && kept.values.every(isPlain) ? outbox.direct : outbox.results
    results.push(kept)
    outbox.bytes += bytes
    if (results.length >= resultsPerMessageMax || outbox.bytes >= resultBytesMax) this.send()
  }

  #sendSoon(): void {
    if (this.#isSendPlanned) return
    this.#isSendPlanned = true
    queueMicrotask(() => {
      this.#isSendPlanned = false
      this.send()
    })
  }

  /** Sends the results that are here. */
  send(): void {
    const from = this.#connection.welcome.clientId
    this.#lastSentMs = performance.now()
    if (this.#outboxes.size === 0) return
    // The node is to have what was printed before it has the result.
    const { hasPrinted } = this.#output
    // What runs still may have printed it, and its result is to come behind it as well.
    if (this.#running.size === 0) this.#output.hasPrinted = false
    for (const [to, { direct, results }] of this.#outboxes) {
      const isSent = direct.length === 0 || (!hasPrinted && this.#callers.send(to, direct))
      if (!isSent) this.#connection.send('actorDone', { to, from, results: direct })
      if (results.length > 0) this.#connection.send('actorDone', { to, from, results })
    }
    this.#outboxes.clear()
    this.#connection.flush()
    if (this.#running.size === 0) this.#callers.rest()
  }

  #sendItem({ caller: to, spec }: RunningTask, index: number, value: WireValue): void {
    this.#runtime.objects.lend(value, to)
    const from = this.#connection.welcome.clientId
    this.#connection.send('actorItem', { to, from, sequence: spec.sequence, index, value })
    const { direct, results } = this.#outboxFor(to)
    if (direct.length + results.length === 0) this.#outboxes.delete(to)
    this.#connection.flush()
  }

  // --- waiting

  /** A call of it waits for others. When all that run do, the actor's CPUs are free meanwhile. */
  beginWait(task: RunningTask): () => void {
    // Code that a finished call left behind waits on nobody's account.
    if (!this.#running.has(task)) return () => undefined
    if (task.waits++ === 0) {
      this.#waitingCount++
      this.send()
      this.#tellBlocked()
    }
    return () => {
      if (--task.waits > 0 || !this.#running.has(task)) return
      this.#waitingCount--
      this.#tellBlocked()
    }
  }

  #began(task: RunningTask): void {
    this.#running.add(task)
    const key = callKey(task.caller, task.spec.sequence)
    // Of an earlier try nobody takes the items any more.
    this.#runningByCall.get(key)?.stream?.stop()
    this.#runningByCall.set(key, task)
  }

  /** A call has ended; it may have left a get() behind that nobody awaits. */
  #ended(task: RunningTask, result: TaskResult): void {
    this.#running.delete(task)
    const key = callKey(task.caller, task.spec.sequence)
    if (this.#runningByCall.get(key) === task) this.#runningByCall.delete(key)
    this.#recorder.ended(task, result, performance.now())
    if (task.waits > 0) this.#waitingCount--
    if (this.#isBlocked || this.#waitingCount > 0) this.#tellBlocked()
  }

  #tellBlocked(): void {
    const isBlocked = this.#running.size > 0 && this.#waitingCount === this.#running.size
    if (isBlocked === this.#isBlocked) return
    this.#isBlocked = isBlocked
    this.#connection.send('leaseBlocked', { leaseId: this.#lease.leaseId, isBlocked })
  }

  // --- the end

  /** Ends the actor: at once, or when it has done what it was asked for. */
  exit(reason: string, isNow: boolean): void {
    this.#ending ??= { reason, isNow }
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#ending === undefined || this.#hasEnded || this.#running.size > 0) return
    const isIdle = this.#ending.isNow || [...this.#groups.values()].every(({ waiting }) => waiting.length === 0)
    if (!isIdle) return
    this.#hasEnded = true
    void this.#end(this.#ending.reason)
  }

  async #end(reason: string): Promise<void> {
    for (const group of this.#groups.values()) {
      for (const call of group.waiting.drain()) this.#refuse(call, this.#endedError())
    }
    await Promise.race([this.#runExitHooks(), new Promise((resolve) => setTimeout(resolve, exitMs))])
    this.send()
    // Nothing that was answered may come behind the news of its end.
    await this.#callers.close()
    this.#connection.send('actorEnded', { leaseId: this.#lease.leaseId, reason })
    this.#connection.flush()
  }

  async #runExitHooks(): Promise<void> {
    const instance = this.#instance
    if (instance === undefined) return
    for (const hook of exitHooks) {
      const method = instance[hook]
      if (typeof method !== 'function') continue
      try {
        await (Reflect.apply(method, instance, []) as unknown)
      } catch (error) {
        process.stderr.write(`${String(hook)} of actor ${this.context.className} has failed: ${String(error)}\n`)
      }
    }
  }
}

function callKey(from: ClientId, sequence: number): string {
  return `${from} ${sequence}`
}
