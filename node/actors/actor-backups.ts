import type { NodeId } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import type { Kept } from './kept.ts'

export interface ActorBackupsOptions {
  /** Other nodes that could start an actor again, those first that are to be asked first. */
  nodes(): readonly NodeId[]
  now(): number
  /** Has a node keep what it needs to start the actor again. */
  send(node: NodeId, kept: KeptActor): void
}

/** On so many other nodes there is what is needed to start an actor again. */
const wantedCount = 2
/** A node that has not answered is asked again. */
const askAgainMs = 2000
const unsaid = { isReady: false, saidAtMs: Number.NEGATIVE_INFINITY }

/** Has other nodes made able to start again the actors that this one leads. */
export class ActorBackups {
  readonly #with: ActorBackupsOptions

  constructor(options: ActorBackupsOptions) {
    this.#with = options
  }

  /** Asks for what is missing. True when all who are asked are ready. */
  ask(entry: Kept): boolean {
    const { kept, reserves, lifecycle } = entry
    const nowMs = this.#with.now()
    const wanted = lifecycle.restartsLeft === 0 ? [] : this.#with.nodes()
    for (const node of wanted) {
      if (reserves.size >= wantedCount) break
      if (!reserves.has(node)) reserves.set(node, { ...unsaid })
    }
    const isNews = entry.toldIncarnation !== lifecycle.incarnation
    entry.toldIncarnation = lifecycle.incarnation
    for (const [node, reserve] of reserves) {
      // It is to know how many restarts are left.
      if (isNews) Object.assign(reserve, unsaid)
      if (reserve.isReady || nowMs - reserve.saidAtMs < askAgainMs) continue
      reserve.saidAtMs = nowMs
      const restarts = kept.settings.restarts + lifecycle.incarnation
      const state = { settings: { ...kept.settings, restarts }, restartsLeft: lifecycle.restartsLeft }
      this.#with.send(node, { ...kept, ...state })
    }
    return [...reserves.values()].every((each) => each.isReady)
  }
}
