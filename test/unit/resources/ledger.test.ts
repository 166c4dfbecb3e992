import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Allocation } from '../../../node/resources/ledger.ts'
import { ResourceLedger } from '../../../node/resources/ledger.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'

function acquire(ledger: ResourceLedger, request: ResourceSet): Allocation {
  const allocation = ledger.tryAcquire(request)
  assert.ok(allocation, `expected ${JSON.stringify(request)} to be granted`)
  return allocation
}

describe('ResourceLedger', () => {
  test('a tenth ten times is one', () => {
    const ledger = new ResourceLedger({ CPU: 1 })
    const tenths = Array.from({ length: 10 }, () => acquire(ledger, { CPU: 0.1 }))
    assert.deepEqual(ledger.available, { CPU: 0 })
    assert.equal(ledger.tryAcquire({ CPU: 0.0001 }), undefined)
    for (const tenth of tenths) ledger.release(tenth)
    assert.deepEqual(ledger.available, { CPU: 1 })
  })

  test('takes all or nothing', () => {
    const ledger = new ResourceLedger({ CPU: 2, memory: 2 ** 40, camera: 1 })
    assert.equal(ledger.tryAcquire({ CPU: 1, camera: 2 }), undefined)
    assert.deepEqual(ledger.available, ledger.total)
    acquire(ledger, { CPU: 1, memory: 2 ** 40 - 1, camera: 1 })
    assert.deepEqual(ledger.available, { CPU: 1, memory: 1, camera: 0 })
    assert.deepEqual(ledger.shortOf({ CPU: 2, memory: 1, camera: 1 }), ['CPU', 'camera'])
  })

  test('gives back once only', () => {
    const ledger = new ResourceLedger({ CPU: 2 })
    const allocation = acquire(ledger, { CPU: 1 })
    ledger.release(allocation)
    ledger.release(allocation)
    ledger.releaseCpu(allocation)
    ledger.reacquireCpu(allocation)
    assert.deepEqual(ledger.available, { CPU: 2 })
  })

  test('names that objects have anyway are no resources', () => {
    const ledger = new ResourceLedger({ CPU: 1 })
    assert.equal(ledger.fits({ constructor: 1 }), false)
    assert.equal(ledger.tryAcquire({ toString: 1 }), undefined)
  })

  test('a holder that waits gives only its CPU back, and takes it again whatever is left', () => {
    const ledger = new ResourceLedger({ CPU: 1, memory: 100 })
    const waiting = acquire(ledger, { CPU: 1, memory: 60 })
    ledger.releaseCpu(waiting)
    ledger.releaseCpu(waiting)
    assert.deepEqual(ledger.available, { CPU: 1, memory: 40 })
    const child = acquire(ledger, { CPU: 1 })
    ledger.reacquireCpu(waiting)
    assert.deepEqual(ledger.available, { CPU: -1, memory: 40 })
    ledger.release(child)
    assert.equal(ledger.tryAcquire({ CPU: 0.5 }), undefined)
    acquire(ledger, { memory: 40 })
    ledger.release(waiting)
    assert.deepEqual(ledger.available, { CPU: 1, memory: 60 })
  })

  test('a holder that ends while it waits gives the rest back', () => {
    const ledger = new ResourceLedger({ CPU: 1, memory: 100 })
    const waiting = acquire(ledger, { CPU: 1, memory: 60 })
    ledger.releaseCpu(waiting)
    ledger.release(waiting)
    assert.deepEqual(ledger.available, ledger.total)
  })

  test('says what could never fit', () => {
    const ledger = new ResourceLedger({ CPU: 2 }, [0])
    assert.equal(ledger.fits({ CPU: 2, GPU: 1 }), true)
    assert.deepEqual(ledger.missing({ CPU: 3, GPU: 2, x: 1 }), ['CPU', 'x', 'GPU'])
  })
})

describe('GPU devices', () => {
  test('fractions share a device, the fullest that has room', () => {
    const ledger = new ResourceLedger({}, [3, 1])
    assert.deepEqual(acquire(ledger, { GPU: 0.5 }).gpuIds, [1])
    const large = acquire(ledger, { GPU: 0.7 })
    assert.deepEqual(large.gpuIds, [3])
    assert.deepEqual(acquire(ledger, { GPU: 0.3 }).gpuIds, [3])
    assert.deepEqual(acquire(ledger, { GPU: 0.25 }).gpuIds, [1])
    ledger.release(large)
    assert.deepEqual(acquire(ledger, { GPU: 0.2 }).gpuIds, [1])
  })

  test('whole devices are nobody else’s', () => {
    const ledger = new ResourceLedger({}, [0, 1, 2])
    const half = acquire(ledger, { GPU: 0.5 })
    assert.deepEqual(acquire(ledger, { GPU: 1 }).gpuIds, [1])
    assert.deepEqual(ledger.shortOf({ GPU: 2 }), ['GPU'])
    ledger.release(half)
    assert.deepEqual(acquire(ledger, { GPU: 2 }).gpuIds, [0, 2])
    assert.deepEqual(ledger.available, { GPU: 0 })
  })

  test('memory of a device takes its part of the GPUs', () => {
    const ledger = new ResourceLedger({ CPU: 1 }, [{ id: 0, type: 'A100', memoryBytes: 80 }, 1])
    const held = acquire(ledger, { CPU: 1, gpuMemory: 20, 'accelerator:A100': 1 })
    assert.deepEqual(held.gpuIds, [0])
    assert.deepEqual(ledger.available, { CPU: 0, GPU: 1.75 })
    assert.deepEqual(
      [...ledger.gpusFree],
      [
        [0, 0.75],
        [1, 1],
      ],
    )
    assert.deepEqual(ledger.shortOf({ gpuMemory: 61 }), ['GPU'])
    assert.equal(ledger.busiestShareWith({ gpuMemory: 40 }), 1, 'the CPU')
    ledger.releaseCpu(held)
    assert.equal(ledger.busiestShareWith({ gpuMemory: 40 }), 0.375)
    ledger.release(held)
    assert.deepEqual(ledger.available, ledger.total)
    assert.equal(ledger.describeTotal(), 'CPU 1, GPU 2 (A100, unknown type)')
    assert.deepEqual(ledger.missing({ gpuMemory: 81 }), ['gpuMemory'])
    assert.deepEqual(ledger.missing({ GPU: 1, 'accelerator:H100': 1 }), ['accelerator:H100'])
    assert.deepEqual(ledger.missing({ CPU: 1, 'accelerator:A100': 1 }), ['accelerator:A100'], 'of no GPU')
  })

  test('what is held can be given out in turn, by a ledger of its own', () => {
    const ledger = new ResourceLedger({ CPU: 4 }, [{ id: 0, type: 'A100', memoryBytes: 80 }, 1])
    const held = acquire(ledger, { CPU: 2, gpuMemory: 40, 'accelerator:A100': 1 })
    const part = new ResourceLedger(held.resources, held.devices)
    assert.deepEqual(part.total, { CPU: 2, GPU: 0.5 })
    assert.deepEqual(part.missing({ GPU: 0.6 }), ['GPU'])
    acquire(part, { gpuMemory: 20 })
    assert.deepEqual(acquire(part, { GPU: 0.25 }).gpuIds, [0])
    assert.deepEqual(part.shortOf({ CPU: 1, gpuMemory: 1 }), ['GPU'])
    assert.deepEqual(ledger.available, { CPU: 2, GPU: 1.5 })
  })

  test('what is free is what is free of the devices, whatever was taken and given back', () => {
    const wanted = fc.record(
      {
        CPU: fc.constantFrom(0, 0.1, 1 / 3, 1),
        GPU: fc.constantFrom(0.1, 0.25, 1 / 3, 0.5, 1, 2),
        gpuMemory: fc.integer({ min: 1, max: 90 }),
        'accelerator:A100': fc.constant(1),
        memory: fc.integer({ min: 1, max: 60 }),
      },
      { requiredKeys: [] },
    )
    const step = fc.oneof(fc.record({ acquire: wanted }), fc.record({ of: fc.nat(), does: fc.constantFrom(0, 1, 2) }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const devices = [{ id: 0, type: 'A100', memoryBytes: 80 }, { id: 1, memoryBytes: 30 }, 2]
        const ledger = new ResourceLedger({ CPU: 4, memory: 100 }, devices)
        const held: Allocation[] = []
        for (const each of steps) {
          if ('acquire' in each) {
            const short = ledger.shortOf(each.acquire)
            const got = ledger.tryAcquire(each.acquire)
            assert.equal(got === undefined, short.length > 0)
            if (got !== undefined) held.push(got)
          } else {
            const one = held[each.of % held.length]
            if (one !== undefined)
              [ledger.release, ledger.releaseCpu, ledger.reacquireCpu][each.does]?.call(ledger, one)
          }
          const free = [...ledger.gpusFree.values()].reduce((sum, part) => sum + part, 0)
          assert.ok(Math.abs(free - (ledger.available['GPU'] ?? 0)) < 1e-9)
          assert.ok((ledger.available['memory'] ?? 0) >= 0)
        }
        for (const one of held) ledger.release(one)
        assert.deepEqual(ledger.available, ledger.total)
      }),
    )
  })

  test('enough in sum but not on one device is too little', () => {
    const ledger = new ResourceLedger({}, [0, 1])
    acquire(ledger, { GPU: 0.6 })
    acquire(ledger, { GPU: 0.6 })
    assert.equal(ledger.tryAcquire({ GPU: 0.5 }), undefined)
    assert.deepEqual(ledger.available, { GPU: 0.8 })
  })
})
