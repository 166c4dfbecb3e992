import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { gpuNeedOf, type GpuNeed } from '../../../node/resources/gpu-need.ts'
import { GpuPool, unitsOf, type GpuShare, type PoolDevice } from '../../../node/resources/gpu-pool.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'

const gib = 2 ** 30

function need(request: ResourceSet): GpuNeed {
  const found = gpuNeedOf(request)
  assert.ok(found, `${JSON.stringify(request)} wants no GPU`)
  return found
}

function take(pool: GpuPool, request: ResourceSet): GpuShare {
  const share = pool.take(need(request))
  assert.ok(share, `expected ${JSON.stringify(request)} to be granted`)
  return share
}

const mixed: PoolDevice[] = [
  { id: 0, type: 'H100', memoryBytes: 80 * gib },
  { id: 1, type: 'RTX 3090', memoryBytes: 24 * gib },
  { id: 2 },
]

describe('what a request wants of GPUs', () => {
  test('nothing, when it names none', () => {
    assert.equal(gpuNeedOf({ CPU: 1 }), undefined)
    assert.equal(gpuNeedOf({ CPU: 1, GPU: 0, 'accelerator:H100': 1 }), undefined)
  })

  test('a number, memory, types', () => {
    assert.deepEqual(gpuNeedOf({ GPU: 0.5, gpuMemory: 10, 'accelerator:H100': 1, 'accelerator:A100': 1 }), {
      units: 5_000,
      memoryBytes: 10,
      types: ['H100', 'A100'],
    })
  })
})

describe('GpuPool', () => {
  test('fills a shared device before it opens a new one', () => {
    const pool = new GpuPool([
      { id: 0, memoryBytes: 80 * gib },
      { id: 1, memoryBytes: 20 * gib },
    ])
    const small = { gpuMemory: 16 * gib }
    assert.deepEqual(take(pool, small), { ids: [1], unitsEach: 8_000 }, 'where the least is left')
    assert.deepEqual(take(pool, small), { ids: [0], unitsEach: 2_000 })
    assert.deepEqual(take(pool, small), { ids: [0], unitsEach: 2_000 })
    assert.deepEqual(take(pool, { GPU: 0.2 }), { ids: [1], unitsEach: 2_000 })
  })

  test('memory is a part of its device', () => {
    const pool = new GpuPool([{ id: 0, memoryBytes: 80 * gib }])
    take(pool, { gpuMemory: 20 * gib })
    assert.equal(pool.free().get(0), 0.75)
    take(pool, { GPU: 0.1, gpuMemory: 40 * gib })
    assert.equal(pool.free().get(0), 0.25, 'the larger of the two counts')
    assert.equal(pool.canTake(need({ gpuMemory: 20 * gib + gib })), false)
    take(pool, { GPU: 0.25, gpuMemory: 1 })
    assert.equal(pool.freeUnits, 0)
  })

  test('a third three times is all of it, whatever a byte more or less makes of it', () => {
    const memoryBytes = 80 * gib
    const pool = new GpuPool([{ id: 0, memoryBytes }])
    const third = { gpuMemory: Math.floor(memoryBytes / 3) }
    for (let count = 0; count < 2; count++) take(pool, third)
    assert.equal(pool.take(need(third)), undefined, 'rounded up, so that nothing is promised twice')
    take(pool, { gpuMemory: Math.floor(memoryBytes * 0.333) })
  })

  test('whole devices with memory are those that have it', () => {
    const pool = new GpuPool([{ id: 0, memoryBytes: 24 * gib }, { id: 1, memoryBytes: 80 * gib }, { id: 2 }])
    assert.deepEqual(take(pool, { GPU: 1, gpuMemory: 40 * gib }).ids, [1])
    assert.equal(pool.canTake(need({ GPU: 1, gpuMemory: 40 * gib })), false)
    assert.deepEqual(take(pool, { GPU: 2 }).ids, [0, 2])
  })

  test('types are compared without case, spaces and dashes; several mean any of them', () => {
    const pool = new GpuPool(mixed)
    assert.deepEqual(take(pool, { GPU: 1, 'accelerator:RTX3090': 1 }).ids, [1])
    assert.equal(pool.canTake(need({ GPU: 1, 'accelerator:RTX3090': 1 })), false)
    assert.deepEqual(take(pool, { GPU: 0.5, 'accelerator:RTX3090': 1, 'accelerator:H100': 1 }).ids, [0])
  })

  test('a part of a device is a part, and never whole', () => {
    const pool = new GpuPool([{ id: 3, free: 0.5 }])
    assert.equal(pool.canTake(need({ GPU: 1 })), false)
    assert.deepEqual(take(pool, { GPU: 0.5 }), { ids: [3], unitsEach: 5_000 })
    assert.equal(pool.canTake(need({ GPU: 0.0001 })), false)
  })

  const lacks: [string, readonly PoolDevice[], ResourceSet, RegExp | undefined][] = [
    ['no device', [], { GPU: 0.5 }, /^GPU: it has GPU 0 in all$/],
    ['no device, whatever the type', [], { GPU: 1, 'accelerator:H100': 1 }, /^GPU: it has GPU 0 of type H100 in all$/],
    ['too few', mixed, { GPU: 4 }, /^GPU: it has GPU 3 in all$/],
    ['too few of a type', mixed, { GPU: 2, 'accelerator:H100': 1 }, /^GPU: it has GPU 1 of type H100 in all$/],
    [
      'no such type',
      mixed,
      { GPU: 1, 'accelerator:A100': 1 },
      /^accelerator:A100: its GPUs are H100, RTX 3090, unknown/,
    ],
    ['too little memory', mixed, { gpuMemory: 81 * gib }, /^gpuMemory: the largest of its GPUs has 80 GiB$/],
    ['of a type', mixed, { gpuMemory: 25 * gib, 'accelerator:RTX3090': 1 }, /^gpuMemory: the largest .* 24 GiB$/],
    [
      'memory that is not known',
      [{ id: 0 }],
      { gpuMemory: 1 },
      /^gpuMemory: how much memory its GPUs have is not known$/,
    ],
    ['nothing', mixed, { GPU: 2, gpuMemory: 24 * gib }, undefined],
    ['nothing, for several types', mixed, { GPU: 2, 'accelerator:H100': 1, 'accelerator:RTX3090': 1 }, undefined],
  ]
  for (const [what, devices, request, expected] of lacks) {
    test(`lacks ${what}: ${JSON.stringify(request)}`, () => {
      const lack = new GpuPool(devices).lack(need(request))
      if (expected === undefined) assert.equal(lack, undefined)
      else assert.match(`${lack?.name}: ${lack?.why}`, expected)
    })
  }
})

const device = fc.record({
  type: fc.constantFrom('H100', 'A100', undefined),
  memoryBytes: fc.constantFrom(24 * gib, 80 * gib, 7_777_777_777, undefined),
  free: fc.constantFrom(1, 1, 1, 0.5),
})
const request: fc.Arbitrary<ResourceSet> = fc
  .record({
    GPU: fc.oneof(
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 1, max: 10_000 }).map((units) => units / 10_000),
    ),
    gpuMemory: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 80 * gib })),
    type: fc.constantFrom('', '', 'H100', 'A100', 'B200'),
  })
  .map(({ GPU, gpuMemory, type }) => ({
    ...(GPU === 0 && gpuMemory === 0 ? { GPU: 1 } : { GPU, gpuMemory }),
    ...(type === '' ? {} : { [`accelerator:${type}`]: 1 }),
  }))
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ take: request }) },
  { weight: 2, arbitrary: fc.record({ giveBack: fc.nat() }) },
)

describe('GpuPool, whatever happens', () => {
  test('no device is given out twice, whole ones are shared with nobody, and all comes back', () => {
    fc.assert(
      fc.property(fc.array(device, { maxLength: 5 }), fc.array(step, { maxLength: 60 }), (found, steps) => {
        const devices = found.map((each, id) => ({ ...each, id: id * 3 }))
        const pool = new GpuPool(devices)
        const untouched = pool.free()
        const held: { share: GpuShare; wanted: GpuNeed }[] = []
        for (const each of steps) {
          if ('take' in each) {
            const wanted = need(each.take)
            const could = pool.canTake(wanted)
            const units = pool.unitsFor(wanted)
            const share = pool.take(wanted)
            assert.equal(share !== undefined, could)
            if (share === undefined) continue
            assert.equal(unitsOf(share), units)
            assert.equal(pool.lack(wanted), undefined, 'what was given could be given')
            held.push({ share, wanted })
          } else if (held.length > 0) {
            const [back] = held.splice(each.giveBack % held.length, 1)
            if (back !== undefined) pool.giveBack(back.share)
          }
          check(devices, held, pool)
        }
        for (const { share } of held) pool.giveBack(share)
        assert.deepEqual(pool.free(), untouched)
      }),
    )
  })

  test('what an empty pool refuses it lacks, and what it lacks it refuses', () => {
    fc.assert(
      fc.property(fc.array(device, { maxLength: 4 }), request, (found, wanted) => {
        const pool = new GpuPool(found.map((each, id) => ({ ...each, id })))
        assert.equal(pool.canTake(need(wanted)), pool.lack(need(wanted)) === undefined)
      }),
    )
  })
})

function check(
  devices: readonly PoolDevice[],
  held: readonly { share: GpuShare; wanted: GpuNeed }[],
  pool: GpuPool,
): void {
  for (const { id, type, memoryBytes = 0, free: offered = 1 } of devices) {
    const on = held.filter(({ share }) => share.ids.includes(id))
    const used = on.reduce((sum, { share }) => sum + share.unitsEach, 0)
    assert.ok(used <= offered * 10_000, `${used} of device ${id} are given out`)
    assert.equal(pool.free().get(id), (offered * 10_000 - used) / 10_000)
    const bytes = on.reduce((sum, { wanted }) => sum + wanted.memoryBytes, 0)
    assert.ok(bytes <= memoryBytes, `${bytes} bytes of the ${memoryBytes} of device ${id} are promised`)
    for (const { share, wanted } of on) {
      if (wanted.units >= 10_000) assert.equal(on.length, 1, 'a whole device is shared')
      else assert.equal(share.ids.length, 1, 'a fraction lies on several devices')
      assert.ok(wanted.types.length === 0 || wanted.types.includes(type ?? ''), `it is of type ${type}`)
    }
  }
  for (const { share, wanted } of held) {
    assert.equal(new Set(share.ids).size, Math.max(1, wanted.units / 10_000 >= 1 ? wanted.units / 10_000 : 1))
  }
}
