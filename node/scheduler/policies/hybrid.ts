import type { Policy } from './policy.ts'

/** The home node is filled to this share before others are looked at. */
const homeShare = 0.5
/** Nodes with GPUs are kept for what needs one. */
const gpuPenalty = 1

/** The home node until it is half used, then the one that has most left. */
export const hybrid: Policy = {
  why: () => undefined,
  cost({ home, resources }, node) {
    const share = node.busiestShareWith(resources)
    const isHome = node.state.node === home
    if (isHome && share <= homeShare) return share - 1
    const wastesGpus = (node.state.total['GPU'] ?? 0) > 0 && (resources['GPU'] ?? 0) === 0
    // Of equals the home node is the nearest.
    return share + (wastesGpus && !isHome ? gpuPenalty : 0) - (isHome ? 1e-6 : 0)
  },
}
