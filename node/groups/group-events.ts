import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { BundleSpec, GroupId, GroupState, PlacementStrategy } from '../../protocols/placement-groups.ts'
import type { ResourceSet } from '../../protocols/resources.ts'

/** A bundle as it was reserved in one try: of two for the same bundle the one of the later try counts. */
export interface BundleKey {
  readonly index: number
  readonly tryNumber: number
}

/** How a group stands, for those who watch it. */
export interface GroupTold {
  readonly group: GroupId
  readonly state: GroupState
  readonly reason: string
  /** Where each bundle is; empty for one that is nowhere. */
  readonly nodes: readonly NodeId[]
}

/** What happens at the home of groups. News that is too old, or about groups that are not there, is ignored. */
export type GroupEvent =
  | {
      type: 'created'
      group: GroupId
      /** The driver at the root of the work. */
      job: ClientId
      name: string
      strategy: PlacementStrategy
      bundles: readonly BundleSpec[]
    }
  | { type: 'removed'; group: GroupId; by: string }
  /** Its groups end with it. */
  | { type: 'clientGone'; client: ClientId }
  /** The head has named a node for each bundle that had none. */
  | { type: 'placed'; group: GroupId; tryNumber: number; nodes: readonly NodeId[] }
  | { type: 'unplaced'; group: GroupId; tryNumber: number; isInfeasible: boolean; reason: string }
  /** A node has answered. */
  | { type: 'reserved'; node: NodeId; group: GroupId; bundles: readonly BundleKey[] }
  | { type: 'refused'; node: NodeId; group: GroupId; bundles: readonly BundleKey[]; reason: string }
  /** A node has not, or not any more, what was claimed there. */
  | { type: 'lost'; node: NodeId; group: GroupId; bundles: readonly BundleKey[]; reason: string }
  | { type: 'linkUp'; node: NodeId }
  | { type: 'linkDown'; node: NodeId }
  /** Undefined: there is none that can be reached. */
  | { type: 'headChanged'; head: NodeId | undefined }
  | { type: 'asked'; node: NodeId; group: GroupId; want: 'watch' | 'unwatch' }
  | { type: 'tick' }

/** What the host is to do, in this order. */
export type GroupAction =
  | {
      type: 'plan'
      head: NodeId
      group: GroupId
      tryNumber: number
      strategy: PlacementStrategy
      bundles: readonly { index: number; spec: BundleSpec }[]
      placed: readonly NodeId[]
      refusedBy: readonly NodeId[]
    }
  | { type: 'planEnd'; head: NodeId; group: GroupId; tryNumber: number; isServed: boolean }
  | {
      type: 'reserve'
      node: NodeId
      group: GroupId
      tryNumber: number
      bundles: readonly { index: number; resources: ResourceSet }[]
    }
  | { type: 'claim'; node: NodeId; groups: readonly { group: GroupId; bundles: readonly BundleKey[] }[] }
  | {
      type: 'release'
      node: NodeId
      group: GroupId
      bundles: readonly BundleKey[]
      /** The group is there no more. */
      isRemoved: boolean
      reason: string
    }
  | { type: 'tell'; node: NodeId; told: GroupTold }
