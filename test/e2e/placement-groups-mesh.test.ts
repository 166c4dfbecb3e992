import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { startLocalNode } from '../../node/local-mesh/local-node.ts'
import { get, InfeasibleError, init, placementGroup, remote, shutdown, taskContext } from '../../sdk/index.ts'
import { shoal } from '../support/command-line.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask } from '../support/mesh-view.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const where = remote(() => taskContext().nodeId)
const readyMs = { timeoutMs: 30_000 }

describe('placement groups on three nodes', () => {
  let removeDirectory: () => void
  let mesh: LocalMesh
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    mesh = await startLocalMesh({ nodes: 3, cpus: 2 })
    await init({ address: (mesh.nodes[1] as LocalNode).socketPath })
  })
  after(async () => {
    await shutdown()
    await mesh[Symbol.asyncDispose]()
    removeDirectory()
  })

  test('STRICT_SPREAD gives each bundle a node of its own, where its tasks run', async () => {
    const bundles = [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }]
    const group = await placementGroup(bundles, { strategy: 'STRICT_SPREAD' }).ready(readyMs)
    assert.deepEqual(new Set(group.nodeIds), new Set(mesh.nodes.map(({ nodeId }) => nodeId)))
    const nodes = await get(
      bundles.map((_, bundleIndex) => where.options({ placementGroup: group, bundleIndex }).remote()),
    )
    assert.deepEqual(nodes, group.nodeIds)
    const anywhere = Array.from({ length: 20 }, () => where.options({ placementGroup: group }).remote())
    for (const node of await get(anywhere)) assert.ok(group.nodeIds.includes(node))
    await group.remove()
  })

  test('PACK takes one node when it can, and SPREAD several', async () => {
    const packed = await placementGroup([{ CPU: 1 }, { CPU: 1 }]).ready(readyMs)
    assert.equal(new Set(packed.nodeIds).size, 1)
    await packed.remove()
    const spread = await placementGroup([{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 1 }], { strategy: 'SPREAD' }).ready(
      readyMs,
    )
    assert.equal(new Set(spread.nodeIds).size, 3)
    await spread.remove()
  })

  test('STRICT_PACK does not go over a node', async () => {
    const group = placementGroup([{ CPU: 2 }, { CPU: 1 }], { strategy: 'STRICT_PACK' })
    await assert.rejects(group.ready(readyMs), (error: unknown) => {
      assert.ok(error instanceof InfeasibleError)
      assert.match(error.message, /STRICT_PACK wants CPU 3 on one node, and none of 3 has that/)
      return true
    })
    await group.remove()
  })

  test('a group is shown on every node, and ends with the program that made it', async () => {
    const [first, , third] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `import { init, placementGroup } from 'SDK'
       await init()
       await placementGroup([{ CPU: 2 }, { CPU: 2 }, { CPU: 2 }], { name: 'greedy', strategy: 'STRICT_SPREAD' }).ready()
       console.log('READY')
       setInterval(() => {}, 1000)`,
      { SHOAL_RUNTIME_DIR: third.runtimeDirectory },
    )
    await driver.printed(/READY/)
    const { stdout } = await shoal(first.runtimeDirectory, 'placement-groups')
    assert.match(stdout, /greedy +STRICT_SPREAD +ready/)
    const json = JSON.parse((await shoal(first.runtimeDirectory, 'placement-groups', '--json')).stdout) as {
      groups: { name: string; bundles: { node?: string }[] }[]
    }
    assert.deepEqual(
      json.groups.map(({ name, bundles }) => [name, new Set(bundles.map(({ node }) => node)).size]),
      [['greedy', 3]],
    )
    const mine = placementGroup([{ CPU: 2 }])
    await assert.rejects(mine.ready({ timeoutMs: 200 }), /not ready after 200 ms: bundle 0 \(CPU 2\) waits for room/)
    driver.kill('SIGKILL')
    await mine.ready(readyMs)
    await mine.remove()
  })

  test('one that needs more nodes is placed when one joins, and its bundles move when one dies', async () => {
    const bundles = [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 1 }]
    const group = placementGroup(bundles, { strategy: 'STRICT_SPREAD' })
    await assert.rejects(
      group.ready(readyMs),
      /STRICT_SPREAD wants 4 nodes, each with room for one bundle; there are 3/,
    )
    const [first] = mesh.nodes as [LocalNode]
    const args = { role: 'admin', ttlMs: 600_000, uses: 2 } as const
    const { token } = await ask({ ready: first }, 'tokenCreate', args)
    const start = (name: string): ReturnType<typeof startLocalNode> =>
      startLocalNode({
        name,
        cpus: 1,
        gpus: 0,
        join: token,
        runtimeDirectory: path.join(mesh.directory, name),
        stateDirectory: path.join(mesh.directory, `${name}-state`),
      })
    const fourth = await start('n4')
    // It was called infeasible; ready() says so again until it is placed.
    const isReady = async (): Promise<boolean> =>
      group.ready(readyMs).then(
        () => true,
        (error: unknown) => {
          assert.ok(error instanceof InfeasibleError)
          return false
        },
      )
    while (!(await isReady())) await new Promise((resolve) => setTimeout(resolve, 50))
    const bundleIndex = group.nodeIds.indexOf(fourth.node.nodeId)
    assert.ok(bundleIndex >= 0)
    process.kill(fourth.node.pid, 'SIGKILL')
    await fourth.ended
    const lost = where.options({ placementGroup: group, bundleIndex, maxRetries: 3 }).remote()
    const fifth = await start('n5')
    assert.equal(await get(lost, { timeoutMs: 60_000 }), fifth.node.nodeId)
    await group.ready(readyMs)
    assert.equal(group.nodeIds[bundleIndex], fifth.node.nodeId)
    await group.remove()
    await fifth.stop()
  })
})
