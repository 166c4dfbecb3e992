import type { NodeId } from '../../../protocols/ids.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'
import type { SchedulingStrategy } from '../../../protocols/scheduling.ts'
import type { PlannedNode } from '../planned-node.ts'

/** What a policy is asked about: demands that are alike. */
export interface Wanted {
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  /** How many of them each node has been given so far. */
  readonly given: ReadonlyMap<NodeId, number>
}

/** Where demands of one strategy go. */
export interface Policy {
  /** Why a node is not one for them, whatever it has; undefined when it is. */
  why(wanted: Wanted, node: PlannedNode): string | undefined
  /** The lower, the better, among nodes that have room now. Must not fall as a node fills up. */
  cost(wanted: Wanted, node: PlannedNode): number
  /** True when the node whose client asks is to be taken, however the others stand. It has room. */
  prefersHome?(wanted: Wanted, home: PlannedNode): boolean
  /** Of the nodes that could ever serve them, those that are to. */
  narrow?(wanted: Wanted, nodes: readonly PlannedNode[]): readonly PlannedNode[]
}
