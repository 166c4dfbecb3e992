import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseNvidiaSmi, visibleDevices } from '../../../node/resources/nvidia-smi.ts'

const mebibyte = 2 ** 20

describe('parseNvidiaSmi', () => {
  test('reads one line for a device', () => {
    const output = [
      '1, GPU-0b7c1ad6-9c5d-2b0e-7a35-5d1f0c3f6a11, NVIDIA H100 80GB HBM3, 81559',
      '0, GPU-5f0cbb1e-77a4-40d1-1b52-9a1b8f9f0e02, NVIDIA GeForce RTX 3090, 24576',
      '',
    ].join('\n')
    assert.deepEqual(parseNvidiaSmi(output), [
      {
        index: 0,
        uuid: 'GPU-5f0cbb1e-77a4-40d1-1b52-9a1b8f9f0e02',
        name: 'NVIDIA GeForce RTX 3090',
        memoryBytes: 24576 * mebibyte,
      },
      {
        index: 1,
        uuid: 'GPU-0b7c1ad6-9c5d-2b0e-7a35-5d1f0c3f6a11',
        name: 'NVIDIA H100 80GB HBM3',
        memoryBytes: 81559 * mebibyte,
      },
    ])
  })

  test('leaves unknown figures out', () => {
    assert.deepEqual(parseNvidiaSmi('0, GPU-1, Orin (nvgpu), [N/A]\r\n'), [
      { index: 0, uuid: 'GPU-1', name: 'Orin (nvgpu)' },
    ])
    assert.deepEqual(parseNvidiaSmi('0, [N/A], [N/A], [Insufficient Permissions]'), [{ index: 0 }])
  })

  test('a name may hold a comma', () => {
    assert.equal(parseNvidiaSmi('0, GPU-1, Tesla T4, rev a, 15360')[0]?.name, 'Tesla T4, rev a')
  })

  for (const output of [
    '',
    'No devices were found\n',
    'Failed to initialize NVML: Driver/library version mismatch\n',
  ]) {
    test(`finds nothing in ${JSON.stringify(output)}`, () => assert.deepEqual(parseNvidiaSmi(output), []))
  }
})

describe('visibleDevices', () => {
  const devices = [
    { index: 0, uuid: 'GPU-aaa1' },
    { index: 1, uuid: 'GPU-bbb2' },
    { index: 2, uuid: 'GPU-ccc3' },
  ]
  const cases: [string | undefined, number[]][] = [
    [undefined, [0, 1, 2]],
    ['', []],
    ['-1', []],
    ['2,0', [0, 2]],
    ['0,7,1', [0]],
    ['1,1', [1]],
    ['GPU-bbb', [1]],
    [' 1 , 2', [1, 2]],
  ]
  for (const [visible, indices] of cases) {
    test(`CUDA_VISIBLE_DEVICES=${visible ?? '(unset)'} leaves ${indices.join(' ') || 'none'}`, () => {
      assert.deepEqual(
        visibleDevices(devices, visible).map(({ index }) => index),
        indices,
      )
    })
  }
})
