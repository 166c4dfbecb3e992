import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ResourceOptions, ResourceSet } from '../../protocols/resources.ts'
import { resourcesFromOptions } from '../../protocols/resources.ts'
import { gpuTypeOf } from './gpu-type.ts'
import type { GpuVendor } from './gpu-visibility.ts'
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

/** A GPU of the node. `index` is the number by which its maker's tools and variables know it. */
export interface NodeGpu {
  index: number
  name?: string
  /** By which tasks ask for it. @example 'H100' */
  type?: string
  memoryBytes?: number
  vendor?: GpuVendor
}

/** What is given instead of being detected. */
export interface ResourceOverrides extends ResourceOptions {
  /** The type of all devices, or one for each. */
  gpuTypes?: readonly string[] | undefined
  /** The memory of each device. */
  gpuMemoryBytes?: number | undefined
}

/**
 * The part of the memory that tasks are offered. The rest is for the object store, whose segment is shared memory and
 * counts towards the same limit, and for the daemon, the drivers and the system. It is a part of the total, not of what
 * happens to be free at the start, so that a restart on a busy machine offers the same.
 */
const taskMemoryShare = 0.7

/**
 * Finds out what this machine has. Every figure given in `overrides` is taken as it is and its detection skipped. GPUs given
 * as a number are the first so many of the machine; those that it does not have are made up.
 *
 * Throws InvalidArgumentError that names the option.
 */
export async function detectResources(
  { gpuTypes, gpuMemoryBytes, ...overrides }: ResourceOverrides = {},
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
    chosenGpus(overrides.numGpus, probes).then((found) => describedAs(found, { gpuTypes, gpuMemoryBytes })),
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

async function chosenGpus(count: number | undefined, probes: SystemProbes): Promise<NodeGpu[]> {
  if (count === undefined) return detectGpus(probes)
  const found = count === 0 ? [] : await drivenGpus(probes)
  const chosen = found.slice(0, count)
  const used = new Set(chosen.map(({ index }) => index))
  for (let index = 0; chosen.length < count; index++) if (!used.has(index)) chosen.push({ index })
  return chosen.sort((a, b) => a.index - b.index)
}

/** Throws InvalidArgumentError when the types are neither one for all devices nor one for each. */
export function checkTypeCount(gpuTypes: readonly string[], count: number): void {
  if (gpuTypes.length <= 1 || gpuTypes.length === count) return
  throw new InvalidArgumentError(
    `gpuTypes of a node names ${gpuTypes.length} types for ${count} GPUs; give one for all, or one for each`,
    { gpuTypes, count },
  )
}

/** What is said of the devices counts, not what was found. */
function describedAs(
  found: readonly NodeGpu[],
  { gpuTypes = [], gpuMemoryBytes }: Pick<ResourceOverrides, 'gpuTypes' | 'gpuMemoryBytes'>,
): NodeGpu[] {
  checkTypeCount(gpuTypes, found.length)
  const [first, ...more] = gpuTypes
  return found.map((gpu, at) => {
    const type = more.length > 0 ? gpuTypes[at] : first
    return {
      ...gpu,
      ...(type === undefined ? {} : { type }),
      ...(gpuMemoryBytes === undefined ? {} : { memoryBytes: gpuMemoryBytes }),
    }
  })
}

/**
 * Those that tasks can compute on, by their makers, first; systeminformation finds the rest. None of it may fail the start: a
 * machine whose GPUs cannot be listed has none. All are asked at once, since some take tens of milliseconds.
 */
export async function detectGpus(probes: SystemProbes = systemProbes): Promise<NodeGpu[]> {
  const [driven, controllers] = await Promise.all([drivenGpus(probes), probes.graphicsControllers().catch(() => [])])
  if (driven.length > 0) return driven
  const cards = discreteGpus(controllers)
  return visibleDevices(cards, process.env['CUDA_VISIBLE_DEVICES']).map((card) => toNodeGpu(card, card.vendor))
}

/** What the drivers of NVIDIA and AMD know, less what is not for this node. */
async function drivenGpus(probes: SystemProbes): Promise<NodeGpu[]> {
  const [nvidia, amd] = await Promise.all([probes.nvidiaGpus().catch(() => []), probes.amdGpus().catch(() => [])])
  if (nvidia.length > 0) {
    return visibleDevices(nvidia, process.env['CUDA_VISIBLE_DEVICES']).map((device) => toNodeGpu(device, 'nvidia'))
  }
  return visibleDevices(amd, process.env['ROCR_VISIBLE_DEVICES'] ?? process.env['HIP_VISIBLE_DEVICES']).map((device) =>
    toNodeGpu(device, 'amd'),
  )
}

function toNodeGpu({ index, name, memoryBytes }: GpuDevice, vendor: GpuVendor): NodeGpu {
  const type = name === undefined ? undefined : gpuTypeOf(name)
  return {
    index,
    ...(name === undefined ? {} : { name }),
    ...(type === undefined ? {} : { type }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    vendor,
  }
}

/**
 * The NVIDIA and AMD cards among the graphics controllers, and the one device of a machine of Apple's. Other graphics built
 * into a processor do not count. AMD's are told apart by their model's name: the memory that lspci shows is the same few
 * hundred MiB window for both kinds.
 */
export function discreteGpus(controllers: readonly GraphicsController[]): (GpuDevice & { vendor: GpuVendor })[] {
  const cards = controllers.flatMap((controller) => {
    const vendor = vendorOf(controller)
    return vendor === undefined ? [] : [{ ...controller, vendor }]
  })
  // Each maker's variables count its own devices only, so a node offers those of one.
  const [first] = cards
  return cards
    .filter(({ vendor }) => vendor === first?.vendor)
    .map(({ model, memoryBytes, vendor }, index) => ({
      index,
      ...(model === '' ? {} : { name: model }),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      vendor,
    }))
}

function vendorOf({ vendor, model, sharesMemory }: GraphicsController): GpuVendor | undefined {
  if (/\bapple\b/i.test(vendor)) return 'apple'
  if (sharesMemory) return undefined
  if (/nvidia/i.test(vendor)) return 'nvidia'
  const isAmdCard =
    /\bAMD\b|\bATI\b|Advanced Micro Devices/i.test(vendor) &&
    /\b(RX ?\d|Radeon Pro|Radeon AI|FirePro|Instinct|Navi ?\d|Vega ?(56|64)\b|Radeon VII\b|MI\d{2,3})/i.test(model)
  return isAmdCard ? 'amd' : undefined
}
