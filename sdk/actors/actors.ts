import { ActorDiedError, NotCloneableError, PendingCallsLimitError, TooManyTasksError } from '../../protocols/errors.ts'
import type { NamedActor } from '../../protocols/actor-names.ts'
import { nodeOf, objectId, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { keptBytesMax, type KeptActor } from '../../protocols/kept-actor.ts'
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
import type { FunctionExchange } from '../runtime/function-exchange.ts'
import type { ObjectExchange } from '../runtime/object-exchange.ts'
import type { ObjectRefStream } from '../runtime/object-ref-stream.ts'
import type { Requests } from '../runtime/requests.ts'
import type { RuntimeRole } from '../runtime/runtime.ts'
import type { TaskCalls } from '../runtime/task-calls.ts'
import { leaseTerms, type LeaseTerms } from '../tasks/lease-terms.ts'
import { taskSpecOf } from '../tasks/task-spec.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { FunctionRecord, TaskRecord } from '../tasks/task-record.ts'
import type { ValueCoder } from '../values/value-coder.ts'
import { createHandle, partsOf, type ActorDescription, type ActorHandle, type BoundMethod } from './actor-handle.ts'
import { ActorLink, type ActorLinkHost, type ActorStatus } from './actor-link.ts'
import { ActorNames, describedBy, describedText, nameTaken, type NamePlace } from './actor-names.ts'
import type { ResolvedActorOptions } from './actor-options.ts'
import { DetachedActors } from './detached-actors.ts'
import { OwnedActors, type OwnedActor } from './owned-actors.ts'

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
  /** The value of an object. Rejects with it when it is an error. */
  read(ref: ObjectRef): Promise<unknown>
}

/** The leases of calls are those of their actors. */
const noTerms: LeaseTerms = leaseTerms({}, {})
/** When a program has actors and does nothing, its engine looks so soon for handles that are gone, then less and less often. */
const collectAfterMs = 1000
const collectAfterMsMax = 30_000
/** An actor whose name was taken, by one that is dead when it is asked, wants the name again so soon, and so often. */
const claimAgainMs = 100
const claimsMax = 20

/** Actors, as one process has to do with them: those that it makes, and the calls that it makes of any. */
export class Actors {
  readonly owned: OwnedActors
  readonly #host: ActorsHost
  readonly #names: ActorNames
  readonly #detached: DetachedActors
  /** Actors of this process that stand for others, which had their names already. */
  readonly #aliases = new Map<ObjectId, Set<OwnedActor>>()
  readonly #links = new Map<ObjectId, ActorLink>()
  readonly #linkOfCall = new Map<number, ActorLink>()
  readonly #linkHost: ActorLinkHost
  readonly #onHandlesGone = engineCollector.onCollected<ObjectId>((id) => this.#handlesGone(id))
  #collectTimer: NodeJS.Timeout | undefined
  #collectMs = collectAfterMs

  constructor(host: ActorsHost) {
    this.#host = host
    this.#names = new ActorNames(host)
    const { connection, role, objects, calls } = host
    const from = connection.welcome.clientId
    this.#detached = new DetachedActors({
      self: from,
      names: this.#names,
      leaderChanged: (actor) => this.#links.get(actor)?.onLeaderChanged(),
      watch: (actor, leader) => this.#ask(actor, leader),
      kill: (actor, leader, mayRestart) => this.#sendKill(actor, leader, mayRestart),
      setStatus: (actor, status) => this.#setStatus(actor, status),
      deadStatus: (actor, error) => this.#deadStatus(actor, error),
    })
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
      onStatus: (actor, status) => this.#setStatus(actor, status),
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
      onDead: (actor) => {
        const { creation, settings, alias, id } = actor
        creation.holds = undefined
        creation.resolvedRefs = []
        if (creation.args.kind === 'stored') calls.results.drop(creation.args, undefined)
        if (alias !== undefined) this.#dropAlias(alias.target, actor)
        else if (settings.name !== '') this.#names.release(id)
      },
      killTarget: (target, mayRestart) => this.#kill(target, mayRestart),
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
    this.#links.get(actor)?.onStatus(status)
    for (const alias of this.#aliases.get(actor) ?? []) this.#setAlias(alias, status)
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
    const { objects, functions, calls, role } = this.#host
    const target = remote.prepare(functions)
    if (options.isDetached) return this.#createDetached(remote, args, options, target)
    const description = this.#describe(remote, options, target)
    const described = options.name === '' ? '' : describedText(description)
    const coded = calls.encodeArguments(args)
    const life = objects.owned.create()
    const { className } = description
    const { name, namespace, maxConcurrency, groups, terms } = options
    const creation = creationOf({
      sequence: life.sequence,
      className,
      function: target,
      terms,
      job: role.job(),
      ...coded,
    })
    const settings = { name, namespace, className, maxConcurrency, groups }
    const { id } = life
    const label = name === '' ? className : name
    const { hasExitHook } = description
    const owned = this.owned.create(creation, { id, name: label, settings, hasExitHook }, options.maxRestarts)
    if (name === '') this.owned.begin(owned)
    else {
      // Others will ask for it by its name, and not have heard of it from this process.
      objects.owned.share(life)
      void this.#claim(owned, described, options.getIfExists)
    }
    this.#onHandlesGone(life, id)
    this.#collectMs = collectAfterMs
    this.#planCollection()
    return createHandle({ id, life: new ObjectRef(life), description })
  }

  /** Has the node make an actor that needs neither this process nor a handle. */
  #createDetached(
    remote: RemoteClass,
    args: readonly unknown[],
    options: ResolvedActorOptions,
    target: FunctionRecord,
  ): ActorHandle {
    const { connection, objects, exchange, role } = this.#host
    const description = this.#describe(remote, options, target)
    const { className } = description
    const described = describedText(description)
    const plain = args.map((each) => (each instanceof ObjectRef ? undefined : each))
    const { value, named } = exchange.encodeWhole(plain, 'arguments that have')
    const refs = args.flatMap((ref, position) => (ref instanceof ObjectRef ? [{ position, ref }] : []))
    const sequence = objects.owned.takeSequence()
    const id = objectId(connection.welcome.clientId, sequence)
    const { name, namespace, maxConcurrency, groups, terms, getIfExists, maxRestarts } = options
    const coded = { wire: value, holds: undefined, resolvedRefs: [] }
    const creation = creationOf({ sequence, className, function: target, terms, job: role.job(), ...coded })
    const settings = { name, namespace, className, maxConcurrency, groups }
    // Its keeper has it run its hooks; this process does not.
    const made = { id, name: name === '' ? className : name, settings, hasExitHook: false }
    const owned = this.owned.create(creation, made, maxRestarts)
    const prepare = async (): Promise<KeptActor> => {
      const resolved: KeptActor['creation']['resolved'] = []
      const functionIds = new Set([target.id, ...named])
      for (const { position, ref } of refs) {
        const whole = exchange.encodeWhole(await this.#host.read(ref), 'an argument that has')
        resolved.push({ position, object: ref.id, value: whole.value })
        for (const each of whole.named) functionIds.add(each)
      }
      const kept: KeptActor = {
        named: {
          namespace,
          name,
          actor: id,
          manager: connection.welcome.clientId,
          epoch: 0,
          isReserve: false,
          term: 0,
          description: described,
        },
        creation: { ...taskSpecOf(creation, this.#linkHost), resolved },
        settings: { ...settings, restarts: 0 },
        ...(await exchange.described(functionIds)),
        resources: terms.resources,
        strategy: terms.strategy,
        envVars: terms.envVars,
        envKey: terms.envKey,
        restartsLeft: maxRestarts,
      }
      const bytes = [value, ...resolved.map((each) => each.value), ...kept.functions.map((each) => each.value)]
        .map(wireBytes)
        .reduce((sum, each) => sum + each)
      if (bytes <= keptBytesMax) return kept
      throw new NotCloneableError(
        `the detached actor ${className} takes ${bytes} bytes with its arguments and what it closes over: at most ${keptBytesMax} are possible, since other nodes keep them, too`,
        { class: className, bytes, keptBytesMax },
      )
    }
    this.#detached.add(id)
    this.#detached.making(id, this.#keep(owned, prepare, getIfExists))
    return createHandle({ id, life: undefined, description })
  }

  async #keep(owned: OwnedActor, prepare: () => Promise<KeptActor>, getIfExists: boolean, tries = 1): Promise<void> {
    const { connection } = this.#host
    const { id, settings } = owned
    // The program does not end before that.
    const release = connection.hold()
    let outcome
    try {
      outcome = await this.#names.keep(await prepare())
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.owned.refuse(owned, `it could not be made: ${reason}`, error)
      return
    } finally {
      release()
    }
    if (outcome.type === 'failed') {
      this.owned.refuse(owned, `it could not be made: ${outcome.error.message}`, outcome.error)
    } else if (outcome.type === 'taken') {
      if (owned.lifecycle.state === 'dead') return
      const again = (): void => this.#detached.making(id, this.#keep(owned, prepare, getIfExists, tries + 1))
      this.#isTaken(owned, outcome.holder, getIfExists && tries <= claimsMax ? again : undefined)
    } else if (outcome.holder !== undefined) {
      const { manager } = outcome.holder
      if (owned.lifecycle.state === 'dead') this.#sendKill(id, manager, false)
      else {
        owned.alias = { target: id, life: undefined, status: undefined, again: () => undefined }
        this.#addAlias(id, owned)
        this.#detached.led(id, manager)
      }
    } else this.owned.refuse(owned, `it could not be made: ${settings.className} has no place`, undefined)
  }

  /** Resolves when the actors that are to outlive this process are made, or could not be. */
  allKept(): Promise<void> {
    return this.#detached.allMade()
  }

  /** Wants the name of an actor, and then has it started; or makes it stand for the one that has the name. */
  async #claim(owned: OwnedActor, described: string, getIfExists: boolean, claims = 1): Promise<void> {
    const { id, settings } = owned
    let outcome
    try {
      outcome = await this.#names.claim(id, settings, described)
    } catch {
      // The node is gone, and with it everything that this process has made.
      return
    }
    // It was killed, or nobody holds it any more; then the name was given back.
    if (owned.lifecycle.state === 'dead') return
    if (outcome.type === 'given') this.owned.begin(owned)
    else if (outcome.type === 'failed') {
      this.owned.refuse(owned, `it has got no name: ${outcome.error.message}`, outcome.error)
    } else {
      const again = (): void => void this.#claim(owned, described, getIfExists, claims + 1)
      this.#isTaken(owned, outcome.holder, getIfExists && claims <= claimsMax ? again : undefined)
    }
  }

  /**
   * @param again undefined: that is an error. Else the actor stands for the holder; called when that is dead already, so that
   * its name is free soon.
   */
  #isTaken(owned: OwnedActor, holder: NamedActor, again: (() => void) | undefined): void {
    if (again === undefined) {
      const taken = nameTaken(owned.settings, holder)
      this.owned.refuse(owned, taken.message, taken)
      return
    }
    const { actor: target } = holder
    const description = describedBy(holder.description)
    const life = description.isDetached ? undefined : this.#host.objects.acquireRef(target)
    owned.alias = { target, life, status: undefined, again }
    this.#addAlias(target, owned)
    const link = this.#linkOf(target, life, description)
    if (link.status !== undefined) this.#setAlias(owned, link.status)
  }

  #setAlias(owned: OwnedActor, status: ActorStatus): void {
    const { alias } = owned
    if (status.state !== 'dead' || alias?.status !== undefined) {
      this.owned.aliasChanged(owned, status)
      return
    }
    // It has ended before it was found.
    owned.alias = undefined
    if (alias === undefined) return
    this.#dropAlias(alias.target, owned)
    setTimeout(alias.again, claimAgainMs).unref()
  }

  /** Others of this process may stand for it already. */
  #addAlias(target: ObjectId, owned: OwnedActor): void {
    const aliases = this.#aliases.get(target)
    if (aliases === undefined) this.#aliases.set(target, new Set([owned]))
    else aliases.add(owned)
  }

  #dropAlias(target: ObjectId, owned: OwnedActor): void {
    const aliases = this.#aliases.get(target)
    aliases?.delete(owned)
    if (aliases?.size === 0) this.#aliases.delete(target)
  }

  /** The actor with that name. Rejects with ActorNotFoundError, and UnreachableError when the mesh has had no head for long. */
  async find(place: NamePlace): Promise<ActorHandle> {
    const { actor, description } = await this.#names.find(place)
    return this.revive(actor, describedBy(description))
  }

  #describe(remote: RemoteClass, options: ResolvedActorOptions, target: FunctionRecord): ActorDescription {
    const { name, namespace, isDetached, maxTaskRetries, maxPendingCalls } = options
    // A class without a name has the one of what it was assigned to, which is known when it has been captured.
    const className = target.name
    return { ...remote.describeMethods(), className, name, namespace, isDetached, maxTaskRetries, maxPendingCalls }
  }

  /** The handle that another process described. */
  revive(id: ObjectId, description: ActorDescription): ActorHandle {
    if (description.isDetached) return createHandle({ id, life: undefined, description })
    return createHandle({ id, life: this.#host.objects.acquireRef(id), description })
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
      if (life !== undefined) this.#onHandlesGone(recordOf(life), id)
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
    this.owned.close()
  }
}

/** The call of a constructor. */
function creationOf({
  className: name,
  wire,
  ...creation
}: Pick<TaskRecord, 'sequence' | 'function' | 'terms' | 'job' | 'holds' | 'resolvedRefs'> & {
  className: string
  wire: WireValue
}): TaskRecord {
  return {
    ...creation,
    name,
    args: wire,
    argsBytes: wireBytes(wire),
    call: undefined,
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
