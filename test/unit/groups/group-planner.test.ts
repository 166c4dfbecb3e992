import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GroupPlanner, type GroupWish } from '../../../node/groups/group-planner.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'

const home = 'a'.repeat(16)
const other = 'b'.repeat(16)

function tell(planner: GroupPlanner, node: string, version: number, available: ResourceSet, total = { CPU: 4 }): void {
  planner.nodeChanged({ node, version, available, total, labels: {}, queued: 0, isOpen: true })
}

function wish(group: string, cpus: number[], fields: Partial<GroupWish> = {}): GroupWish {
  const bundles = cpus.map((CPU, index) => ({ index, resources: { CPU }, labels: {} }))
  return { group, home, tryNumber: 1, strategy: 'PACK', bundles, placed: [], refusedBy: [], ...fields }
}

describe('the planner of groups', () => {
  test('places what fits and tells once', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 4 })
    planner.want(wish('g', [2, 2]))
    assert.deepEqual(planner.step(0), [
      { group: 'g', home, tryNumber: 1, outcome: 'placed', nodes: [home, home], reason: '' },
    ])
    assert.deepEqual(planner.step(1), [])
    planner.want(wish('g', [2, 2]))
    assert.equal(planner.step(2).length, 1, 'its home asks again: the answer was lost')
  })

  test('takes what it has placed from what the nodes have said, until they say more', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 4 })
    planner.want(wish('g', [3]))
    planner.want(wish('h', [3]))
    assert.deepEqual(
      planner.step(0).map(({ group, outcome }) => [group, outcome]),
      [
        ['g', 'placed'],
        ['h', 'pending'],
      ],
    )
    planner.end('g', 1, false)
    assert.deepEqual(
      planner.step(1).map(({ group, outcome }) => [group, outcome]),
      [['h', 'placed']],
    )
  })

  test('a group that is removed gives its room back, unless the node has told since', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 4 })
    planner.want(wish('g', [3]))
    planner.step(0)
    planner.end('g', 1, true)
    tell(planner, home, 2, { CPU: 1 })
    planner.end('g', 1, false)
    planner.want(wish('h', [3]))
    assert.equal(planner.step(1)[0]?.outcome, 'pending')
    tell(planner, home, 3, { CPU: 4 })
    assert.equal(planner.step(2)[0]?.outcome, 'placed')
  })

  test('a node that has refused is asked again when it has changed', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 4 })
    planner.want(wish('g', [1]))
    planner.step(0)
    planner.want(wish('g', [1], { tryNumber: 2, refusedBy: [home] }))
    const [waits] = planner.step(1)
    assert.equal(waits?.outcome, 'pending')
    assert.match(waits.reason, /waits for room/)
    tell(planner, other, 1, { CPU: 1 })
    assert.deepEqual(planner.step(2)[0]?.nodes, [other])
    planner.want(wish('g', [2], { tryNumber: 3 }))
    assert.equal(planner.step(3)[0]?.outcome, 'pending')
    tell(planner, home, 2, { CPU: 4 })
    assert.deepEqual(planner.step(4)[0]?.nodes, [home])
  })

  test('bundles with a GPU go where there is one of the right type, whole or in part', () => {
    const planner = new GroupPlanner()
    const common = { version: 1, labels: {}, queued: 0, isOpen: true }
    const told = (node: string, types: string[]): void => {
      const total = { CPU: 4, GPU: types.length }
      planner.nodeChanged({ ...common, node, total, available: total, gpus: types.map((type) => ({ type })) })
    }
    told(home, ['T4', 'T4'])
    told(other, ['H100', 'T4'])
    const wants = (group: string, ...resources: ResourceSet[]): GroupWish => ({
      ...wish(group, []),
      bundles: resources.map((each, index) => ({ index, resources: each, labels: {} })),
    })
    planner.want(wants('h', { GPU: 0.5, 'accelerator:H100': 1 }, { GPU: 0.5, 'accelerator:H100': 1 }))
    assert.deepEqual(planner.step(0)[0]?.nodes, [other, other])
    planner.want(wants('i', { GPU: 1, 'accelerator:H100': 1 }))
    assert.equal(planner.step(1)[0]?.outcome, 'pending')
    planner.want(wants('j', { GPU: 1, 'accelerator:A100': 1 }))
    assert.equal(planner.step(2)[0]?.outcome, 'infeasible')
    planner.want(wants('k', { GPU: 1 }, { GPU: 1 }))
    assert.deepEqual(planner.step(3)[0]?.nodes, [home, home])
  })

  test('earlier tries come too late', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 4 })
    planner.want(wish('g', [1], { tryNumber: 2 }))
    planner.want(wish('g', [4], { tryNumber: 1 }))
    assert.deepEqual(
      planner.step(0).map(({ tryNumber }) => tryNumber),
      [2],
    )
    planner.end('g', 1, false)
    planner.want(wish('h', [4]))
    assert.equal(planner.step(1)[0]?.outcome, 'pending', 'g still has its room')
  })

  test('what could never fit is infeasible, until a node comes on which it does', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 1 })
    planner.want(wish('g', [8]))
    const [never] = planner.step(0)
    assert.equal(never?.outcome, 'infeasible')
    assert.equal(never.reason, 'bundle 0 (CPU 8) fits none of the 1 nodes (1: has CPU 4 in all)')
    tell(planner, other, 1, { CPU: 8 }, { CPU: 8 })
    assert.deepEqual(planner.step(1)[0]?.nodes, [other])
  })

  test('figures in a reason are told again after a while only', () => {
    const planner = new GroupPlanner()
    tell(planner, home, 1, { CPU: 1 })
    planner.want(wish('g', [2]))
    assert.equal(planner.step(0).length, 1)
    tell(planner, home, 2, { CPU: 0 })
    assert.equal(planner.step(10).length, 0)
    tell(planner, home, 3, { CPU: 0.5 })
    assert.match(planner.step(2000)[0]?.reason ?? '', /CPU 0.5 of 4 free/)
  })

  test('forgets the wishes of a node that is gone', () => {
    const planner = new GroupPlanner()
    tell(planner, other, 1, { CPU: 4 })
    tell(planner, home, 1, { CPU: 0 })
    planner.want(wish('g', [4]))
    planner.step(0)
    planner.nodeGone(home)
    planner.want(wish('h', [4], { home: other }))
    assert.deepEqual(planner.step(1)[0]?.nodes, [other])
  })

  test('sees of its own node what it has, less what is on its way there', () => {
    const planner = new GroupPlanner()
    const self = (CPU: number) =>
      planner.lookAtSelf({
        node: home,
        version: 0,
        available: { CPU },
        total: { CPU: 4 },
        labels: {},
        queued: 0,
        isOpen: true,
      })
    self(4)
    planner.want(wish('g', [3]))
    planner.step(0)
    self(4)
    planner.want(wish('h', [3]))
    assert.equal(planner.step(1)[0]?.outcome, 'pending', 'g has not been reserved yet')
    planner.end('g', 1, true)
    self(4)
    assert.equal(planner.step(2)[0]?.outcome, 'placed', 'g has been reserved and removed since')
  })
})
