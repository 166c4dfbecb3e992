import { asksFor } from '../../../protocols/resources.ts'
import type { Policy } from './policy.ts'

/** The home node is filled to this share before others are looked at. */
const homeShare = 0.5
/** Nodes with GPUs are kept for what needs one. */
const gpuPenalty = 1

/** The home node until it is half used, then the one that has most left. */
export const hybrid: Policy = {
  why: () => undefined,
  prefersHome: ({ resources }, home) => home.busiestShareWith(resources) <= homeShare,
  cost({ resources }, node) {
    const wastesGpus = (node.state.total['GPU'] ?? 0) > 0 && !asksFor(resources, 'GPU')
    return node.busiestShareWith(resources) + (wastesGpus ? gpuPenalty : 0)
  },
}
