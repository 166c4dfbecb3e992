import { ActorLifecycle, type LifecycleAction, type LifecycleEvent } from '../../protocols/actor-lifecycle.ts'
import type { ActorSettings } from '../../protocols/actor-messages.ts'
import { ActorDiedError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { ownedActorsMax, type MessageBody } from '../../protocols/messages.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import { recordOf, type ObjectRef } from '../objects/object-ref.ts'
import { ArgumentWaits } from '../tasks/argument-waits.ts'
import type { LeaseTerms } from '../tasks/lease-terms.ts'
import { refusalError } from '../tasks/task-errors.ts'
import { hasArguments, sendableSpecOf, type TaskSpecHost } from '../tasks/task-spec.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import type { ActorStatus } from './actor-link.ts'

/** Lease requests of actors have their numbers from here on, those of tasks below. */
const requestIdsFrom = 0x4000_0000
/** Who watches one actor. */
const watchersMax = 100_000

export interface OwnedActorsHost extends TaskSpecHost {
  requestLease(requestId: number, terms: LeaseTerms, task: TaskRecord): void
  cancelRequest(requestId: number): void
  returnLease(leaseId: number): void
  killLease(leaseId: number, reason: string): void
  start(leaseId: number, worker: ClientId, actor: ObjectId, creation: TaskSpec, settings: ActorSettings): void
  end(leaseId: number): void
  after(delayMs: number, callback: () => void): void
  nowMs(): number
  tell(watcher: ClientId, actor: ObjectId, status: ActorStatus): void
  /** Told of every change, for the calls of this process itself. */
  onStatus(actor: ObjectId, status: ActorStatus): void
  encodeError(error: unknown): WireValue
  /** The error in a result that has come from that worker. */
  decodeError(error: WireValue, worker: ClientId): Promise<unknown>
  discard(result: TaskResult, worker: ClientId): void
  /** The actor is dead: what was kept so that it could be started again is let go. */
  onDead(actor: OwnedActor): void
  /** Ends the actor for which an alias stands. */
  killTarget(target: ObjectId, mayRestart: boolean): void
}

/**
 * The actor that had the name already which another was to have, and which that one stands for now. A detached actor, which
 * this process has made and does not lead, stands for itself.
 */
export interface Alias {
  readonly target: ObjectId
  /** Keeps it alive; undefined when it is dead. */
  life: ObjectRef | undefined
  /** What its owner has said; undefined before that. */
  status: ActorStatus | undefined
  /** To be called when it was dead when its owner was asked: its name is free soon. */
  again(): void
}

/** An actor that this process has made. */
export interface OwnedActor {
  readonly id: ObjectId
  readonly name: string
  /** Its constructor's call. It has no results. */
  readonly creation: TaskRecord
  readonly settings: Omit<ActorSettings, 'restarts'>
  readonly hasExitHook: boolean
  readonly lifecycle: ActorLifecycle
  readonly watchers: Set<ClientId>
  requestId: number | undefined
  death: WireValue | undefined
  /** Set when it is no actor itself. */
  alias: Alias | undefined
  /** No handle is left, so that nothing of it is to be kept when it is dead. */
  isForgotten: boolean
}

/** The actors of this process, from their creation to their end: it asks for their workers, and starts them again. */
export class OwnedActors {
  readonly #host: OwnedActorsHost
  readonly #actors = new Map<ObjectId, OwnedActor>()
  readonly #byRequest = new Map<number, OwnedActor>()
  readonly #byLease = new Map<number, OwnedActor>()
  readonly #waits = new ArgumentWaits()
  #nextRequestId = requestIdsFrom
  #isClosed = false
  #onDead: (actor: OwnedActor) => void = () => undefined

  constructor(host: OwnedActorsHost) {
    this.#host = host
  }

  /** Those that are not dead. */
  get liveCount(): number {
    let count = 0
    for (const { lifecycle, alias, id } of this.#actors.values()) {
      if (lifecycle.state !== 'dead' && alias?.target !== id) count++
    }
    return count
  }

  /** Those that are not dead, for people to read. */
  told(): Omit<MessageBody<'ownedActors'>, 'requestId'> {
    const live = [...this.#actors.values()].filter(
      (each) => each.lifecycle.state !== 'dead' && each.alias === undefined,
    )
    const actors = live.slice(0, ownedActorsMax).map(({ id, settings, lifecycle }) => {
      const { publicState: state, place, incarnation: restarts } = lifecycle
      const { className, namespace, name } = settings
      const where = { worker: place?.worker ?? '', workerPid: place?.workerPid ?? 0 }
      return { actor: id, className: className.slice(0, 256), namespace, name, state, restarts, ...where }
    })
    return { actors, more: live.length - actors.length }
  }

  get(id: ObjectId): OwnedActor | undefined {
    return this.#actors.get(id)
  }

  all(): Iterable<OwnedActor> {
    return this.#actors.values()
  }

  /** `begin` has it started, when it may. */
  create(
    creation: TaskRecord,
    actor: Pick<OwnedActor, 'id' | 'name' | 'settings' | 'hasExitHook'>,
    restartsMax: number,
  ): OwnedActor {
    const owned: OwnedActor = {
      ...actor,
      creation,
      lifecycle: new ActorLifecycle(restartsMax),
      watchers: new Set(),
      requestId: undefined,
      death: undefined,
      alias: undefined,
      isForgotten: false,
    }
    this.#actors.set(actor.id, owned)
    return owned
  }

  /** Asks for its worker. */
  begin(actor: OwnedActor): void {
    this.#whenArgumentsAreThere(actor, () => this.#step(actor, { type: 'create' }))
  }

  /** It never comes to be. */
  refuse(actor: OwnedActor, reason: string, error: unknown): void {
    actor.lifecycle.step({ type: 'create' }, this.#host.nowMs())
    this.#step(actor, { type: 'refused', reason, error, mayPass: false })
  }

  /** It stands for another actor, which is so. */
  aliasChanged(actor: OwnedActor, status: ActorStatus): void {
    if (actor.alias === undefined || actor.lifecycle.state === 'dead') return
    actor.alias.status = status
    if (status.state === 'dead') {
      actor.death = status.error
      actor.alias.life = undefined
      actor.lifecycle.step({ type: 'kill', reason: status.reason, mayRestart: false }, this.#host.nowMs())
      this.#host.onDead(actor)
    }
    this.#tell(actor)
  }

  /** Nobody holds it any more: it ends when it has done what it was asked for. */
  release(id: ObjectId, reason: string): void {
    const actor = this.#actors.get(id)
    if (actor !== undefined) this.#step(actor, { type: 'release', reason })
  }

  /**
   * The program ends: actors that have something to do at their end are given the time for it. Resolves when they have.
   *
   * @param called resolves when an actor has all calls that were made of it
   */
  async endAll(timeoutMs: number, called: (actor: ObjectId) => Promise<void>): Promise<void> {
    const isOpen = ({ hasExitHook, lifecycle }: OwnedActor): boolean => hasExitHook && lifecycle.publicState === 'alive'
    const open = new Set([...this.#actors.values()].filter(isOpen))
    if (open.size === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    this.#onDead = (actor) => {
      if (open.delete(actor) && open.size === 0) resolve()
    }
    for (const { id } of open) void called(id).then(() => this.release(id, 'its program has ended'))
    await promise
    clearTimeout(timer)
  }

  /** Nobody can ask for it any more: when it is dead, nothing of it is kept. */
  forget(id: ObjectId): void {
    const actor = this.#actors.get(id)
    if (actor === undefined) return
    if (actor.lifecycle.state === 'dead') this.#actors.delete(id)
    else actor.isForgotten = true
  }

  kill(id: ObjectId, mayRestart: boolean, reason: string): void {
    const actor = this.#actors.get(id)
    if (actor?.alias === undefined) {
      if (actor !== undefined) this.#step(actor, { type: 'kill', reason, mayRestart })
    } else if (actor.alias.target !== id) this.#host.killTarget(actor.alias.target, mayRestart)
  }

  // --- what the node says of leases. False: the lease or the request is no actor's.

  onGrant({ requestId, leaseId, workerId, workerPid }: MessageBody<'leaseGrant'>): boolean {
    if (requestId < requestIdsFrom) return false
    const actor = this.#byRequest.get(requestId)
    this.#byRequest.delete(requestId)
    if (actor === undefined) {
      this.#host.returnLease(leaseId)
      return true
    }
    actor.requestId = undefined
    this.#byLease.set(leaseId, actor)
    this.#step(actor, { type: 'granted', place: { leaseId, worker: workerId, workerPid } })
    return true
  }

  onRefuse({ requestId, error: kind, message, details }: MessageBody<'leaseRefuse'>): boolean {
    if (requestId < requestIdsFrom) return false
    const actor = this.#byRequest.get(requestId)
    this.#byRequest.delete(requestId)
    if (actor === undefined) return true
    actor.requestId = undefined
    const error = refusalError(kind, actor.name, message, details as Record<string, unknown>)
    const mayPass = kind === 'busy' || kind === 'workerLimit' || kind === 'workerStart'
    this.#step(actor, { type: 'refused', reason: error.message, error, mayPass })
    return true
  }

  onLost(leaseId: number, reason: string): boolean {
    const actor = this.#byLease.get(leaseId)
    if (actor === undefined) return false
    this.#byLease.delete(leaseId)
    this.#step(actor, { type: 'lost', leaseId, reason })
    return true
  }

  isActors(leaseId: number): boolean {
    return this.#byLease.has(leaseId)
  }

  // --- what the worker says

  onStarted({ leaseId, result }: MessageBody<'actorStarted'>): void {
    const actor = this.#byLease.get(leaseId)
    const worker = actor?.lifecycle.place?.worker
    if (actor === undefined || worker === undefined) return
    const [error] = result.values
    if (result.status === 'ok' || error === undefined) {
      this.#host.discard(result, worker)
      this.#step(actor, { type: 'started', leaseId })
      return
    }
    void this.#host.decodeError(error, worker).then((thrown) => {
      const reason = `its constructor has failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`
      this.#step(actor, { type: 'startFailed', leaseId, reason, error: thrown })
    })
  }

  onEnded({ leaseId, reason }: MessageBody<'actorEnded'>): void {
    const actor = this.#byLease.get(leaseId)
    if (actor !== undefined) this.#step(actor, { type: 'ended', leaseId, reason })
  }

  // --- who wants to know

  watch(id: ObjectId, watcher: ClientId): void {
    const actor = this.#actors.get(id)
    if (actor === undefined) {
      this.#host.tell(watcher, id, this.unknown(id))
      return
    }
    if (actor.lifecycle.state !== 'dead' && actor.watchers.size < watchersMax) actor.watchers.add(watcher)
    this.#host.tell(watcher, id, this.statusOf(actor))
  }

  unwatch(id: ObjectId, watcher: ClientId): void {
    this.#actors.get(id)?.watchers.delete(watcher)
  }

  watchersGone(isGone: (client: ClientId) => boolean): void {
    for (const { watchers } of this.#actors.values())
      for (const each of watchers) if (isGone(each)) watchers.delete(each)
  }

  statusOf(actor: OwnedActor): ActorStatus {
    const { lifecycle, id, alias } = actor
    if (alias?.status !== undefined) return alias.status
    const { publicState: state, place, death, incarnation } = lifecycle
    const worker = state === 'alive' ? (place?.worker ?? '') : ''
    return { state, worker, incarnation, target: id, reason: death?.reason ?? '', error: actor.death }
  }

  /** How an actor is that this process should know, and does not. */
  unknown(id: ObjectId): ActorStatus {
    const reason = 'its owner does not know it: it has ended, and no handle of it was left'
    const error = this.#host.encodeError(
      new ActorDiedError(`actor ${id} is dead: ${reason}`, { details: { actor: id } }),
    )
    return { state: 'dead', worker: '', incarnation: 0xffff_ffff, target: id, reason, error }
  }

  close(): void {
    this.#isClosed = true
    this.#actors.clear()
    this.#byLease.clear()
    this.#byRequest.clear()
  }

  #step(actor: OwnedActor, event: LifecycleEvent): void {
    if (this.#isClosed) return
    for (const action of actor.lifecycle.step(event, this.#host.nowMs())) this.#do(actor, action)
  }

  #do(actor: OwnedActor, action: LifecycleAction): void {
    const host = this.#host
    switch (action.type) {
      case 'requestLease': {
        const requestId = this.#nextRequestId++
        actor.requestId = requestId
        this.#byRequest.set(requestId, actor)
        host.requestLease(requestId, actor.creation.terms, actor.creation)
        return
      }
      case 'cancelRequest':
        if (actor.requestId === undefined) return
        this.#byRequest.delete(actor.requestId)
        host.cancelRequest(actor.requestId)
        actor.requestId = undefined
        return
      case 'start':
        this.#whenArgumentsAreThere(actor, () => this.#start(actor, action.place.leaseId, action.place.worker))
        return
      case 'end':
        host.end(action.leaseId)
        return
      case 'killLease':
        host.killLease(action.leaseId, action.reason)
        return
      case 'returnLease':
        this.#byLease.delete(action.leaseId)
        host.returnLease(action.leaseId)
        return
      case 'wake':
        host.after(action.afterMs, () => this.#step(actor, { type: 'woken' }))
        return
      case 'changed':
        this.#changed(actor)
    }
  }

  #start(actor: OwnedActor, leaseId: number, worker: ClientId): void {
    const { creation, lifecycle, settings } = actor
    if (lifecycle.state !== 'starting' || lifecycle.place?.leaseId !== leaseId) return
    creation.attempt = lifecycle.incarnation
    let spec: TaskSpec
    try {
      spec = sendableSpecOf(creation, this.#host).spec
    } catch (error) {
      this.#step(actor, { type: 'startFailed', leaseId, reason: (error as Error).message, error })
      return
    }
    this.#host.start(leaseId, worker, actor.id, spec, { ...settings, restarts: lifecycle.incarnation })
  }

  /** Waits for the values of arguments that were given as refs, also when one was lost. */
  #whenArgumentsAreThere(actor: OwnedActor, go: () => void): void {
    if (hasArguments(actor.creation)) {
      go()
      return
    }
    this.#waits.begin(actor.creation, (failed) => {
      if (failed === undefined) go()
      else void this.#failWith(actor, recordOf(failed).value as WireValue)
    })
  }

  /** An argument is an error, and that is the actor's own. */
  async #failWith(actor: OwnedActor, wire: WireValue): Promise<void> {
    const error = await this.#host.decodeError(wire, '')
    const reason = `an argument of its constructor is an error: ${error instanceof Error ? error.message : String(error)}`
    const { place } = actor.lifecycle
    if (place === undefined) this.refuse(actor, reason, error)
    else this.#step(actor, { type: 'startFailed', leaseId: place.leaseId, reason, error })
  }

  #changed(actor: OwnedActor): void {
    const { death } = actor.lifecycle
    if (death !== undefined) {
      this.#waits.end(actor.creation)
      actor.death = this.#host.encodeError(deathError(actor))
      this.#host.onDead(actor)
      this.#onDead(actor)
    }
    this.#tell(actor)
  }

  #tell(actor: OwnedActor): void {
    const status = this.statusOf(actor)
    for (const watcher of actor.watchers) this.#host.tell(watcher, actor.id, status)
    if (status.state === 'dead') actor.watchers.clear()
    // Who stands for itself has it from there.
    if (actor.alias?.target !== actor.id) this.#host.onStatus(actor.id, status)
    if (actor.isForgotten && actor.lifecycle.state === 'dead') this.#actors.delete(actor.id)
  }
}

function deathError({ id, name, lifecycle }: OwnedActor): ActorDiedError {
  const { reason, error, place } = lifecycle.death as NonNullable<ActorLifecycle['death']>
  const where = place === undefined ? {} : { node: nodeOf(place.worker), workerPid: place.workerPid }
  const details = {
    actor: id,
    name,
    reason,
    diedAt: new Date().toISOString(),
    restarts: lifecycle.incarnation,
    ...where,
  }
  const at = place === undefined ? '' : ` (node ${nodeOf(place.worker)}, pid ${place.workerPid})`
  return new ActorDiedError(`actor ${name} is dead: ${reason}${at}`, {
    details,
    ...(error === undefined ? {} : { cause: error }),
  })
}
