import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask } from '../support/mesh-view.ts'

/** What a node's store has of values of a MB and more: what they are to it, by their objects. */
async function heldBy({ socketPath, nodeId }: LocalNode): Promise<Record<string, string>> {
  const { objects } = await ask({ ready: { socketPath, nodeId } }, 'objects', {})
  const whole = objects.filter(({ bytes, where }) => bytes >= 1_000_000 && where !== 'writing')
  return Object.fromEntries(whole.map(({ object, kind }) => [object, kind]))
}

/** Looks at the nodes again and again until they are as they should be; nobody tells the end of what goes on behind. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 30_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`)
    await delay(20)
  }
}

function replicaOn(nodes: readonly LocalNode[], object: string): Promise<LocalNode> {
  return until(`a node has a replica of ${object}`, async () => {
    for (const node of nodes) if ((await heldBy(node))[object] === 'replica') return node
    return undefined
  })
}

async function areEmpty(nodes: readonly LocalNode[], but: readonly string[] = []): Promise<void> {
  for (const node of nodes) {
    await until('the store is empty', async () => {
      const left = Object.keys(await heldBy(node)).filter((object) => !but.includes(object))
      return left.length === 0 ? true : undefined
    })
  }
}

const preamble = `
  import { existsSync } from 'node:fs'
  import { setFlagsFromString } from 'node:v8'
  import { runInNewContext } from 'node:vm'
  import { init, remote, get, put, wait, type ObjectRef } from 'SDK'
  await init()
  const until = async (file: string) => { while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20)) }
  const values = (seed: number) => Float64Array.from({ length: 250_000 }, (_, i) => i * seed)
  const isRight = (found: Float64Array, seed: number) => found.length === 250_000 && found.every((x, i) => x === i * seed)
  const collect = () => {
    setFlagsFromString('--expose-gc')
    runInNewContext('gc')()
  }
`

describe('values with replicas', { timeout: 120_000 }, () => {
  test('outlive the nodes that have them, one after the other, and are gone everywhere when nobody needs them', async () => {
    await using mesh = await startLocalMesh({ nodes: 4 })
    const [home, origin, ...others] = mesh.nodes as [LocalNode, LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      ${preamble}
      const there = { schedulingStrategy: { nodeId: ${JSON.stringify(origin.nodeId)} }, maxRetries: 0, replicas: 2 } as const
      // So that there is more room elsewhere.
      const ballast = put(values(1))
      const make = remote((seed: number) => values(seed), there)
      const makeMany = remote(function* (seed: number) { yield values(seed) }, there)
      let one: ObjectRef<Float64Array> | undefined = make.remote(2)
      // In a function of its own: this one keeps what it has looped over.
      const firstOf = async (stream: ReturnType<typeof makeMany.remote>) => {
        for await (const each of stream) return each
        throw new Error('the stream is empty')
      }
      let item: ObjectRef<Float64Array> | undefined = await firstOf(makeMany.remote(3))
      await wait([one, item], { count: 2, fetchLocal: false })
      console.log('IDS ' + one.id + ' ' + item.id + ' ' + ballast.id)
      await until('read')
      const check = remote((found: Float64Array, seed: number) => isRight(found, seed), { schedulingStrategy: 'spread' })
      const rights = await get([check.remote(one, 2), check.remote(item, 3), check.remote(one, 2), check.remote(item, 3)])
      console.log('RIGHT ' + JSON.stringify([...rights, isRight(await get(one), 2), isRight(await get(item), 3)]))
      one = item = undefined
      const collecting = setInterval(collect, 500)
      await until('end')
      clearInterval(collecting)
      console.log(ballast.id)
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, one = '', item = '', ballast = ''] = await driver.printed(/IDS (\w+) (\w+) (\w+)/)
    const first = await replicaOn(others, one)
    await replicaOn(others, item)
    process.kill(origin.pid, 'SIGKILL')
    // Now there is one less than there are to be, so another node takes one, from the replica.
    const left = mesh.nodes.filter((node) => node !== origin && node !== first)
    await replicaOn(left, one)
    await replicaOn(left, item)
    process.kill(first.pid, 'SIGKILL')
    for (const node of left) {
      await until('all that are left have it', async () => ((await heldBy(node))[one] === 'replica' ? true : undefined))
    }
    await until('the other is not lost', async () => {
      const kinds = await Promise.all(left.map(async (node) => (await heldBy(node))[item]))
      return kinds.every((kind) => kind === 'replica') ? true : undefined
    })
    writeFileSync(path.join(driver.directory, 'read'), '')
    const [, rights = ''] = await driver.printed(/RIGHT (.*)/)
    assert.deepEqual(JSON.parse(rights), Array(6).fill(true))
    await areEmpty(left, [ballast])
    writeFileSync(path.join(driver.directory, 'end'), '')
    await driver.ended()
  })

  test('copies are gone when nobody needs them, although the node that made the value has been killed and is back', async () => {
    await using mesh = await startLocalMesh({ nodes: 3 })
    const [home, origin, other] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      ${preamble}
      const on = (nodeId: string) => ({ schedulingStrategy: { nodeId } }) as const
      let one: ObjectRef<Float64Array> | undefined = remote((seed: number) => values(seed), on(${JSON.stringify(origin.nodeId)})).remote(2)
      const check = remote((found: Float64Array, seed: number) => isRight(found, seed), on(${JSON.stringify(other.nodeId)}))
      console.log('RIGHT ' + (await get(check.remote(one, 2))) + ' ' + one.id)
      await until('drop')
      one = undefined
      const collecting = setInterval(collect, 500)
      await until('end')
      clearInterval(collecting)
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, one = ''] = await driver.printed(/RIGHT true (\w+)/)
    process.kill(origin.pid, 'SIGKILL')
    await until('a copy is all that is left', async () => ((await heldBy(other))[one] === 'replica' ? true : undefined))
    const { socketPath } = await mesh.restart(1)
    await until('it is back', async () => {
      const { links } = await ask({ ready: { socketPath, nodeId: origin.nodeId } }, 'meshInfo', {})
      return links.length === 2 ? true : undefined
    })
    writeFileSync(path.join(driver.directory, 'drop'), '')
    await areEmpty([home, other])
    writeFileSync(path.join(driver.directory, 'end'), '')
    await driver.ended()
  })

  test('are on all nodes when there are not so many, and end with their owner', async () => {
    await using mesh = await startLocalMesh({ nodes: 3 })
    const [home, ...others] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      ${preamble}
      let freed: ObjectRef<Float64Array> | undefined = put(values(1), { replicas: 10 })
      const kept = put(values(2), { replicas: 3 })
      const small = put('small', { replicas: 3 })
      console.log('IDS ' + freed.id + ' ' + kept.id + ' ' + small.id)
      await until('drop')
      freed = undefined
      collect()
      await until('end')
      console.log(kept.id)
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, freed = '', kept = ''] = await driver.printed(/IDS (\w+) (\w+)/)
    for (const node of others) {
      const both = JSON.stringify({ [freed]: 'replica', [kept]: 'replica' })
      await until('it has both', async () => {
        const held = await heldBy(node)
        return JSON.stringify({ [freed]: held[freed], [kept]: held[kept] }) === both ? true : undefined
      })
    }
    writeFileSync(path.join(driver.directory, 'drop'), '')
    await areEmpty(mesh.nodes, [kept])
    assert.equal((await heldBy(others[0]))[kept], 'replica')
    driver.kill('SIGKILL')
    await areEmpty(mesh.nodes)
  })

  test('are found when the disk of the node that made them has lost them', async () => {
    const bytesMax = 10_000_000
    await using mesh = await startLocalMesh({ nodes: 2, options: { storeBytesMax: bytesMax } })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      ${preamble}
      const refs = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => put(values(seed), { replicas: 2 }))
      console.log('PUT')
      await until('lost')
      const rights = []
      for (const [i, ref] of refs.entries()) rights.push(isRight(await get(ref), i + 1))
      console.log('RIGHT ' + JSON.stringify(rights))
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    await driver.printed(/PUT/)
    await until('all are there, too', async () => {
      const kinds = Object.values(await heldBy(other))
      return kinds.length === 8 && kinds.every((kind) => kind === 'replica') ? true : undefined
    })
    const { spillDirectory } = JSON.parse(readFileSync(path.join(home.runtimeDirectory, 'node.json'), 'utf8')) as {
      spillDirectory: string
    }
    const files = readdirSync(spillDirectory)
    assert.ok(files.length > 0)
    for (const file of files) rmSync(path.join(spillDirectory, file))
    writeFileSync(path.join(driver.directory, 'lost'), '')
    const [, rights = ''] = await driver.printed(/RIGHT (.*)/)
    assert.deepEqual(JSON.parse(rights), Array(8).fill(true))
  })
})
