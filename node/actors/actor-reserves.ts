import type { NameHold } from '../../protocols/actor-names.ts'
import { nodeOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { NameDesk } from '../names/name-desk.ts'
import { bytesOfKept } from './kept.ts'

export interface ActorReservesOptions {
  /** The keeper, as a client of this node. */
  manager: ClientId
  names: Pick<NameDesk, 'claimFor' | 'giveBack'>
  bringCode(hashes: readonly string[], node: NodeId, done: (missing: readonly string[]) => void): void
  nextNumber(): number
  /** Tells who leads an actor that it is in reserve here, or why not. */
  answer(node: NodeId, actor: ObjectId, problem: string): void
  /** It is led here, and is not just being handed to that node. */
  isLedHere(actor: ObjectId, by: NodeId): boolean
  hasRoom(count: number, more: KeptActor): boolean
  /** There is a link to the node. */
  isThere(node: NodeId): boolean
}

/** Dead actors that are remembered. */
const endedMax = 10_000

/** What is needed to start an actor of another node again. */
interface Reserve {
  kept: KeptActor
  /** The head knows that it is here. */
  isKnown: boolean
  /** The number of the question whether it does. */
  readonly claim: number
}

/** Detached actors of other nodes that this one could start again. The head knows of each, and tells when that is needed. */
export class ActorReserves {
  readonly #with: ActorReservesOptions
  readonly #reserves = new Map<ObjectId, Reserve>()
  readonly #byClaim = new Map<number, Reserve>()
  /** Actors that are dead: what is still on its way of them comes too late. */
  readonly #ended = new Set<ObjectId>()

  constructor(options: ActorReservesOptions) {
    this.#with = options
  }

  get(actor: ObjectId): KeptActor | undefined {
    return this.#reserves.get(actor)?.kept
  }

  /** Who led it has said that it is dead. */
  hasEnded(actor: ObjectId): boolean {
    return this.#ended.has(actor)
  }

  /** The files of their code. */
  *code(): Iterable<string> {
    for (const { kept } of this.#reserves.values()) yield* kept.blobs
  }

  /** What all of them take, about. */
  bytes(): number {
    let bytes = 0
    for (const { kept } of this.#reserves.values()) bytes += bytesOfKept(kept)
    return bytes
  }

  /** Who leads an actor wants it in reserve here, or says what has changed. */
  take(from: NodeId, kept: KeptActor): void {
    const { actor, manager, epoch } = kept.named
    const { names, bringCode, nextNumber, answer, isLedHere, hasRoom } = this.#with
    const known = this.#reserves.get(actor)
    if (known !== undefined && known.kept.named.manager === manager && known.kept.named.epoch === epoch) {
      known.kept = kept
      if (known.isKnown) this.#known(known, '')
      return
    }
    if (isLedHere(actor, from) || (known !== undefined && known.kept.named.epoch > epoch)) return
    bringCode(kept.blobs, from, (missing) => {
      if (this.#reserves.get(actor) !== known || isLedHere(actor, from) || this.#ended.has(actor)) return
      if (missing.length > 0 || !hasRoom(this.#reserves.size, kept)) {
        answer(from, actor, missing.length > 0 ? 'files of its code have not arrived' : 'there is no room for more')
        return
      }
      this.forget(actor)
      const reserve = { kept, isKnown: false, claim: nextNumber() }
      this.#reserves.set(actor, reserve)
      this.#byClaim.set(reserve.claim, reserve)
      names.claimFor(reserve.claim, { ...kept.named, ...this.#holdOf(reserve) }, '')
    })
  }

  /** The head has answered. False: not to a question of this. */
  onNameAnswer({ requestId, outcome, text }: MessageBody<'actorNameAnswer'>): boolean {
    const reserve = this.#byClaim.get(requestId)
    if (reserve === undefined) return false
    this.#byClaim.delete(requestId)
    this.#known(reserve, outcome === 'given' ? '' : text)
    return true
  }

  #known(reserve: Reserve, problem: string): void {
    const { actor, manager } = reserve.kept.named
    if (this.#reserves.get(actor) !== reserve) return
    if (problem === '') reserve.isKnown = true
    else this.forget(actor)
    this.#with.answer(nodeOf(manager), actor, problem)
  }

  #holdOf({ kept }: Reserve): NameHold {
    const { actor, epoch } = kept.named
    return { actor, manager: this.#with.manager, epoch: epoch + 1, isReserve: true }
  }

  /** It is not needed here any more. */
  forget(actor: ObjectId): void {
    const reserve = this.#reserves.get(actor)
    if (reserve === undefined) return
    this.#reserves.delete(actor)
    this.#byClaim.delete(reserve.claim)
    this.#with.names.giveBack(this.#holdOf(reserve))
  }

  /** Who leads the actor, or has led it, says that it is dead; or somebody else, when who leads it is gone. */
  onDead(from: NodeId, actor: ObjectId): void {
    const leader = this.get(actor)?.named.manager
    if (leader !== undefined && nodeOf(leader) !== from && this.#with.isThere(nodeOf(leader))) return
    this.forget(actor)
    this.#ended.add(actor)
    if (this.#ended.size > endedMax) this.#ended.delete(this.#ended.values().next().value as ObjectId)
  }
}
