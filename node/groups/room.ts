import type { NodeId } from '../../protocols/ids.ts'
import { formatAmount, fromUnits, toUnits, type ResourceSet } from '../../protocols/resources.ts'
import { matchesLabels, type Labels, type LabelSelector } from '../../protocols/scheduling.ts'

/** A bundle that wants a place. */
export interface WantedBundle {
  readonly index: number
  readonly resources: ResourceSet
  readonly labels: LabelSelector
}

/** What a node has left while places are given out. Counted in whole units, so that sums are exact. */
export class Room {
  readonly node: NodeId
  readonly labels: Labels
  readonly #total: ReadonlyMap<string, number>
  readonly #free: Map<string, number>

  constructor(node: NodeId, labels: Labels, total: ReadonlyMap<string, number>, free: ReadonlyMap<string, number>) {
    this.node = node
    this.labels = labels
    this.#total = total
    this.#free = new Map(free)
  }

  /** The name of something of which too little is free; undefined when the resources fit. */
  lacks(resources: ResourceSet): string | undefined {
    for (const name in resources) {
      const units = toUnits(name, resources[name] ?? 0)
      if (units > 0 && units > (this.#free.get(name) ?? 0)) return name
    }
    return undefined
  }

  /** True when the bundle may be here and fits now. */
  fits({ resources, labels }: WantedBundle): boolean {
    return this.lacks(resources) === undefined && matchesLabels(this.labels, labels)
  }

  take(resources: ResourceSet): void {
    this.#add(resources, -1)
  }

  giveBack(resources: ResourceSet): void {
    this.#add(resources, 1)
  }

  #add(resources: ResourceSet, sign: 1 | -1): void {
    for (const name in resources) {
      this.#free.set(name, (this.#free.get(name) ?? 0) + sign * toUnits(name, resources[name] ?? 0))
    }
  }

  /** It has GPUs, which are better kept for others than these. */
  wastesGpus(resources: ResourceSet): boolean {
    return (this.#total.get('GPU') ?? 0) > 0 && (resources['GPU'] ?? 0) === 0
  }

  /** How much of its scarcest resource would be used with this: 0 to 1. */
  shareWith(resources: ResourceSet): number {
    let busiest = 0
    for (const [name, total] of this.#total) {
      if (total <= 0) continue
      const used = total - (this.#free.get(name) ?? 0) + toUnits(name, resources[name] ?? 0)
      busiest = Math.max(busiest, used / total)
    }
    return busiest
  }

  /** What a name's share of a bundle is of this node, for telling large bundles from small ones. */
  total(name: string): number {
    return this.#total.get(name) ?? 0
  }

  /** For people: "it has CPU 1 of 4 free". */
  describe(name: string): string {
    const free = Math.max(0, fromUnits(name, this.#free.get(name) ?? 0))
    const total = fromUnits(name, this.#total.get(name) ?? 0)
    const text = `${name} ${formatAmount(name, free)}`
    return free === total ? `it has ${text} in all` : `it has ${text} of ${formatAmount(name, total)} free`
  }
}

/** Resources in whole units by name. */
export function unitsOf(resources: ResourceSet): Map<string, number> {
  return new Map(Object.entries(resources).map(([name, amount]) => [name, toUnits(name, amount)]))
}

/** What bundles need together. */
export function sumOf(bundles: readonly WantedBundle[]): ResourceSet {
  const units = new Map<string, number>()
  for (const { resources } of bundles) {
    for (const [name, count] of unitsOf(resources)) units.set(name, (units.get(name) ?? 0) + count)
  }
  return Object.fromEntries(Array.from(units, ([name, count]) => [name, fromUnits(name, count)]))
}
