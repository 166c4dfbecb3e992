import type { Policy } from './policy.ts'

/** Evenly over all nodes: the one that has been given the fewest, and of those the emptiest. */
export const spread: Policy = {
  why: () => undefined,
  cost: ({ given, resources }, node) => (given.get(node.state.node) ?? 0) + node.busiestShareWith(resources) / 2,
}
