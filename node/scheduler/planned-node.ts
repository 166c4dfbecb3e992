import { amountOf, formatAmount, fromUnits, type ResourceSet } from '../../protocols/resources.ts'
import { gpuNeedOf, isOnDevices } from '../resources/gpu-need.ts'
import { unitsOf, type GpuPool, type GpuShare } from '../resources/gpu-pool.ts'
import type { SchedulerNode } from './scheduler-types.ts'
import { poolOf, whyNever } from './why-never.ts'

/** A node as the scheduler plans with it: what it has said, less what has been given out there since. */
export class PlannedNode {
  state: SchedulerNode
  #free!: Record<string, number>
  #totals!: [string, number][]
  /** Its devices, as far as they are known one by one. */
  #gpus: GpuPool | undefined
  /** What has been given out of them since the node has said how it stands. */
  #shares = new Map<ResourceSet, GpuShare[]>()
  /** Its own queue, and what was sent there since. */
  queued!: number
  /** Workers that are somebody's, and those given out since. */
  leases!: number

  constructor(state: SchedulerNode) {
    this.state = state
    this.update(state)
  }

  update(state: SchedulerNode): void {
    this.state = state
    this.#free = { ...state.available }
    this.#totals = Object.entries(state.total).filter(([, total]) => total > 0)
    this.#gpus = state.gpus && poolOf(state.gpus, true)
    this.#shares.clear()
    this.queued = state.queued
    this.leases = state.leases ?? 0
  }

  fits(resources: ResourceSet): boolean {
    return this.#shortOf(resources) === undefined
  }

  /** @param resources the same object is to be given back, if it comes to that */
  take(resources: ResourceSet): void {
    this.leases++
    this.#change(resources, -1)
    const need = gpuNeedOf(resources)
    const share = need && this.#gpus?.take(need)
    if (share === undefined) return
    this.#free['GPU'] = (this.#free['GPU'] ?? 0) - fromUnits('GPU', unitsOf(share))
    const shares = this.#shares.get(resources)
    if (shares === undefined) this.#shares.set(resources, [share])
    else shares.push(share)
  }

  giveBack(resources: ResourceSet): void {
    this.leases = Math.max(0, this.leases - 1)
    this.#change(resources, 1)
    // The node has said since what is free: if there is no share here, it counts already.
    const share = this.#shares.get(resources)?.pop()
    if (share === undefined) return
    this.#gpus?.giveBack(share)
    this.#free['GPU'] = (this.#free['GPU'] ?? 0) + fromUnits('GPU', unitsOf(share))
  }

  /** How much of its scarcest resource would be used with this: 0 to 1. */
  busiestShareWith(resources: ResourceSet): number {
    let busiest = 0
    for (const [name, total] of this.#totals) {
      const used = total - amountOf(this.#free, name) + amountOf(resources, name)
      if (used > busiest * total) busiest = used / total
    }
    return busiest
  }

  /** Why it could never serve them, as a sentence about it; undefined when it could. */
  whyNever(resources: ResourceSet): string | undefined {
    return whyNever(this.state, resources)
  }

  /** What is too little of now, for people: "CPU 1 of 4 is free". */
  describeShortage(resources: ResourceSet): string {
    const name = this.#shortOf(resources)
    if (name === undefined) return 'it has room'
    const free = formatAmount(name, Math.max(0, amountOf(this.#free, name)))
    const text = `${name} ${free} of ${formatAmount(name, amountOf(this.state.total, name))} is free`
    const isSplit = name === 'GPU' && (resources['GPU'] ?? 0) <= (this.#free['GPU'] ?? 0)
    return isSplit ? `${text}, but not as it is asked for` : text
  }

  /** A name of which too little is free now. */
  #shortOf(resources: ResourceSet): string | undefined {
    let asksForGpus = false
    for (const name in resources) {
      if (this.#isOnDevices(name)) asksForGpus = true
      else {
        const amount = amountOf(resources, name)
        if (amount > 0 && amount > amountOf(this.#free, name) + tolerance) return name
      }
    }
    if (!asksForGpus) return undefined
    const need = gpuNeedOf(resources)
    return need !== undefined && this.#gpus?.canTake(need) === true ? undefined : 'GPU'
  }

  #change(resources: ResourceSet, sign: 1 | -1): void {
    for (const name in resources) {
      if (!this.#isOnDevices(name)) this.#free[name] = amountOf(this.#free, name) + sign * amountOf(resources, name)
    }
  }

  #isOnDevices(name: string): boolean {
    return this.#gpus !== undefined && isOnDevices(name)
  }
}

/** Sums of fractions are not exact. The node itself counts in whole units. */
const tolerance = 1e-6
