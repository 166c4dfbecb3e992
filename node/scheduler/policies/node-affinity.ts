import { hybrid } from './hybrid.ts'
import type { Policy } from './policy.ts'

/** One node, and if that is only wished for, others when it is not there or could never serve it. */
export const nodeAffinity: Policy = {
  why({ strategy }, { state }) {
    if (strategy.kind !== 'node' || strategy.isSoft || strategy.node === state.node) return undefined
    return `it is not node ${strategy.node}`
  },
  prefersHome: (wanted, home) => hybrid.prefersHome?.(wanted, home) === true,
  cost: (wanted, node) => hybrid.cost(wanted, node),
  narrow({ strategy }, nodes) {
    const wished = nodes.filter(({ state }) => strategy.kind === 'node' && state.node === strategy.node)
    return wished.length > 0 ? wished : nodes
  },
}
