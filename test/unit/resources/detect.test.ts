import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { detectResources, discreteGpus } from '../../../node/resources/detect.ts'
import type { SystemProbes } from '../../../node/resources/system-probes.ts'
import { InvalidArgumentError } from '../../../protocols/errors.ts'

const savedVisible = process.env['CUDA_VISIBLE_DEVICES']
beforeEach(() => {
  delete process.env['CUDA_VISIBLE_DEVICES']
})
afterEach(() => {
  if (savedVisible === undefined) delete process.env['CUDA_VISIBLE_DEVICES']
  else process.env['CUDA_VISIBLE_DEVICES'] = savedVisible
})

function machine(changes: Partial<SystemProbes> = {}): { probes: SystemProbes; asked: string[] } {
  const asked: string[] = []
  const real: SystemProbes = {
    cpuCount: () => 4,
    cpuModel: () => 'Test CPU',
    hostname: () => 'pool',
    memoryTotalBytes: () => Promise.resolve(1000),
    nvidiaGpus: () => Promise.resolve([]),
    amdGpus: () => Promise.resolve([]),
    graphicsControllers: () => Promise.resolve([]),
    ...changes,
  }
  const probes = Object.fromEntries(
    Object.entries(real).map(([name, probe]) => [name, () => (asked.push(name), (probe as () => unknown)())]),
  )
  return { probes: probes as unknown as SystemProbes, asked }
}

describe('detectResources', () => {
  // First in this file: once loaded, a module stays.
  test('a start with everything given does not load systeminformation', async () => {
    const resources = await detectResources({ numCpus: 3, numGpus: 2, memoryBytes: 500, resources: { camera: 1 } })
    assert.deepEqual(resources.total, { CPU: 3, GPU: 2, memory: 500, camera: 1 })
    assert.deepEqual(resources.gpus, [{ index: 0 }, { index: 1 }])
    const loaded = Object.keys(createRequire(import.meta.url).cache)
    assert.deepEqual(
      loaded.filter((path) => path.includes('systeminformation')),
      [],
    )
  })

  test('asks only for what is not given', async () => {
    const { probes, asked } = machine()
    await detectResources({ numGpus: 0, memoryBytes: 1 }, probes)
    assert.deepEqual(asked.toSorted(), ['cpuCount', 'cpuModel', 'hostname'])
  })

  test('offers tasks a part of the memory and every CPU', async () => {
    const { probes } = machine()
    assert.deepEqual(await detectResources({}, probes), {
      total: { CPU: 4, memory: 700 },
      gpus: [],
      hostname: 'pool',
      cpuModel: 'Test CPU',
    })
  })

  test('takes the devices of nvidia-smi before those of the graphics list', async () => {
    const { probes } = machine({
      nvidiaGpus: () => Promise.resolve([{ index: 0, uuid: 'GPU-a', name: 'NVIDIA L4', memoryBytes: 24 }]),
      graphicsControllers: () => Promise.resolve([{ vendor: 'NVIDIA', model: 'L4', sharesMemory: false }]),
    })
    const { gpus, total } = await detectResources({}, probes)
    assert.deepEqual(gpus, [{ index: 0, name: 'NVIDIA L4', type: 'L4', memoryBytes: 24, vendor: 'nvidia' }])
    assert.equal(total['GPU'], 1)
  })

  test('a list of devices that fails is no device', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('spawn lspci ENOENT'))
    const { probes } = machine({ nvidiaGpus: fail, amdGpus: fail, graphicsControllers: fail })
    assert.deepEqual((await detectResources({}, probes)).gpus, [])
  })

  test('leaves out the devices that the node itself may not use', async () => {
    process.env['CUDA_VISIBLE_DEVICES'] = '1'
    const { probes } = machine({ nvidiaGpus: () => Promise.resolve([{ index: 0 }, { index: 1 }]) })
    assert.deepEqual((await detectResources({}, probes)).gpus, [{ index: 1, vendor: 'nvidia' }])
  })

  test('takes the devices of AMD by the order of ROCm, less those that the node may not use', async () => {
    const saved = process.env['ROCR_VISIBLE_DEVICES']
    try {
      process.env['ROCR_VISIBLE_DEVICES'] = '1'
      const { probes } = machine({
        amdGpus: () => Promise.resolve([{ index: 0 }, { index: 1, name: 'AMD Instinct MI250X' }]),
      })
      const { gpus } = await detectResources({}, probes)
      assert.deepEqual(gpus, [{ index: 1, name: 'AMD Instinct MI250X', type: 'MI250X', vendor: 'amd' }])
    } finally {
      if (saved === undefined) delete process.env['ROCR_VISIBLE_DEVICES']
      else process.env['ROCR_VISIBLE_DEVICES'] = saved
    }
  })

  test('a number of devices takes the first of the machine, and makes up those that it does not have', async () => {
    const { probes, asked } = machine({
      nvidiaGpus: () => Promise.resolve([{ index: 1, name: 'NVIDIA L4' }]),
    })
    const l4 = { index: 1, name: 'NVIDIA L4', type: 'L4', vendor: 'nvidia' }
    assert.deepEqual((await detectResources({ numGpus: 3 }, probes)).gpus, [{ index: 0 }, l4, { index: 2 }])
    assert.deepEqual((await detectResources({ numGpus: 1 }, probes)).gpus, [l4])
    assert.ok(!asked.includes('graphicsControllers'))
  })

  test('types and memory that are given count for all devices, or one type for each', async () => {
    const { probes } = machine()
    const all = { numGpus: 2, gpuTypes: ['H100'], gpuMemoryBytes: 80 }
    assert.deepEqual((await detectResources(all, probes)).gpus, [
      { index: 0, type: 'H100', memoryBytes: 80 },
      { index: 1, type: 'H100', memoryBytes: 80 },
    ])
    const each = await detectResources({ numGpus: 2, gpuTypes: ['H100', 'RTX 3090'] }, probes)
    assert.deepEqual(
      each.gpus.map(({ type }) => type),
      ['H100', 'RTX 3090'],
    )
    await assert.rejects(detectResources({ numGpus: 3, gpuTypes: ['A', 'B'] }, probes), /names 2 types for 3 GPUs/)
  })

  test('refuses wrong numbers before it asks the machine', async () => {
    const { probes, asked } = machine()
    await assert.rejects(detectResources({ numGpus: 0.5 }, probes), InvalidArgumentError)
    await assert.rejects(detectResources({ numCpus: -1 }, probes), /the node: numCpus is -1/)
    await assert.rejects(detectResources({ resources: { 'a b': 1 } }, probes), InvalidArgumentError)
    assert.deepEqual(asked, [])
  })

  test('this machine has a CPU and memory', async () => {
    const { total, hostname } = await detectResources({ numGpus: 0 })
    assert.ok((total['CPU'] ?? 0) >= 1 && (total['memory'] ?? 0) > 2 ** 20 && hostname.length > 0)
  })
})

describe('discreteGpus', () => {
  const amd = 'Advanced Micro Devices, Inc. [AMD/ATI]'

  test('takes cards, not graphics built into a processor', () => {
    const controllers = [
      { vendor: 'Intel Corporation', model: 'UHD Graphics 630', sharesMemory: false },
      { vendor: amd, model: 'Renoir [Radeon RX Vega 6]', sharesMemory: true },
      { vendor: amd, model: 'Cezanne', sharesMemory: false, memoryBytes: 512 },
      { vendor: amd, model: 'Navi 21 [Radeon RX 6800 XT]', sharesMemory: false },
      { vendor: 'Red Hat, Inc.', model: 'Virtio GPU', sharesMemory: false },
    ]
    assert.deepEqual(discreteGpus(controllers), [{ index: 0, name: 'Navi 21 [Radeon RX 6800 XT]', vendor: 'amd' }])
  })

  test('takes those of one maker, whose numbers they have', () => {
    const controllers = [
      { vendor: 'NVIDIA Corporation', model: 'GA102 [GeForce RTX 3090]', sharesMemory: false, memoryBytes: 1 },
      { vendor: amd, model: 'Navi 21 [Radeon RX 6800 XT]', sharesMemory: false },
    ]
    const nvidia = { index: 0, name: 'GA102 [GeForce RTX 3090]', memoryBytes: 1, vendor: 'nvidia' }
    assert.deepEqual(discreteGpus(controllers), [nvidia])
  })

  test('takes the one device of a machine of Apple’s', () => {
    const controllers = [{ vendor: 'Apple', model: 'Apple M2 Max', sharesMemory: true }]
    assert.deepEqual(discreteGpus(controllers), [{ index: 0, name: 'Apple M2 Max', vendor: 'apple' }])
  })
})
