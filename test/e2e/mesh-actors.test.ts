import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { until } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'
import type { NodeStatus } from '../../node/status.ts'

const source = `
  import { init, remote, get, kill, put, actorContext, type ActorHandle } from 'SDK'
  class Counter {
    n = 0
    add(k: number) { return (this.n += k) }
    where() { return actorContext().nodeId }
    restarts() { return actorContext().restarts }
    pid() { return process.pid }
    size(data: Uint8Array) { return data.length }
    big(bytes: number) { return new Uint8Array(bytes).fill(7) }
    async *items(n: number) { for (let i = 0; i < n; i++) yield i }
    async forever() { await new Promise(() => undefined) }
  }
  const Counters = remote(Counter)
  const at = (nodeId: string, more = {}) => Counters.options({ schedulingStrategy: { nodeId }, ...more })
  const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
  const failure = (promise: Promise<unknown>) => promise.then(() => 'no error', (error) => error.name + ': ' + error.message)
  const until = async (isDone: () => Promise<boolean>) => { while (!(await isDone())) await new Promise((r) => setTimeout(r, 20)) }
  await init()
`

describe('actors in a mesh', () => {
  let mesh: LocalMesh
  let home: LocalNode
  let second: LocalNode
  let third: LocalNode
  before(async () => {
    mesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    ;[home, second, third] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
  })
  after(() => mesh[Symbol.asyncDispose]())

  function program(body: string): DriverProgram {
    const ids = `const [home, second, third] = ${JSON.stringify(mesh.nodes.map(({ nodeId }) => nodeId))} as [string, string, string]\n`
    return new DriverProgram(source + ids + body, { SHOAL_RUNTIME_DIR: home.runtimeDirectory })
  }

  async function resultOf(body: string): Promise<unknown> {
    const driver = program(body)
    const [, result = 'null'] = await driver.printed(/RESULT (.*)/)
    assert.equal((await driver.ended()).code, 0)
    return JSON.parse(result)
  }

  async function statusOf({ socketPath }: LocalNode): Promise<NodeStatus> {
    const client = await FakeClient.attach(socketPath, { role: 'command' })
    try {
      client.send('statusGet', { requestId: 1 })
      return (await client.next('statusReply')).status as NodeStatus
    } finally {
      await client.close()
    }
  }

  test('run where they are asked to, with large arguments, results and streams', async () => {
    const found = await resultOf(`
      const c = at(second).remote()
      const items: number[] = []
      for await (const ref of c.items.remote(40)) items.push(await get(ref))
      tell([
        await get(c.where.remote()) === second,
        await get(c.size.remote(put(new Uint8Array(3e6)))),
        (await get(c.big.remote(2e6))).length,
        items.length,
      ])`)
    assert.deepEqual(found, [true, 3e6, 2e6, 40])
  })

  test('that need nothing are spread over the nodes', async () => {
    const places = await resultOf(`
      const counters = Array.from({ length: 6 }, () => Counters.remote())
      tell(await get(counters.map((c) => c.where.remote())))`)
    assert.equal(new Set(places as string[]).size, 3)
  })

  test('are called by tasks and actors of other nodes, through handles that were passed and closed over', async () => {
    const found = await resultOf(`
      const c = at(second).remote()
      const add = remote(async (h: ActorHandle<typeof Counter>, k: number) => get(h.add.remote(k)))
      const addClosed = remote(async (k: number) => get(c.add.remote(k)))
      class Friend {
        h: ActorHandle<typeof Counter>
        constructor(handle: ActorHandle<typeof Counter>) { this.h = handle }
        add(k: number) { return get(this.h.add.remote(k)) }
      }
      const friend = remote(Friend, { schedulingStrategy: { nodeId: third } }).remote(c)
      const there = { schedulingStrategy: { nodeId: third } }
      tell([
        await get(add.options(there).remote(c, 1)),
        await get(addClosed.options(there).remote(10)),
        await get(friend.add.remote(100)),
        await get(c.add.remote(1000)),
      ])`)
    assert.deepEqual(found, [1, 11, 111, 1111])
  })

  test('a handle in a task elsewhere keeps the actor alive; without any it ends, and its worker with it', async () => {
    const before = (await statusOf(second)).workers.filter(({ state }) => state === 'leased').length
    const driver = program(`
      import { setFlagsFromString } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const hold = remote(async (h: ActorHandle<typeof Counter>) => {
        await new Promise((resolve) => setTimeout(resolve, 500))
        return get(h.add.remote(5))
      }, { schedulingStrategy: { nodeId: third } })
      const start = () => hold.remote(at(second).remote())
      const ref = start()
      collect()
      tell(await get(ref))
      await until(async () => { collect(); return false })`)
    const [, result] = await driver.printed(/RESULT (.*)/)
    assert.equal(result, '5')
    // Nobody tells the end of a worker of another program.
    while ((await statusOf(second)).workers.filter(({ state }) => state === 'leased').length > before) await delay(20)
    driver.kill('SIGKILL')
    await driver.ended()
  })

  test('start again elsewhere when their node dies; what was with it is unavailable or made again', async () => {
    const driver = program(`
      const once = Counters.options({ maxRestarts: 1, schedulingStrategy: { nodeId: third, soft: true } }).remote()
      const again = Counters.options({ maxRestarts: -1, maxTaskRetries: -1, schedulingStrategy: { nodeId: third, soft: true } }).remote()
      const mortal = at(third).remote()
      await get([once.add.remote(1), again.add.remote(1), mortal.add.remote(1)])
      const refs = [once.forever.remote(), mortal.forever.remote()]
      const where = await get(again.where.remote())
      const kept = again.where.remote()
      console.log('READY')
      const errors = await Promise.all(refs.map((ref) => failure(get(ref))))
      const late = await failure(get(mortal.add.remote(1)))
      await until(async () => get(once.restarts.remote()).then((n) => n === 1, () => false))
      tell({ errors, late, n: await get(once.add.remote(2)), where, kept: await get(kept), now: await get(again.where.remote()) })`)
    await driver.printed(/READY/)
    process.kill(third.pid, 'SIGKILL')
    const [, result = ''] = await driver.printed(/RESULT (.*)/)
    const { errors, late, n, where, now } = JSON.parse(result) as {
      errors: [string, string]
      late: string
      n: number
      where: string
      now: string
    }
    assert.match(errors[0], /^ActorUnavailableError: .*whether it has run is not known/)
    assert.match(errors[1], /^ActorDiedError: actor Counter is dead: node .* is gone/)
    assert.match(late, /^ActorDiedError/)
    assert.equal(n, 2)
    assert.equal(where, third.nodeId)
    assert.notEqual(now, third.nodeId)
    assert.equal((await driver.ended()).code, 0)
  })

  test('end with the program that made them', async () => {
    const driver = program(`
      const c = at(second).remote()
      tell(await get(c.pid.remote()))
      await get(c.forever.remote())`)
    const [, pid] = await driver.printed(/RESULT (.*)/)
    driver.kill('SIGKILL')
    await driver.ended()
    await until('its process is gone', () => {
      try {
        process.kill(Number(pid), 0)
        return false
      } catch {
        return true
      }
    })
  })
})
