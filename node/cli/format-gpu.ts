import type { GpuAdvert } from '../../protocols/advert.ts'
import { formatAmount } from '../../protocols/resources.ts'
import { clean } from './format-text.ts'

/** What is known of a GPU: "NVIDIA H100 80GB HBM3, type H100, 79.6 GiB, 0.5 free"; '' when nothing is. */
export function formatGpu({ name, type, memoryBytes, free }: GpuAdvert): string {
  return [
    ...(name === undefined ? [] : [clean(name)]),
    ...(type === undefined ? [] : [`type ${clean(type)}`]),
    ...(memoryBytes === undefined ? [] : [formatAmount('gpuMemory', memoryBytes)]),
    ...(free === undefined ? [] : [`${formatAmount('GPU', free)} free`]),
  ].join(', ')
}
