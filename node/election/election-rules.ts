import { compareTerms, type Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { ElectionTimers } from './election-options.ts'

/** What a node knows when it is asked to support a head. */
export interface GrantFacts {
  readonly self: NodeId
  readonly term: Term
  readonly fence: Term | undefined
  /** An unexpired promise. */
  readonly promise: Term | undefined
  readonly isActing: boolean
}

/** The rules on which the guarantees stand, each by itself, so that tests can show what happens without it. */
export interface ElectionRules {
  /** After a start nothing is granted for so long: a promise from before it may still be running. */
  quietMs(timers: ElectionTimers, fence: Term | undefined): number
  /** No node goes back behind a term that it has accepted. */
  isHighEnough(facts: GrantFacts): boolean
  /** A node supports one head at a time, until it is released or its promise ends. */
  isFree(facts: GrantFacts): boolean
}

export const defaultRules: ElectionRules = {
  // A node without a fence has never promised anything.
  quietMs: ({ leaseMs, clockRate }, fence) => (fence === undefined ? 0 : leaseMs * (1 + 2 * clockRate)),
  isHighEnough: ({ term, fence }) => fence === undefined || compareTerms(term, fence) >= 0,
  isFree: ({ self, term, promise, isActing }) =>
    promise === undefined || promise.head === term.head || (promise.head === self && !isActing),
}
