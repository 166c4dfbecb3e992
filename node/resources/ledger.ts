import type { ResourceSet } from '../../protocols/resources.ts'
import { checkResources, formatAmount, fromUnits, toUnits } from '../../protocols/resources.ts'
import type { GpuShare } from './gpu-pool.ts'
import { GpuPool } from './gpu-pool.ts'

/** What a lease holds. Only the ledger that gave it out may change it. */
export interface Allocation {
  readonly resources: ResourceSet
  /** The devices that the holder may use. */
  readonly gpuIds: readonly number[]
  /** True while its CPU is given back because its worker waits in `get()`. */
  readonly cpuReleased: boolean
}

interface Held extends Allocation {
  readonly gpus: GpuShare
  cpuReleased: boolean
  ended: boolean
}

/**
 * Who holds how much of the node: sums and nothing else, no clock and no queue. Everything is counted in whole units
 * (see `toUnits`), so what is given back is exactly what was taken.
 */
export class ResourceLedger {
  #total = new Map<string, number>()
  #available = new Map<string, number>()
  #gpus: GpuPool

  /**
   * @param total what the node offers
   * @param gpuIds its devices; as many as `total.GPU`
   * @param gpuShare how much of each device it may give out: less than 1 for a part of one
   */
  constructor(total: ResourceSet, gpuIds: readonly number[] = [], gpuShare = 1) {
    const checked = checkResources({ ...total, GPU: gpuIds.length * gpuShare }, 'the node')
    for (const [name, amount] of Object.entries(checked)) this.#total.set(name, toUnits(name, amount))
    this.#available = new Map(this.#total)
    this.#gpus = new GpuPool(gpuIds, toUnits('GPU', gpuShare))
  }

  get total(): ResourceSet {
    return amounts(this.#total)
  }

  /** What is free now. CPU may be below zero: see `reacquireCpu`. */
  get available(): ResourceSet {
    return amounts(this.#available)
  }

  /** True when the node could meet the request if nothing else ran. */
  fits(request: ResourceSet): boolean {
    return this.missing(request).length === 0
  }

  /** The names of which the node as a whole has too little for the request. */
  missing(request: ResourceSet): string[] {
    return Object.keys(request).filter((name) => need(request, name) > (this.#total.get(name) ?? 0))
  }

  /** The names of which too little is free now for the request; none when it would be granted. */
  shortOf(request: ResourceSet): string[] {
    return Object.keys(request).filter((name) => {
      const units = need(request, name)
      // A request that takes none of a resource does not mind that others have overdrawn it.
      if (units === 0) return false
      return units > (this.#available.get(name) ?? 0) || (name === 'GPU' && !this.#gpus.canTake(units))
    })
  }

  /**
   * The share of the resource of which the least would be left, if this were granted, too. Infinite when it cannot be
   * granted now.
   */
  busiestShareWith(request: ResourceSet): number {
    if (this.shortOf(request).length > 0) return Infinity
    let busiest = 0
    for (const [name, total] of this.#total) {
      const used = total - (this.#available.get(name) ?? 0) + need(request, name)
      if (total > 0) busiest = Math.max(busiest, used / total)
    }
    return busiest
  }

  /** Takes all that is asked for, or nothing. */
  tryAcquire(request: ResourceSet): Allocation | undefined {
    if (this.shortOf(request).length > 0) return undefined
    const gpus = this.#gpus.take(need(request, 'GPU'))
    if (gpus === undefined) return undefined
    for (const name of Object.keys(request)) this.#add(name, -need(request, name))
    const held: Held = { resources: request, gpuIds: gpus.ids, gpus, cpuReleased: false, ended: false }
    return held
  }

  /** Gives everything back that is still held. A second call does nothing. */
  release(allocation: Allocation): void {
    const held = allocation as Held
    if (held.ended) return
    held.ended = true
    for (const name of Object.keys(held.resources)) {
      if (name === 'CPU' && held.cpuReleased) continue
      this.#add(name, need(held.resources, name))
    }
    this.#gpus.giveBack(held.gpus)
  }

  /** Gives the CPU back while the holder waits; GPU, memory and the rest stay held, for what is in them stays. */
  releaseCpu(allocation: Allocation): void {
    const held = allocation as Held
    if (held.ended || held.cpuReleased) return
    held.cpuReleased = true
    this.#add('CPU', need(held.resources, 'CPU'))
  }

  /**
   * Takes the CPU again for a holder that goes on. It cannot be refused, since the holder is running already, so the
   * free CPU may fall below zero; then no request for CPU is granted until others have given enough back.
   */
  reacquireCpu(allocation: Allocation): void {
    const held = allocation as Held
    if (held.ended || !held.cpuReleased) return
    held.cpuReleased = false
    this.#add('CPU', -need(held.resources, 'CPU'))
  }

  /** One resource for a person to read: "2 of 2 in use". */
  describeUse(name: string): string {
    const total = this.#total.get(name) ?? 0
    const used = formatAmount(name, fromUnits(name, total - (this.#available.get(name) ?? 0)))
    return `${used} of ${formatAmount(name, fromUnits(name, total))} in use`
  }

  #add(name: string, units: number): void {
    if (units !== 0) this.#available.set(name, (this.#available.get(name) ?? 0) + units)
  }
}

function need(request: ResourceSet, name: string): number {
  return Object.hasOwn(request, name) ? toUnits(name, request[name] ?? 0) : 0
}

function amounts(units: ReadonlyMap<string, number>): ResourceSet {
  return Object.fromEntries([...units].map(([name, count]) => [name, fromUnits(name, count)]))
}
