import { ActorDiedError, PendingCallsLimitError, TooManyTasksError } from '../../protocols/errors.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { RemoteClass } from '../api/remote-class.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { DirectWorkers } from '../direct/direct-workers.ts'
import type { FunctionTable } from '../functions/function-table.ts'
import { engineCollector } from '../objects/collector.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import type { FunctionExchange } from '../runtime/function-exchange.ts'
import type { ObjectExchange } from '../runtime/object-exchange.ts'
import type { ObjectRefStream } from '../runtime/object-ref-stream.ts'
import type { Requests } from '../runtime/requests.ts'
import type { RuntimeRole } from '../runtime/runtime.ts'
import type { TaskCalls } from '../runtime/task-calls.ts'
import { leaseTerms, type LeaseTerms } from '../tasks/lease-terms.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import type { ValueCoder } from '../values/value-coder.ts'
import { createHandle, partsOf, type ActorDescription, type ActorHandle, type BoundMethod } from './actor-handle.ts'
import { ActorLink, type ActorLinkHost, type ActorStatus } from './actor-link.ts'
import { actorLinkHost, discardWith, ownedActorsHost } from './actor-hosts.ts'
import { ActorMaker } from './actor-maker.ts'
import { ActorNames, describedBy, type NamePlace } from './actor-names.ts'
import type { ResolvedActorOptions } from './actor-options.ts'
import { DetachedActors } from './detached-actors.ts'
import { HandleWatch } from './handle-watch.ts'
import { OwnedActors } from './owned-actors.ts'

export interface ActorsHost {
  readonly connection: NodeConnection
  readonly requests: Requests
  readonly role: RuntimeRole
  readonly objects: ObjectExchange
  readonly functions: FunctionTable
  readonly exchange: FunctionExchange
  readonly coder: ValueCoder
  readonly calls: TaskCalls
  encodeError(error: unknown): WireValue
  /** Throws when the node is gone. */
  assertAlive(): void
  /** The value of an object. Rejects with it when it is an error. */
  read(ref: ObjectRef): Promise<unknown>
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
  readonly #names: ActorNames
  readonly #detached: DetachedActors
  readonly #maker: ActorMaker
  readonly #links = new Map<ObjectId, ActorLink>()
  readonly #linkOfCall = new Map<number, ActorLink>()
  readonly #linkHost: ActorLinkHost
  /** To the workers of this node that are called one call at a time. */
  readonly #lines: DirectWorkers
  #linesEnded: Promise<void> | undefined
  readonly #handles = new HandleWatch((actor) => this.#handlesGone(actor))
  readonly #onHandlesGone = engineCollector.onCollected<ObjectId>((id) => this.#handlesGone(id))
  #collectTimer: NodeJS.Timeout | undefined
  #collectMs = collectAfterMs

  constructor(host: ActorsHost) {
    this.#host = host
    this.#names = new ActorNames(host)
    this.#detached = new DetachedActors({
      self: host.connection.welcome.clientId,
      names: this.#names,
      leaderChanged: (actor) => this.#links.get(actor)?.onLeaderChanged(),
      watch: (actor, leader) => this.#ask(actor, leader),
      kill: (actor, leader, mayRestart) => this.#sendKill(actor, leader, mayRestart),
      setStatus: (actor, status) => this.#setStatus(actor, status),
      deadStatus: (actor, error) => this.#deadStatus(actor, error),
    })
    const ownedHost = ownedActorsHost(host, {
      status: (actor, status) => this.#setStatus(actor, status),
      aliasDead: (target, actor) => this.#maker.dropAlias(target, actor),
      nameFree: (actor) => this.#names.release(actor),
      killTarget: (target, mayRestart) => this.#kill(target, mayRestart),
    })
    this.owned = new OwnedActors(ownedHost)
    this.#lines = new DirectWorkers({
      connection: host.connection,
      onDone: (worker, results) => this.#onDone(worker, results),
      onFence: (worker, fence) => {
        for (const link of this.#links.values()) link.onFence(worker, fence)
      },
      onEnded: (worker, line) => {
        for (const link of this.#links.values()) link.onLineEnded(worker, line)
      },
    })
    this.#linkHost = actorLinkHost(host, this.#lines, {
      watch: (actor) => this.#watch(actor),
      hangUp: (worker) => this.#hangUp(worker),
      ended: ({ sequence }) => this.#linkOfCall.delete(sequence),
    })
    this.#maker = new ActorMaker({
      host,
      specHost: this.#linkHost,
      owned: this.owned,
      names: this.#names,
      detached: this.#detached,
      statusOf: (actor, life, description) => this.#linkOf(actor, life, description).status,
      sendKill: (actor, leader, mayRestart) => this.#sendKill(actor, leader, mayRestart),
      onMade: (life) => {
        this.#onHandlesGone(life, life.id)
        this.#collectMs = collectAfterMs
        this.#planCollection()
      },
    })
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
    const { connection } = this.#host
    return {
      actorStarted: (body) => owned.onStarted(body),
      actorEnded: (body) => owned.onEnded(body),
      actorsAsk: ({ requestId }) => connection.send('ownedActors', { requestId, ...owned.told() }),
      actorWatch: ({ from, actor }) => owned.watch(actor, from),
      actorUnwatch: ({ from, actor }) => owned.unwatch(actor, from),
      actorKill: ({ from, actor, mayRestart }) => owned.kill(actor, mayRestart, `it was killed (by client ${from})`),
      actorState: (body) => this.#onState(body),
      actorNameAnswer: ({ requestId, ...answer }) => this.#host.requests.answer(requestId, answer),
      actorNameLost: ({ actor, holder: [holder] }) => {
        const by = holder === undefined ? 'another actor' : `the actor ${holder.actor} (client ${holder.manager})`
        owned.kill(actor, false, `its name belongs to ${by}: both were given it while parts of the mesh were apart`)
      },
      actorDone: ({ from, results }) => this.#onDone(from, results),
      actorItem: (body) => this.#onItem(body),
      actorMet: (body) => this.#lines.onMet(body),
    }
  }

  #onState({ actor, from, error: [error], ...status }: MessageBody<'actorState'>): void {
    if (from !== this.#detached.leaderOf(actor)) return
    const { state, worker, incarnation, target, reason } = status
    if (this.#detached.has(actor)) {
      // It may be led by another one by then, or by nobody.
      if (state === 'pending' || state === 'restarting') this.#detached.lookAgain(actor)
      else if (state === 'dead' && this.#detached.isLed(actor)) {
        void this.#onDetachedDeath(actor, reason, error)
        return
      }
    }
    this.#setStatus(actor, { state, worker, incarnation, target, reason, error })
  }

  /** A keeper, which is no program, has said that an actor is dead: the error is what its constructor has thrown. */
  async #onDetachedDeath(actor: ObjectId, reason: string, thrown: WireValue | undefined): Promise<void> {
    let cause: unknown
    if (thrown !== undefined) cause = await this.#host.coder.decode(thrown).catch(() => undefined)
    const because = cause instanceof Error ? `${reason}: ${cause.message}` : reason
    const name = this.#links.get(actor)?.name ?? actor
    const died = new ActorDiedError(`actor ${name} is dead: ${because}`, {
      details: { actor, name, reason: because },
      ...(cause === undefined ? {} : { cause }),
    })
    this.#setStatus(actor, this.#deadStatus(actor, died))
  }

  #deadStatus(actor: ObjectId, error: ActorDiedError): ActorStatus {
    const wire = this.#host.encodeError(error)
    return { state: 'dead', worker: '', incarnation: 0xffff_ffff, target: actor, reason: error.message, error: wire }
  }

  /** The owner of an actor has said how it is: this process, or another. */
  #setStatus(actor: ObjectId, status: ActorStatus): void {
    if (status.state === 'dead') this.#detached.ended(actor)
    this.#links.get(actor)?.onStatus(status)
    this.#maker.onStatus(actor, status)
  }

  #onDone(worker: ClientId, results: readonly TaskResult[]): void {
    // As a rule all are of one actor.
    let link: ActorLink | undefined
    let some: TaskResult[] = []
    for (const result of results) {
      // One that was cancelled has its error already; its link still counts it as being with the actor.
      const next = this.#linkOfCall.get(result.sequence) ?? this.#linkWith(result.sequence, worker)
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
    else for (const result of results) discardWith(this.#host)(result, worker)
  }

  #linkWith(sequence: number, worker: ClientId): ActorLink | undefined {
    for (const link of this.#links.values()) if (link.worker === worker && link.has(sequence)) return link
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

  // --- who is gone

  clientGone(client: ClientId): void {
    // What has come from it is read yet; then its line ends by itself.
    if (this.#lines.lineTo(client) === 0) this.#lines.drop(client)
    this.owned.watchersGone((each) => each === client)
    this.#onGone((each) => each === client, false, `its owner (client ${client}) has ended`)
  }

  nodeGone(node: NodeId, reason: string): void {
    this.owned.watchersGone((each) => nodeOf(each) === node)
    this.#onGone((each) => nodeOf(each) === node, true, `the node of its owner (${node}) is gone: ${reason}`)
  }

  #onGone(isGone: (client: ClientId) => boolean, isUnreachable: boolean, reason: string): void {
    for (const actor of this.#detached.leadersGone(isGone)) {
      this.#links.get(actor)?.onLeaderGone('the node that it was on is gone')
      this.#detached.look(actor)
    }
    for (const link of this.#links.values()) {
      if (this.#detached.has(link.actor)) continue
      if (isGone(ownerOf(link.actor))) this.#setStatus(link.actor, this.#ownerGone(link, reason))
      else if (link.worker !== '' && isGone(link.worker)) link.onGone(link.worker, isUnreachable)
    }
  }

  #ownerGone({ actor, name }: ActorLink, reason: string): ActorStatus {
    const died = new ActorDiedError(`actor ${name} is dead: ${reason}`, { details: { actor, name, reason } })
    return { ...this.#deadStatus(actor, died), reason }
  }

  /** A message to a worker, or to an owner of actors, has not arrived: its receiver is gone. */
  undeliverable(client: ClientId): void {
    for (const actor of this.#detached.leadersGone((each) => each === client)) {
      this.#links.get(actor)?.onLeaderGone('the node that it was on cannot be reached')
      this.#detached.lookAgain(actor)
    }
    for (const link of this.#links.values()) {
      if (ownerOf(link.actor) === client && !this.#detached.isLed(link.actor)) {
        const reason = `its owner (client ${client}) has ended, or cannot be reached`
        this.#setStatus(link.actor, this.#ownerGone(link, reason))
      } else if (link.worker === client) link.onUndeliverable(client)
    }
  }

  // --- making actors

  create(remote: RemoteClass, args: readonly unknown[], options: ResolvedActorOptions): ActorHandle {
    this.#host.assertAlive()
    return this.#maker.create(remote, args, options)
  }

  /** Resolves when the actors that are to outlive this process are made, or could not be. */
  allKept(): Promise<void> {
    return this.#detached.allMade()
  }

  /** The actor with that name. Rejects with ActorNotFoundError, and UnreachableError when the mesh has had no head for long. */
  async find(place: NamePlace): Promise<ActorHandle> {
    const { actor, description } = await this.#names.find(place)
    return this.revive(actor, describedBy(description))
  }

  /** The handle that another process described. */
  revive(id: ObjectId, description: ActorDescription): ActorHandle {
    if (description.isDetached) return createHandle({ id, life: undefined, description })
    const life = this.#host.objects.acquireRef(id)
    if (!this.#host.objects.isOwn(id)) this.#handles.note(recordOf(life))
    return createHandle({ id, life, description })
  }

  kill(handle: ActorHandle, mayRestart: boolean): void {
    const { id, description } = partsOf(handle)
    if (description.isDetached) this.#detached.add(id)
    this.#kill(id, mayRestart)
  }

  #kill(id: ObjectId, mayRestart: boolean): void {
    const isAlias = (this.owned.get(id)?.alias?.target ?? id) !== id
    if (this.#detached.has(id) && !isAlias) void this.#detached.kill(id, mayRestart)
    else this.#sendKill(id, ownerOf(id), mayRestart)
  }

  #sendKill(actor: ObjectId, leader: ClientId, mayRestart: boolean): void {
    const { connection } = this.#host
    const from = connection.welcome.clientId
    if (leader === from) this.owned.kill(actor, mayRestart, 'it was killed by kill()')
    else connection.send('actorKill', { to: leader, from, actor, mayRestart })
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
    const worker = this.#links.get(id)?.worker ?? ''
    this.#links.delete(id)
    this.#hangUp(worker)
  }

  /** The line to a worker is of no use any more, unless another handle leads there. */
  #hangUp(worker: ClientId): void {
    for (const link of this.#links.values()) if (link.worker === worker) return
    this.#lines.drop(worker)
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
    this.#host.assertAlive()
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

  /**
   * Resolves when the actor has nothing more to do for a call that this process has made, which has its result here: one that
   * was cancelled goes on there when it does not look at its signal.
   */
  async over(handle: ActorHandle, result: ObjectRef): Promise<void> {
    const { owner, sequence } = recordOf(result)
    if (owner !== this.#host.connection.welcome.clientId) return
    await this.#links.get(partsOf(handle).id)?.left(sequence)
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

  #linkOf(id: ObjectId, life: ObjectRef | undefined, description: ActorDescription): ActorLink {
    const { className, name, isDetached } = description
    if (isDetached) this.#detached.add(id)
    let link = this.#links.get(id)
    if (link !== undefined) return link
    link = new ActorLink(id, name === '' ? className : name, this.#linkHost)
    this.#links.set(id, link)
    const owned = this.owned.get(id)
    if (owned !== undefined) link.onStatus(this.owned.statusOf(owned))
    else {
      if (life !== undefined) this.#handles.note(recordOf(life))
      this.#watch(id)
    }
    return link
  }

  #watch(actor: ObjectId): void {
    const isAlias = (this.owned.get(actor)?.alias?.target ?? actor) !== actor
    if (this.#detached.has(actor) && !isAlias) this.#detached.look(actor)
    else this.#ask(actor, ownerOf(actor))
  }

  #ask(actor: ObjectId, to: ClientId): void {
    const { connection } = this.#host
    const from = connection.welcome.clientId
    if (to === from) {
      const owned = this.owned.get(actor)
      this.#setStatus(actor, owned === undefined ? this.owned.unknown(actor) : this.owned.statusOf(owned))
    } else connection.send('actorWatch', { to, from, requestId: 0, actor })
  }

  /** The program ends: actors that have something to do at their end are given the time for it. Resolves when they have. */
  async endAll(timeoutMs: number): Promise<void> {
    // The end of an actor goes through the node, and must not overtake calls that were made before.
    await this.owned.endAll(timeoutMs, (actor) => this.#lines.delivered(this.#links.get(actor)?.worker ?? ''))
  }

  /** Resolves when workers have what was sent to them before everything ended. */
  async linesEnded(): Promise<void> {
    await this.#linesEnded
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
    this.#detached.close()
    this.#linesEnded ??= this.#lines.close()
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
