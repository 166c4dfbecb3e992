import '../support/loopback.ts'
import assert from 'node:assert/strict'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'
import { isRunning, startDaemonProcess, temporaryDirectory, until } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'

/** What a node is told of the memory of its machine, of which it has a GiB. */
class FakeMemory {
  readonly file = path.join(temporaryDirectory(), 'meminfo')

  systemKills = 0

  constructor() {
    this.use(50)
  }

  /** At once, so that nobody reads half of it. */
  use(percent: number): void {
    const totalKb = 1024 ** 2
    const kills = `oom_kill ${this.systemKills}\n`
    writeFileSync(
      `${this.file}.new`,
      `${kills}MemTotal: ${totalKb} kB\nMemAvailable: ${Math.round(totalKb * (1 - percent / 100))} kB\n`,
    )
    renameSync(`${this.file}.new`, this.file)
  }
}

/** What the node has read of its memory; 0 before it has. */
async function usedOf(client: FakeClient): Promise<number> {
  client.send('statusGet', { requestId: 1 })
  return ((await client.next('statusReply')).status as NodeStatus).memory?.usedBytes ?? 0
}

const isLinux = process.platform === 'linux'

describe('a machine that runs out of memory', { skip: !isLinux, concurrency: true }, () => {
  test('its workers end one after the other: those that can be tried again first, the newest before the others', async (t) => {
    const memory = new FakeMemory()
    const daemon = await startDaemonProcess(t, { cpus: 8, memoryInfoFile: memory.file })
    const client = await FakeClient.attach(daemon.socketPath)
    const other = await FakeClient.attach(daemon.socketPath)
    const again = await client.lease({ isRetriable: true, label: 'again' })
    const once = await client.lease({ label: 'once' })
    const newest = await client.lease({ isRetriable: true, label: 'newest' })
    const elsewhere = await other.lease({ label: 'of another program' })
    const onceMore = await client.lease({ label: 'once more' })
    memory.use(97)
    const order = []
    for (let count = 0; count < 3; count++) order.push(await client.next('leaseLost'))
    const [first] = order
    assert.deepEqual(
      order.map(({ leaseId }) => leaseId),
      [newest, again, onceMore].map(({ leaseId }) => leaseId),
    )
    const last = [await client.next('leaseLost'), await other.next('leaseLost')]
    assert.deepEqual(
      last.map(({ leaseId }) => leaseId),
      [once, elsewhere].map(({ leaseId }) => leaseId),
    )
    const [known] = first?.outOfMemory ?? []
    assert.ok(known !== undefined && first !== undefined)
    assert.match(
      first.reason,
      /^node [0-9a-f]{16} ran out of memory \(993\.3 MiB of 1 GiB in use, the limit is 972\.8 MiB\); the worker held \S+ MiB$/,
    )
    assert.deepEqual([known.totalBytes, known.limitBytes], [1024 ** 3, Math.floor(1024 ** 3 * 0.95)])
    assert.equal(known.workers.length, 5)
    assert.ok(known.rssBytes > 0 && known.workers.some(({ pid }) => pid === newest.workerPid))
    memory.use(50)
    client.send('statusGet', { requestId: 1 })
    const { status } = await client.next('statusReply')
    assert.equal((status as NodeStatus).memory?.workersEnded, 5)
  })

  test('a worker that the system has ended for it is told of in the same way', async (t) => {
    const memory = new FakeMemory()
    const daemon = await startDaemonProcess(t, { memoryInfoFile: memory.file })
    const client = await FakeClient.attach(daemon.socketPath)
    const killed = await client.lease()
    process.kill(killed.workerPid, 'SIGKILL')
    const { reason, outOfMemory } = await client.next('leaseLost')
    assert.deepEqual([reason, outOfMemory], ['signal SIGKILL', []], 'somebody else’s signal')
    const ended = await client.lease()
    assert.equal(readFileSync(`/proc/${ended.workerPid}/oom_score_adj`, 'utf8').trim(), '900')
    while ((await usedOf(client)) === 0);
    memory.systemKills++
    memory.use(60)
    process.kill(ended.workerPid, 'SIGKILL')
    const lost = await client.next('leaseLost')
    assert.match(lost.reason, /^node \S+ ran out of memory, and its system ended the worker \(signal SIGKILL\)$/)
    assert.equal(lost.outOfMemory[0]?.totalBytes, 1024 ** 3)
  })

  test('a node whose limit is 100 % ends none', async (t) => {
    const memory = new FakeMemory()
    const daemon = await startDaemonProcess(t, { memoryInfoFile: memory.file, memoryLimitPercent: 100 })
    const client = await FakeClient.attach(daemon.socketPath)
    const { leaseId } = await client.lease({ isRetriable: true })
    memory.use(99)
    // It has seen that twice.
    while ((await usedOf(client)) < 1024 ** 3 * 0.98);
    memory.use(98)
    while ((await usedOf(client)) > 1024 ** 3 * 0.985);
    client.send('leaseReturn', { leaseId })
    await client.lease()
    assert.ok(!client.arrived.includes('leaseLost'))
  })

  test('a task is tried again, or fails with what is known', async (t) => {
    const memory = new FakeMemory()
    const daemon = await startDaemonProcess(t, { memoryInfoFile: memory.file, workerEntry: undefined })
    await using driver = new DriverProgram(
      `import { init, remote, get, taskContext, OutOfMemoryError } from 'SDK'
      await init()
      const train = remote(async (name: string) => {
        if (taskContext().attempt > 0) return [name, 'done']
        console.log(name, 'holds memory as', process.pid, '.')
        await new Promise(() => {})
      })
      console.log('RESULT', (await get(train.remote('again')))?.join())
      try {
        await get(train.options({ maxRetries: 0 }).remote('once'))
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error
        const { code, retryable, message, details } = error
        console.log('FAILED', JSON.stringify({ code, retryable, message, details }))
      }`,
      { SHOAL_RUNTIME_DIR: daemon.runtimeDirectory },
    )
    for (const name of ['again', 'once']) {
      const [, pid] = await driver.printed(new RegExp(`${name} holds memory as (\\d+)`))
      memory.use(97)
      await until('the worker is gone', () => !isRunning(Number(pid)))
      memory.use(50)
      await driver.printed(name === 'again' ? /RESULT again,done/ : /FAILED/)
    }
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    const failed = JSON.parse(/FAILED (.*)/.exec(stdout)?.[1] ?? '{}') as {
      code: string
      retryable: boolean
      message: string
      details: Record<string, unknown>
    }
    assert.deepEqual([failed.code, failed.retryable], ['OUT_OF_MEMORY', true])
    assert.match(
      failed.message,
      /^task train: node \S+ ran out of memory \(.*\); the worker held .* no retries are left after 1 try; ask for memory/,
    )
    assert.deepEqual(
      [failed.details['task'], failed.details['tries'], failed.details['totalBytes']],
      ['train', 1, 1024 ** 3],
    )
  })

  test('a task is tried again on another node, though its own has room for it', { timeout: 120_000 }, async () => {
    const memories = [new FakeMemory(), new FakeMemory()] as [FakeMemory, FakeMemory]
    await using mesh = await startLocalMesh({
      nodes: 2,
      cpus: 4,
      options: (index) => ({ memoryInfoFile: (memories[index] ?? memories[0]).file }),
    })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `import { init, remote, get, taskContext } from 'SDK'
      await init()
      const train = remote(async () => {
        const { attempt, nodeId } = taskContext()
        console.log('TRY', attempt, 'at', nodeId, 'as', process.pid, '.')
        if (attempt < 2) await new Promise(() => {})
        return nodeId
      })
      console.log('RESULT', await get(train.remote()), '.')`,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    // From its own node to the other one; then none is left that has not run out, so any is right.
    for (const [attempt, { nodeId }] of [home, other].entries()) {
      const [, at, pid] = await driver.printed(new RegExp(`TRY ${attempt} at (\\S+) as (\\d+)`))
      assert.equal(at, nodeId)
      const memory = memories[attempt] ?? memories[0]
      memory.use(97)
      await until('the worker is gone', () => !isRunning(Number(pid)))
      memory.use(50)
    }
    await driver.printed(/RESULT \S+ \./)
    const { code, stderr } = await driver.ended()
    assert.equal(code, 0, stderr)
  })
})
