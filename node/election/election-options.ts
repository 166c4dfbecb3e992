import type { Rank, Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { defaultRules, type ElectionRules } from './election-rules.ts'

/** All of it in milliseconds, but for `clockRate`. */
export interface ElectionTimers {
  /** Between two beats, claims, or answers to a claim. */
  readonly beatMs: number
  /** Between two beats to a peer that follows the same head: at least, */
  readonly calmMs: number
  /** and for every node of the mesh, so that many nodes do not say more to each other than few. */
  readonly calmPerNodeMs: number
  /** A peer that has not been heard for so long is not in view. */
  readonly suspectMs: number
  /** How long a promise lasts. */
  readonly leaseMs: number
  /** How long a claim waits for its own term to be written. */
  readonly writeMs: number
  /** How long a candidate waits for answers to its probe. */
  readonly probeMs: number
  /** A candidate waits for a random part of this before it runs, */
  readonly jitterMs: number
  /** and for this much more for every better one in view. */
  readonly rankStepMs: number
  /** A clock that has jumped further voids all leases. */
  readonly jumpMs: number
  /** Two clocks differ in their rates by at most this share. */
  readonly clockRate: number
}

const defaultTimers: ElectionTimers = Object.freeze({
  beatMs: 200,
  calmMs: 1000,
  calmPerNodeMs: 100,
  suspectMs: 700,
  leaseMs: 1000,
  writeMs: 10_000,
  probeMs: 150,
  jitterMs: 150,
  rankStepMs: 30,
  jumpMs: 350,
  clockRate: 0.01,
})

export interface ElectionOptions {
  readonly self: NodeId
  readonly rank: Rank
  /** The highest term that this node has accepted, from its disk; undefined for a node that has never taken part. */
  readonly fence: Term | undefined
  /** The time of its start. */
  readonly nowMs: number
  /** From 0 to 1: for the jitter. */
  random(): number
  readonly timers?: Partial<ElectionTimers>
  /** For tests that show what each rule is for. */
  readonly rules?: Partial<ElectionRules>
}

export function settingsOf(options: ElectionOptions): { timers: ElectionTimers; rules: ElectionRules } {
  return { timers: { ...defaultTimers, ...options.timers }, rules: { ...defaultRules, ...options.rules } }
}
