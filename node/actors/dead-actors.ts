import type { NodeId, ObjectId } from '../../protocols/ids.ts'
import type { NamePost } from '../names/name-office.ts'
import type { Kept, KeptState } from './kept.ts'

export interface DeadActorsOptions {
  now(): number
  /** Its name is free now. */
  ended(entry: Kept): void
  /** Looks after it by itself: `tick` is to be called in a while. */
  wake(): void
}

/** Dead actors that are remembered. */
const rememberedMax = 200
/** How long the name of a dead one waits for that others have forgotten it. */
const forgetMsMax = 3000
/** A node that was asked to forget one, and has not answered, is asked again. */
const askAgainMs = 500

/** Detached actors that are dead: those that other nodes could still start again, and have to forget, and how they have died. */
export class DeadActors {
  readonly #with: DeadActorsOptions
  readonly #ending = new Map<ObjectId, { entry: Kept; sinceMs: number; saidAtMs: number }>()
  readonly #states = new Map<ObjectId, KeptState>()
  #post: NamePost | undefined

  constructor(options: DeadActorsOptions) {
    this.#with = options
  }

  join(post: NamePost): void {
    this.#post = post
  }

  /** How it has died; undefined for one that is not known to be dead. */
  get(actor: ObjectId): KeptState | undefined {
    return this.#states.get(actor)
  }

  add(entry: Kept, state: KeptState): void {
    const { actor } = entry.kept.named
    this.#ending.set(actor, { entry, sinceMs: this.#with.now(), saidAtMs: Number.NEGATIVE_INFINITY })
    this.#end(actor)
    this.#states.set(actor, state)
    if (this.#states.size > rememberedMax) this.#states.delete(this.#states.keys().next().value as ObjectId)
  }

  /** A node has asked about it as if it lived. */
  tell(node: NodeId, actor: ObjectId): void {
    if (this.#states.has(actor)) this.#post?.send(node, 'keepForget', { actor })
  }

  /** A node could not start it again any more. */
  forgottenBy(node: NodeId, actor: ObjectId): void {
    this.#ending.get(actor)?.entry.reserves.delete(node)
    this.#end(actor)
  }

  linkChanged(node: NodeId, isUp: boolean): void {
    for (const [actor, { entry }] of this.#ending) {
      if (!isUp) entry.reserves.delete(node)
      this.#end(actor)
    }
  }

  tick(): void {
    for (const actor of this.#ending.keys()) this.#end(actor)
  }

  /** Its name is free when nobody could start it again any more: the head would have that done. */
  #end(actor: ObjectId): void {
    const ending = this.#ending.get(actor)
    if (ending === undefined) return
    const nowMs = this.#with.now()
    const { reserves } = ending.entry
    if (reserves.size === 0 || nowMs - ending.sinceMs >= forgetMsMax) {
      this.#ending.delete(actor)
      this.#with.ended(ending.entry)
      return
    }
    this.#with.wake()
    if (nowMs - ending.saidAtMs < askAgainMs) return
    ending.saidAtMs = nowMs
    for (const node of reserves.keys()) this.#post?.send(node, 'keepForget', { actor })
  }
}
