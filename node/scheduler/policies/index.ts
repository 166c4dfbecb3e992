/**
 * Where demands go, one policy for each strategy. A policy says which nodes are out of the question, and which of the rest
 * is best.
 *
 * @example
 * const { cost } = policyOf({ kind: 'spread' })
 */
import type { SchedulingStrategy } from '../../../protocols/scheduling.ts'
import { group } from './group.ts'
import { hybrid } from './hybrid.ts'
import { labels } from './labels.ts'
import { nodeAffinity } from './node-affinity.ts'
import type { Policy } from './policy.ts'
import { spread } from './spread.ts'

const policies: Record<SchedulingStrategy['kind'], Policy> = {
  default: hybrid,
  spread,
  node: nodeAffinity,
  labels,
  group,
}

export function policyOf({ kind }: SchedulingStrategy): Policy {
  return policies[kind]
}
