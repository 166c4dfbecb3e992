import '../support/loopback.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startLocalNode, type LocalNodeProcess } from '../../node/local-mesh/local-node.ts'
import type { NodeOptions } from '../../node/options.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask, nodesSeenBy, settled } from '../support/mesh-view.ts'

/** Three nodes of one mesh, each of its own kind: the founder, a worker with labels, a submitter. */
describe('members of a mesh', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-members-'))
  const started: LocalNodeProcess[] = []
  let founder: LocalNodeProcess
  let worker: LocalNodeProcess
  let submitter: LocalNodeProcess
  const upped = ({ node }: LocalNodeProcess): { ready: LocalNodeProcess['node'] } => ({ ready: node })

  async function start(name: string, options: NodeOptions): Promise<LocalNodeProcess> {
    const home = path.join(directory, name)
    const node = await startLocalNode({
      ...options,
      name,
      cpus: 1,
      gpus: 0,
      runtimeDirectory: path.join(home, 'run'),
      stateDirectory: path.join(home, 'state'),
      storeBytesMax: 50e6,
    })
    started.push(node)
    return node
  }

  async function tokenFor(role: MemberRole, uses = 1): Promise<string> {
    return (await ask(upped(founder), 'tokenCreate', { role, ttlMs: 60_000, uses })).token
  }

  /** What a program prints after `RESULT `, attached to a node. */
  async function run(at: LocalNodeProcess | undefined, source: string): Promise<unknown> {
    await using driver = new DriverProgram(
      `import { init, remote, get, put, nodes, taskContext } from 'SDK'
      const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
      const whatOf = (error: unknown) => { const { code, message, retryable } = error as { code: string, message: string, retryable: boolean }; return { code, message, retryable } }
      const where = remote((_: number) => taskContext().nodeId)
      ${source}`,
      at === undefined ? {} : { SHOAL_RUNTIME_DIR: at.node.runtimeDirectory },
    )
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    return JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? 'null')
  }

  before(async () => {
    founder = await start('founder', { labels: { zone: 'lab1' } })
    worker = await start('worker', {
      join: await tokenFor('worker'),
      labels: { zone: 'lab2', disk: 'ssd' },
      resources: { camera: 2 },
    })
    submitter = await start('submitter', { join: await tokenFor('submitter') })
    await settled([founder, worker, submitter].map(upped))
  })

  after(async () => {
    await Promise.all(started.map((node) => node.stop()))
    rmSync(directory, { recursive: true, force: true })
  })

  test('a submitter offers nothing, and uses the others', async () => {
    const ran = (await run(
      submitter,
      `await init()
      tell(await get(Array.from({ length: 40 }, (_, i) => where.options({ schedulingStrategy: 'spread' }).remote(i))))`,
    )) as string[]
    assert.deepEqual([...new Set(ran)].toSorted(), [founder.node.nodeId, worker.node.nodeId].toSorted())
    const [self] = (await nodesSeenBy(upped(submitter))).filter(({ isSelf }) => isSelf)
    assert.equal(self?.role, 'submitter')
  })

  test('a worker may not submit', async () => {
    const failed = (await run(
      worker,
      `await init(); try { await get(where.remote(1)); tell('ran') } catch (error) { tell(whatOf(error)) }`,
    )) as {
      code: string
      message: string
      retryable: boolean
    }
    assert.equal(failed.code, 'MEMBERSHIP')
    assert.equal(failed.retryable, false)
    assert.match(failed.message, /as a worker.*cannot submit/)
  })

  test('tasks that run on a worker may submit for their program', async () => {
    const ran = await run(
      submitter,
      `await init()
      const outer = remote(async () => [taskContext().nodeId, await get(where.options({ numCpus: 0 }).remote(1))], { schedulingStrategy: { nodeId: '${worker.node.nodeId}' } })
      tell((await get(outer.remote()))[0])`,
    )
    assert.equal(ran, worker.node.nodeId)
  })

  test('neither a worker nor a submitter makes tokens or puts others out', async () => {
    for (const node of [worker, submitter]) {
      await assert.rejects(ask(upped(node), 'tokenCreate', { role: 'worker', ttlMs: 1000, uses: 1 }), /admin/)
      await assert.rejects(ask(upped(node), 'memberRevoke', { node: founder.node.nodeId }), /admin/)
    }
  })

  test('init({ join }) from a machine that has no node', async () => {
    const result = (await run(
      undefined,
      `const token = ${JSON.stringify(await tokenFor('submitter'))}
      await using shoal = await init({ join: token })
      const all = await nodes()
      const ran = await get(Array.from({ length: 20 }, (_, i) => where.remote(i)))
      const big = put(new Float64Array(200_000).fill(0.25))
      const sum = remote((values: Float64Array) => values.reduce((a, b) => a + b, 0))
      tell({ self: all[0]!.id, ran: [...new Set(ran)], sum: await get(sum.remote(big)), embedded: shoal.isEmbedded })`,
    )) as { self: string; ran: string[]; sum: number; embedded: boolean }
    assert.equal(result.embedded, true)
    assert.equal(result.sum, 50_000)
    assert.ok(result.ran.length > 0 && !result.ran.includes(result.self))
  })

  test('init({ join }) with a token that is used up says so', async () => {
    const token = await tokenFor('submitter')
    await run(undefined, `await using _ = await init({ join: '${token}' }); tell(1)`)
    const failed = (await run(
      undefined,
      `try { await init({ join: '${token}' }) } catch (error) { tell(whatOf(error)) }`,
    )) as {
      message: string
    }
    assert.match(failed.message, /used/)
    assert.ok(!failed.message.includes(token), 'the secret is not repeated')
  })

  test('affinity and labels', async () => {
    const at = (strategy: unknown): string =>
      `await get(where.options({ schedulingStrategy: ${JSON.stringify(strategy)} }).remote(0))`
    const [f, w] = [founder.node.nodeId, worker.node.nodeId]
    const result = await run(
      founder,
      `await init()
      tell([
        ${at({ nodeId: w })}, ${at({ nodeId: f })}, ${at({ nodeId: '00000000000000ee', soft: true })} !== '',
        ${at({ labels: { zone: 'lab2' } })}, ${at({ labels: { zone: { notIn: ['lab2'] }, disk: { exists: false } } })},
        ${at({ labels: { disk: { exists: true } } })}, ${at({ labels: { zone: { in: ['lab1', 'lab7'] } } })},
        await get(where.options({ resources: { camera: 1 } }).remote(0)),
      ])`,
    )
    assert.deepEqual(result, [w, f, true, w, f, w, f, w])
  })

  test('what no node can serve is named soon, with what each has', async () => {
    for (const [options, why] of [
      [{ numGpus: 4 }, /GPU/],
      [{ schedulingStrategy: { nodeId: '00000000000000ee' } }, /00000000000000ee/],
      [{ schedulingStrategy: { labels: { zone: 'moon' } } }, /zone/],
    ] as const) {
      const failed = (await run(
        founder,
        `await init()
        try { await get(where.options(${JSON.stringify(options)}).remote(0)) } catch (error) { tell(whatOf(error)) }`,
      )) as { code: string; message: string }
      assert.equal(failed.code, 'INFEASIBLE', failed.message)
      assert.match(failed.message, why)
    }
  })

  test('explain tells why a task waits, and what each node says', async () => {
    await using driver = new DriverProgram(
      `import { init, remote, get } from 'SDK'
      await init()
      const hold = remote(async function hold() { await new Promise(() => {}) }, { numCpus: 1 })
      hold.remote(); hold.remote()
      const patient = remote(async function patient() {}, { numCpus: 1 })
      const ref = patient.remote()
      console.log('WAITS')
      await get(ref)`,
      { SHOAL_RUNTIME_DIR: founder.node.runtimeDirectory },
    )
    await driver.printed(/WAITS/)
    for (;;) {
      const [told] = await ask(upped(founder), 'explain', { task: 'patient' })
      const busy = told?.nodes.filter(({ verdict }) => verdict === 'busy').map(({ node }) => node) ?? []
      if (told !== undefined && busy.length === 2) {
        assert.deepEqual(told.resources, { CPU: 1 })
        assert.deepEqual(busy.toSorted(), [founder.node.nodeId, worker.node.nodeId].toSorted())
        assert.equal(told.nodes.find(({ node }) => node === submitter.node.nodeId)?.verdict, 'closed')
        return
      }
    }
  })

  test('a node that leaves is gone at once, and cannot come back without a token', async () => {
    const leaver = await start('leaver', { join: await tokenFor('worker') })
    await settled([founder, worker, submitter, leaver].map(upped))
    await ask(upped(leaver), 'leave', { force: false })
    await leaver.ended
    await settled([founder, worker, submitter].map(upped))
    const seen = await nodesSeenBy(upped(founder))
    assert.ok(!seen.some(({ id }) => id === leaver.node.nodeId))
  })

  test('who is revoked loses its link, and others hear of it', async () => {
    const suspect = await start('suspect', { join: await tokenFor('worker') })
    await settled([founder, worker, submitter, suspect].map(upped))
    await ask(upped(founder), 'memberRevoke', { node: suspect.node.nodeId })
    await settled([founder, worker, submitter].map(upped))
    const members = await ask(upped(founder), 'memberList', {})
    assert.equal(members.find(({ node }) => node === suspect.node.nodeId)?.state, 'revoked')
  })
})
