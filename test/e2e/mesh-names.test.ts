import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { ActorOperator, headOf } from '../support/actor-operator.ts'

const isPid = (value: unknown): void => assert.equal(typeof value, 'number', JSON.stringify(value))

describe('actors in a mesh that are found by others', { timeout: 180_000 }, () => {
  test('names are known on all nodes, outlive the head, and end with their owner', async () => {
    await using mesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    const head = await headOf(mesh.nodes)
    const [a, b] = mesh.nodes.filter((node) => node !== head) as [LocalNode, LocalNode]
    await using here = await new ActorOperator(a).ready()
    await using there = await new ActorOperator(b).ready()
    const onA = { schedulingStrategy: { nodeId: a.nodeId } }
    const pid = await here.ask('make', 'hits', onA)
    isPid(pid)
    assert.equal(await there.ask('find', 'hits'), pid)
    assert.deepEqual([await here.ask('call', 'hits', 'add'), await there.ask('call', 'hits', 'add')], [1, 2])
    assert.equal(await there.errorOf('make', 'hits', onA), 'ACTOR_NAME_TAKEN')
    assert.equal(await there.ask('make', 'hits', { ...onA, getIfExists: true }), pid)

    // While there is no head nothing is said; the next one knows the names.
    const gone = mesh.ended[mesh.nodes.indexOf(head as LocalNode)]
    process.kill((head as LocalNode).pid, 'SIGKILL')
    assert.equal(await there.errorOf('make', 'hits', onA), 'ACTOR_NAME_TAKEN')
    assert.equal(await there.errorOf('find', 'nobody'), 'ACTOR_NOT_FOUND')
    assert.equal(await there.ask('find', 'hits'), pid)
    assert.equal(await there.ask('call', 'hits', 'add'), 3)
    await gone

    await here.kill()
    while ((await there.errorOf('find', 'hits')) !== 'ACTOR_NOT_FOUND') await delay(50)
    assert.notEqual(await there.ask('make', 'hits', onA), pid)
    await using again = await new ActorOperator(a).ready()
    assert.notEqual(await again.ask('find', 'hits'), pid)
    await again.ask('kill', 'hits')
    while ((await there.errorOf('find', 'hits')) !== 'ACTOR_NOT_FOUND') await delay(50)
  })
})
