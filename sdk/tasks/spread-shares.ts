import type { NodeId } from '../../protocols/ids.ts'
import type { Lease } from './lease.ts'
import type { TaskRecord } from './task-record.ts'

/** For so long first results of the workers are waited for. */
const beginMs = 5000
/** So long after the last lease no other node is waited for: those that are able may have no room. */
const grantMs = 1500
/** So many tasks a node may be given more than another meanwhile. */
const aheadMax = 8

/**
 * How tasks with 'spread' are dealt out: each to the node that has been given the fewest. Leases on other nodes come a
 * little later than those at hand, and their workers have to load the code first. So that those at hand do not run all of
 * many small tasks meanwhile, no node gets far ahead until all have begun, or had time to.
 */
export class SpreadShares {
  readonly #givenByNode = new Map<NodeId, number>()
  #beganAtMs: number
  #grantedAtMs: number
  #nodesAble = 1

  constructor(nowMs: number) {
    this.#beganAtMs = nowMs
    this.#grantedAtMs = nowMs
  }

  /** A node, which knows that so many could run such tasks, has given a lease. */
  granted(nodesAble: number, nowMs: number): void {
    this.#nodesAble = nodesAble
    this.#grantedAtMs = nowMs
  }

  /** After a pause the nodes begin anew. */
  paused(nowMs: number): void {
    this.#beganAtMs = nowMs
    this.#grantedAtMs = nowMs
    this.#givenByNode.clear()
  }

  isBeginning(leases: Iterable<Lease>, nowMs: number): boolean {
    if (nowMs - this.#beganAtMs >= beginMs) return false
    const there = new Set<NodeId>()
    const begun = new Set<NodeId>()
    for (const lease of leases) {
      there.add(lease.node)
      if (lease.hasAnswered) begun.add(lease.node)
    }
    const isLastOne = nowMs - this.#grantedAtMs >= grantMs
    return begun.size < (isLastOne ? Math.min(there.size, this.#nodesAble) : this.#nodesAble)
  }

  /** The lease that gets the task; undefined when it has to wait. */
  pick(leases: readonly Lease[], task: TaskRecord, nowMs: number): Lease | undefined {
    const given = (lease: Lease): number => this.#givenByNode.get(lease.node) ?? 0
    const isBeginning = this.isBeginning(leases, nowMs)
    const nodes = new Set(leases.map(({ node }) => node))
    const fewest = nodes.size < this.#nodesAble ? 0 : Math.min(...leases.map(given))
    let best: Lease | undefined
    for (const lease of leases) {
      if (!lease.canTake(task)) continue
      if (isBeginning && (lease.tasks.size > 0 || given(lease) >= fewest + aheadMax)) continue
      if (best === undefined || (given(lease) - given(best) || lease.loadMs - best.loadMs) < 0) best = lease
    }
    if (best !== undefined) this.#givenByNode.set(best.node, given(best) + 1)
    return best
  }
}
