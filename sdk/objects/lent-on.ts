import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'

/** Questions that wait for one node; of more, the oldest are dropped: their owners keep what they ask about until this process ends. */
const waitingMax = 10_000

/** An owner asks the lender for a mark behind all that it has lent to that borrower. */
export interface MarkAsk {
  readonly owner: ClientId
  readonly borrower: ClientId
  readonly number: number
}

/**
 * What this process has lent on of other owners' objects, and what it has said to them, as far as links matter: when one
 * breaks, it is not known what of it has come to its borrowers, or to the owners there, and the owners have to hear so. Pure.
 */
export class LentOn {
  /** By the nodes of borrowers. */
  readonly #owners = new Map<NodeId, Set<ClientId>>()
  readonly #away = new Set<NodeId>()
  readonly #waiting = new Map<NodeId, MarkAsk[]>()
  /** Owners to whom something was said while no link led to them. */
  readonly #unheard = new Set<ClientId>()

  add(owner: ClientId, borrower: ClientId): void {
    const node = nodeOf(borrower)
    const owners = this.#owners.get(node)
    if (owners === undefined) this.#owners.set(node, new Set([owner]))
    else owners.add(owner)
  }

  /** Something about borrows is said to an owner. */
  say(owner: ClientId): void {
    if (this.#away.has(nodeOf(owner))) this.#unheard.add(owner)
  }

  /** True when the mark is to be sent now; else it is when the borrower's node is back. */
  ask(ask: MarkAsk): boolean {
    const node = nodeOf(ask.borrower)
    if (!this.#away.has(node)) return true
    const waiting = this.#waiting.get(node) ?? []
    this.#waiting.set(node, waiting)
    waiting.push(ask)
    if (waiting.length > waitingMax) waiting.shift()
    return false
  }

  clientGone(client: ClientId): void {
    this.#unheard.delete(client)
    for (const [node, owners] of this.#owners) if (owners.delete(client) && owners.size === 0) this.#owners.delete(node)
  }

  /** Gives the owners who have to hear that what was lent to processes there may be lost. */
  nodeGone(node: NodeId): Iterable<ClientId> {
    this.#away.add(node)
    const owners = this.#owners.get(node) ?? []
    this.#owners.delete(node)
    return owners
  }

  /** Gives the marks that are to be sent now, and the owners there who have not heard what was said to them. */
  nodeBack(node: NodeId): { marks: readonly MarkAsk[]; unheard: readonly ClientId[] } {
    this.#away.delete(node)
    const marks = this.#waiting.get(node) ?? []
    this.#waiting.delete(node)
    const unheard = [...this.#unheard].filter((owner) => nodeOf(owner) === node)
    for (const owner of unheard) this.#unheard.delete(owner)
    return { marks, unheard }
  }
}
