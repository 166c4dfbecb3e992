import type { ResourceSet } from '../../protocols/resources.ts'
import { checkResources, formatAmount, formatResources, fromUnits, toUnits } from '../../protocols/resources.ts'
import { gpuNeedOf, isOnDevices } from './gpu-need.ts'
import type { GpuLack, GpuShare, PoolDevice } from './gpu-pool.ts'
import { GpuPool, unitsOf } from './gpu-pool.ts'

/** What a lease holds. Only the ledger that gave it out may change it. */
export interface Allocation {
  readonly resources: ResourceSet
  /** The devices that the holder may use. */
  readonly gpuIds: readonly number[]
  /** The same devices, with the part of each that is held: a ledger of its own can give that out in turn. */
  readonly devices: readonly PoolDevice[]
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
   * @param total what the node offers; what it says of GPUs does not count
   * @param gpus its devices; they make out `total.GPU`. A number is a device of which nothing else is known.
   */
  constructor(total: ResourceSet, gpus: readonly (number | PoolDevice)[] = []) {
    this.#gpus = new GpuPool(gpus)
    for (const [name, amount] of Object.entries(checkResources(total, 'the node'))) {
      if (!isOnDevices(name)) this.#total.set(name, toUnits(name, amount))
    }
    if (gpus.length > 0) this.#total.set('GPU', this.#gpus.freeUnits)
    this.#available = new Map(this.#total)
  }

  get total(): ResourceSet {
    return amounts(this.#total)
  }

  /** What is free now. CPU may be below zero: see `reacquireCpu`. */
  get available(): ResourceSet {
    return amounts(this.#available)
  }

  /** How much of each GPU is free now: 0 to 1, by its number. */
  get gpusFree(): ReadonlyMap<number, number> {
    return this.#gpus.free()
  }

  /** True when the node could meet the request if nothing else ran. */
  fits(request: ResourceSet): boolean {
    return this.missing(request).length === 0
  }

  /** The names of which the node as a whole has too little for the request. */
  missing(request: ResourceSet): string[] {
    const names = Object.keys(request).filter(
      (name) => !isPooled(request, name) && need(request, name) > (this.#total.get(name) ?? 0),
    )
    const lack = this.gpuLack(request)
    return lack === undefined ? names : [...names, lack.name]
  }

  /** Why the request could never be met by the GPUs of the node; undefined when they would do. */
  gpuLack(request: ResourceSet): GpuLack | undefined {
    const gpus = gpuNeedOf(request)
    return gpus && this.#gpus.lack(gpus)
  }

  /** A ledger of what it would have to give if nothing were held but these, which it has given out. */
  without(held: readonly Allocation[]): ResourceLedger {
    const left = new Map(this.#total)
    for (const { resources } of held) {
      for (const name of Object.keys(resources)) {
        if (isPooled(resources, name)) continue
        // CPU may be overdrawn.
        left.set(name, Math.max(0, (left.get(name) ?? 0) - need(resources, name)))
      }
    }
    return new ResourceLedger(amounts(left), this.#gpus.without(held.flatMap(({ devices }) => devices)))
  }

  /** The names of which too little is free now for the request; none when it would be granted. */
  shortOf(request: ResourceSet): string[] {
    const names = Object.keys(request).filter((name) => {
      if (isPooled(request, name)) return false
      const units = need(request, name)
      // A request that takes none of a resource does not mind that others have overdrawn it.
      return units > 0 && units > (this.#available.get(name) ?? 0)
    })
    const gpus = gpuNeedOf(request)
    return gpus === undefined || this.#gpus.canTake(gpus) ? names : [...names, 'GPU']
  }

  /**
   * The share of the resource of which the least would be left, if this were granted, too. Infinite when it cannot be
   * granted now.
   */
  busiestShareWith(request: ResourceSet): number {
    if (this.shortOf(request).length > 0) return Infinity
    const gpus = gpuNeedOf(request)
    let busiest = 0
    for (const [name, total] of this.#total) {
      const more = name === 'GPU' ? gpus && this.#gpus.unitsFor(gpus) : need(request, name)
      const used = total - (this.#available.get(name) ?? 0) + (more ?? 0)
      if (total > 0) busiest = Math.max(busiest, used / total)
    }
    return busiest
  }

  /** Takes all that is asked for, or nothing. */
  tryAcquire(request: ResourceSet): Allocation | undefined {
    if (this.shortOf(request).length > 0) return undefined
    const wanted = gpuNeedOf(request)
    const gpus = wanted === undefined ? noGpus : this.#gpus.take(wanted)
    if (gpus === undefined) return undefined
    for (const name of Object.keys(request)) if (!isPooled(request, name)) this.#add(name, -need(request, name))
    this.#add('GPU', -unitsOf(gpus))
    const devices = this.#gpus.partsOf(gpus)
    const held: Held = { resources: request, gpuIds: gpus.ids, devices, gpus, cpuReleased: false, ended: false }
    return held
  }

  /** Gives everything back that is still held. A second call does nothing. */
  release(allocation: Allocation): void {
    const held = allocation as Held
    if (held.ended) return
    held.ended = true
    for (const name of Object.keys(held.resources)) {
      if ((name === 'CPU' && held.cpuReleased) || isPooled(held.resources, name)) continue
      this.#add(name, need(held.resources, name))
    }
    this.#add('GPU', unitsOf(held.gpus))
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

  /** All that the node offers, for a person to read: "CPU 8, GPU 2 (A100, RTX 3090)". */
  describeTotal(): string {
    const { GPU = 0, ...rest } = this.total
    if (GPU === 0) return formatResources(rest)
    return `${formatResources(rest)}, GPU ${formatAmount('GPU', GPU)} (${this.#gpus.describeTypes()})`
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

const noGpus: GpuShare = { ids: [], unitsEach: 0 }

/** A type of GPU is not looked for on the devices when no GPU is asked for: then it is a resource that nobody has. */
function isPooled(request: ResourceSet, name: string): boolean {
  return isOnDevices(name) && (name === 'GPU' || gpuNeedOf(request) !== undefined)
}

function need(request: ResourceSet, name: string): number {
  return Object.hasOwn(request, name) ? toUnits(name, request[name] ?? 0) : 0
}

function amounts(units: ReadonlyMap<string, number>): ResourceSet {
  return Object.fromEntries([...units].map(([name, count]) => [name, fromUnits(name, count)]))
}
