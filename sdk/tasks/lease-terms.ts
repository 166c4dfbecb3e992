import { createHash } from 'node:crypto'
import type { NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { avoidMax, defaultStrategy, strategyKey, type SchedulingStrategy } from '../../protocols/scheduling.ts'

/** What a lease must offer. Tasks with the same key can use each other's leases. */
export interface LeaseTerms {
  readonly key: string
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  readonly envVars: Readonly<Record<string, string>>
  /** Names the environment variables; empty when there are none. */
  readonly envKey: string
  /** Its tasks can be tried again: their workers go first when a machine's memory runs out. */
  readonly isRetriable: boolean
  /** The placement group of the strategy, as its tasks are told of it; empty for none. */
  readonly group: string
}

/**
 * The same, but for a node that is rather to be left out: it had no memory. What is for that node only, or for a bundle of a
 * placement group, goes there all the same.
 */
export function termsWithout(terms: LeaseTerms, node: NodeId): LeaseTerms {
  const { resources, strategy, envVars, isRetriable } = terms
  if (strategy.kind === 'group' || (strategy.kind === 'node' && !strategy.isSoft)) return terms
  const avoid = [...(strategy.avoid ?? []).filter((each) => each !== node), node].slice(-avoidMax)
  return leaseTerms(resources, envVars, { ...strategy, avoid }, isRetriable)
}

const known = new Map<string, LeaseTerms>()
const knownMax = 10_000

/** The terms for these resources, variables and places: the same object for the same content. */
export function leaseTerms(
  resources: ResourceSet,
  envVars: Readonly<Record<string, string>>,
  strategy: SchedulingStrategy = defaultStrategy,
  isRetriable = true,
  group = '',
): LeaseTerms {
  const variables = Object.entries(envVars).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const envKey = variables.length === 0 ? '' : createHash('sha256').update(JSON.stringify(variables)).digest('hex')
  // The strategy names the group; whether it captures what its tasks start is in the text alone.
  const groupKey = group === '' ? '' : `|${group.slice(0, 6)}`
  const key = `${JSON.stringify(Object.entries(resources).toSorted(([a], [b]) => (a < b ? -1 : 1)))}|${envKey}|${strategyKey(strategy)}${isRetriable ? '' : '|once'}${groupKey}`
  let terms = known.get(key)
  if (terms === undefined) {
    terms = { key, resources, strategy, envVars, envKey, isRetriable, group }
    if (known.size < knownMax) known.set(key, terms)
  }
  return terms
}
