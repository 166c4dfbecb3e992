import type { NodeId } from '../../protocols/ids.ts'
import { amountOf, formatAmount, fromUnits, toUnits, type ResourceSet } from '../../protocols/resources.ts'
import { gpuNeedOf, isOnDevices } from '../resources/gpu-need.ts'
import { unitsOf as unitsOfShare, type GpuPool, type GpuShare } from '../resources/gpu-pool.ts'
import { matchesLabels, type Labels, type LabelSelector } from '../../protocols/scheduling.ts'

/** A bundle that wants a place. */
export interface WantedBundle {
  readonly index: number
  readonly resources: ResourceSet
  readonly labels: LabelSelector
}

export interface RoomOf {
  readonly node: NodeId
  readonly labels: Labels
  readonly total: ResourceSet
  readonly free: ResourceSet
  readonly gpus?: GpuPool | undefined
}

/** What a node has left while places are given out. Counted in whole units, so that sums are exact. */
export class Room {
  readonly node: NodeId
  readonly labels: Labels
  readonly #total: ReadonlyMap<string, number>
  readonly #free: Map<string, number>
  /** Its devices, as far as they are known one by one; else their number has to do. */
  readonly #gpus: GpuPool | undefined
  readonly #shares = new Map<ResourceSet, GpuShare[]>()

  constructor({ node, labels, total, free, gpus }: RoomOf) {
    this.node = node
    this.labels = labels
    this.#total = unitsOf(total)
    this.#free = unitsOf(free)
    this.#gpus = gpus
  }

  /** The name of something of which too little is free; undefined when the resources fit. */
  lacks(resources: ResourceSet): string | undefined {
    for (const name in resources) {
      if (this.#isOnDevices(name)) continue
      const units = toUnits(name, amountOf(resources, name))
      if (units > 0 && units > (this.#free.get(name) ?? 0)) return name
    }
    const need = this.#gpus && gpuNeedOf(resources)
    return need === undefined || this.#gpus?.canTake(need) === true ? undefined : 'GPU'
  }

  /** True when the bundle may be here and fits now. */
  fits({ resources, labels }: WantedBundle): boolean {
    return this.lacks(resources) === undefined && matchesLabels(this.labels, labels)
  }

  /** @param resources the same object is to be given back, if it comes to that */
  take(resources: ResourceSet): void {
    this.#add(resources, -1)
    const need = this.#gpus && gpuNeedOf(resources)
    const share = need && this.#gpus?.take(need)
    if (share === undefined) return
    const shares = this.#shares.get(resources)
    if (shares === undefined) this.#shares.set(resources, [share])
    else shares.push(share)
    this.#free.set('GPU', (this.#free.get('GPU') ?? 0) - unitsOfShare(share))
  }

  giveBack(resources: ResourceSet): void {
    this.#add(resources, 1)
    const share = this.#shares.get(resources)?.pop()
    if (share === undefined) return
    this.#gpus?.giveBack(share)
    this.#free.set('GPU', (this.#free.get('GPU') ?? 0) + unitsOfShare(share))
  }

  #isOnDevices(name: string): boolean {
    return this.#gpus !== undefined && isOnDevices(name)
  }

  #add(resources: ResourceSet, sign: 1 | -1): void {
    for (const name in resources) {
      if (this.#isOnDevices(name)) continue
      this.#free.set(name, (this.#free.get(name) ?? 0) + sign * toUnits(name, amountOf(resources, name)))
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
      const used = total - (this.#free.get(name) ?? 0) + toUnits(name, amountOf(resources, name))
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
function unitsOf(resources: ResourceSet): Map<string, number> {
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
