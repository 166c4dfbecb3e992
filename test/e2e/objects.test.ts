import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { MeshFigures } from '../../node/mesh/build-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'
import { shoal } from '../support/command-line.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask } from '../support/mesh-view.ts'

type Ready = Parameters<typeof ask>[0]

function readyOf({ socketPath, nodeId }: LocalNode): Ready {
  return { ready: { socketPath, nodeId } }
}

async function holdersOf(node: LocalNode, id: string): Promise<string[]> {
  const { holders } = await ask(readyOf(node), 'objectLocate', { id })
  return holders.map(({ node: holder }) => holder).toSorted()
}

async function eventually(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`)
    await delay(20)
  }
}

describe('objects in a mesh', () => {
  test('go where they are used, are found by their id alone, and are gone everywhere when nobody needs them', async () => {
    await using mesh = await startLocalMesh({ nodes: 4 })
    const [home, second, third, fourth] = mesh.nodes as [LocalNode, LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      import { init, remote, get, put } from 'SDK'
      import { existsSync } from 'node:fs'
      await init()
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const sum = remote((data: Float64Array) => data.reduce((a, b) => a + b, 0))
      let ref: ReturnType<typeof put<Float64Array>> | undefined = put(new Float64Array(500_000).fill(2))
      const there = ${JSON.stringify([second.nodeId, third.nodeId])}
      const sums = await get(there.flatMap((nodeId: string) => [0, 1, 2].map(() => sum.options({ schedulingStrategy: { nodeId } }).remote(ref!))))
      console.log('SUMS ' + JSON.stringify(sums) + ' ID ' + ref.id)
      await until('drop')
      ref = undefined
      const { setFlagsFromString } = await import('node:v8')
      const { runInNewContext } = await import('node:vm')
      setFlagsFromString('--expose-gc')
      runInNewContext('gc')()
      await until('end')
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, sums = '', id = ''] = await driver.printed(/SUMS (\S+) ID (\w+)/)
    assert.deepEqual(JSON.parse(sums), Array(6).fill(1_000_000))
    const holders = [home.nodeId, second.nodeId, third.nodeId].toSorted()
    // The fourth node has nothing to do with it, and finds it all the same.
    await eventually('all holders are found', async () => String(await holdersOf(fourth, id)) === String(holders))
    const { objects } = await ask(readyOf(home), 'objects', {})
    assert.deepEqual(
      objects.map((each) => [each.object, each.kind, each.where, each.bytes > 4_000_000]),
      [[id, 'primary', 'memory', true]],
    )
    const copies = await ask(readyOf(second), 'objects', {})
    assert.deepEqual(
      copies.objects.map((each) => [each.object, each.kind]),
      [[id, 'copy']],
    )
    const { stdout } = await shoal(second.runtimeDirectory, 'status', '--json')
    const { transfers, directory } = (JSON.parse(stdout) as NodeStatus).traffic as MeshFigures
    assert.equal(transfers.bytesIn, copies.objects[0]?.bytes, 'it came once')
    assert.deepEqual([transfers.pullsDone, transfers.hintHits, transfers.pulling], [1, 1, []])
    assert.equal(directory.keys, 2, 'its id and its name')
    const shown = await shoal(second.runtimeDirectory, 'status')
    assert.match(shown.stdout, /since the start \S+ MiB brought here/)
    assert.match(shown.stdout, /1 value came; 1 without a question to the DHT, 0 asked/)
    writeFileSync(path.join(driver.directory, 'drop'), '')
    for (const node of mesh.nodes) {
      await eventually('the store is empty', async () => (await ask(readyOf(node), 'objects', {})).objects.length === 0)
    }
    await eventually('it is found no more', async () => (await holdersOf(fourth, id)).length === 0)
    writeFileSync(path.join(driver.directory, 'end'), '')
    await driver.ended()
  })

  test('an id that is none is an error that says so', async () => {
    await using mesh = await startLocalMesh({ nodes: 1 })
    await assert.rejects(
      ask(readyOf(mesh.nodes[0] as LocalNode), 'objectLocate', { id: '../x' }),
      /id must be a text like/,
    )
  })
})
