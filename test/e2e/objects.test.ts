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

  test('its owner has died: what somebody looks at is found, and can be read, until he looks away', async () => {
    await using mesh = await startLocalMesh({ nodes: 3 })
    const [home, second, third] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      import { init, remote, get, put, wait } from 'SDK'
      import { existsSync } from 'node:fs'
      import { setFlagsFromString } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      await init()
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const make = remote(() => ({ pid: process.pid, refs: [3, 4].map((value) => put(new Uint8Array(3_000_000).fill(value))) }), {
        schedulingStrategy: { nodeId: ${JSON.stringify(second.nodeId)} },
      })
      const { pid, refs: [viewed, other] } = await get(make.remote())
      let view: Uint8Array | undefined = await get(viewed!)
      // It comes here, too, and nobody looks at it.
      await wait([other!])
      console.log('MADE ' + pid + ' ' + viewed!.id + ' ' + other!.id)
      setFlagsFromString('--expose-gc')
      await until('killed')
      runInNewContext('gc')()
      const again = (await get(viewed!))[5] === 3 && view[7] === 3
      console.log('AGAIN ' + again)
      await until('drop')
      view = undefined
      runInNewContext('gc')()
      const error = await get(other!).catch((e: { code: string }) => e.code)
      console.log('ERROR ' + error)
      await until('end')
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, pid = '', viewed = '', other = ''] = await driver.printed(/MADE (\d+) (\w+) (\w+)/)
    for (const id of [viewed, other]) {
      await eventually('the copy is found', async () => (await holdersOf(third, id)).length === 2)
    }
    process.kill(Number(pid), 'SIGKILL')
    await eventually('only the copy is left', async () => String(await holdersOf(third, viewed)) === home.nodeId)
    await eventually('the other is gone', async () => (await holdersOf(third, other)).length === 0)
    writeFileSync(path.join(driver.directory, 'killed'), '')
    assert.equal((await driver.printed(/AGAIN (\w+)/))[1], 'true')
    writeFileSync(path.join(driver.directory, 'drop'), '')
    assert.equal((await driver.printed(/ERROR (\w+)/))[1], 'OWNER_DIED')
    await eventually('nothing is left', async () => (await holdersOf(third, viewed)).length === 0)
    for (const node of mesh.nodes) {
      await eventually('the store is empty', async () => (await ask(readyOf(node), 'objects', {})).objects.length === 0)
    }
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
