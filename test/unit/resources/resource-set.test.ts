import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidArgumentError } from '../../../protocols/errors.ts'
import {
  checkResources,
  formatAmount,
  formatResources,
  resourcesFromOptions,
  resourcesKey,
} from '../../../protocols/resources.ts'

describe('checkResources', () => {
  test('keeps what is asked for and leaves zeros out', () => {
    assert.deepEqual(checkResources({ CPU: 0.5, GPU: 0, memory: 1024, 'accelerator:A100': 1 }), {
      CPU: 0.5,
      memory: 1024,
      'accelerator:A100': 1,
    })
  })

  test('rounds to what is counted', () => {
    assert.deepEqual(checkResources({ CPU: 1 / 3, memory: 10.6 }), { CPU: 0.3333, memory: 11 })
  })

  const refused: [string, Record<string, unknown>, RegExp][] = [
    ['a negative amount', { CPU: -1 }, /CPU is -1; expected a finite number, 0 or more/],
    ['not a number', { CPU: Number.NaN }, /CPU is NaN/],
    ['no end', { memory: Number.POSITIVE_INFINITY }, /memory is Infinity/],
    ['text', { CPU: '2' }, /CPU is 2; expected a finite number/],
    ['one and a half GPUs', { GPU: 1.5 }, /GPU is 1.5; expected a whole number of GPUs, or a fraction up to 1/],
    ['less than is counted', { CPU: 0.00001 }, /0 or at least 0.0001/],
    ['more than is counted', { x: 1e15 }, /at most 900719925474/],
    ['a bad name', { '1x': 1 }, /'1x' is not a resource name/],
    ['a long name', { ['x'.repeat(65)]: 1 }, /not a resource name/],
    ['a prototype', JSON.parse('{"__proto__": 1}'), /'__proto__' is not a resource name/],
  ]
  for (const [name, input, message] of refused) {
    test(`refuses ${name}`, () => {
      assert.throws(
        () => checkResources(input as Record<string, number>, "task 'f'"),
        (error) =>
          error instanceof InvalidArgumentError && message.test(error.message) && error.message.startsWith("task 'f'"),
      )
    })
  }
})

describe('resourcesFromOptions', () => {
  test('translates the names', () => {
    const set = resourcesFromOptions({ numCpus: 2, numGpus: 0.5, memoryBytes: 4096, resources: { camera: 1 } })
    assert.deepEqual(set, { CPU: 2, GPU: 0.5, memory: 4096, camera: 1 })
    assert.deepEqual(resourcesFromOptions({}), {})
  })

  test('names the option, not the resource', () => {
    assert.throws(() => resourcesFromOptions({ numCpus: -1 }, "task 'f'"), /task 'f': numCpus is -1/)
  })

  test('points to the option for a name that is not the user’s own', () => {
    assert.throws(() => resourcesFromOptions({ resources: { cpu: 1 } }), /resources\.cpu .* use `numCpus`/)
    assert.throws(() => resourcesFromOptions({ resources: { GPU: 1 } }), /use `numGpus`/)
  })
})

test('formatResources reads well', () => {
  assert.equal(
    formatResources({ memory: 1.5 * 2 ** 30, b: 2, a: 1, GPU: 0.5, CPU: 2 }),
    'CPU 2, GPU 0.5, memory 1.5 GiB, a 1, b 2',
  )
  assert.equal(formatResources({ memory: 100 }), 'memory 100 bytes')
  assert.equal(formatResources({}), 'CPU 0')
})

test('resourcesKey does not depend on the order or on zeros', () => {
  assert.equal(resourcesKey({ CPU: 1, x: 2, memory: 0 }), resourcesKey({ x: 2, CPU: 1 }))
  assert.notEqual(resourcesKey({ CPU: 1 }), resourcesKey({ CPU: 2 }))
})

test('sizes for people', () => {
  assert.deepEqual(
    [0, 1, 2, 1023, 1024, 1.5 * 2 ** 20].map((bytes) => formatAmount('memory', bytes)),
    ['0 bytes', '1 byte', '2 bytes', '1023 bytes', '1 KiB', '1.5 MiB'],
  )
})
