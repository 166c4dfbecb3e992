import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { gpuTypeOf } from '../../../node/resources/gpu-type.ts'
import { acceleratorKey, acceleratorName, acceleratorOf, isAcceleratorType } from '../../../protocols/accelerators.ts'

describe('gpuTypeOf', () => {
  const names: [string, string | undefined][] = [
    ['NVIDIA H100 80GB HBM3', 'H100'],
    ['NVIDIA H100 NVL', 'H100'],
    ['NVIDIA H100 PCIe', 'H100'],
    ['NVIDIA H200', 'H200'],
    ['NVIDIA GH200 480GB', 'GH200'],
    ['NVIDIA A100-SXM4-40GB', 'A100'],
    ['NVIDIA A100 80GB PCIe', 'A100'],
    ['Tesla V100-SXM2-16GB', 'V100'],
    ['Tesla T4', 'T4'],
    ['Tesla T4, rev a', 'T4'],
    ['NVIDIA L40S', 'L40S'],
    ['NVIDIA RTX A6000', 'RTX A6000'],
    ['NVIDIA RTX 6000 Ada Generation', 'RTX 6000 Ada'],
    ['NVIDIA GeForce RTX 3090', 'RTX 3090'],
    ['NVIDIA GeForce RTX 4090 Laptop GPU', 'RTX 4090 Laptop GPU'],
    ['GA102 [GeForce RTX 3090]', 'RTX 3090'],
    ['Navi 21 [Radeon RX 6800 XT]', 'RX 6800 XT'],
    ['Orin (nvgpu)', 'Orin'],
    ['AMD Instinct MI250X', 'MI250X'],
    ['AMD Radeon RX 7900 XTX', 'RX 7900 XTX'],
    ['gfx90a', 'gfx90a'],
    ['Apple M2 Max', 'M2 Max'],
    ['NVIDIA Graphics', undefined],
    ['', undefined],
    ['x'.repeat(200), undefined],
  ]
  for (const [name, type] of names) test(`${name} is ${type}`, () => assert.equal(gpuTypeOf(name), type))
})

test('types are names in a set of resources', () => {
  assert.equal(acceleratorName('rtx 3090-Ti'), 'accelerator:RTX3090TI')
  assert.equal(acceleratorOf('accelerator:RTX3090TI'), 'RTX3090TI')
  assert.equal(acceleratorOf('GPU'), undefined)
  assert.equal(acceleratorKey('h_100'), acceleratorKey('H 100'))
  for (const wrong of ['', ' -', 'x'.repeat(49), 7, undefined]) assert.equal(isAcceleratorType(wrong), false)
})
