import { acceleratorKey, acceleratorOf } from '../../protocols/accelerators.ts'
import { toUnits, type ResourceSet } from '../../protocols/resources.ts'

/** What a request wants of the GPUs. */
export interface GpuNeed {
  /** Up to one whole device: that part of one. Above: so many whole devices. 0: the memory says how much. */
  readonly units: number
  /** Memory of the device, or of each one; 0 for any. */
  readonly memoryBytes: number
  /** It must be of one of these types; none: any type will do. Keys, as they are compared. */
  readonly types: readonly string[]
}

/** The part of a request that is about GPUs; undefined for one that wants none. */
export function gpuNeedOf(request: ResourceSet): GpuNeed | undefined {
  const units = Object.hasOwn(request, 'GPU') ? toUnits('GPU', request['GPU'] ?? 0) : 0
  const memoryBytes = Object.hasOwn(request, 'gpuMemory') ? toUnits('gpuMemory', request['gpuMemory'] ?? 0) : 0
  if (units === 0 && memoryBytes === 0) return undefined
  const types: string[] = []
  for (const [name, amount] of Object.entries(request)) {
    const type = acceleratorOf(name)
    if (type !== undefined && amount > 0) types.push(acceleratorKey(type))
  }
  return { units, memoryBytes, types }
}

/** True for the names of a request that are looked for on the devices, and not in a sum. */
export function isOnDevices(name: string): boolean {
  return name === 'GPU' || name === 'gpuMemory' || acceleratorOf(name) !== undefined
}
