import { formatAmount, type ResourceSet } from '../../protocols/resources.ts'
import type { SchedulerNode } from './scheduler-types.ts'

/** A node as the scheduler plans with it: what it has said, less what has been given out there since. */
export class PlannedNode {
  state: SchedulerNode
  #free: Record<string, number>
  #totals: [string, number][]
  /** Its own queue, and what was sent there since. */
  queued: number
  /** Workers that are somebody's, and those given out since. */
  leases: number

  constructor(state: SchedulerNode) {
    this.state = state
    this.#free = { ...state.available }
    this.#totals = Object.entries(state.total).filter(([, total]) => total > 0)
    this.queued = state.queued
    this.leases = state.leases ?? 0
  }

  update(state: SchedulerNode): void {
    this.state = state
    this.#free = { ...state.available }
    this.#totals = Object.entries(state.total).filter(([, total]) => total > 0)
    this.queued = state.queued
    this.leases = state.leases ?? 0
  }

  fits(resources: ResourceSet): boolean {
    for (const name in resources) {
      const amount = resources[name] ?? 0
      if (amount > 0 && amount > (this.#free[name] ?? 0) + tolerance) return false
    }
    return true
  }

  take(resources: ResourceSet): void {
    this.leases++
    for (const name in resources) this.#free[name] = (this.#free[name] ?? 0) - (resources[name] ?? 0)
  }

  giveBack(resources: ResourceSet): void {
    this.leases = Math.max(0, this.leases - 1)
    for (const name in resources) this.#free[name] = (this.#free[name] ?? 0) + (resources[name] ?? 0)
  }

  /** How much of its scarcest resource would be used with this: 0 to 1. */
  busiestShareWith(resources: ResourceSet): number {
    let busiest = 0
    for (const [name, total] of this.#totals) {
      const used = total - (this.#free[name] ?? 0) + (resources[name] ?? 0)
      if (used > busiest * total) busiest = used / total
    }
    return busiest
  }

  /** The name of something of which it has too little, in all. */
  lacks(resources: ResourceSet): string | undefined {
    for (const name in resources) if ((resources[name] ?? 0) > (this.state.total[name] ?? 0)) return name
    return undefined
  }

  /** What is too little of now, for people: "CPU 1 of 4 is free". */
  describeShortage(resources: ResourceSet): string {
    const name = Object.keys(resources).find((each) => (resources[each] ?? 0) > (this.#free[each] ?? 0) + tolerance)
    if (name === undefined) return 'it has room'
    const free = formatAmount(name, Math.max(0, this.#free[name] ?? 0))
    return `${name} ${free} of ${formatAmount(name, this.state.total[name] ?? 0)} is free`
  }
}

/** Sums of fractions are not exact. The node itself counts in whole units. */
const tolerance = 1e-6
