import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  ActorDiedError,
  currentPlacementGroup,
  get,
  GetTimeoutError,
  InfeasibleError,
  init,
  InvalidArgumentError,
  PlacementGroup,
  placementGroup,
  PlacementGroupRemovedError,
  placementGroups,
  remote,
  removePlacementGroup,
  shutdown,
  taskContext,
  wait,
  type Bundle,
} from '../../sdk/index.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const devices = remote(() => process.env['CUDA_VISIBLE_DEVICES'] ?? '')
const pid = remote(() => process.pid)
/** Says that it has begun, and ends when it is killed. */
const endless = remote(async function* () {
  yield process.pid
  await new Promise<never>(() => {
    setInterval(() => undefined, 1000)
  })
})

const whole: Bundle = { CPU: 4 }

describe('placement groups on one node', () => {
  let removeDirectory: () => void
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    await init({ numCpus: 4, numGpus: 2, embedded: true })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })

  /** Passes when nothing is reserved any more. */
  async function allIsFree(): Promise<void> {
    const all = await placementGroup([{ CPU: 4, GPU: 2 }]).ready({ timeoutMs: 20_000 })
    await all.remove()
  }

  describe('their life', () => {
    test('a group is ready when all of its bundles are reserved', async () => {
      const group = placementGroup([{ CPU: 1 }, { CPU: 1, GPU: 1 }])
      assert.equal(await group.ready(), group)
      assert.ok(group.nodeIds.every((node) => node !== undefined))
      await group.remove()
    })

    test('what is reserved is not there for others', async () => {
      const group = await placementGroup([{ CPU: 4 }]).ready()
      const outside = pid.remote()
      const inside = await get(pid.options({ placementGroup: group }).remote())
      assert.ok(inside > 0)
      assert.deepEqual(await wait([outside], { timeoutMs: 50 }), { ready: [], pending: [outside] })
      await group.remove()
      await get(outside)
    })

    test('a group that has no room is pending, says why, and is placed when there is room', async () => {
      const first = await placementGroup([{ CPU: 3 }]).ready()
      const second = placementGroup([{ CPU: 2 }])
      await assert.rejects(second.ready({ timeoutMs: 50 }), (error: unknown) => {
        assert.ok(error instanceof GetTimeoutError)
        assert.match(error.message, /bundle 0 \(CPU 2\) waits for room \(1: has CPU [01] of 4 free\)/)
        return true
      })
      const [, report] = await placementGroups()
      assert.equal(report?.state, 'pending')
      assert.match(report.reason, /waits for room/)
      // Longer than a timer takes.
      const becomesReady = second.ready({ timeoutMs: 3e9 })
      await first.remove()
      await becomesReady
      await second.remove()
    })

    test('a bundle that could never fit is infeasible, with the figures', async () => {
      const group = placementGroup([{ CPU: 1 }, { CPU: 5 }])
      await assert.rejects(group.ready(), (error: unknown) => {
        assert.ok(error instanceof InfeasibleError)
        assert.match(error.message, /bundle 1 \(CPU 5\) fits none of the 1 nodes \(1: has CPU 4 in all\)/)
        return true
      })
      await assert.rejects(get(pid.options({ placementGroup: group }).remote()), InfeasibleError)
      await group.remove()
    })

    test('STRICT_PACK puts all on one node, and SPREAD makes do with one', async () => {
      for (const strategy of ['STRICT_PACK', 'PACK', 'SPREAD'] as const) {
        const group = await placementGroup([{ CPU: 2 }, { CPU: 2 }], { strategy }).ready()
        assert.equal(new Set(group.nodeIds).size, 1)
        await group.remove()
      }
    })

    test('STRICT_SPREAD needs as many nodes as bundles', async () => {
      const group = placementGroup([{ CPU: 1 }, { CPU: 1 }], { strategy: 'STRICT_SPREAD' })
      await assert.rejects(group.ready(), /STRICT_SPREAD wants 2 nodes, each with room for one bundle; there are 1/)
      await group.remove()
    })

    test('labels that no node has are infeasible', async () => {
      const group = placementGroup([{ CPU: 1, labels: { zone: 'lab1' } }])
      await assert.rejects(
        group.ready(),
        /CPU 1 on nodes with zone=lab1\) fits none of the 1 nodes \(1: has no label zone\)/,
      )
      await group.remove()
    })

    test('a wait can be given up, and the group goes on', async () => {
      const first = await placementGroup([whole]).ready()
      const group = placementGroup([whole])
      const abort = new AbortController()
      const waiting = group.ready({ signal: abort.signal })
      abort.abort(new Error('enough'))
      await assert.rejects(waiting, /enough/)
      await first.remove()
      await group.ready()
      await group.remove()
    })

    test('they have a name, a strategy and their bundles', async () => {
      const group = placementGroup([{ CPU: 1, memory: 1024 }], { name: 'named', strategy: 'SPREAD' })
      await group.ready()
      const report = (await placementGroups()).find(({ id }) => id === group.id)
      assert.equal(report?.name, 'named')
      assert.equal(report.strategy, 'SPREAD')
      assert.equal(report.state, 'ready')
      assert.deepEqual(report.bundles, [{ resources: { CPU: 1, memory: 1024 }, labels: {}, node: group.nodeIds[0] }])
      await group.remove()
      assert.deepEqual(await placementGroups(), [])
    })

    test('many at once leave nothing behind', async () => {
      const groups = Array.from({ length: 60 }, () => placementGroup([{ CPU: 1 }, { CPU: 0.5, GPU: 0.5 }]))
      await Promise.all(groups.map(async (group) => (await group.ready()).remove()))
      await allIsFree()
    })

    test('wrong definitions are refused at the call', () => {
      assert.throws(() => placementGroup([]), InvalidArgumentError)
      assert.throws(() => placementGroup([{}]), /bundle 0 asks for nothing/)
      assert.throws(() => placementGroup([{ CPU: 1 }, { CPU: -1 }]), /bundle 1: CPU is -1/)
      assert.throws(() => placementGroup([{ cpu: 1 }]), /'cpu' is written CPU/)
      assert.throws(() => placementGroup([{ GPU: 1.5 }]), /whole number of GPUs/)
      assert.throws(() => placementGroup([{ CPU: 1 }], { strategy: 'TIGHT' as 'PACK' }), /PACK, SPREAD, STRICT_PACK/)
    })
  })

  describe('tasks in them', () => {
    test('run in the bundle that they name, with its devices', async () => {
      const group = await placementGroup([
        { CPU: 1, GPU: 1 },
        { CPU: 1, GPU: 1 },
      ]).ready()
      const on = (bundleIndex: number): typeof devices =>
        devices.options({ numGpus: 1, placementGroup: group, bundleIndex })
      const [first, second, again] = await get([on(0).remote(), on(1).remote(), on(0).remote()])
      assert.deepEqual([first, second].toSorted(), ['0', '1'])
      assert.equal(again, first)
      await group.remove()
    })

    test('share a device of their bundle', async () => {
      const group = await placementGroup([{ CPU: 2, GPU: 0.5 }]).ready()
      const shared = devices.options({ numGpus: 0.25, placementGroup: group })
      const [a, b] = await get([shared.remote(), shared.remote()])
      assert.match(a, /^[01]$/)
      assert.equal(a, b)
      await group.remove()
    })

    test('without a number run in any bundle that has room', async () => {
      const group = await placementGroup([{ CPU: 1 }, { CPU: 1 }, { CPU: 2 }]).ready()
      const meet = remote(async (count: number) => {
        const { nodeId } = taskContext()
        await new Promise((resolve) => setTimeout(resolve, 30))
        return `${nodeId}${count}`
      })
      const refs = Array.from({ length: 12 }, (_, at) => meet.options({ placementGroup: group }).remote(at))
      assert.equal(new Set(await get(refs)).size, 12)
      await group.remove()
    })

    test('wait until the group is ready', async () => {
      const first = await placementGroup([whole]).ready()
      const group = placementGroup([{ CPU: 1 }])
      const ref = pid.options({ placementGroup: group }).remote()
      assert.deepEqual(await wait([ref], { timeoutMs: 50 }), { ready: [], pending: [ref] })
      await first.remove()
      await get(ref)
      await group.remove()
    })

    test('that name no bundle of the group are refused at the call', () => {
      const group = placementGroup([{ CPU: 1 }, { CPU: 1 }], { name: 'pair' })
      assert.throws(
        () => pid.options({ placementGroup: group, bundleIndex: 2 }),
        /bundleIndex is 2; placement group pair has 2 bundles/,
      )
      assert.throws(() => pid.options({ placementGroup: group, bundleIndex: -1 }), /bundleIndex must be/)
      assert.throws(() => pid.options({ bundleIndex: 0 }), /give placementGroup, too/)
      assert.throws(() => pid.options({ captureChildTasks: true }), /captureChildTasks puts .*give placementGroup, too/)
      assert.throws(() => remote(class {}, { placementGroup: null, captureChildTasks: true }), InvalidArgumentError)
      void group.remove()
    })

    test('that ask for more than a bundle are refused at the call, with the figures', () => {
      const group = placementGroup([{ CPU: 1 }, { CPU: 2 }], { name: 'small' })
      assert.throws(
        () => pid.options({ placementGroup: group, bundleIndex: 0, numCpus: 2 }),
        /asks for CPU 2, which fits no bundle of placement group small: bundle 0 has CPU 1/,
      )
      assert.throws(() => pid.options({ placementGroup: group, numGpus: 1 }), InvalidArgumentError)
      assert.doesNotThrow(() => pid.options({ placementGroup: group, numCpus: 2 }))
      void group.remove()
    })

    test('take no other strategy besides', () => {
      const group = placementGroup([{ CPU: 1 }])
      assert.throws(
        () => pid.options({ placementGroup: group, schedulingStrategy: 'spread' }),
        /schedulingStrategy and placementGroup both say where it runs/,
      )
      void group.remove()
    })

    test('get the group as an argument, and run others in it', async () => {
      const group = await placementGroup([{ CPU: 1 }, { CPU: 1 }]).ready()
      const outer = remote(async (given: PlacementGroup) => {
        await given.ready()
        const inner = remote(() => 'inner', { placementGroup: given, bundleIndex: 1 })
        return [given.bundles.length, await get(inner.remote())]
      })
      assert.deepEqual(await get(outer.options({ placementGroup: group, bundleIndex: 0 }).remote(group)), [2, 'inner'])
      await group.remove()
    })

    test('close over the group, and over functions that run in it', async () => {
      const group = await placementGroup([{ CPU: 2 }]).ready()
      const inGroup = pid.options({ placementGroup: group })
      const outer = remote(async () => [group.id, await get(inGroup.remote())] as const, { numCpus: 0 })
      const [id, innerPid] = await get(outer.remote())
      assert.equal(id, group.id)
      assert.ok(innerPid > 0)
      await group.remove()
    })

    test('have children outside of the group', async () => {
      const group = await placementGroup([{ CPU: 1 }]).ready()
      const outer = remote(async () => get(remote(() => 'child', { numCpus: 3 }).remote()))
      // Three CPUs are in no bundle.
      assert.equal(await get(outer.options({ placementGroup: group }).remote()), 'child')
      await group.remove()
    })

    test('know their group; test_capture_child_tasks: and have their children in it, if they are to', async () => {
      const group = await placementGroup([{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }], { name: 'own' }).ready()
      const own = remote(() => currentPlacementGroup()?.id)
      class Where {
        readonly made = currentPlacementGroup()?.id
        async tell(): Promise<unknown[]> {
          return [this.made, currentPlacementGroup()?.id, await get(own.remote())]
        }
      }
      const Actor = remote(Where)
      const deeper = remote(() => get(own.remote()))
      const parent = remote(async () => {
        const known = currentPlacementGroup()
        const children = await get([
          own.remote(),
          deeper.remote(),
          own.options({ placementGroup: known ?? null, bundleIndex: 2 }).remote(),
          own.options({ placementGroup: null, numCpus: 0 }).remote(),
          own.options({ schedulingStrategy: 'default', numCpus: 0 }).remote(),
        ])
        let refused = ''
        try {
          own.options({ numCpus: 3 }).remote()
        } catch (error) {
          refused = (error as Error).message
        }
        return {
          known: [known?.id, known?.name, known?.bundles],
          children,
          actor: await get(Actor.remote().tell.remote()),
          refused,
        }
      })
      const { id, bundles } = group
      const captured = await get(parent.options({ placementGroup: group, captureChildTasks: true }).remote())
      assert.deepEqual(captured.known, [id, 'own', bundles])
      assert.deepEqual(captured.children, [id, id, id, undefined, undefined])
      assert.deepEqual(captured.actor, [id, id, id])
      assert.match(
        captured.refused,
        /fits no bundle of placement group own: .*captureChildTasks: placementGroup: null lets/,
      )
      // An actor does so, too.
      assert.deepEqual(
        await get(Actor.options({ placementGroup: group, captureChildTasks: true }).remote().tell.remote()),
        [id, id, id],
      )
      assert.deepEqual(await get(Actor.options({ placementGroup: group }).remote().tell.remote()), [id, id, undefined])
      await group.remove()
      assert.equal(currentPlacementGroup(), undefined)
      assert.equal(await get(own.remote()), undefined)
      await allIsFree()
    })

    test('make groups of their own, which others can use and remove', async () => {
      const make = remote(async () => placementGroup([{ CPU: 1 }]).ready())
      const group = await get(make.remote())
      assert.ok(group instanceof PlacementGroup)
      await get(pid.options({ placementGroup: group }).remote())
      await removePlacementGroup(group)
      await assert.rejects(group.ready(), PlacementGroupRemovedError)
    })
  })

  describe('actors in them', () => {
    class Counter {
      #count = 0
      add(): [number, string] {
        return [++this.#count, process.env['CUDA_VISIBLE_DEVICES'] ?? '']
      }
    }

    test('live in their bundle, with its device, and die with the group', async () => {
      const group = await placementGroup([{ CPU: 1 }, { CPU: 1, GPU: 1 }]).ready()
      const options = { numCpus: 1, numGpus: 1, placementGroup: group, bundleIndex: 1, maxRestarts: 2 }
      const counter = remote(Counter, options).remote()
      const [first] = await get(counter.add.remote())
      const [second, device] = await get(counter.add.remote())
      assert.deepEqual([first, second], [1, 2])
      assert.match(device, /^[01]$/)
      assert.throws(() => remote(Counter, { ...options, bundleIndex: 0 }), /fits no bundle of placement group/)
      await group.remove()
      await assert.rejects(get(counter.add.remote()), ActorDiedError)
      await allIsFree()
    })
  })

  describe('their end', () => {
    test('kills what runs in them, whatever tries it has left, and frees what they had', async () => {
      const group = await placementGroup([{ CPU: 2 }, { CPU: 2 }]).ready()
      const streams = [0, 1].map((bundleIndex) =>
        endless.options({ placementGroup: group, bundleIndex, maxRetries: 3 }).remote(),
      )
      for (const stream of streams) assert.equal((await stream.next()).done, false)
      const queued = pid.options({ placementGroup: group, bundleIndex: 0, numCpus: 2 }).remote()
      await group.remove()
      for (const stream of streams) await assert.rejects(stream.next(), PlacementGroupRemovedError)
      await assert.rejects(get(queued), PlacementGroupRemovedError)
      await allIsFree()
    })

    test('leaves those workers alone that have done what they had to', async () => {
      const group = await placementGroup([{ CPU: 1 }]).ready()
      const worker = await get(pid.options({ placementGroup: group }).remote())
      await group.remove()
      // What a worker had that is killed would be free only when it is gone.
      await allIsFree()
      assert.doesNotThrow(() => process.kill(worker, 0))
    })

    test('is told to what waits for a group that never was ready', async () => {
      const first = await placementGroup([whole]).ready()
      const group = placementGroup([whole])
      const ready = group.ready()
      const ref = pid.options({ placementGroup: group }).remote()
      await group.remove()
      await assert.rejects(ready, PlacementGroupRemovedError)
      await assert.rejects(get(ref), PlacementGroupRemovedError)
      await first.remove()
    })

    test('is the end for tasks that come later', async () => {
      const group = await placementGroup([{ CPU: 1 }]).ready()
      await group.remove()
      await group.remove()
      await assert.rejects(get(pid.options({ placementGroup: group }).remote()), PlacementGroupRemovedError)
      await assert.rejects(group.ready(), PlacementGroupRemovedError)
    })
  })
})
