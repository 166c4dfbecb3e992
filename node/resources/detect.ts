import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ResourceOptions, ResourceSet } from '../../protocols/resources.ts'
import { resourcesFromOptions } from '../../protocols/resources.ts'
import type { GpuDevice } from './nvidia-smi.ts'
import { visibleDevices } from './nvidia-smi.ts'
import type { GraphicsController, SystemProbes } from './system-probes.ts'
import { systemProbes } from './system-probes.ts'

/** What a node offers, and what it is. */
export interface NodeResources {
  total: ResourceSet
  gpus: NodeGpu[]
  hostname: string
  cpuModel: string
}

/** A GPU of the node. `index` is the number that workers get in `CUDA_VISIBLE_DEVICES`. */
export interface NodeGpu {
  index: number
  name?: string
  memoryBytes?: number
}

/**
 * The part of the memory that tasks are offered. The rest is for the object store, whose segment is shared memory and
 * counts towards the same limit, and for the daemon, the drivers and the system. It is a part of the total, not of what
 * happens to be free at the start, so that a restart on a busy machine offers the same.
 */
const taskMemoryShare = 0.7

/**
 * Finds out what this machine has. Every figure given in `overrides` is taken as it is and its detection skipped.
 * GPUs given as a number are taken to be devices 0 to n - 1.
 */
export async function detectResources(
  overrides: ResourceOptions = {},
  probes: SystemProbes = systemProbes,
): Promise<NodeResources> {
  if (overrides.numGpus !== undefined && !Number.isInteger(overrides.numGpus)) {
    throw new InvalidArgumentError(`numGpus of a node is ${overrides.numGpus}; expected a whole number of devices`, {
      numGpus: overrides.numGpus,
    })
  }
  resourcesFromOptions(overrides, 'the node')
  const [memoryBytes, gpus] = await Promise.all([
    overrides.memoryBytes ?? taskMemoryBytes(probes),
    overrides.numGpus === undefined ? detectGpus(probes) : inventGpus(overrides.numGpus),
  ])
  const total = resourcesFromOptions({
    numCpus: overrides.numCpus ?? probes.cpuCount(),
    numGpus: gpus.length,
    memoryBytes,
    resources: overrides.resources,
  })
  return { total, gpus, hostname: probes.hostname(), cpuModel: probes.cpuModel() }
}

async function taskMemoryBytes(probes: SystemProbes): Promise<number> {
  return Math.floor((await probes.memoryTotalBytes()) * taskMemoryShare)
}

function inventGpus(count: number): NodeGpu[] {
  return Array.from({ length: count }, (_, index) => ({ index }))
}

/**
 * nvidia-smi knows NVIDIA's devices best; systeminformation finds the rest. Both are asked at once, since each takes
 * tens of milliseconds, and neither may fail the start: a machine whose GPUs cannot be listed has none.
 */
async function detectGpus(probes: SystemProbes): Promise<NodeGpu[]> {
  const [nvidia, controllers] = await Promise.all([
    probes.nvidiaGpus().catch(() => []),
    probes.graphicsControllers().catch(() => []),
  ])
  const devices = nvidia.length > 0 ? nvidia : discreteGpus(controllers)
  return visibleDevices(devices, process.env['CUDA_VISIBLE_DEVICES']).map(toNodeGpu)
}

function toNodeGpu({ index, name, memoryBytes }: GpuDevice): NodeGpu {
  return { index, ...(name === undefined ? {} : { name }), ...(memoryBytes === undefined ? {} : { memoryBytes }) }
}

/**
 * The NVIDIA and AMD cards among the graphics controllers. Graphics built into a processor do not count. AMD's are told
 * apart by their model's name: the memory that lspci shows is the same few hundred MiB window for both kinds.
 */
export function discreteGpus(controllers: readonly GraphicsController[]): GpuDevice[] {
  return controllers
    .filter(({ vendor, model, sharesMemory }) => {
      if (sharesMemory) return false
      if (/nvidia/i.test(vendor)) return true
      if (!/\bAMD\b|\bATI\b|Advanced Micro Devices/i.test(vendor)) return false
      return /\b(RX ?\d|Radeon Pro|Radeon AI|FirePro|Instinct|Navi ?\d|Vega ?(56|64)\b|Radeon VII\b|MI\d{2,3})/i.test(
        model,
      )
    })
    .map(({ model, memoryBytes }, index) => ({
      index,
      ...(model === '' ? {} : { name: model }),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
    }))
}
