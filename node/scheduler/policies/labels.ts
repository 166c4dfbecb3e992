import { matchesLabels } from '../../../protocols/scheduling.ts'
import { hybrid } from './hybrid.ts'
import type { Policy } from './policy.ts'

/** Among the nodes with the right labels as ever. */
export const labels: Policy = {
  why({ strategy }, { state }) {
    if (strategy.kind !== 'labels' || matchesLabels(state.labels, strategy.selector)) return undefined
    const [name] =
      Object.entries(strategy.selector).find(([key, match]) => !matchesLabels(state.labels, { [key]: match })) ?? []
    const value = name !== undefined && Object.hasOwn(state.labels, name) ? state.labels[name] : undefined
    return value === undefined ? `it has no label ${name}` : `its label ${name} is ${value}`
  },
  prefersHome: (wanted, home) => hybrid.prefersHome?.(wanted, home) === true,
  cost: (wanted, node) => hybrid.cost(wanted, node),
}
