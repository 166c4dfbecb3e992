import type { GpuAdvert } from '../../protocols/advert.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import type { Labels, SchedulingStrategy } from '../../protocols/scheduling.ts'

/** A node as it has described itself. By the time that this is read it may be otherwise. */
export interface SchedulerNode {
  readonly node: NodeId
  readonly total: ResourceSet
  readonly available: ResourceSet
  /** Its devices, and how much of each is free: the sum alone does not say what they can take. */
  readonly gpus?: readonly GpuAdvert[]
  readonly labels: Labels
  /** Requests that wait in its own queue. */
  readonly queued: number
  /** Workers that are somebody's. @default 0 */
  readonly leases?: number
  /** Counts up with every change at the node; older news is ignored. */
  readonly version: number
  /** False: it takes no new work. */
  readonly isOpen: boolean
}

/** A request of a client that wants a worker somewhere. */
export interface Demand {
  /** Unique. */
  readonly key: string
  /** The node whose client asks: it is told the place. */
  readonly home: NodeId
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  /** How many tasks it is nested in: the deepest go first. */
  readonly depth: number
  /** The name of the task. */
  readonly label: string
  readonly requestedAtMs: number
}

export type SchedulerAction =
  /** `now`: it should fit at once. `queue`: nothing is free anywhere, so it is to wait in that node's own queue. */
  | {
      readonly type: 'place'
      readonly key: string
      readonly home: NodeId
      readonly node: NodeId
      readonly mode: 'now' | 'queue'
    }
  /** No node that is known could ever serve it. Told again only when the reason changes. */
  | {
      readonly type: 'infeasible'
      readonly key: string
      readonly home: NodeId
      readonly reason: string
      readonly details: Readonly<Record<string, unknown>>
    }
  /** It was infeasible, and is so no more. */
  | { readonly type: 'feasible'; readonly key: string; readonly home: NodeId }

/** What one node says to one demand. `never`: it has too little in all, or is not what was asked for. */
export interface Verdict {
  readonly node: NodeId
  readonly verdict: 'fits' | 'busy' | 'never' | 'closed'
  readonly reason: string
}
