import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { GpuPool } from '../../../node/resources/gpu-pool.ts'
import { Scheduler } from '../../../node/scheduler/scheduler.ts'
import type { Demand, SchedulerAction, SchedulerNode } from '../../../node/scheduler/scheduler-types.ts'

const [a, b, c] = ['a'.repeat(16), 'b'.repeat(16), 'c'.repeat(16)] as [string, string, string]
let keys = 0

function node(id: string, fields: Partial<SchedulerNode> = {}): SchedulerNode {
  const total = fields.total ?? { CPU: 4 }
  return { node: id, total, available: total, labels: {}, queued: 0, version: 1, isOpen: true, ...fields }
}

function demand(fields: Partial<Demand> = {}): Demand {
  return {
    key: `k${++keys}`,
    home: a,
    resources: { CPU: 1 },
    strategy: { kind: 'default' },
    depth: 0,
    label: 'task',
    requestedAtMs: keys,
    ...fields,
  }
}

function schedulerOf(...nodes: SchedulerNode[]): Scheduler {
  const scheduler = new Scheduler()
  for (const each of nodes) scheduler.nodeChanged(each)
  return scheduler
}

/** Where demands were sent: "a now". */
function places(actions: readonly SchedulerAction[]): string[] {
  return actions.map((action) => (action.type === 'place' ? `${action.node[0]} ${action.mode}` : action.type))
}

function addAll(scheduler: Scheduler, count: number, fields: Partial<Demand> = {}): Demand[] {
  const demands = Array.from({ length: count }, () => demand(fields))
  for (const each of demands) scheduler.add(each)
  return demands
}

describe('where tasks go', () => {
  test('names that every object has are no resources and labels of a node', () => {
    for (const name of ['constructor', 'toString', 'valueOf', 'hasOwnProperty']) {
      const nodes = [node(a), node(b, { total: { CPU: 4, [name]: 1 }, labels: { [name]: 'x' } })]
      const scheduler = schedulerOf(...nodes)
      addAll(scheduler, 2, { resources: { [name]: 1 } })
      assert.deepEqual(places(scheduler.step(0)), ['b now', 'b queue'], name)
      const labelled = schedulerOf(...nodes)
      addAll(labelled, 1, { strategy: { kind: 'labels', selector: { [name]: { exists: true } } } })
      assert.deepEqual(places(labelled.step(0)), ['b now'], name)
      const without = schedulerOf(node(a))
      addAll(without, 1, { resources: { CPU: 1, [name]: 1 } })
      addAll(without, 1, { strategy: { kind: 'labels', selector: { [name]: { exists: true } } } })
      const [resources, labels] = without.step(0)
      assert.match(
        resources?.type === 'infeasible' ? JSON.stringify(resources) : '',
        new RegExp(`has ${name} 0 in all`),
      )
      assert.match(labels?.type === 'infeasible' ? JSON.stringify(labels) : '', new RegExp(`has no label ${name}`))
    }
  })

  test('the node at hand up to the half, then the emptiest of the others', () => {
    const scheduler = schedulerOf(node(a), node(b, { total: { CPU: 8 } }), node(c))
    addAll(scheduler, 4)
    assert.deepEqual(places(scheduler.step(0)), ['a now', 'a now', 'b now', 'b now'])
  })

  test('all nodes are filled before any demand has to wait, and then queues are even', () => {
    const scheduler = schedulerOf(node(a, { total: { CPU: 2 } }), node(b, { total: { CPU: 2 } }))
    addAll(scheduler, 8)
    const given = places(scheduler.step(0))
    assert.deepEqual(given.slice(0, 4).toSorted(), ['a now', 'a now', 'b now', 'b now'])
    assert.deepEqual(given.slice(4).toSorted(), ['a queue', 'a queue', 'b queue', 'b queue'])
  })

  test('work without need of a GPU stays off nodes that have one, as long as others have room', () => {
    const gpu = { total: { CPU: 8, GPU: 1 } }
    const scheduler = schedulerOf(node(a, { total: { memory: 1 } }), node(b, gpu), node(c, { total: { CPU: 1 } }))
    addAll(scheduler, 2)
    assert.deepEqual(places(scheduler.step(0)), ['c now', 'b now'])
    scheduler.add(demand({ resources: { CPU: 1, GPU: 1 } }))
    assert.deepEqual(places(scheduler.step(0)), ['b now'])
  })

  test('spread is even, whoever asks', () => {
    const scheduler = schedulerOf(node(a, { total: { CPU: 16 } }), node(b), node(c))
    const strategy = { kind: 'spread' } as const
    addAll(scheduler, 3, { strategy })
    addAll(scheduler, 3, { strategy, home: b })
    const given = places(scheduler.step(0))
    assert.deepEqual(given.toSorted(), ['a now', 'a now', 'b now', 'b now', 'c now', 'c now'])
  })

  test('one node: hard or not at all, soft rather there', () => {
    const scheduler = schedulerOf(node(a), node(b, { total: { CPU: 1 } }))
    const hard = { kind: 'node', node: b, isSoft: false } as const
    addAll(scheduler, 2, { strategy: hard })
    assert.deepEqual(places(scheduler.step(0)), ['b now', 'b queue'])
    scheduler.add(demand({ strategy: { ...hard, node: c } }))
    assert.deepEqual(places(scheduler.step(0)), ['infeasible'])
    scheduler.add(demand({ strategy: { kind: 'node', node: c, isSoft: true } }))
    assert.deepEqual(places(scheduler.step(0)), ['a now'])
  })

  test('nodes to avoid are taken when there is no other one that could ever serve it, and only then', () => {
    const avoid = { kind: 'default', avoid: [a] } as const
    const scheduler = schedulerOf(node(a), node(b, { total: { CPU: 1 } }))
    addAll(scheduler, 2, { strategy: avoid })
    assert.deepEqual(places(scheduler.step(0)), ['b now', 'b queue'])
    addAll(scheduler, 1, { strategy: avoid, resources: { CPU: 2 } })
    assert.deepEqual(places(scheduler.step(0)), ['a now'])
    scheduler.add(demand({ strategy: { kind: 'node', node: a, isSoft: true, avoid: [a] } }))
    assert.deepEqual(places(scheduler.step(0)), ['b queue'])
    scheduler.add(demand({ strategy: { ...avoid, avoid: [a, b] } }))
    assert.deepEqual(places(scheduler.step(0)), ['a now'])
  })

  test('labels: in, not in, there or not', () => {
    const scheduler = schedulerOf(
      node(a),
      node(b, { labels: { zone: 'lab1', laptop: 'yes' } }),
      node(c, { labels: { zone: 'lab2' } }),
    )
    const placeOf = (selector: Extract<Demand['strategy'], { kind: 'labels' }>['selector']): string[] => {
      scheduler.add(demand({ strategy: { kind: 'labels', selector } }))
      return places(scheduler.step(0))
    }
    assert.deepEqual(placeOf({ zone: { in: ['lab1', 'lab3'] } }), ['b now'])
    assert.deepEqual(placeOf({ zone: { notIn: ['lab1'] }, laptop: { exists: false } }), ['a now'])
    assert.deepEqual(placeOf({ zone: { exists: true }, laptop: { exists: false } }), ['c now'])
  })

  test('the deepest first, then the oldest', () => {
    const scheduler = schedulerOf(node(a, { total: { CPU: 2 } }))
    const [old] = addAll(scheduler, 2)
    const [deep] = addAll(scheduler, 1, { depth: 3 })
    const now = scheduler.step(0).filter((action) => action.type === 'place' && action.mode === 'now')
    assert.deepEqual(
      now.map(({ key }) => key),
      [deep?.key, old?.key],
    )
  })

  test('kinds of tasks take turns', () => {
    const scheduler = schedulerOf(node(a, { total: { CPU: 4, memory: 100 } }))
    addAll(scheduler, 10)
    const others = addAll(scheduler, 10, { resources: { CPU: 1, memory: 1 } })
    const now = scheduler.step(0).filter((action) => action.type === 'place' && action.mode === 'now')
    assert.equal(now.filter(({ key }) => others.some((other) => other.key === key)).length, 2)
  })
})

describe('GPUs', () => {
  const gpus = (...free: number[]): Pick<SchedulerNode, 'total' | 'available' | 'gpus'> => ({
    total: { CPU: 8, GPU: free.length },
    available: { CPU: 8, GPU: free.reduce((sum, part) => sum + part, 0) },
    gpus: free.map((part) => ({ free: part })),
  })

  test('a half goes where a half is free on one device, not where two quarters are', () => {
    const scheduler = schedulerOf(node(b, gpus(0.25, 0.25)), node(c, gpus(0, 0.5)))
    addAll(scheduler, 2, { resources: { GPU: 0.5 } })
    assert.deepEqual(places(scheduler.step(0)), ['c now', 'b queue'])
    addAll(scheduler, 2, { resources: { GPU: 0.25 } })
    assert.deepEqual(places(scheduler.step(0)), ['b now', 'b now'])
  })

  test('a whole one goes where one is free, not where two halves are', () => {
    const scheduler = schedulerOf(node(b, gpus(0.5, 0.5)), node(c, gpus(1, 0)))
    const [first] = addAll(scheduler, 1, { resources: { GPU: 1 } }) as [Demand]
    assert.deepEqual(places(scheduler.step(0)), ['c now'])
    addAll(scheduler, 1, { resources: { GPU: 1 } })
    assert.deepEqual(places(scheduler.step(1)), ['b queue'])
    scheduler.remove(first.key)
    assert.deepEqual(places(scheduler.step(300)), ['c now'], 'what was not served there is free again')
  })

  test('types and memory decide where; what a node has not got is told', () => {
    const scheduler = schedulerOf(
      node(a),
      node(b, {
        ...gpus(1, 1),
        gpus: [
          { type: 'H100', memoryBytes: 80e9 },
          { type: 'RTX 3090', memoryBytes: 24e9 },
        ],
      }),
      node(c, { ...gpus(1), gpus: [{ type: 'RTX 3090', memoryBytes: 24e9, free: 0.5 }] }),
    )
    addAll(scheduler, 3, { resources: { gpuMemory: 40e9 } })
    assert.deepEqual(places(scheduler.step(0)), ['b now', 'b now', 'b queue'])
    addAll(scheduler, 3, { resources: { GPU: 0.5, 'accelerator:RTX3090': 1 } })
    assert.deepEqual(places(scheduler.step(1)).toSorted(), ['b now', 'b now', 'c now'])
    const [never] = addAll(scheduler, 1, { resources: { GPU: 1, 'accelerator:A100': 1 } }) as [Demand]
    const [told] = scheduler.step(2)
    assert.ok(told?.type === 'infeasible' && told.key === never.key)
    assert.equal(
      told.reason,
      'asked for GPU 1, GPU type A100 on any node; none of the 3 nodes could ever run it (1: has GPU 0 in all, 1: its GPUs are H100, RTX 3090, 1: its GPUs are RTX 3090)',
    )
    const verdicts = scheduler.explain(never.key).map(({ verdict }) => verdict)
    assert.deepEqual(verdicts, ['never', 'never', 'never'])
    scheduler.nodeChanged(node(c, { ...gpus(1), version: 2, gpus: [{ type: 'A100' }] }))
    assert.deepEqual(places(scheduler.step(3)), ['feasible', 'c now'])
  })

  test('nothing is placed at once where its devices cannot take it, whatever was placed before', () => {
    const part = fc.constantFrom(0, 0.25, 0.3, 0.5, 0.75, 1)
    const size = fc.constantFrom(0.25, 0.3, 0.5, 0.75, 1, 2)
    fc.assert(
      fc.property(
        fc.array(fc.array(part, { maxLength: 3 }), { minLength: 1, maxLength: 3 }),
        fc.array(size),
        (nodes, sizes) => {
          const ids = [a, b, c]
          const scheduler = schedulerOf(...nodes.map((free, at) => node(ids[at] ?? a, gpus(...free))))
          const asked = new Map(
            sizes
              .map((GPU) => addAll(scheduler, 1, { resources: { GPU } })[0]?.key)
              .map((key, at) => [key, sizes[at] ?? 0]),
          )
          const pools = new Map(
            nodes.map((free, at) => [ids[at], new GpuPool(free.map((each, id) => ({ id, free: each })))]),
          )
          for (const action of scheduler.step(0)) {
            if (action.type !== 'place' || action.mode !== 'now') continue
            const units = Math.round((asked.get(action.key) ?? 0) * 10_000)
            assert.ok(pools.get(action.node)?.take({ units, memoryBytes: 0, types: [] }), 'no device there has room')
          }
        },
      ),
    )
  })
})

describe('what changes meanwhile', () => {
  test('what was given out is not given out twice, until the node has said how it stands', () => {
    const scheduler = schedulerOf(node(a, { total: { CPU: 1 } }))
    addAll(scheduler, 1)
    assert.deepEqual(places(scheduler.step(0)), ['a now'])
    addAll(scheduler, 1)
    assert.deepEqual(places(scheduler.step(10)), ['a queue'])
  })

  test('a refusal leads elsewhere; the node is asked again when it has changed', () => {
    const scheduler = schedulerOf(node(a), node(b))
    const [only] = addAll(scheduler, 1) as [Demand]
    assert.deepEqual(places(scheduler.step(0)), ['a now'])
    scheduler.refused(only.key, node(a, { version: 2 }))
    assert.deepEqual(places(scheduler.step(1)), ['b now'])
    scheduler.refused(only.key, node(b, { version: 2, available: {} }))
    scheduler.nodeChanged(node(a, { version: 3 }))
    assert.deepEqual(places(scheduler.step(2)), ['a now'])
  })

  test('older news is ignored', () => {
    const scheduler = schedulerOf(node(a, { version: 5, available: {} }))
    scheduler.nodeChanged(node(a, { version: 4 }))
    addAll(scheduler, 1)
    assert.deepEqual(places(scheduler.step(0)), ['a queue'])
  })

  test('what stands in a queue moves to a node that has become free, after a while', () => {
    const scheduler = schedulerOf(node(a, { available: {} }), node(b, { available: {} }))
    addAll(scheduler, 1)
    assert.deepEqual(places(scheduler.step(0)), ['a queue'])
    scheduler.nodeChanged(node(b, { version: 2 }))
    assert.deepEqual(places(scheduler.step(100)), [])
    assert.deepEqual(places(scheduler.step(200)), ['b now'])
  })

  test('a node that goes gives its demands back; what was granted is no longer there', () => {
    const scheduler = schedulerOf(node(a), node(b))
    const [first, second] = addAll(scheduler, 2) as [Demand, Demand]
    scheduler.step(0)
    scheduler.granted(first.key)
    scheduler.nodeGone(a)
    assert.deepEqual(places(scheduler.step(1)), ['b now'])
    scheduler.granted(second.key)
    assert.equal(scheduler.pendingCount, 0)
  })

  test('a place of which nothing is heard is given up', () => {
    const scheduler = schedulerOf(node(a))
    addAll(scheduler, 1)
    scheduler.step(0)
    assert.deepEqual(places(scheduler.step(2999)), [])
    assert.deepEqual(places(scheduler.step(3000)), ['a now'])
  })

  test('a closed node gets nothing', () => {
    const scheduler = schedulerOf(node(a, { isOpen: false }), node(b))
    addAll(scheduler, 1)
    assert.deepEqual(places(scheduler.step(0)), ['b now'])
  })
})

describe('what can never be', () => {
  test('the reason is the same in whatever order the nodes are known', () => {
    const all = [node(a), node(b, { labels: { zone: 'lab1' } })]
    const reasons = [all, all.toReversed()].map((nodes) => {
      const scheduler = schedulerOf(...nodes)
      addAll(scheduler, 1, {
        resources: { GPU: 2 },
        strategy: { kind: 'labels', selector: { zone: { in: ['lab1'] } } },
      })
      const [told] = scheduler.step(0)
      assert.ok(told?.type === 'infeasible')
      return told.reason
    })
    assert.match(reasons[0] ?? '', /\(1: has GPU 0 in all, 1: has no label zone\)$/)
    assert.equal(reasons[1], reasons[0])
  })

  test('is named once, and again when the reason changes; a node that can ends it', () => {
    const scheduler = schedulerOf(node(a), node(b, { labels: { zone: 'lab1' } }))
    const [only] = addAll(scheduler, 1, {
      resources: { GPU: 2 },
      strategy: { kind: 'labels', selector: { zone: { in: ['lab1'] } } },
    }) as [Demand]
    const [told] = scheduler.step(0)
    assert.ok(told?.type === 'infeasible')
    assert.equal(
      told.reason,
      'asked for GPU 2 on nodes with zone=lab1; none of the 2 nodes could ever run it (1: has GPU 0 in all, 1: has no label zone)',
    )
    assert.deepEqual(scheduler.step(1), [])
    scheduler.nodeChanged(node(b, { version: 2, total: { CPU: 4, GPU: 1 }, labels: { zone: 'lab1' } }))
    const [again] = scheduler.step(2)
    assert.ok(again?.type === 'infeasible' && again.reason.includes('1: has GPU 1 in all'))
    scheduler.nodeChanged(node(c, { total: { GPU: 2 }, labels: { zone: 'lab1' } }))
    assert.deepEqual(places(scheduler.step(3)), ['feasible', 'c now'])
    assert.deepEqual(
      scheduler.explain(only.key).map(({ node: id, verdict }) => `${id[0]} ${verdict}`),
      ['a never', 'b never', 'c busy'],
    )
  })
})
