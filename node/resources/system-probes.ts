import { availableParallelism, cpus, hostname } from 'node:os'
import { findAmdDevices } from './amd-devices.ts'
import type { GpuDevice } from './nvidia-smi.ts'
import { queryNvidiaSmi } from './nvidia-smi.ts'

/** What the detection asks the machine; tests put their own in its place. */
export interface SystemProbes {
  cpuCount(): number
  cpuModel(): string
  hostname(): string
  /** The memory that this process may use at most, in bytes. */
  memoryTotalBytes(): Promise<number>
  nvidiaGpus(): Promise<GpuDevice[]>
  /** In the order in which ROCm numbers them. */
  amdGpus(): Promise<GpuDevice[]>
  /** Graphics controllers of any kind, with their vendor. */
  graphicsControllers(): Promise<GraphicsController[]>
}

export interface GraphicsController {
  vendor: string
  model: string
  memoryBytes?: number
  /** True when it has no memory of its own. */
  sharesMemory: boolean
}

const mebibyte = 1024 * 1024

/** The probes of the real machine. systeminformation is loaded only when one of its figures is asked for. */
export const systemProbes: SystemProbes = {
  cpuCount: availableParallelism,
  cpuModel: () => cpus()[0]?.model.trim() ?? 'unknown',
  hostname,
  async memoryTotalBytes() {
    const { mem } = await import('systeminformation')
    const { total } = await mem()
    // systeminformation reads the machine; a container's cgroup may allow less. Node reports 0 or a number beyond
    // any memory where there is no limit.
    const limit = process.constrainedMemory()
    return limit > 0 ? Math.min(total, limit) : total
  },
  nvidiaGpus: () => queryNvidiaSmi(),
  amdGpus: () => findAmdDevices(),
  async graphicsControllers() {
    const { graphics } = await import('systeminformation')
    const { controllers } = await graphics()
    return controllers.map((controller) => ({
      vendor: controller.vendor,
      model: controller.model,
      sharesMemory: controller.vramDynamic,
      ...(typeof controller.vram === 'number' && controller.vram > 0
        ? { memoryBytes: controller.vram * mebibyte }
        : {}),
    }))
  },
}
