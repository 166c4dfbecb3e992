import type { ActorReport } from '../../protocols/admin.ts'
import { ActorLifecycle, type LifecycleAction, type LifecycleEvent } from '../../protocols/actor-lifecycle.ts'
import { holdOf, type NamedActor } from '../../protocols/actor-names.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import { decodeBody, messageName, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { PeerMessageBody, PeerMessageHandlers } from '../../protocols/peer-messages.ts'
import type { SchedulingStrategy } from '../../protocols/scheduling.ts'
import type { NamePost } from '../names/name-office.ts'
import type { NameDesk } from '../names/name-desk.ts'
import type { ClientDirectory } from '../server/client-directory.ts'
import type { LeaseDesk } from '../server/lease-desk.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import { ActorBackups } from './actor-backups.ts'
import { ActorReserves } from './actor-reserves.ts'
import { DeadActors } from './dead-actors.ts'
import {
  bytesOfKept,
  checkKept,
  refusalCodes,
  unknownState,
  type Asker,
  type KeepAnswer,
  type Kept,
  type KeptState,
} from './kept.ts'

export interface ActorKeeperOptions {
  self: NodeId
  /** Its id among the clients of this node. */
  id: ClientId
  directory: Pick<ClientDirectory, 'get'>
  leases: Pick<LeaseDesk, 'request' | 'cancelRequest' | 'giveBack' | 'kill' | 'routes'>
  names: Pick<NameDesk, 'claimFor' | 'yield' | 'giveBack'>
  /** Why the work of this client may not be done; undefined when it may. */
  whyForbidden(client: ClientId): string | undefined
  /** Brings files of code here from a node; `done` is told those that cannot be had. */
  bringCode(hashes: readonly string[], node: NodeId, done: (missing: readonly string[]) => void): void
  /** Other nodes that could start an actor again, those first that are to be asked first. */
  nodesInReserve(): readonly NodeId[]
  now(): number
  log(text: string): void
}

/** Detached actors that one node leads. */
const keptMax = 10_000
/** What all of them, and those in reserve, may take. */
const allBytesMax = 512 * 1024 * 1024
const watchersMax = 100_000
/** Actors that were killed while they did not run, and are remembered. */
const killedMax = 10_000
const tickMs = 250
/** A node that was asked to take an actor, and has not answered, is asked again. */
const askAgainMs = 500
/** How long whoever makes an actor waits for the nodes that could start it again. */
const reserveMsMax = 3000
/** An actor whose node is gone, and for which there is no place, is given up after so many tries. */
const placingsMax = 20
const placeAgainMs = 1000
/** Or, where it has lived, after so many, when it can go elsewhere. */
const refusalsMax = 3

/**
 * Leads the lives of detached actors, which belong to no program: to the node it is what the program that owns it is to any
 * other actor. It takes an actor from the program that makes it, finds a node for it, and hands it to the keeper of that
 * node; so an actor and who leads it live and die together. It is found, by name or by id, through the head's directory.
 */
export class ActorKeeper implements LeaseEnd {
  readonly id: ClientId
  readonly wantsLogs = false
  readonly unsentBytes = 0
  readonly #with: ActorKeeperOptions
  readonly #actors = new Map<ObjectId, Kept>()
  readonly #reserves: ActorReserves
  readonly #backups: ActorBackups
  readonly #byRequest = new Map<number, Kept>()
  readonly #byClaim = new Map<number, Kept>()
  readonly #byLease = new Map<number, Kept>()
  readonly #dead: DeadActors
  /** Those that were killed here while they did not run. */
  readonly #killed = new Set<ObjectId>()
  #post: NamePost | undefined
  #lastNumber = 0
  #timer: NodeJS.Timeout | undefined
  readonly #timers = new Set<NodeJS.Timeout>()
  #isClosed = false

  constructor(options: ActorKeeperOptions) {
    this.#with = options
    this.id = options.id
    const { names, bringCode } = options
    this.#backups = new ActorBackups({
      nodes: () => this.#with.nodesInReserve(),
      now: () => this.#with.now(),
      send: (node, kept) => this.#post?.send(node, 'keepBackup', { kept }),
    })
    this.#dead = new DeadActors({
      now: () => this.#with.now(),
      ended: (entry) => this.#drop(entry),
      wake: () => this.#wake(),
    })
    this.#reserves = new ActorReserves({
      manager: options.id,
      names,
      bringCode: (hashes, node, done) => bringCode(hashes, node, (missing) => !this.#isClosed && done(missing)),
      nextNumber: () => this.#nextNumber(),
      answer: (node, actor, problem) => this.#post?.send(node, 'keepBackedUp', { actor, problem }),
      // Who takes it over says that it has it when those in reserve are ready, of which this node may be one.
      isLedHere: (actor, by) => this.#actors.has(actor) && this.#actors.get(actor)?.handing?.node !== by,
      hasRoom: (count, more) => this.#hasRoom(count, more),
      isThere: (node) => this.#with.nodesInReserve().includes(node),
    })
  }

  /** There are other nodes. */
  join(post: NamePost): void {
    this.#post = post
    this.#dead.join(post)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #after(delayMs: number, callback: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#isClosed) callback()
    }, delayMs)
    this.#timers.add(timer)
  }

  /** Those that it leads, for people to read. */
  kept(): ActorReport[] {
    return [...this.#actors.values()].flatMap(({ kept, phase, lifecycle }) => {
      const { named, settings } = kept
      const { publicState, place, incarnation } = lifecycle
      if (publicState === 'dead') return []
      return [
        {
          id: named.actor,
          className: settings.className,
          state: phase === 'leading' ? publicState : 'pending',
          restarts: settings.restarts + incarnation,
          isDetached: true,
          ...(named.name === '' ? {} : { namespace: named.namespace, actorName: named.name }),
          ...(place === undefined ? {} : { node: nodeOf(place.worker), pid: place.workerPid }),
        },
      ]
    })
  }

  /** The files of code that are needed to start actors again. */
  *code(): Iterable<string> {
    for (const { kept } of this.#actors.values()) yield* kept.blobs
    yield* this.#reserves.code()
  }

  // --- actors that come

  /** A client of this node wants an actor that outlives it. */
  keep(client: LeaseEnd, { requestId, kept }: MessageBody<'actorKeep'>): void {
    const { actor } = kept.named
    if (ownerOf(actor) !== client.id) throw new ProtocolError('a client wants an actor kept that is not its own')
    checkKept(kept)
    const why = this.#with.whyForbidden(client.id)
    if (why !== undefined) {
      const answer = { outcome: 'unavailable', holder: [], code: 'MEMBERSHIP', text: why } as const
      this.#answer(actor, { client: client.id, requestId }, { ...answer, holder: [] })
      return
    }
    this.#take(kept, 0, { client: client.id, requestId })
  }

  #take(kept: KeptActor, epoch: number, asker: Asker, killed?: string): void {
    const { actor } = kept.named
    if (this.#actors.has(actor)) return
    if (!this.#hasRoom(this.#actors.size, kept)) {
      const text = `this node has as many detached actors as are possible: ${keptMax}, or what takes ${allBytesMax} bytes`
      this.#answer(actor, asker, { outcome: 'full', holder: [], code: 'TOO_MANY_ACTORS', text })
      return
    }
    const named = { ...kept.named, manager: this.id, epoch, isReserve: false, term: 0 }
    const entry: Kept = {
      kept: { ...kept, named },
      phase: 'claiming',
      asker,
      isAnswered: asker === 'nobody',
      reserves: new Map(),
      ledSinceMs: 0,
      toldIncarnation: 0,
      placings: 0,
      lifecycle: new ActorLifecycle(kept.restartsLeft),
      watchers: new Set(),
      requestId: undefined,
      readyPlace: undefined,
      handing: undefined,
      killed,
      error: undefined,
    }
    this.#actors.set(actor, entry)
    this.#claim(entry)
  }

  #claim(entry: Kept): void {
    entry.phase = 'claiming'
    const number = this.#nextNumber()
    this.#byClaim.set(number, entry)
    const { asker } = entry
    const handedBy = asker !== 'nobody' && 'node' in asker ? asker.manager : ''
    this.#with.names.claimFor(number, entry.kept.named, handedBy)
  }

  #onNameAnswer(body: MessageBody<'actorNameAnswer'>): void {
    if (this.#reserves.onNameAnswer(body)) return
    const { requestId, outcome, holder, code, text } = body
    const entry = this.#byClaim.get(requestId)
    this.#byClaim.delete(requestId)
    if (entry?.phase !== 'claiming') return
    const [named] = holder
    if (outcome === 'given' && named !== undefined) {
      entry.kept = { ...entry.kept, named }
      // What it was started from is of no use any more.
      this.#reserves.forget(named.actor)
      if (entry.killed !== undefined) this.#end(entry, entry.killed)
      else if (entry.asker !== 'nobody' && 'node' in entry.asker) this.#lead(entry)
      else this.#place(entry)
      return
    }
    if (entry.killed !== undefined && this.#killsElsewhere(entry, body, entry.killed)) return
    this.#drop(entry)
    const failed = outcome === 'taken' || outcome === 'full' ? outcome : 'unavailable'
    this.#answerEntry(entry, { outcome: failed, holder, code: code === '' ? 'UNREACHABLE' : code, text })
  }

  #place(entry: Kept): void {
    entry.phase = 'placing'
    this.#requestLease(entry, entry.kept.strategy)
  }

  #requestLease(entry: Kept, strategy: SchedulingStrategy): void {
    const { resources, envVars, envKey, settings } = entry.kept
    const requestId = this.#nextNumber()
    entry.requestId = requestId
    this.#byRequest.set(requestId, entry)
    const request = {
      requestId,
      resources: { ...resources },
      strategy,
      envVars: { ...envVars },
      envKey,
      depth: 0,
      label: settings.className,
      job: this.id,
      isActor: true,
      isRetriable: true,
    }
    // Its creator was allowed to submit work; this node itself may not be.
    this.#with.leases.request(this, request, true)
  }

  #requestHere(entry: Kept): void {
    this.#requestLease(entry, { kind: 'node', node: this.#with.self, isSoft: false })
  }

  #lead(entry: Kept): void {
    entry.phase = 'leading'
    entry.ledSinceMs = this.#with.now()
    this.#step(entry, { type: 'create' })
    this.#reserve(entry)
  }

  /** Has other nodes made able to start it again, and says that it is made when they are. */
  #reserve(entry: Kept): void {
    if (entry.phase !== 'leading' || entry.lifecycle.state === 'dead') return
    const nowMs = this.#with.now()
    const isReady = this.#backups.ask(entry)
    if (!entry.isAnswered && (isReady || nowMs - entry.ledSinceMs >= reserveMsMax)) {
      this.#answerEntry(entry, { outcome: 'given', holder: [entry.kept.named], code: '', text: '' })
    }
    if (!isReady) this.#wake()
  }

  #onGrant({ requestId, leaseId, workerId: worker, workerPid }: MessageBody<'leaseGrant'>): void {
    const entry = this.#byRequest.get(requestId)
    this.#byRequest.delete(requestId)
    const { self, names } = this.#with
    if (entry === undefined || entry.requestId !== requestId || entry.phase === 'gone') {
      this.#with.leases.giveBack(this, leaseId)
      return
    }
    entry.requestId = undefined
    this.#byLease.set(leaseId, entry)
    const place = { leaseId, worker, workerPid }
    const node = nodeOf(worker)
    if (entry.phase === 'leading') this.#step(entry, { type: 'granted', place })
    else if (node === self) {
      entry.readyPlace = place
      this.#lead(entry)
    } else {
      entry.phase = 'handing'
      entry.handing = { node, leaseId, saidAtMs: Number.NEGATIVE_INFINITY }
      names.yield(holdOf(entry.kept.named))
      this.#hand(entry)
    }
  }

  #onRefuse({ requestId, error, message }: MessageBody<'leaseRefuse'>): void {
    const entry = this.#byRequest.get(requestId)
    this.#byRequest.delete(requestId)
    if (entry === undefined || entry.requestId !== requestId || entry.phase === 'gone') return
    entry.requestId = undefined
    const mayPass = error === 'busy' || error === 'workerLimit' || error === 'workerStart'
    if (entry.phase === 'leading' && entry.lifecycle.state === 'restarting') entry.placings++
    const isFirst = entry.phase === 'leading' && entry.lifecycle.state === 'pending'
    if (isFirst && mayPass && ++entry.placings < placingsMax) {
      // There was room for it a moment ago.
      this.#after(placeAgainMs, () => {
        if (entry.phase === 'leading' && entry.lifecycle.state === 'pending') this.#requestHere(entry)
      })
      return
    }
    if (entry.phase === 'leading' && this.#mayLeave(entry, mayPass)) {
      this.#leave(entry)
      return
    }
    if (entry.phase === 'leading') {
      // Those who could start it elsewhere have perhaps to be told of its last restart first.
      const isElsewhere = entry.lifecycle.incarnation > 0 && entry.reserves.size > 0
      this.#step(entry, { type: 'refused', reason: message, error: undefined, mayPass: mayPass || isElsewhere })
      return
    }
    if (mayPass && entry.asker === 'nobody' && ++entry.placings < placingsMax) {
      this.#after(placeAgainMs, () => {
        if (entry.phase === 'placing' && entry.requestId === undefined) this.#place(entry)
      })
      return
    }
    this.#drop(entry)
    this.#answerEntry(entry, { outcome: 'unavailable', holder: [], code: refusalCodes[error], text: message })
    if (entry.asker === 'nobody') this.#bury(entry, `it could not be started again: ${message}`)
  }

  /** There is no room here any more for an actor, such as when the node is drained, but perhaps elsewhere. */
  #mayLeave({ reserves, placings }: Kept, mayPass: boolean): boolean {
    const isElsewhere = [...reserves.values()].some(({ isReady }) => isReady)
    return isElsewhere && (!mayPass || placings >= refusalsMax)
  }

  /** As if this node were gone: the head has one of the others start the actor. */
  #leave(entry: Kept): void {
    const { actor } = entry.kept.named
    this.#with.log(
      `the detached actor ${entry.kept.settings.className} (${actor}) finds no room here: another node starts it`,
    )
    this.#actors.delete(actor)
    entry.phase = 'gone'
    this.#with.names.giveBack(holdOf(entry.kept.named), true)
    for (const watcher of entry.watchers) this.#tell(watcher, unknownState(actor))
  }

  #onLost({ leaseId, reason }: MessageBody<'leaseLost'>): void {
    const entry = this.#byLease.get(leaseId)
    if (entry === undefined) return
    this.#byLease.delete(leaseId)
    if (entry.phase === 'leading') this.#step(entry, { type: 'lost', leaseId, reason })
    else if (entry.handing?.leaseId === leaseId) {
      // The node is gone, or the worker: another is looked for.
      entry.handing = undefined
      this.#claim(entry)
    }
  }

  // --- from node to node

  #hand(entry: Kept): void {
    const { handing, kept } = entry
    if (handing === undefined) return
    handing.saidAtMs = this.#with.now()
    this.#post?.send(handing.node, 'keepAsk', { kept })
    this.#wake()
  }

  #wake(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#dead.tick()
      for (const entry of this.#actors.values()) {
        this.#reserve(entry)
        if (entry.handing === undefined) continue
        if (this.#with.now() - entry.handing.saidAtMs >= askAgainMs) this.#hand(entry)
        else this.#wake()
      }
    }, tickMs)
  }

  handlers(): Pick<PeerMessageHandlers, `keep${'Ask' | 'Answer' | 'Backup' | 'BackedUp' | 'Forget' | 'Forgotten'}`> {
    return {
      keepAsk: (from, { kept }) => {
        checkKept(kept, from)
        this.#onAsk(from, kept)
      },
      keepAnswer: (from, body) => this.#onAnswer(from, body),
      keepBackup: (from, { kept }) => {
        checkKept(kept, from)
        const { actor, manager } = kept.named
        // Another head, which has not heard of its end, has had it started again.
        if (this.#killed.has(actor)) this.#killAt(manager, actor)
        else this.#reserves.take(from, kept)
      },
      keepBackedUp: (from, { actor, problem }) => {
        const entry = this.#actors.get(actor)
        const reserve = entry?.reserves.get(from)
        this.#dead.tell(from, actor)
        if (entry === undefined || reserve === undefined) return
        if (problem === '') reserve.isReady = true
        this.#reserve(entry)
      },
      keepForget: (from, { actor }) => {
        const asker = this.#actors.get(actor)?.asker
        // It was killed there while it was handed over to this node.
        if (asker !== undefined && asker !== 'nobody' && 'node' in asker && asker.node === from) {
          this.#kill(actor, false, `it was killed while node ${from} handed it over`)
        }
        this.#reserves.onDead(from, actor)
        this.#post?.send(from, 'keepForgotten', { actor })
      },
      keepForgotten: (from, { actor }) => this.#dead.forgottenBy(from, actor),
    }
  }

  /** Another node has found that an actor is to live here. */
  #onAsk(from: NodeId, kept: KeptActor): void {
    const { actor, epoch } = kept.named
    const known = this.#actors.get(actor)
    const asker = { node: from, manager: kept.named.manager }
    const handing = known?.handing
    if (known !== undefined && handing?.node === from && known.kept.named.epoch < epoch) {
      // The node that it was handed to has had it meanwhile, and gives it back.
      this.#byLease.delete(handing.leaseId)
      this.#with.leases.giveBack(this, handing.leaseId)
      this.#drop(known)
      this.#answerEntry(known, { outcome: 'given', holder: [kept.named], code: '', text: '' })
    } else if (known !== undefined) {
      // It was asked before. While it is not all done there is no answer.
      if (known.phase === 'leading' && known.isAnswered)
        this.#answer(actor, asker, { outcome: 'given', holder: [known.kept.named], code: '', text: '' })
      return
    }
    const why = this.#with.whyForbidden(kept.named.manager)
    if (why !== undefined) {
      this.#answer(actor, asker, { outcome: 'unavailable', holder: [], code: 'MEMBERSHIP', text: why })
      return
    }
    const dead = this.#dead.get(actor)
    // Who asks may have been about to hand it over for long, and not have heard of its end.
    if (dead !== undefined || this.#reserves.hasEnded(actor)) {
      const text = dead?.reason ?? 'it has ended elsewhere'
      this.#answer(actor, asker, { outcome: 'unavailable', holder: [], code: 'ACTOR_DIED', text })
      return
    }
    this.#with.bringCode(kept.blobs, from, (missing) => {
      if (missing.length > 0) {
        const text = `${missing.length} of the files of its code have not arrived at node ${this.#with.self}`
        this.#answer(actor, asker, { outcome: 'unavailable', holder: [], code: 'CODE_MISSING', text })
      } else if (!this.#isClosed && this.#dead.get(actor) === undefined && !this.#reserves.hasEnded(actor))
        this.#take(kept, epoch + 1, asker)
    })
  }

  // --- actors of other nodes, in reserve

  #hasRoom(count: number, more: KeptActor): boolean {
    if (count >= keptMax) return false
    let bytes = bytesOfKept(more) + this.#reserves.bytes()
    for (const { kept } of this.#actors.values()) bytes += bytesOfKept(kept)
    return bytes <= allBytesMax
  }

  /** The head says that nobody leads an actor any more that is here in reserve. */
  lead(named: NamedActor): void {
    const { actor } = named
    const kept = this.#reserves.get(actor)
    if (this.#actors.has(actor)) return
    if (kept === undefined) {
      this.#with.names.giveBack(holdOf(named))
      return
    }
    const { settings, restartsLeft } = kept
    if (restartsLeft === 0) this.#reserves.forget(actor)
    if (restartsLeft === 0) return
    this.#with.log(`the node of the detached actor ${settings.className} (${actor}) is gone: it is started again`)
    const again = {
      ...kept,
      settings: { ...settings, restarts: settings.restarts + 1 },
      restartsLeft: restartsLeft > 0 ? restartsLeft - 1 : restartsLeft,
    }
    this.#take(again, named.epoch, 'nobody')
  }

  /** A link to a node is there, or is there no more. */
  linkChanged(node: NodeId, isUp: boolean): void {
    this.#dead.linkChanged(node, isUp)
    for (const entry of this.#actors.values()) {
      if (!isUp) entry.reserves.delete(node)
      this.#reserve(entry)
    }
  }

  #onAnswer(from: NodeId, { actor, ...answer }: PeerMessageBody<'keepAnswer'>): void {
    const entry = this.#actors.get(actor)
    if (entry?.phase !== 'handing' || entry.handing?.node !== from) return
    const { leaseId } = entry.handing
    this.#byLease.delete(leaseId)
    this.#with.leases.giveBack(this, leaseId)
    entry.handing = undefined
    const [holder] = answer.holder
    // It may have been handed over before, to a node that was out of reach then.
    const isThere = answer.outcome === 'taken' && holder?.actor === actor
    if (entry.asker === 'nobody' && answer.outcome !== 'given' && !isThere) {
      this.#handAgain(entry, answer)
      return
    }
    this.#drop(entry)
    this.#answerEntry(entry, isThere ? { ...answer, outcome: 'given' } : answer)
    const state = { state: 'restarting', reason: 'another node leads it now' } as const
    for (const watcher of entry.watchers) this.#tell(watcher, { ...unknownState(actor), ...state })
  }

  /** There was no place for an actor that is to be started again. */
  #handAgain(entry: Kept, { outcome, code, text }: KeepAnswer): void {
    const isOver = outcome === 'taken' || code === 'ACTOR_DIED' || ++entry.placings >= placingsMax
    if (isOver) this.#bury(entry, `it could not be started again: ${text === '' ? 'its name is taken' : text}`)
    else {
      this.#after(placeAgainMs, () => {
        if (entry.phase === 'handing' && entry.handing === undefined) this.#claim(entry)
      })
    }
  }

  #answerEntry(entry: Kept, answer: KeepAnswer): void {
    entry.isAnswered = true
    this.#answer(entry.kept.named.actor, entry.asker, answer)
  }

  #answer(actor: ObjectId, asker: Asker, answer: KeepAnswer): void {
    if (asker === 'nobody') return
    if ('node' in asker) this.#post?.send(asker.node, 'keepAnswer', { actor, ...answer })
    else this.#with.directory.get(asker.client)?.send('actorNameAnswer', { requestId: asker.requestId, ...answer })
  }

  /** It is led here no more. */
  #drop(entry: Kept): void {
    const { actor } = entry.kept.named
    if (this.#actors.get(actor) === entry) this.#actors.delete(actor)
    entry.handing = undefined
    entry.phase = 'gone'
    this.#with.names.giveBack(holdOf(entry.kept.named))
  }

  // --- its life

  #step(entry: Kept, event: LifecycleEvent): void {
    if (this.#isClosed || entry.phase === 'gone') return
    for (const action of entry.lifecycle.step(event, this.#with.now())) this.#do(entry, action)
  }

  #do(entry: Kept, action: LifecycleAction): void {
    const { leases } = this.#with
    switch (action.type) {
      case 'requestLease': {
        const { readyPlace } = entry
        entry.readyPlace = undefined
        const isReady = readyPlace !== undefined && this.#byLease.has(readyPlace.leaseId)
        // Not at once: what this step leads to besides comes first.
        if (isReady) queueMicrotask(() => this.#step(entry, { type: 'granted', place: readyPlace }))
        else this.#requestHere(entry)
        return
      }
      case 'cancelRequest':
        if (entry.requestId === undefined) return
        this.#byRequest.delete(entry.requestId)
        leases.cancelRequest(this, entry.requestId)
        entry.requestId = undefined
        return
      case 'start':
        return this.#start(entry, action.place.leaseId)
      case 'end':
        leases.routes.get(action.leaseId)?.worker.send('actorEnd', { leaseId: action.leaseId })
        return
      case 'killLease':
        leases.kill(this, action.leaseId, action.reason)
        return
      case 'returnLease':
        this.#byLease.delete(action.leaseId)
        leases.giveBack(this, action.leaseId)
        return
      case 'wake':
        this.#after(action.afterMs, () => this.#step(entry, { type: 'woken' }))
        return
      case 'changed':
        this.#changed(entry)
    }
  }

  #start({ kept, lifecycle }: Kept, leaseId: number): void {
    const worker = this.#with.leases.routes.get(leaseId)?.worker
    if (worker === undefined) return
    const { creation, settings, functions, named } = kept
    const incarnation = settings.restarts + lifecycle.incarnation
    worker.send('actorCode', { leaseId, functions })
    worker.send('actorStart', {
      leaseId,
      actor: named.actor,
      creation: { ...creation, attempt: incarnation },
      settings: { ...settings, restarts: incarnation },
    })
  }

  #changed(entry: Kept): void {
    const state = this.#stateOf(entry)
    for (const watcher of entry.watchers) this.#tell(watcher, state)
    if (entry.lifecycle.state === 'dead') this.#bury(entry, state.reason)
    else this.#reserve(entry)
  }

  #bury(entry: Kept, reason: string): void {
    const { named, settings } = entry.kept
    this.#with.log(`detached actor ${settings.className} (${named.actor}) is dead: ${reason}`)
    entry.phase = 'gone'
    this.#actors.delete(named.actor)
    this.#dead.add(entry, { ...this.#stateOf(entry), state: 'dead', reason })
  }

  #stateOf({ kept, phase, lifecycle, error }: Kept): KeptState {
    const { actor } = kept.named
    const { publicState: state, place, incarnation, death } = lifecycle
    if (phase !== 'leading' && state !== 'dead') return { ...unknownState(actor), state: 'pending' }
    const worker = state === 'alive' ? (place?.worker ?? '') : ''
    const errors = state === 'dead' && error !== undefined ? [error] : []
    const restarts = kept.settings.restarts + incarnation
    return { actor, state, worker, incarnation: restarts, target: actor, reason: death?.reason ?? '', error: errors }
  }

  #tell(to: ClientId, state: KeptState): void {
    this.#with.directory.get(to)?.send('actorState', { to, from: this.id, ...state })
  }

  #onStarted({ leaseId, result }: MessageBody<'actorStarted'>): void {
    const entry = this.#byLease.get(leaseId)
    if (entry === undefined) return
    const [value] = result.values
    if (result.status === 'ok') {
      entry.placings = 0
      this.#step(entry, { type: 'started', leaseId })
      return
    }
    if (value?.kind === 'inline') entry.error = value
    this.#step(entry, { type: 'startFailed', leaseId, reason: 'its constructor has failed', error: value })
  }

  #watch({ from, actor }: MessageBody<'actorWatch'>): void {
    const entry = this.#actors.get(actor)
    if (entry !== undefined && entry.watchers.size < watchersMax) entry.watchers.add(from)
    // One that is not known here has perhaps been handed over: whoever asks looks for it again.
    this.#tell(from, entry === undefined ? (this.#dead.get(actor) ?? unknownState(actor)) : this.#stateOf(entry))
  }

  #kill(actor: ObjectId, mayRestart: boolean, reason: string): void {
    const entry = this.#actors.get(actor)
    if (entry?.phase === 'leading') this.#step(entry, { type: 'kill', reason, mayRestart })
    // One that does not run has nothing to be started again for.
    if (mayRestart || entry?.phase === 'leading') return
    if (entry?.phase === 'claiming') entry.killed ??= reason
    else if (entry !== undefined) this.#end(entry, reason)
    else {
      // Nobody leads it for the moment. The head hears of its end from who leads it, so that is to be this node.
      const kept = this.#reserves.get(actor)
      if (kept !== undefined) this.#take(kept, kept.named.epoch + 1, 'nobody', reason)
    }
  }

  /** Ends an actor that has its name, and does not run yet. */
  #end(entry: Kept, reason: string): void {
    const { requestId, handing, watchers, kept } = entry
    const { leases } = this.#with
    if (requestId !== undefined) {
      this.#byRequest.delete(requestId)
      leases.cancelRequest(this, requestId)
      entry.requestId = undefined
    }
    if (handing !== undefined) {
      this.#byLease.delete(handing.leaseId)
      leases.giveBack(this, handing.leaseId)
      entry.handing = undefined
      // It may have it already. It is told until it has answered.
      entry.reserves.set(handing.node, { isReady: false, saidAtMs: 0 })
    }
    // The next head would have it started again by those who could, if it has not heard of its end.
    for (const node of this.#with.nodesInReserve()) {
      if (!entry.reserves.has(node)) entry.reserves.set(node, { isReady: false, saidAtMs: 0 })
    }
    this.#killed.add(kept.named.actor)
    if (this.#killed.size > killedMax) this.#killed.delete(this.#killed.values().next().value as ObjectId)
    this.#bury(entry, reason)
    if (!entry.isAnswered) {
      this.#answerEntry(entry, { outcome: 'unavailable', holder: [], code: 'ACTOR_DIED', text: reason })
    }
    const state = this.#dead.get(kept.named.actor)
    if (state !== undefined) for (const watcher of watchers) this.#tell(watcher, state)
  }

  #killAt(to: ClientId, actor: ObjectId): void {
    this.#with.directory.get(to)?.send('actorKill', { to, from: this.id, actor, mayRestart: false })
  }

  /** An actor that was killed has not got its name. True when there is more to be done about it here. */
  #killsElsewhere(entry: Kept, { outcome, holder: [holder] }: MessageBody<'actorNameAnswer'>, reason: string): boolean {
    const { named } = entry.kept
    const { actor } = named
    if (holder?.actor === actor) {
      // Another node leads it.
      this.#killAt(holder.manager, actor)
      return false
    }
    if (outcome === 'taken' || entry.asker !== 'nobody' || ++entry.placings >= placingsMax) return false
    this.#with.log(
      `detached actor ${entry.kept.settings.className} (${actor}) is to end (${reason}), and no head answers`,
    )
    // What was wanted before was given back, and is not given any more.
    entry.kept = { ...entry.kept, named: { ...named, epoch: named.epoch + 1 } }
    this.#after(placeAgainMs, () => {
      if (entry.phase === 'claiming') this.#claim(entry)
    })
    return true
  }

  /** Clients have gone. */
  watchersGone(isGone: (client: ClientId) => boolean): void {
    for (const { watchers } of this.#actors.values())
      for (const each of watchers) if (isGone(each)) watchers.delete(each)
  }

  // --- as a client of the node

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#on(name, body)
  }

  /** Workers and other clients have something to say. What is meant for another kind of client is passed over. */
  forward(frame: Frame): void {
    const name = messageName(frame.type)
    if (name !== undefined && this.#clientHandlers[name] !== undefined) this.#on(name, decodeBody(name, frame.body))
  }

  #on<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#clientHandlers[name]?.(body)
  }

  readonly #clientHandlers: { [N in MessageName]?: (body: MessageBody<N>) => void } = {
    leaseGrant: (body) => this.#onGrant(body),
    leaseRefuse: (body) => this.#onRefuse(body),
    leaseLost: (body) => this.#onLost(body),
    actorStarted: (body) => this.#onStarted(body),
    actorEnded: ({ leaseId, reason }) => {
      const entry = this.#byLease.get(leaseId)
      if (entry !== undefined) this.#step(entry, { type: 'ended', leaseId, reason })
    },
    actorWatch: (body) => this.#watch(body),
    actorUnwatch: ({ from, actor }) => void this.#actors.get(actor)?.watchers.delete(from),
    actorKill: ({ from, actor, mayRestart }) => this.#kill(actor, mayRestart, `it was killed (by client ${from})`),
    actorNameAnswer: (body) => this.#onNameAnswer(body),
    actorNameLost: (body) => this.#onNameLost(body),
  }

  #onNameLost({ actor, isReserve, holder: [holder] }: MessageBody<'actorNameLost'>): void {
    const entry = this.#actors.get(actor)
    if (isReserve) this.#reserves.forget(actor)
    else if (holder?.actor !== actor) {
      this.#kill(actor, false, 'its name belongs to another: both were given it while parts of the mesh were apart')
    } else if (entry !== undefined) {
      // The one that was taken for gone lives, and has kept its state. Whoever asks for it is to look for that one.
      for (const [leaseId, each] of this.#byLease) if (each === entry) this.#giveUp(leaseId)
      if (entry.requestId !== undefined) this.#with.leases.cancelRequest(this, entry.requestId)
      entry.requestId = undefined
      this.#drop(entry)
      for (const watcher of entry.watchers) this.#tell(watcher, unknownState(actor))
    }
  }

  #giveUp(leaseId: number): void {
    this.#byLease.delete(leaseId)
    this.#with.leases.kill(this, leaseId, 'another one like it was there before')
  }

  #nextNumber(): number {
    this.#lastNumber = (this.#lastNumber + 1) % 0xffff_ffff
    return this.#lastNumber
  }
}
