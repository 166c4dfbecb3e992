import { ActorDiedError, PendingCallsLimitError, TooManyTasksError } from '../../protocols/errors.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { RemoteClass } from '../api/remote-class.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { FunctionTable } from '../functions/function-table.ts'
import { engineCollector } from '../objects/collector.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import type { ObjectExchange } from '../runtime/object-exchange.ts'
import type { ObjectRefStream } from '../runtime/object-ref-stream.ts'
import type { RuntimeRole } from '../runtime/runtime.ts'
import type { TaskCalls } from '../runtime/task-calls.ts'
import { leaseTerms, type LeaseTerms } from '../tasks/lease-terms.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import type { ValueCoder } from '../values/value-coder.ts'
import { createHandle, partsOf, type ActorDescription, type ActorHandle, type BoundMethod } from './actor-handle.ts'
import { ActorLink, type ActorLinkHost, type ActorStatus } from './actor-link.ts'
import { refuseUnbuilt, type ResolvedActorOptions } from './actor-options.ts'
import { OwnedActors } from './owned-actors.ts'

export interface ActorsHost {
  readonly connection: NodeConnection
  readonly role: RuntimeRole
  readonly objects: ObjectExchange
  readonly functions: FunctionTable
  readonly coder: ValueCoder
  readonly calls: TaskCalls
  encodeError(error: unknown): WireValue
}

/** The leases of calls are those of their actors. */
const noTerms: LeaseTerms = leaseTerms({}, {})
/** When a program has actors and does nothing, its engine looks so soon for handles that are gone, then less and less often. */
const collectAfterMs = 1000
const collectAfterMsMax = 30_000

/** Actors, as one process has to do with them: those that it makes, and the calls that it makes of any. */
export class Actors {
  readonly owned: OwnedActors
  readonly #host: ActorsHost
  readonly #links = new Map<ObjectId, ActorLink>()
  readonly #linkOfCall = new Map<number, ActorLink>()
  readonly #linkHost: ActorLinkHost
  readonly #onHandlesGone = engineCollector.onCollected<ObjectId>((id) => this.#handlesGone(id))
  #collectTimer: NodeJS.Timeout | undefined
  #collectMs = collectAfterMs

  constructor(host: ActorsHost) {
    this.#host = host
    const { connection, role, objects, calls } = host
    const from = connection.welcome.clientId
    const after = (delayMs: number, callback: () => void): void => void setTimeout(callback, delayMs).unref()
    const specHost = {
      named: (argument: ObjectRecord) => calls.named(argument),
      streamPart: (task: TaskRecord, stream: StreamRecord) => calls.recovery.streamPart(task, stream),
      moveToStore: (task: TaskRecord, value: WireValue) => calls.moveToStore(task, value),
    }
    this.owned = new OwnedActors({
      ...specHost,
      requestLease: (requestId, terms, task) =>
        connection.send('leaseRequest', {
          requestId,
          resources: { ...terms.resources },
          strategy: terms.strategy,
          envVars: { ...terms.envVars },
          envKey: terms.envKey,
          depth: role.depth(),
          label: task.name,
          job: task.job,
          isRetriable: false,
          isActor: true,
        }),
      cancelRequest: (requestId) => connection.send('leaseCancel', { requestId }),
      returnLease: (leaseId) => connection.send('leaseReturn', { leaseId }),
      killLease: (leaseId, reason) => connection.send('leaseKill', { leaseId, reason }),
      start: (leaseId, worker, actor, creation, settings) => {
        objects.lend(creation.args, worker)
        for (const { value } of creation.resolved) objects.lend(value, worker)
        connection.send('actorStart', { leaseId, actor, creation, settings })
      },
      end: (leaseId) => connection.send('actorEnd', { leaseId }),
      after,
      nowMs: () => performance.now(),
      tell: (watcher, actor, { error, ...status }) =>
        connection.send('actorState', {
          to: watcher,
          from,
          actor,
          ...status,
          error: error === undefined ? [] : [error],
        }),
      onStatus: (actor, status) => this.#links.get(actor)?.onStatus(status),
      encodeError: (error) => host.encodeError(error),
      decodeError: async (error, worker) => {
        if (worker !== '') objects.adopt(error, worker)
        try {
          return await host.coder.decode(error)
        } catch (failure) {
          return failure
        } finally {
          if (error.kind === 'stored' && worker !== '') calls.results.drop(error, undefined)
        }
      },
      discard: (result, worker) => this.#discard(result, worker),
      onDead: ({ creation }) => {
        creation.holds = undefined
        creation.resolvedRefs = []
        if (creation.args.kind === 'stored') calls.results.drop(creation.args, undefined)
      },
    })
    this.#linkHost = {
      ...specHost,
      push: (worker, target, actorCalls) => {
        for (const { task } of actorCalls) {
          objects.lend(task.args, worker)
          for (const { value } of task.resolved) objects.lend(value, worker)
        }
        connection.send('actorPush', { to: worker, from, requestId: 0, actor: target, calls: actorCalls })
      },
      cancelCall: (to, sequence, recursive) => connection.send('actorCancel', { to, from, sequence, recursive }),
      watch: (actor) => this.#watch(actor),
      defer: queueMicrotask,
      after,
      nowMs: () => performance.now(),
      settle: (task, result, worker) => {
        this.#linkOfCall.delete(task.sequence)
        calls.results.settle(task, result, worker)
      },
      discard: (result, worker) => this.#discard(result, worker),
      fail: (task, error) => {
        this.#linkOfCall.delete(task.sequence)
        calls.results.fail(task, error)
      },
      failAs: (task, error) => {
        this.#linkOfCall.delete(task.sequence)
        calls.results.failAs(task, error)
      },
      failWith: (task, argument) => {
        this.#linkOfCall.delete(task.sequence)
        calls.results.failWith(task, argument)
      },
      isRetriable: (task, error) => calls.isRetriable(task, error),
    }
  }

  /** Calls of actors that have no result yet. */
  get pendingCount(): number {
    return this.#linkOfCall.size
  }

  /** Those calls, by the worker that their actor is on. */
  *calls(): Generator<{ worker: ClientId; calls: Iterable<TaskRecord>; count: number; sentCount: number }> {
    for (const link of this.#links.values()) {
      const { worker, pendingCount: count, pushedCount: sentCount } = link
      yield { worker, calls: link.calls(), count, sentCount }
    }
  }

  /** Those of them that are with their actors. */
  get pushedCount(): number {
    let count = 0
    for (const link of this.#links.values()) count += link.pushedCount
    return count
  }

  handlers(): MessageHandlers {
    const { owned } = this
    return {
      actorStarted: (body) => owned.onStarted(body),
      actorEnded: (body) => owned.onEnded(body),
      actorWatch: ({ from, actor }) => owned.watch(actor, from),
      actorUnwatch: ({ from, actor }) => owned.unwatch(actor, from),
      actorKill: ({ from, actor, mayRestart }) => owned.kill(actor, mayRestart, `it was killed (by client ${from})`),
      actorState: (body) => this.#onState(body),
      actorDone: ({ from, results }) => this.#onDone(from, results),
      actorItem: (body) => this.#onItem(body),
    }
  }

  #onState({ actor, from, error: [error], ...status }: MessageBody<'actorState'>): void {
    if (from !== ownerOf(actor)) return
    const { state, worker, incarnation, target, reason } = status
    this.#links.get(actor)?.onStatus({ state, worker, incarnation, target, reason, error })
  }

  #onDone(worker: ClientId, results: readonly TaskResult[]): void {
    // As a rule all are of one actor.
    let link: ActorLink | undefined
    let some: TaskResult[] = []
    for (const result of results) {
      // One that was cancelled has its error already; its link still counts it as being with the actor.
      const next = this.#linkOfCall.get(result.sequence) ?? this.#linkTo(worker)
      if (next !== link && some.length > 0) {
        this.#deliver(link, worker, some)
        some = []
      }
      link = next
      some.push(result)
    }
    this.#deliver(link, worker, some)
  }

  #deliver(link: ActorLink | undefined, worker: ClientId, results: readonly TaskResult[]): void {
    if (link !== undefined) link.onDone(worker, results)
    else for (const result of results) this.#discard(result, worker)
  }

  #linkTo(worker: ClientId): ActorLink | undefined {
    for (const link of this.#links.values()) if (link.worker === worker) return link
    return undefined
  }

  #onItem({ from, sequence, index, value }: MessageBody<'actorItem'>): void {
    const { results } = this.#host.calls
    const task = this.#linkOfCall.get(sequence)?.streaming(from, sequence)
    if (task?.stream === undefined) {
      results.drop(value, from)
      return
    }
    const { stream } = task
    const isAgain = index < stream.received
    results.settleItem(task, stream, index, value, from)
    if (isAgain) this.#consumed(task, Math.max(index + 1, stream.consumed))
  }

  #consumed({ sequence }: TaskRecord, count: number): void {
    const { connection } = this.#host
    const worker = this.#linkOfCall.get(sequence)?.worker ?? ''
    if (worker === '') return
    connection.send('actorConsumed', { to: worker, from: connection.welcome.clientId, sequence, count })
  }

  #discard({ values }: TaskResult, worker: ClientId | undefined): void {
    for (const value of values) this.#host.calls.results.drop(value, worker)
  }

  // --- who is gone

  clientGone(client: ClientId): void {
    this.owned.watchersGone((each) => each === client)
    this.#onGone((each) => each === client, false, `its owner (client ${client}) has ended`)
  }

  nodeGone(node: NodeId, reason: string): void {
    this.owned.watchersGone((each) => nodeOf(each) === node)
    this.#onGone((each) => nodeOf(each) === node, true, `the node of its owner (${node}) is gone: ${reason}`)
  }

  #onGone(isGone: (client: ClientId) => boolean, isUnreachable: boolean, reason: string): void {
    for (const link of this.#links.values()) {
      if (isGone(ownerOf(link.actor))) link.onStatus(this.#ownerGone(link, reason))
      else if (link.worker !== '' && isGone(link.worker)) link.onGone(link.worker, isUnreachable)
    }
  }

  #ownerGone({ actor, name }: ActorLink, reason: string): ActorStatus {
    const died = new ActorDiedError(`actor ${name} is dead: ${reason}`, { details: { actor, name, reason } })
    const error = this.#host.encodeError(died)
    return { state: 'dead', worker: '', incarnation: 0xffff_ffff, target: actor, reason, error }
  }

  /** A message to a worker, or to an owner of actors, has not arrived: its receiver is gone. */
  undeliverable(client: ClientId): void {
    for (const link of this.#links.values()) {
      if (ownerOf(link.actor) === client) {
        link.onStatus(this.#ownerGone(link, `its owner (client ${client}) has ended, or cannot be reached`))
      } else if (link.worker === client) link.onUndeliverable(client)
    }
  }

  // --- making actors

  create(remote: RemoteClass, args: readonly unknown[], options: ResolvedActorOptions): ActorHandle {
    const { objects, functions, calls, role } = this.#host
    refuseUnbuilt(options)
    const target = remote.prepare(functions)
    const coded = calls.encodeArguments(args)
    const life = objects.owned.create()
    // A class without a name has the one of what it was assigned to, which is known when it has been captured.
    const className = target.name
    const description = { ...this.#describe(remote, options), className }
    const creation: TaskRecord = {
      sequence: life.sequence,
      name: className,
      function: target,
      terms: options.terms,
      call: undefined,
      job: role.job(),
      args: coded.wire,
      argsBytes: wireBytes(coded.wire),
      holds: coded.holds,
      resolvedRefs: coded.resolvedRefs,
      // One, of which only the error counts.
      returns: [undefined],
      stream: undefined,
      retryExceptions: false,
      replicas: 1,
      parent: undefined,
      sinceMs: Math.round(performance.now()),
      retriesLeft: 0,
      attempt: 0,
      state: 'waiting',
      leaseId: undefined,
      isCancelled: false,
      lineage: undefined,
    }
    const { name, namespace, maxConcurrency, groups } = options
    const settings = { name, namespace, className, maxConcurrency, groups }
    const { id } = life
    const { hasExitHook } = description
    const made = { id, name: name === '' ? className : name, settings, hasExitHook }
    this.owned.create(creation, made, options.maxRestarts)
    this.#onHandlesGone(life, id)
    this.#collectMs = collectAfterMs
    this.#planCollection()
    return createHandle({ id, life: new ObjectRef(life), description })
  }

  #describe(remote: RemoteClass, options: ResolvedActorOptions): ActorDescription {
    const { name, namespace, isDetached, maxTaskRetries, maxPendingCalls } = options
    return { ...remote.describeMethods(), name, namespace, isDetached, maxTaskRetries, maxPendingCalls }
  }

  /** The handle that another process described. */
  revive(id: ObjectId, description: ActorDescription): ActorHandle {
    return createHandle({ id, life: this.#host.objects.acquireRef(id), description })
  }

  kill(handle: ActorHandle, mayRestart: boolean): void {
    const { connection } = this.#host
    const { id } = partsOf(handle)
    const from = connection.welcome.clientId
    if (ownerOf(id) === from) this.owned.kill(id, mayRestart, 'it was killed by kill()')
    else connection.send('actorKill', { to: ownerOf(id), from, actor: id, mayRestart })
  }

  /** True when it is known here that the actor is dead. */
  isDead(handle: ActorHandle): boolean {
    const { id } = partsOf(handle)
    const owned = this.owned.get(id)
    return (owned === undefined ? this.#links.get(id)?.status?.state : owned.lifecycle.publicState) === 'dead'
  }

  /** No handle is left, here or anywhere; or, of another process's actor, none is left here. */
  #handlesGone(id: ObjectId): void {
    const { connection } = this.#host
    const from = connection.welcome.clientId
    const owner = ownerOf(id)
    if (owner === from) {
      this.owned.release(id, 'no handle of it was left')
      this.owned.forget(id)
    } else if (this.#links.has(id)) connection.send('actorUnwatch', { to: owner, from, actor: id })
    this.#links.delete(id)
  }

  /** A program that waits makes no garbage, so its engine would not find out what handles are gone. */
  #planCollection(): void {
    if (this.#collectTimer !== undefined || this.owned.liveCount === 0) return
    this.#collectTimer = setTimeout(() => {
      this.#collectTimer = undefined
      this.#host.calls.collectGarbage()
      this.#collectMs = Math.min(collectAfterMsMax, this.#collectMs * 2)
      this.#planCollection()
    }, this.#collectMs).unref()
  }

  // --- calls

  call({ handle, method, isGenerator, methodOptions }: BoundMethod, args: readonly unknown[]): unknown {
    const { objects, calls, role } = this.#host
    const { id, life, description } = partsOf(handle)
    const { className, maxPendingCalls } = description
    if (this.pendingCount >= limits.tasksPendingMax) throw tooManyCalls()
    const link = this.#linkOf(id, life, description)
    if (maxPendingCalls > 0 && link.pendingCount >= maxPendingCalls) throw pendingLimit(description)
    const numReturns = methodOptions.numReturns ?? (isGenerator ? 'streaming' : 1)
    const coded = calls.encodeArguments(args)
    const returns: ObjectRecord[] = []
    if (numReturns !== 'streaming') for (let i = 0; i < numReturns; i++) returns.push(objects.owned.create())
    const stream = numReturns === 'streaming' ? new StreamRecord() : undefined
    const name = methodOptions.name ?? `${className}.${method}`
    const task: TaskRecord = {
      sequence: returns[0]?.sequence ?? objects.owned.takeSequence(),
      name,
      function: { id, name, estimateMs: undefined },
      terms: noTerms,
      call: { actor: id, method, group: methodOptions.concurrencyGroup ?? '' },
      job: role.job(),
      args: coded.wire,
      argsBytes: wireBytes(coded.wire),
      // The actor lives until the call has its result, though nobody else may hold it.
      holds: life === undefined ? coded.holds : [...(coded.holds ?? []), life],
      resolvedRefs: coded.resolvedRefs,
      returns,
      stream,
      retryExceptions: methodOptions.retryExceptions ?? false,
      replicas: methodOptions.replicas ?? 1,
      parent: role.currentTask(),
      sinceMs: Math.round(performance.now()),
      retriesLeft: methodOptions.maxTaskRetries ?? description.maxTaskRetries,
      attempt: 0,
      state: 'waiting',
      leaseId: undefined,
      isCancelled: false,
      lineage: undefined,
    }
    for (const record of returns) record.task = task
    this.#linkOfCall.set(task.sequence, link)
    link.submit(task)
    calls.wakeCounter()
    if (stream !== undefined) return this.#openStream(task, stream)
    if (numReturns === 1) return new ObjectRef(returns[0] as ObjectRecord)
    return returns.map((record) => new ObjectRef(record))
  }

  #openStream(task: TaskRecord, stream: StreamRecord): ObjectRefStream<unknown> {
    return this.#host.calls.streamOf(stream, {
      consumed: (count) => this.#consumed(task, count),
      stop: () => {
        stream.discard()
        if (stream.end !== undefined) return
        stream.finish()
        this.cancel(task, true)
      },
    })
  }

  cancel(task: TaskRecord, recursive: boolean): void {
    this.#linkOfCall.get(task.sequence)?.cancel(task, recursive)
  }

  /** Cancels the calls that a task of this process has made. */
  cancelChildren(parent: object): void {
    for (const link of this.#links.values()) link.cancelChildren(parent)
  }

  #linkOf(id: ObjectId, life: ObjectRef | undefined, { className, name }: ActorDescription): ActorLink {
    let link = this.#links.get(id)
    if (link !== undefined) return link
    link = new ActorLink(id, name === '' ? className : name, this.#linkHost)
    this.#links.set(id, link)
    const owned = this.owned.get(id)
    if (owned !== undefined) link.onStatus(this.owned.statusOf(owned))
    else {
      if (life !== undefined) this.#onHandlesGone(recordOf(life), id)
      this.#watch(id)
    }
    return link
  }

  #watch(actor: ObjectId): void {
    const { connection } = this.#host
    const from = connection.welcome.clientId
    const to = ownerOf(actor)
    if (to === from) {
      const owned = this.owned.get(actor)
      if (owned !== undefined) this.#links.get(actor)?.onStatus(this.owned.statusOf(owned))
    } else connection.send('actorWatch', { to, from, requestId: 0, actor })
  }

  /** True while others may need this process for an actor that it has made, or it waits for a call. */
  get isNeeded(): boolean {
    return this.pendingCount > 0 || this.owned.liveCount > 0
  }

  failAll(error: unknown): void {
    for (const link of this.#links.values()) link.failAll(error)
    this.close()
  }

  close(): void {
    clearTimeout(this.#collectTimer)
    this.owned.close()
  }
}

function pendingLimit({ className, maxPendingCalls }: ActorDescription): PendingCallsLimitError {
  return new PendingCallsLimitError(
    `${maxPendingCalls} calls of actor ${className} have no result yet, which is its maxPendingCalls: wait() for some of them before you make more`,
    { actor: className, maxPendingCalls },
  )
}

function tooManyCalls(): TooManyTasksError {
  return new TooManyTasksError(
    `${limits.tasksPendingMax} calls of actors have no result yet, which is the most that is possible: wait() for some of them before you make more`,
    { tasksPendingMax: limits.tasksPendingMax },
  )
}
