import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { packBundles, type Packing } from '../../../node/groups/pack-bundles.ts'
import { Room } from '../../../node/groups/room.ts'
import { placementStrategies, type PlacementStrategy } from '../../../protocols/placement-groups.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'
import type { Labels, LabelSelector } from '../../../protocols/scheduling.ts'
import { seededRandom } from '../../support/seeded-random.ts'

type Wanted = ResourceSet | { resources: ResourceSet; labels: LabelSelector }

interface Case {
  nodes: Record<string, { free: ResourceSet; total?: ResourceSet; labels?: Labels }>
  bundles: readonly Wanted[]
  strategy?: PlacementStrategy
  placed?: readonly string[]
  home?: string
}

function pack({ nodes, bundles, strategy = 'PACK', placed = [], home = '' }: Case): Packing {
  const rooms = Object.entries(nodes).map(
    ([node, { free, total = free, labels = {} }]) => new Room({ node, labels, total, free }),
  )
  const wanted = bundles.map((bundle, index) => {
    const { resources, labels } = ('resources' in bundle ? bundle : { resources: bundle, labels: {} }) as {
      resources: ResourceSet
      labels: LabelSelector
    }
    return { index, resources, labels }
  })
  const before = rooms.map((room) => ['CPU', 'GPU'].map((name) => room.describe(name)))
  const packing = packBundles({ strategy, bundles: wanted, placed, home }, rooms)
  assert.deepEqual(
    rooms.map((room) => ['CPU', 'GPU'].map((name) => room.describe(name))),
    before,
    'the rooms are as before',
  )
  return packing
}

function nodesOf(packing: Packing): string[] {
  assert.ok(typeof packing === 'object', String(packing))
  return [...packing].toSorted(([a], [b]) => a - b).map(([, node]) => node)
}

const cpu = (amount: number): { free: ResourceSet } => ({ free: { CPU: amount } })

describe('packing bundles', () => {
  test('PACK takes one node when one has room for all, the fullest of them', () => {
    const nodes = { a: { free: { CPU: 8 }, total: { CPU: 8 } }, b: { free: { CPU: 4 }, total: { CPU: 8 } }, c: cpu(1) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 2 }, { CPU: 2 }] })), ['b', 'b'])
  })

  test('PACK takes as few nodes as it can when no single one has room', () => {
    const nodes = { a: cpu(1), b: cpu(3), c: cpu(2), d: cpu(1) }
    const used = new Set(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 2 }] })))
    assert.deepEqual(used, new Set(['b', 'c']))
  })

  test('PACK goes where bundles of the group are already', () => {
    const nodes = { a: cpu(2), b: cpu(1) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }], placed: ['a'] })), ['a'])
  })

  test('STRICT_PACK is on one node or not at all', () => {
    const nodes = { a: cpu(1), b: cpu(3) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }, { CPU: 2 }], strategy: 'STRICT_PACK' })), ['b', 'b'])
    assert.equal(pack({ nodes, bundles: [{ CPU: 1 }, { CPU: 3 }], strategy: 'STRICT_PACK' }), 'none')
  })

  test('STRICT_PACK stays on the node that it has', () => {
    const nodes = { a: cpu(1), b: cpu(9) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }], strategy: 'STRICT_PACK', placed: ['a'] })), ['a'])
    assert.equal(pack({ nodes, bundles: [{ CPU: 2 }], strategy: 'STRICT_PACK', placed: ['a'] }), 'none')
  })

  test('SPREAD takes as many nodes as there are, and then shares them', () => {
    const nodes = { a: cpu(4), b: cpu(4) }
    const used = nodesOf(pack({ nodes, bundles: [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 1 }], strategy: 'SPREAD' }))
    assert.deepEqual(used.toSorted(), ['a', 'a', 'b', 'b'])
  })

  test('STRICT_SPREAD takes a node for each, and moves one on for the sake of another', () => {
    const nodes = { a: { free: { CPU: 1, GPU: 1 } }, b: cpu(1) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }, { GPU: 1 }], strategy: 'STRICT_SPREAD' })), ['b', 'a'])
    assert.equal(
      pack({ nodes, bundles: [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }], strategy: 'STRICT_SPREAD' }),
      'none',
      'three bundles, two nodes',
    )
  })

  test('STRICT_SPREAD leaves out the nodes that have a bundle already', () => {
    const nodes = { a: cpu(9), b: cpu(1) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }], strategy: 'STRICT_SPREAD', placed: ['a'] })), ['b'])
  })

  test('bundles go to nodes with their labels only', () => {
    const labelled = { resources: { CPU: 1 }, labels: { zone: { in: ['x'] } } }
    const nodes = { a: { free: { CPU: 9 }, labels: { zone: 'y' } }, b: { free: { CPU: 1 }, labels: { zone: 'x' } } }
    for (const strategy of placementStrategies) {
      assert.deepEqual(nodesOf(pack({ nodes, bundles: [labelled], strategy })), ['b'], strategy)
    }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }, labelled] })), ['a', 'b'])
  })

  test('work without a GPU leaves the nodes with GPUs alone', () => {
    const nodes = { a: { free: { CPU: 2, GPU: 1 }, total: { CPU: 4, GPU: 1 } }, b: cpu(2) }
    assert.deepEqual(nodesOf(pack({ nodes, bundles: [{ CPU: 1 }] })), ['b'])
  })

  test('whatever it finds fits, and it finds something whenever there is a way', () => {
    const random = seededRandom(7)
    const below = (count: number): number => Math.floor(random() * count)
    for (let run = 0; run < 2000; run++) {
      const names = ['a', 'b', 'c'].slice(0, 1 + below(3))
      const nodes = Object.fromEntries(names.map((name) => [name, { free: { CPU: below(5), GPU: below(3) } }]))
      const bundles = Array.from({ length: 1 + below(4) }, () => ({ CPU: 1 + below(3), GPU: below(2) }))
      const strategy = placementStrategies[below(4)] as PlacementStrategy
      const packing = pack({ nodes, bundles, strategy })
      const ways = allWays(names, bundles.length).filter((way) => isRight(way, nodes, bundles, strategy))
      assert.equal(typeof packing === 'object', ways.length > 0, JSON.stringify({ nodes, bundles, strategy }))
      if (typeof packing === 'object') assert.ok(isRight(nodesOf(packing), nodes, bundles, strategy))
    }
  })
})

function allWays(names: readonly string[], count: number): string[][] {
  if (count === 0) return [[]]
  return allWays(names, count - 1).flatMap((way) => names.map((name) => [...way, name]))
}

function isRight(
  way: readonly string[],
  nodes: Record<string, { free: ResourceSet }>,
  bundles: readonly ResourceSet[],
  strategy: PlacementStrategy,
): boolean {
  const used = new Set(way).size
  if (strategy === 'STRICT_PACK' && used > 1) return false
  if (strategy === 'STRICT_SPREAD' && used < bundles.length) return false
  return Object.entries(nodes).every(([node, { free }]) =>
    ['CPU', 'GPU'].every((name) => {
      const sum = bundles.reduce((total, bundle, at) => total + (way[at] === node ? (bundle[name] ?? 0) : 0), 0)
      return sum <= (free[name] ?? 0)
    }),
  )
}
