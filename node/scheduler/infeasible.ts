import { formatResources } from '../../protocols/resources.ts'
import { formatStrategy } from '../../protocols/scheduling.ts'
import type { PlannedNode } from './planned-node.ts'
import type { DemandClass } from './demand-class.ts'

const reasonsShown = 3

/** Why no node could ever serve it, for the user: "asked for GPU 2 on any node; of 3 nodes 2 have GPU 0, 1 has GPU 1". */
export function describeInfeasible(of: DemandClass, nodes: readonly PlannedNode[]): string {
  const asked = `asked for ${formatResources(of.resources)} ${formatStrategy(of.strategy)}`
  if (nodes.length === 0) return `${asked}; no node has told the head yet what it has`
  const counts = new Map<string, number>()
  for (const node of nodes) {
    const why = of.whyNever(node) ?? 'it could'
    counts.set(why, (counts.get(why) ?? 0) + 1)
  }
  const reasons = [...counts].toSorted(([whyA, a], [whyB, b]) => b - a || (whyA < whyB ? -1 : 1))
  const shown = reasons.slice(0, reasonsShown).map(([why, count]) => `${count}: ${why.replace(/^it /, '')}`)
  const more = reasons.length > reasonsShown ? ', and others' : ''
  return `${asked}; none of the ${nodes.length} nodes could ever run it (${shown.join(', ')}${more})`
}
