import { execFile } from 'node:child_process'

/** A GPU as the machine reports it. `index` is the number that `CUDA_VISIBLE_DEVICES` takes. */
export interface GpuDevice {
  index: number
  uuid?: string
  name?: string
  memoryBytes?: number
}

const query = ['--query-gpu=index,uuid,name,memory.total', '--format=csv,noheader,nounits']
const mebibyte = 1024 * 1024

/**
 * Reads the lines that `nvidia-smi --query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits` prints.
 * Lines of another shape (warnings, "No devices were found") are left out; a memory of `[N/A]` stays unknown.
 */
export function parseNvidiaSmi(output: string): GpuDevice[] {
  const devices: GpuDevice[] = []
  for (const line of output.split('\n')) {
    const fields = line.split(',').map((field) => field.trim())
    const [index, uuid] = fields
    if (fields.length < 4 || index === undefined || uuid === undefined || !/^\d+$/.test(index)) continue
    // A name may hold commas of its own, so the memory is the last field, not the fourth.
    const name = fields.slice(2, -1).join(', ')
    const memory = fields.at(-1) ?? ''
    devices.push({
      index: Number(index),
      ...(uuid.startsWith('GPU-') ? { uuid } : {}),
      ...(name === '' || name.startsWith('[') ? {} : { name }),
      ...(/^\d+$/.test(memory) ? { memoryBytes: Number(memory) * mebibyte } : {}),
    })
  }
  return devices.sort((a, b) => a.index - b.index)
}

/** The NVIDIA devices of this machine; none when the tool is absent, fails, or takes longer than `timeoutMs`. */
export function queryNvidiaSmi(timeoutMs = 5_000): Promise<GpuDevice[]> {
  return new Promise((resolve) => {
    // A driver that hangs must not hang the start, so the child is killed for good and its answer given up.
    execFile('nvidia-smi', query, { timeout: timeoutMs, killSignal: 'SIGKILL', windowsHide: true }, (error, stdout) =>
      resolve(error === null ? parseNvidiaSmi(stdout) : []),
    )
  })
}

/**
 * The devices that `CUDA_VISIBLE_DEVICES` or another such list leaves to this process, for a node that was itself started with it (by
 * a batch system, or two nodes on one machine). As CUDA does, the list ends at the first entry that names no device.
 */
export function visibleDevices<T extends GpuDevice>(devices: readonly T[], visible: string | undefined): T[] {
  if (visible === undefined) return [...devices]
  const chosen: T[] = []
  for (const entry of visible.split(',').map((part) => part.trim())) {
    const device = devices.find(({ index, uuid }) =>
      /^\d+$/.test(entry) ? index === Number(entry) : entry.startsWith('GPU-') && uuid?.startsWith(entry) === true,
    )
    if (device === undefined || chosen.includes(device)) break
    chosen.push(device)
  }
  return chosen.sort((a, b) => a.index - b.index)
}
