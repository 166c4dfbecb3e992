import type { GpuAdvert } from '../../protocols/advert.ts'
import { amountOf, type ResourceSet } from '../../protocols/resources.ts'
import { gpuNeedOf, isOnDevices } from '../resources/gpu-need.ts'
import { GpuPool } from '../resources/gpu-pool.ts'

/** What a node has, as far as it tells. Without its devices one by one their number has to do. */
export interface NodeTotals {
  readonly total: ResourceSet
  readonly gpus?: readonly GpuAdvert[]
}

/** Why a node could never meet the request, as a sentence about it: "it has CPU 4 in all"; undefined when it could. */
export function whyNever({ total, gpus }: NodeTotals, resources: ResourceSet): string | undefined {
  let asksForGpus = false
  for (const name in resources) {
    if (gpus !== undefined && isOnDevices(name)) asksForGpus = true
    else if (amountOf(resources, name) > amountOf(total, name)) return `it has ${name} ${amountOf(total, name)} in all`
  }
  if (!asksForGpus || gpus === undefined) return undefined
  const need = gpuNeedOf(resources)
  // A type alone, which no option can ask for, is a name that no node has.
  return need === undefined ? 'it has nothing that is a type of GPU alone' : poolOf(gpus, false).lack(need)?.why
}

/** The devices of a node: with what is free of them, or with nothing in use. */
export function poolOf(gpus: readonly GpuAdvert[], isInUse: boolean): GpuPool {
  return new GpuPool(
    gpus.map(({ type, memoryBytes, free }, id) => ({ id, type, memoryBytes, free: isInUse ? free : 1 })),
  )
}
