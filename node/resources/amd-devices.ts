import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { GpuDevice } from './nvidia-smi.ts'

const amdVendor = 4098
/** A processor's graphics have a few hundred MiB of the machine's memory set aside. */
const memoryMin = 1024 ** 3

/**
 * AMD's devices in the order in which ROCm numbers them, as the kernel lists them: no tool has to be installed for that. Those
 * with less than a GiB of memory are graphics of a processor and left out. None where there is no such list.
 *
 * @param root where the kernel shows what it knows
 */
export async function findAmdDevices(root = '/sys'): Promise<GpuDevice[]> {
  const nodes = path.join(root, 'class/kfd/kfd/topology/nodes')
  const names = await readdir(nodes).catch(() => [])
  const devices: GpuDevice[] = []
  let index = 0
  for (const name of names.toSorted((a, b) => Number(a) - Number(b))) {
    const facts = parseProperties(await textOf(path.join(nodes, name, 'properties')))
    // Processors are nodes of this list, too.
    if ((facts.get('simd_count') ?? 0) === 0 || facts.get('vendor_id') !== amdVendor) continue
    const device = path.join(root, `class/drm/renderD${facts.get('drm_render_minor') ?? ''}/device`)
    const [memory, product, chip] = await Promise.all(
      [path.join(device, 'mem_info_vram_total'), path.join(device, 'product_name'), path.join(nodes, name, 'name')].map(
        textOf,
      ),
    )
    const memoryBytes = Number(memory)
    const own = index++
    if (memoryBytes > 0 && memoryBytes < memoryMin) continue
    const called = product || chip || ''
    devices.push({
      index: own,
      ...(called === '' ? {} : { name: called }),
      ...(memoryBytes > 0 ? { memoryBytes } : {}),
    })
  }
  return devices
}

/** Lines of a name and a number. */
function parseProperties(text: string): Map<string, number> {
  return new Map(
    text.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(' ')
      return [name, Number(value)]
    }),
  )
}

async function textOf(file: string): Promise<string> {
  return (await readFile(file, 'utf8').catch(() => '')).trim()
}
