import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '../../node/cli/node-client.ts'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { ActorOperator, headOf } from '../support/actor-operator.ts'

const isPid = (value: unknown): void => assert.equal(typeof value, 'number', JSON.stringify(value))

/** What `shoal actors` lists. */
async function actorsSeenBy({ socketPath }: LocalNode): Promise<string[]> {
  const client = await NodeClient.connect(socketPath)
  const answers = await client.call('actors', {})
  client.close()
  return answers
    .flatMap(({ value }) => value?.actors ?? [])
    .map(({ className, actorName = 'free?', state, node, isDetached }) => {
      assert.equal(isDetached, true)
      return `${className} ${actorName} ${state} at ${node}`
    })
    .toSorted()
}

describe('detached actors in a mesh', { timeout: 180_000 }, () => {
  test('test_detached_actor: lives without its program and its handles, and without the head, until it is killed', async () => {
    await using mesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    const head = (await headOf(mesh.nodes)) as LocalNode
    const [a, b] = mesh.nodes.filter((node) => node !== head) as [LocalNode, LocalNode]
    const onB = { lifetime: 'detached', schedulingStrategy: { nodeId: b.nodeId } }
    await using first = await new ActorOperator(a).ready()
    const pid = await first.ask('make', 'store', onB, 5, 2)
    isPid(pid)
    assert.equal(await first.ask('call', 'store', 'node'), b.nodeId)
    const free = await first.ask('make', 'free', { ...onB, isUnnamed: true })
    assert.equal(await first.ask('hold', 'store', 'free'), true)
    assert.deepEqual(await actorsSeenBy(a), [
      `Counting free? alive at ${b.nodeId}`,
      `Counting store alive at ${b.nodeId}`,
    ])
    assert.equal(await first.errorOf('make', 'store', onB), 'ACTOR_NAME_TAKEN')
    assert.equal(await first.ask('make', 'store', { ...onB, getIfExists: true }), pid)
    await first.kill()

    // Neither its class, nor the tasks that it starts, need the program that made it.
    await using second = await new ActorOperator(a).ready()
    assert.equal(await second.ask('find', 'store'), pid)
    assert.equal(await second.ask('call', 'store', 'add'), 7)
    assert.equal(await second.ask('call', 'store', 'addThrice'), 13)
    assert.equal(await second.ask('give', 'store', 'free'), free)
    const gone = mesh.ended[mesh.nodes.indexOf(head)]
    process.kill(head.pid, 'SIGKILL')
    await gone
    assert.equal(await second.ask('find', 'store'), pid)
    assert.equal(await second.ask('call', 'store', 'add'), 15)
    assert.equal(await second.ask('call', 'free', 'add'), 1)
    await second.ask('kill', 'store')
    while ((await second.errorOf('find', 'store')) !== 'ACTOR_NOT_FOUND') await delay(50)
    assert.equal(await second.errorOf('call', 'store', 'add'), 'ACTOR_DIED')
    assert.equal(await second.ask('call', 'free', 'add'), 2)
  })

  test('of fifty that make one of a name at the same time, one does, and all have the same', async () => {
    await using mesh = await startLocalMesh({ nodes: 2, cpus: 1 })
    await using stack = new AsyncDisposableStack()
    const operators = mesh.nodes.map((node) => stack.use(new ActorOperator(node)))
    await Promise.all(operators.map((operator) => operator.ready()))
    const options = { lifetime: 'detached', getIfExists: true }
    const got = await Promise.all(operators.map((operator) => operator.ask('race', 'store', 25, options)))
    const [pid, ...others] = new Set(got.flat())
    isPid(pid)
    assert.deepEqual(others, [])
    assert.deepEqual(await actorsSeenBy(mesh.nodes[0] as LocalNode), [
      `Counting store alive at ${(await operators[0]?.ask('call', 'store', 'node')) as string}`,
    ])
  })

  test('are started again elsewhere when their node dies', async () => {
    await using mesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    const head = (await headOf(mesh.nodes)) as LocalNode
    const [a, b] = mesh.nodes.filter((node) => node !== head) as [LocalNode, LocalNode]
    const near = { lifetime: 'detached', maxRestarts: -1, schedulingStrategy: { nodeId: b.nodeId, soft: true } }
    await using first = await new ActorOperator(a).ready()
    const pid = await first.ask('make', 'store', near, 5, 2)
    isPid(pid)
    assert.equal(await first.ask('call', 'store', 'node'), b.nodeId)
    assert.equal(await first.ask('call', 'store', 'add'), 7)
    await first.kill()
    await using second = await new ActorOperator(a).ready()
    assert.equal(await second.ask('find', 'store'), pid)
    process.kill(b.pid, 'SIGKILL')
    // What it had is lost with its process; how it was made is not, nor its name.
    assert.equal(await second.ask('call', 'store', 'add'), 7)
    assert.equal(await second.ask('call', 'store', 'restarts'), 1)
    assert.notEqual(await second.ask('call', 'store', 'node'), b.nodeId)
    assert.equal(await second.ask('call', 'store', 'addThrice'), 13)
    assert.equal(await second.errorOf('make', 'store', near), 'ACTOR_NAME_TAKEN')
    await second.ask('kill', 'store')
    while ((await second.errorOf('find', 'store')) !== 'ACTOR_NOT_FOUND') await delay(50)
  })

  test('are started again elsewhere when their node is drained by force', async () => {
    await using mesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    const [a, b] = mesh.nodes as [LocalNode, LocalNode]
    const near = { lifetime: 'detached', maxRestarts: -1, schedulingStrategy: { nodeId: b.nodeId, soft: true } }
    await using operator = await new ActorOperator(a).ready()
    isPid(await operator.ask('make', 'store', near, 5))
    assert.equal(await operator.ask('call', 'store', 'node'), b.nodeId)
    const client = await NodeClient.connect(b.socketPath)
    await client.call('drain', { node: b.nodeId, force: true, undo: false })
    client.close()
    while ((await operator.ask('call', 'store', 'node')) === b.nodeId) await delay(50)
    assert.ok(((await operator.ask('call', 'store', 'restarts')) as number) > 0)
    assert.equal(await operator.ask('call', 'store', 'add'), 6)
  })
})
