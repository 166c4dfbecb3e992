import { acceleratorKey, acceleratorName } from '../../protocols/accelerators.ts'
import { formatAmount, fromUnits, toUnits } from '../../protocols/resources.ts'
import type { GpuNeed } from './gpu-need.ts'

const wholeDevice = toUnits('GPU', 1)

/** A device, or a part of one, that a pool hands out. */
export interface PoolDevice {
  readonly id: number
  /** Not known: it does for those only who do not ask for a type. */
  readonly type?: string | undefined
  /** Not known: it does for those only who do not ask for memory. */
  readonly memoryBytes?: number | undefined
  /** How much of it there is to hand out. @default 1, all of it */
  readonly free?: number | undefined
}

/** The part of the GPUs that an allocation holds: `unitsEach` of every device named. */
export interface GpuShare {
  readonly ids: readonly number[]
  readonly unitsEach: number
}

/** What keeps a request from ever being met: the name in the request, and a sentence for people. */
export interface GpuLack {
  readonly name: string
  readonly why: string
}

interface Device {
  readonly id: number
  readonly type: string | undefined
  readonly memoryBytes: number | undefined
  readonly offered: number
  free: number
}

/**
 * Which device has how much left. A request of less than a device gets it all on one: on one that is shared already, if there
 * is one with room, so that whole devices stay whole, and there where the least room is left behind. Whole devices are those
 * that nobody else uses.
 *
 * Memory is a part of the device like any other: who asks for 20 of its 80 GiB holds a quarter of it, and who asks for half of
 * it may use 40 GiB.
 */
export class GpuPool {
  readonly #devices: readonly Device[]

  constructor(devices: readonly (number | PoolDevice)[]) {
    this.#devices = devices
      .map((device) => (typeof device === 'number' ? { id: device } : device))
      .map(({ id, type, memoryBytes, free = 1 }) => {
        const offered = toUnits('GPU', free)
        return { id, type, memoryBytes, offered, free: offered }
      })
      .sort((a, b) => a.id - b.id)
  }

  /** All that is free, on whichever devices. */
  get freeUnits(): number {
    return this.#devices.reduce((sum, { free }) => sum + free, 0)
  }

  /** How much of each device is free: 0 to 1, by its number. */
  free(): Map<number, number> {
    return new Map(this.#devices.map(({ id, free }) => [id, free / wholeDevice]))
  }

  /** True when enough is free in the right shape; the sum alone does not say so. */
  canTake(need: GpuNeed): boolean {
    return this.#choose(need) !== undefined
  }

  /** How much it would take now, of all devices together; undefined when it cannot have it. */
  unitsFor(need: GpuNeed): number | undefined {
    const share = this.#choose(need)
    return share && unitsOf(share)
  }

  take(need: GpuNeed): GpuShare | undefined {
    const share = this.#choose(need)
    if (share !== undefined) this.#add(share, -share.unitsEach)
    return share
  }

  giveBack(share: GpuShare): void {
    this.#add(share, share.unitsEach)
  }

  /** What the share is of, as devices of a pool of its own. */
  partsOf({ ids, unitsEach }: GpuShare): PoolDevice[] {
    const free = fromUnits('GPU', unitsEach)
    return this.#devices
      .filter(({ id }) => ids.includes(id))
      .map(({ id, type, memoryBytes }) => ({ id, type, memoryBytes, free }))
  }

  /** What it would have to hand out if nothing were held but these parts of its devices. */
  without(parts: readonly PoolDevice[]): PoolDevice[] {
    return this.#devices.map(({ id, type, memoryBytes, offered }) => {
      const held = parts.reduce((sum, part) => sum + (part.id === id ? toUnits('GPU', part.free ?? 1) : 0), 0)
      return { id, type, memoryBytes, free: fromUnits('GPU', Math.max(0, offered - held)) }
    })
  }

  /** Why the need could not even be met if nobody used anything; undefined when it could. */
  lack(need: GpuNeed): GpuLack | undefined {
    const ofType = this.#devices.filter((device) => isOfType(device, need))
    const [type] = need.types
    if (ofType.length === 0 && type !== undefined && this.#devices.length > 0) {
      return { name: acceleratorName(type), why: `its GPUs are ${this.describeTypes()}` }
    }
    const large = ofType.filter((device) => hasMemory(device, need))
    if (large.length === 0 && ofType.length > 0) {
      const largest = Math.max(...ofType.map(({ memoryBytes }) => memoryBytes ?? 0))
      const why =
        largest === 0
          ? 'how much memory its GPUs have is not known'
          : `the largest of its GPUs has ${formatAmount('gpuMemory', largest)}`
      return { name: 'gpuMemory', why }
    }
    const count = Math.max(1, Math.ceil(need.units / wholeDevice))
    const enough = large.filter((device) => (shareOn(device, need) ?? Infinity) <= device.offered)
    if (enough.length >= count) return undefined
    const kind = type === undefined ? '' : ` of type ${need.types.join(' or ')}`
    return { name: 'GPU', why: `it has GPU ${enough.length}${kind} in all` }
  }

  /** The types there are: "2 x A100, RTX 3090". */
  describeTypes(): string {
    const counts = new Map<string, number>()
    for (const { type = 'unknown type' } of this.#devices) counts.set(type, (counts.get(type) ?? 0) + 1)
    return [...counts].map(([type, count]) => (count === 1 ? type : `${count} x ${type}`)).join(', ')
  }

  #add(share: GpuShare, change: number): void {
    for (const device of this.#devices) if (share.ids.includes(device.id)) device.free += change
  }

  #choose(need: GpuNeed): GpuShare | undefined {
    if (need.units >= wholeDevice) {
      const whole = this.#devices.filter((device) => device.free === wholeDevice && shareOn(device, need) !== undefined)
      const count = need.units / wholeDevice
      return whole.length < count
        ? undefined
        : { ids: whole.slice(0, count).map(({ id }) => id), unitsEach: wholeDevice }
    }
    let best: { device: Device; units: number } | undefined
    for (const device of this.#devices) {
      const units = shareOn(device, need)
      if (units === undefined || units > device.free) continue
      if (best === undefined || isFuller(device, units, best)) best = { device, units }
    }
    return best && { ids: [best.device.id], unitsEach: best.units }
  }
}

/** What a share takes of all its devices together. */
export function unitsOf({ ids, unitsEach }: GpuShare): number {
  return ids.length * unitsEach
}

/** How much of a device the need takes, if the device is one for it at all. */
function shareOn(device: Device, need: GpuNeed): number | undefined {
  if (!isOfType(device, need) || !hasMemory(device, need)) return undefined
  if (need.units >= wholeDevice) return wholeDevice
  if (need.memoryBytes === 0) return need.units
  // A hair less, so that a third of the memory is a third, whatever the division makes of it.
  const ofMemory = Math.ceil((need.memoryBytes / (device.memoryBytes ?? 1)) * wholeDevice - 1e-6)
  return Math.max(need.units, ofMemory, 1)
}

function isOfType({ type }: Device, { types }: GpuNeed): boolean {
  return types.length === 0 || (type !== undefined && types.includes(acceleratorKey(type)))
}

function hasMemory({ memoryBytes = 0 }: Device, need: GpuNeed): boolean {
  return need.memoryBytes <= memoryBytes
}

/** True when the device is rather to be used than the best so far. */
function isFuller(device: Device, units: number, best: { device: Device; units: number }): boolean {
  const isShared = device.free < wholeDevice
  const isBestShared = best.device.free < wholeDevice
  if (isShared !== isBestShared) return isShared
  return device.free - units < best.device.free - best.units
}
