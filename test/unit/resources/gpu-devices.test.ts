import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { findAmdDevices } from '../../../node/resources/amd-devices.ts'
import { gpuEnvironment } from '../../../node/resources/gpu-visibility.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'

function write(root: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
    writeFileSync(path.join(root, name), text)
  }
}

describe('findAmdDevices', () => {
  test('lists what the kernel knows, in its order, without processors and their graphics', async () => {
    const root = temporaryDirectory()
    const node = (id: number): string => `class/kfd/kfd/topology/nodes/${id}`
    const drm = (minor: number): string => `class/drm/renderD${minor}/device`
    write(root, {
      [`${node(0)}/properties`]: 'cpu_cores_count 64\nsimd_count 0\nvendor_id 0\n',
      [`${node(1)}/properties`]: 'cpu_cores_count 0\nsimd_count 440\nvendor_id 4098\ndrm_render_minor 128\n',
      [`${node(1)}/name`]: 'aldebaran\n',
      [`${drm(128)}/mem_info_vram_total`]: '68702699520\n',
      [`${drm(128)}/product_name`]: 'AMD Instinct MI250X\n',
      [`${node(2)}/properties`]: 'simd_count 8\nvendor_id 4098\ndrm_render_minor 129\n',
      [`${drm(129)}/mem_info_vram_total`]: '536870912\n',
      [`${node(10)}/properties`]: 'simd_count 96\nvendor_id 4098\ndrm_render_minor 130\n',
      [`${node(10)}/name`]: 'navi31\n',
    })
    assert.deepEqual(await findAmdDevices(root), [
      { index: 0, name: 'AMD Instinct MI250X', memoryBytes: 68_702_699_520 },
      { index: 2, name: 'navi31' },
    ])
  })

  test('finds none where there is no such list', async () => {
    assert.deepEqual(await findAmdDevices(temporaryDirectory()), [])
  })
})

describe('what a worker sees', () => {
  test('without GPUs none, whatever there is', () => {
    const hidden = { CUDA_VISIBLE_DEVICES: '', HIP_VISIBLE_DEVICES: '-1', ROCR_VISIBLE_DEVICES: '-1' }
    for (const vendor of [undefined, 'nvidia', 'amd', 'apple'] as const) {
      assert.deepEqual(gpuEnvironment([], vendor), hidden)
    }
  })

  test('NVIDIA’s by the numbers of nvidia-smi', () => {
    const expected = { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: '1,3' }
    assert.deepEqual(gpuEnvironment([1, 3], 'nvidia'), expected)
    assert.deepEqual(gpuEnvironment([1, 3]), expected)
  })

  test('AMD’s by the numbers of ROCm, and what is left of them from 0 on', () => {
    assert.deepEqual(gpuEnvironment([1, 3], 'amd'), {
      ROCR_VISIBLE_DEVICES: '1,3',
      HIP_VISIBLE_DEVICES: '0,1',
      CUDA_VISIBLE_DEVICES: '0,1',
    })
  })
})
