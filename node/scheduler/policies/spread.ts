import type { Policy } from './policy.ts'

/** What needs nothing is counted all the same, or the first of all empty nodes would take it all. */
const leaseCost = 1e-4

/** Evenly over all nodes: the one that has been given the fewest, and of those the emptiest. */
export const spread: Policy = {
  why: () => undefined,
  cost: ({ given, resources }, node) =>
    (given.get(node.state.node) ?? 0) + node.busiestShareWith(resources) / 2 + Math.min(node.leases, 1000) * leaseCost,
}
