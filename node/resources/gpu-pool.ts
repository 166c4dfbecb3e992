import { toUnits } from '../../protocols/resources.ts'

const wholeDevice = toUnits('GPU', 1)

/** The part of the GPUs that an allocation holds: `units` of every device named. */
export interface GpuShare {
  ids: readonly number[]
  unitsEach: number
}

/**
 * Which device has how much left. A request of 1 or less gets it all on one device: a fraction goes where it leaves the
 * least room behind, so that whole devices stay whole. A request above 1 gets devices that nobody else uses.
 */
export class GpuPool {
  #freeById: Map<number, number>

  /** @param unitsEach how much of each device there is to give out */
  constructor(ids: readonly number[], unitsEach = wholeDevice) {
    this.#freeById = new Map(ids.toSorted((a, b) => a - b).map((id) => [id, unitsEach]))
  }

  /** True when enough is free in the right shape; the sum alone does not say so. */
  canTake(units: number): boolean {
    return this.#choose(units) !== undefined
  }

  take(units: number): GpuShare | undefined {
    const ids = this.#choose(units)
    if (ids === undefined) return undefined
    const unitsEach = Math.min(units, wholeDevice)
    for (const id of ids) this.#freeById.set(id, this.#free(id) - unitsEach)
    return { ids, unitsEach }
  }

  giveBack(share: GpuShare): void {
    for (const id of share.ids) this.#freeById.set(id, this.#free(id) + share.unitsEach)
  }

  #free(id: number): number {
    return this.#freeById.get(id) ?? 0
  }

  #choose(units: number): number[] | undefined {
    if (units === 0) return []
    if (units < wholeDevice) {
      let best: number | undefined
      for (const [id, free] of this.#freeById) {
        if (free >= units && (best === undefined || free < this.#free(best))) best = id
      }
      return best === undefined ? undefined : [best]
    }
    const wanted = units / wholeDevice
    const whole: number[] = []
    for (const [id, free] of this.#freeById) {
      if (free === wholeDevice) whole.push(id)
      if (whole.length === wanted) return whole
    }
    return undefined
  }
}
