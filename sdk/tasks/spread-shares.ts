import type { NodeId } from '../../protocols/ids.ts'
import type { Lease } from './lease.ts'
import type { TaskRecord } from './task-record.ts'

/** For so long nodes that are able to take part are waited for, and first results of their workers. */
const beginMs = 5000
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
  #nodesAble = 1

  constructor(nowMs: number) {
    this.#beganAtMs = nowMs
  }

  /** A node knows that so many could run such tasks. */
  granted(nodesAble: number): void {
    this.#nodesAble = nodesAble
  }

  /** After a pause the nodes begin anew. */
  paused(nowMs: number): void {
    this.#beganAtMs = nowMs
    this.#givenByNode.clear()
  }

  isBeginning(leases: Iterable<Lease>, nowMs: number): boolean {
    if (nowMs - this.#beganAtMs >= beginMs) return false
    const begun = new Set<NodeId>()
    for (const lease of leases) if (lease.hasAnswered) begun.add(lease.node)
    return begun.size < this.#nodesAble
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
