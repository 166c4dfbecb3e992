import type { Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'

/** Rounds whose answers may still come. */
const roundsKept = 20

/** What a head, or one that wants to be it, holds. */
export class Claim {
  readonly term: Term
  isActing = false
  /** Its term is on this node's disk. */
  isWritten = false
  /** When it last held this node and more than half of those in view; at first, when it began or was written. */
  majorityAtMs: number
  #round = 0
  readonly #sentAtMs = new Map<number, number>()
  readonly #untilMs = new Map<NodeId, number>()
  /** Who has told this head, since it acts, how it stands. */
  readonly #reported = new Set<NodeId>()

  constructor(term: Term, nowMs: number) {
    this.term = term
    this.majorityAtMs = nowMs
  }

  /** Nodes that support it. */
  get size(): number {
    return this.#untilMs.size
  }

  holds(node: NodeId, nowMs: number): boolean {
    return nowMs < (this.#untilMs.get(node) ?? Number.NEGATIVE_INFINITY)
  }

  written(nowMs: number): void {
    if (!this.isWritten) this.majorityAtMs = nowMs
    this.isWritten = true
  }

  /** Begins a round of claims; gives its number. */
  send(nowMs: number): number {
    this.#round++
    this.#sentAtMs.set(this.#round, nowMs)
    this.#sentAtMs.delete(this.#round - roundsKept)
    return this.#round
  }

  /**
   * A node has answered a round: it is held for `leaseMs` from the time when that was sent, which is before the node made
   * its promise. False when the round is too old.
   */
  supported(node: NodeId, round: number, leaseMs: number): boolean {
    const sentAtMs = this.#sentAtMs.get(round)
    if (sentAtMs === undefined) return false
    this.hold(node, sentAtMs + leaseMs)
    return true
  }

  wantsReport(node: NodeId): boolean {
    return this.isActing && !this.#reported.has(node)
  }

  reported(node: NodeId): void {
    if (this.isActing) this.#reported.add(node)
  }

  /** With the link to it went what the head knew of it: it is to tell that again, even if its support has lasted. */
  linkDown(node: NodeId): void {
    this.#reported.delete(node)
  }

  hold(node: NodeId, untilMs: number): void {
    this.#untilMs.set(node, Math.max(untilMs, this.#untilMs.get(node) ?? untilMs))
  }

  dropExpired(nowMs: number): void {
    for (const [node, untilMs] of this.#untilMs) {
      if (untilMs > nowMs) continue
      this.#untilMs.delete(node)
      this.#reported.delete(node)
    }
  }
}
