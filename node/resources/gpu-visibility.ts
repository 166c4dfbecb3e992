/** Whose a device is: it decides by which variables a process is told which ones are its own. */
export type GpuVendor = 'nvidia' | 'amd' | 'apple'

/** What stands for no device at all; an empty list would mean all of them to HIP. */
const none = '-1'

/**
 * The environment by which a worker sees its own devices and no others.
 *
 * NVIDIA's are named in `CUDA_VISIBLE_DEVICES`, by the numbers of nvidia-smi, which CUDA is told to use, too. AMD's are named
 * in `ROCR_VISIBLE_DEVICES`; what is left is numbered from 0 on, and that is what `HIP_VISIBLE_DEVICES` names, and
 * `CUDA_VISIBLE_DEVICES`, which HIP reads as well. Apple's machines have one device, and no variable for it. A worker without
 * GPUs sees none, whatever the machine has.
 */
export function gpuEnvironment(gpuIds: readonly number[], vendor: GpuVendor = 'nvidia'): Record<string, string> {
  const physical = gpuIds.join(',')
  if (gpuIds.length === 0) {
    return { CUDA_VISIBLE_DEVICES: '', HIP_VISIBLE_DEVICES: none, ROCR_VISIBLE_DEVICES: none }
  }
  if (vendor === 'amd') {
    const left = gpuIds.map((_, at) => at).join(',')
    return { ROCR_VISIBLE_DEVICES: physical, HIP_VISIBLE_DEVICES: left, CUDA_VISIBLE_DEVICES: left }
  }
  return { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: physical }
}
