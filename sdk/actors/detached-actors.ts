import { ActorDiedError } from '../../protocols/errors.ts'
import { ownerOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { within } from '../runtime/within.ts'
import type { ActorStatus } from './actor-link.ts'
import type { NamedActor } from '../../protocols/actor-names.ts'
import type { ActorNames } from './actor-names.ts'

export interface DetachedActorsHost {
  readonly self: ClientId
  readonly names: ActorNames
  /** What is said of the actor comes from another one now. */
  leaderChanged(actor: ObjectId): void
  /** Asks how the actor is. */
  watch(actor: ObjectId, leader: ClientId): void
  kill(actor: ObjectId, leader: ClientId, mayRestart: boolean): void
  setStatus(actor: ObjectId, status: ActorStatus): void
  /** How an actor is that is dead. */
  deadStatus(actor: ObjectId, error: ActorDiedError): ActorStatus
}

/** An actor that is not there for the moment is looked for again after this time. */
const lookAgainMs = 1000
/** How long the end of a program waits until the actors are made that are to outlive it. */
const keepMsMax = 10_000

/**
 * Who leads the detached actors that this process has to do with: the keeper of a node, which the directory tells, and tells
 * again when that one is gone. While an actor is being made only its creator knows of it.
 */
export class DetachedActors {
  readonly #host: DetachedActorsHost
  readonly #known = new Set<ObjectId>()
  readonly #leaders = new Map<ObjectId, ClientId>()
  /** Those that are being looked for, or will be in a moment. */
  readonly #looking = new Set<ObjectId>()
  /** Those that are to be dead. Who led one may have gone without hearing of it. */
  readonly #killed = new Set<ObjectId>()
  readonly #making = new Map<ObjectId, Promise<void>>()
  #isClosed = false

  constructor(host: DetachedActorsHost) {
    this.#host = host
  }

  has(actor: ObjectId): boolean {
    return this.#known.has(actor)
  }

  add(actor: ObjectId): void {
    this.#known.add(actor)
  }

  /** Who was asked for it last: its creator, when nobody leads it. */
  leaderOf(actor: ObjectId): ClientId {
    return this.#leaders.get(actor) ?? ownerOf(actor)
  }

  /** True when a keeper leads it, as far as is known. */
  isLed(actor: ObjectId): boolean {
    return this.#leaders.has(actor)
  }

  /** An actor of this process is being made. */
  making(actor: ObjectId, made: Promise<void>): void {
    this.#making.set(actor, made)
    void made.finally(() => this.#making.delete(actor))
  }

  /** Resolves when all are made, or could not be. */
  async allMade(): Promise<void> {
    await within(keepMsMax, [...this.#making.values()])
  }

  led(actor: ObjectId, leader: ClientId): void {
    const before = this.#leaders.get(actor)
    this.#leaders.set(actor, leader)
    if (before !== undefined && before !== leader) this.#host.leaderChanged(actor)
    this.#host.watch(actor, leader)
    this.#killAgain(actor, leader)
  }

  /** Finds out who leads it, and asks how it is. */
  look(actor: ObjectId): void {
    if (this.#looking.has(actor) || this.#isClosed) return
    this.#looking.add(actor)
    void this.#look(actor)
  }

  async #look(actor: ObjectId): Promise<void> {
    let leader: NamedActor | undefined
    try {
      leader = await this.#host.names.leaderOf(actor)
    } catch {
      // The mesh has no head for now.
      this.#looking.delete(actor)
      this.lookAgain(actor)
      return
    }
    this.#looking.delete(actor)
    if (leader?.isReserve === true) {
      // Its node is gone, and another one is about to start it again.
      this.#killAgain(actor, leader.manager)
      this.lookAgain(actor)
      return
    }
    if (leader !== undefined) {
      this.led(actor, leader.manager)
      return
    }
    this.#leaders.delete(actor)
    const owner = ownerOf(actor)
    if (owner !== this.#host.self) this.#host.watch(actor, owner)
    else if (!this.#making.has(actor)) this.#dead(actor, 'the node that led it is gone')
  }

  /** It has no place for the moment. */
  lookAgain(actor: ObjectId): void {
    if (this.#looking.has(actor) || this.#isClosed) return
    this.#looking.add(actor)
    setTimeout(() => {
      this.#looking.delete(actor)
      this.look(actor)
    }, lookAgainMs).unref()
  }

  /** Nobody leads it: not a keeper, and not its creator any more. */
  #dead(actor: ObjectId, reason: string): void {
    const error = new ActorDiedError(`actor ${actor} is dead: ${reason}`, { details: { actor, reason } })
    this.#host.setStatus(actor, this.#host.deadStatus(actor, error))
  }

  /** Processes are gone, or cannot be reached. Gives the actors that they led, as far as this process asked them. */
  leadersGone(isGone: (client: ClientId) => boolean): ObjectId[] {
    const gone: ObjectId[] = []
    for (const [actor, leader] of this.#leaders) {
      if (!isGone(leader)) continue
      this.#leaders.delete(actor)
      gone.push(actor)
    }
    return gone
  }

  /** It is known to be dead. */
  ended(actor: ObjectId): void {
    this.#killed.delete(actor)
  }

  #killAgain(actor: ObjectId, leader: ClientId): void {
    if (this.#killed.has(actor)) this.#host.kill(actor, leader, false)
  }

  async kill(actor: ObjectId, mayRestart: boolean): Promise<void> {
    await this.#making.get(actor)
    if (!mayRestart && (this.#leaders.has(actor) || this.#looking.has(actor))) this.#killed.add(actor)
    const found = await this.#host.names.leaderOf(actor).catch(() => undefined)
    this.#host.kill(actor, found?.manager ?? this.leaderOf(actor), mayRestart)
  }

  close(): void {
    this.#isClosed = true
  }
}
