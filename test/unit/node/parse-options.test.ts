import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatDuration } from '../../../node/cli/format-status.ts'
import { parseAmount, parseBytes, parseCount, parseGpuTypes, parseResource } from '../../../node/cli/parse-options.ts'

describe('command line options', () => {
  test('amounts and counts', () => {
    assert.equal(parseAmount('--cpus', 'a number')('2.5'), 2.5)
    assert.equal(parseAmount('--cpus', 'a number')('0'), 0)
    assert.equal(parseCount('--gpus', 'a number', 0)('8'), 8)
    for (const text of ['', ' ', '-1', '0x10', 'Infinity', 'NaN', '1e999', '1,5', '1_000']) {
      assert.throws(() => parseAmount('--cpus', 'a number')(text), /--cpus must be a number, 0 or more; got /)
    }
  })

  test('sizes', () => {
    const cases: Record<string, number> = {
      '0': 0,
      '1048576': 1048576,
      '4e9': 4e9,
      '4GiB': 4 * 1024 ** 3,
      '4 gib': 4 * 1024 ** 3,
      '4G': 4 * 1024 ** 3,
      '1.5KiB': 1536,
      '2GB': 2e9,
      '512MiB': 512 * 1024 ** 2,
    }
    for (const [text, bytes] of Object.entries(cases)) assert.equal(parseBytes('--memory')(text), bytes, text)
    for (const text of ['', 'GiB', '4X', '-4GiB', '4 GiB more', '1.2.3MiB', '9e12TiB', '1e']) {
      assert.throws(() => parseBytes('--memory')(text), /--memory must be a size/, text)
    }
  })

  test('types of GPUs', () => {
    assert.deepEqual(parseGpuTypes('H100'), ['H100'])
    assert.deepEqual(parseGpuTypes('RTX 3090, H100'), ['RTX 3090', 'H100'])
    for (const text of ['', ',', 'H100,', '-', '--json', 'x'.repeat(49)]) {
      assert.throws(() => parseGpuTypes(text), /--gpu-type must be a type/, text)
    }
  })

  test('resources add up', () => {
    assert.deepEqual(parseResource('constructor=2'), { constructor: 2 })
    assert.deepEqual(parseResource('b=0.5', parseResource('a=1')), { a: 1, b: 0.5 })
    for (const text of ['', '=', 'a', 'a=', '=1', 'a=x']) assert.throws(() => parseResource(text), /--resource must be/)
  })

  test('durations', () => {
    assert.deepEqual([5, 1_500, 61_000, 7_260_000].map(formatDuration), ['5ms', '1s', '1m 1s', '2h 1m'])
  })
})
