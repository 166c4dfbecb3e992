import type { NodeId } from '../../protocols/ids.ts'
import { resourcesKey, type ResourceSet } from '../../protocols/resources.ts'
import { strategyKey, type SchedulingStrategy } from '../../protocols/scheduling.ts'
import { describeInfeasible } from './infeasible.ts'
import type { PlannedNode } from './planned-node.ts'
import { policyOf } from './policies/index.ts'
import type { Policy, Wanted } from './policies/policy.ts'
import type { Demand } from './scheduler-types.ts'

/** A demand and what has become of it. */
export interface DemandRecord {
  readonly demand: Demand
  readonly of: DemandClass
  place: { readonly node: NodeId; readonly mode: 'now' | 'queue'; readonly atMs: number } | undefined
  /** The reason that its home was told last. */
  infeasible: string | undefined
  /** Nodes that did not take it, and the version in which they said so. */
  refusedBy: Map<NodeId, number> | undefined
}

export function classKeyOf({ resources, strategy, depth }: Demand): string {
  return `${depth}|${resourcesKey(resources)}|${strategyKey(strategy)}`
}

/** Demands that are alike, whoever asks: what holds for one of them holds for all. */
export class DemandClass implements Wanted {
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  readonly depth: number
  readonly policy: Policy
  readonly given = new Map<NodeId, number>()
  /** Without a place, the oldest first. */
  readonly waiting = new Map<string, DemandRecord>()
  /** In the queue of some node, the one that was sent there first in front. */
  readonly queued = new Map<string, DemandRecord>()
  /** Placed to be served at once, and not answered yet. */
  askedCount = 0
  #feasible: readonly PlannedNode[] = []
  #able = new Set<NodeId>()
  #reason: string | undefined
  #generation = -1

  constructor({ resources, strategy, depth }: Demand) {
    this.resources = resources
    this.strategy = strategy
    this.depth = depth
    this.policy = policyOf(strategy)
  }

  /** Why no node could ever serve them; undefined when one could. */
  get infeasible(): string | undefined {
    return this.#reason
  }

  get feasible(): readonly PlannedNode[] {
    return this.#feasible
  }

  /** Looks at the nodes again, if they are others than before. */
  look(nodes: readonly PlannedNode[], generation: number): void {
    if (this.#generation === generation) return
    this.#generation = generation
    const able = this.#withoutAvoided(nodes.filter((node) => this.whyNever(node) === undefined))
    this.#feasible = this.policy.narrow?.(this, able) ?? able
    this.#able = new Set(this.#feasible.map(({ state }) => state.node))
    this.#reason = this.#feasible.length > 0 ? undefined : describeInfeasible(this, nodes)
  }

  #withoutAvoided(nodes: readonly PlannedNode[]): readonly PlannedNode[] {
    const { avoid } = this.strategy
    if (avoid === undefined) return nodes
    const others = nodes.filter(({ state }) => !avoid.includes(state.node))
    return others.length > 0 ? others : nodes
  }

  /** Why a node could never serve them; undefined when it could. */
  whyNever(node: PlannedNode): string | undefined {
    if (!node.state.isOpen) return 'it takes no work'
    const why = this.policy.why(this, node)
    if (why !== undefined) return why
    return node.whyNever(this.resources)
  }

  /** What a node costs for one more of them now; Infinity when it has no room. */
  readonly costNow = (node: PlannedNode): number =>
    node.fits(this.resources) ? this.policy.cost(this, node) : Infinity

  /** How long the queue of a node is for its size. */
  readonly costQueued = (node: PlannedNode): number => node.queued / Math.max(1, node.state.total['CPU'] ?? 1)

  isFeasible(node: PlannedNode): boolean {
    return this.#able.has(node.state.node)
  }

  /** No demand of it is here any more. */
  get isEmpty(): boolean {
    return this.waiting.size + this.queued.size + this.askedCount === 0
  }

  noteGiven(node: NodeId): void {
    this.given.set(node, (this.given.get(node) ?? 0) + 1)
  }
}
