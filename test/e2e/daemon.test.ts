import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readyLine } from '../../node/daemon-process.ts'
import type { NodeResources } from '../../node/resources/detect.ts'
import type { NodeStatus } from '../../node/status.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import {
  isRunning,
  nodeFileOf,
  startDaemonProcess,
  temporaryDirectory,
  until,
  type DaemonProcess,
} from '../support/daemon-process.ts'
import { FakeClient, leaseRequest } from '../support/fake-client.ts'

function task(name: string, sequence = 1): TaskSpec {
  const args: WireValue = {
    kind: 'inline',
    isError: false,
    format: 0,
    head: Buffer.from('[]'),
    buffers: [],
    refs: [],
    classes: [],
  }
  return {
    sequence,
    functionId: '00'.repeat(22),
    attempt: 0,
    returnCount: 1,
    isCareful: false,
    streamSkip: 0,
    streamLimit: 0,
    group: '',
    name,
    args,
    resolved: [],
  }
}

function textOf({ results }: MessageBody<'taskDone'>): string {
  const value = results[0]?.values[0]
  return value?.kind === 'inline' ? Buffer.from(value.head).toString() : ''
}

async function status(client: FakeClient): Promise<NodeStatus> {
  client.send('statusGet', { requestId: 1 })
  return (await client.next('statusReply')).status as NodeStatus
}

async function ended(daemon: DaemonProcess): Promise<void> {
  if (daemon.child.exitCode === null && daemon.child.signalCode === null) await once(daemon.child, 'exit')
}

/** What must be gone with a node. */
async function assertNothingLeft(daemon: DaemonProcess, pids: number[], directories: string[]): Promise<void> {
  await until('the processes are gone', () => pids.every((pid) => !isRunning(pid)))
  await until('the folders are gone', () => directories.every((directory) => !existsSync(directory)))
  // Who the node is outlives it.
  await until('the rest of the runtime folder is gone', () => readdirSync(daemon.runtimeDirectory).join() === 'state')
}

describe('start and stop', { concurrency: true }, () => {
  test('a node says that it is ready, keeps its files to itself, and leaves nothing', async (t) => {
    const daemon = await startDaemonProcess(t)
    assert.equal(daemon.ready.ready, true)
    assert.equal(daemon.ready.resources?.['CPU'], 2)
    assert.equal(statSync(daemon.socketPath).mode & 0o777, 0o600)
    const { storeDirectory, spillDirectory, codeDirectory, guardianPid } = nodeFileOf(daemon)
    // Shared memory has no place among files.
    assert.equal(storeDirectory, '')
    for (const directory of [spillDirectory, codeDirectory]) assert.equal(statSync(directory).mode & 0o777, 0o700)
    const client = await FakeClient.attach(daemon.socketPath)
    assert.ok(client.welcome.storeSegment.startsWith(`/proc/${daemon.pid}/fd/`))
    assert.equal(client.welcome.nodePid, daemon.pid)
    const { workerPid } = await client.lease()
    client.send('nodeStop', { requestId: 1 })
    await Promise.all([client.closed, ended(daemon)])
    assert.equal(daemon.child.exitCode, 0)
    await assertNothingLeft(daemon, [workerPid, guardianPid], [spillDirectory, codeDirectory])
  })

  test('a node whose readiness cannot be told does not stay', async (t) => {
    const runtimeDirectory = temporaryDirectory()
    const module = fileURLToPath(new URL('../../node/daemon-process.ts', import.meta.url))
    const options = { runtimeDirectory, cpus: 1, gpus: 0, storeBytesMax: 1e6, prestart: 0 }
    const fail = `() => { throw new Error('nobody listens') }`
    const serve = `serveNode(${JSON.stringify(options)}, ${fail})`
    const code = `import { serveNode } from ${JSON.stringify(module)}; await ${serve}.catch(({ message }) => console.error(message))`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', code])
    t.after(() => child.kill('SIGKILL'))
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    const [exitCode] = (await once(child, 'close')) as [number | null]
    assert.equal(exitCode, 1)
    assert.match(errors, /nobody listens/)
    await until('the runtime folder is empty', () => readdirSync(runtimeDirectory).join() === 'state')
  })

  test('a token that cannot be made is no reason not to start', async () => {
    const logged: string[] = []
    const line = await readyLine({
      socketPath: '/run/node.sock',
      machine: { hostname: 'desk', total: { CPU: 1 }, gpus: [] } as unknown as NodeResources,
      nodeId: '0123456789abcdef',
      store: { bytesMax: 1, segment: undefined, directory: '', spillDirectory: '' },
      place: { meshName: 'amber-fox', addresses: [], makeToken: () => Promise.reject(new Error('the disk is full')) },
      log: (text) => void logged.push(text),
    })
    assert.deepEqual([line.ready, line.meshName, 'joinToken' in line], [true, 'amber-fox', false])
    assert.match(logged.join(), /no token to join with could be made: the disk is full/)
  })

  test('a second node is told where the first one is; the first one goes on', async (t) => {
    const daemon = await startDaemonProcess(t)
    const second = await startDaemonProcess(t, { runtimeDirectory: daemon.runtimeDirectory })
    await ended(second)
    assert.equal(second.child.exitCode, 1)
    assert.deepEqual(second.ready.error, {
      code: 'NODE_UNAVAILABLE',
      message: `a node is already running here (pid ${daemon.pid}, socket ${daemon.socketPath}): use it, stop it with \`shoal down\`, or set SHOAL_RUNTIME_DIR`,
    })
    const client = await FakeClient.attach(daemon.socketPath)
    await client.lease()
    await client.close()
  })

  test('two nodes cannot have one state folder', async (t) => {
    const stateDirectory = path.join(temporaryDirectory(), 'state')
    const options = { stateDirectory, mesh: true, mdns: false, prestart: 0 }
    const first = await startDaemonProcess(t, options)
    assert.equal(first.ready.ready, true)
    const second = await startDaemonProcess(t, options)
    assert.match(
      second.ready.error?.message ?? '',
      new RegExp(`a node on .* \\(pid ${first.pid}\\) uses the state folder ${stateDirectory}, .*set SHOAL_STATE_DIR`),
    )
    await ended(second)
    first.child.kill('SIGKILL')
    await ended(first)
    const third = await startDaemonProcess(t, options)
    assert.equal(third.ready.ready, true)
    third.child.kill('SIGTERM')
    await ended(third)
    assert.ok(!existsSync(path.join(stateDirectory, 'node.lock')))
  })

  test('of two that start at once, one runs', async (t) => {
    const runtimeDirectory = temporaryDirectory()
    const both = await Promise.all([1, 2].map(() => startDaemonProcess(t, { runtimeDirectory, prestart: 0 })))
    assert.deepEqual(both.map((each) => each.ready.error?.code ?? 'ready').toSorted(), ['NODE_UNAVAILABLE', 'ready'])
  })

  test('what a dead node left is cleaned up by the next one', async (t) => {
    const runtimeDirectory = temporaryDirectory()
    const storeDirectory = mkdtempSync(path.join(os.tmpdir(), 'shoal-store-'))
    const bystander = mkdtempSync(path.join(os.tmpdir(), 'bystander-'))
    t.after(() => rmSync(bystander, { recursive: true }))
    writeFileSync(path.join(storeDirectory, 'ab'.repeat(16)), 'left')
    const socketPath = path.join(runtimeDirectory, 'node.sock')
    // Listens and goes without a chance to delete its socket.
    const code = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
    const dead = spawn(process.execPath, ['-e', code, socketPath])
    await once(dead, 'exit')
    assert.ok(existsSync(socketPath))
    const spillDirectory = mkdtempSync(path.join(os.tmpdir(), 'shoal-spill-'))
    const left = {
      pid: dead.pid,
      token: 'x',
      storeDirectory,
      spillDirectory,
      codeDirectory: bystander,
      guardianPid: dead.pid,
    }
    writeFileSync(path.join(runtimeDirectory, 'node.json'), JSON.stringify(left))
    const daemon = await startDaemonProcess(t, { runtimeDirectory, prestart: 0 })
    assert.equal(daemon.ready.ready, true)
    assert.ok(!existsSync(storeDirectory))
    assert.ok(!existsSync(spillDirectory))
    assert.ok(existsSync(bystander), 'a folder that is none of a node stays')
    await (await FakeClient.attach(daemon.socketPath)).close()
  })

  test('an embedded node ends with its program, and takes its folder along', async (t) => {
    const runtimeDirectory = path.join(temporaryDirectory(), 'own')
    const daemon = await startDaemonProcess(t, { runtimeDirectory, embedded: true, prestart: 1 })
    daemon.child.stdin?.end()
    await ended(daemon)
    assert.equal(daemon.child.exitCode, 0)
    await until('the folder is gone', () => !existsSync(runtimeDirectory))
  })

  test('SIGKILL of the node leaves no process and no file', async (t) => {
    const daemon = await startDaemonProcess(t)
    const { spillDirectory, codeDirectory, guardianPid } = nodeFileOf(daemon)
    const client = await FakeClient.attach(daemon.socketPath)
    const { leaseId, workerPid } = await client.lease()
    client.send('taskPush', { leaseId, tasks: [task('spawn')] })
    const grandchild = Number(textOf(await client.next('taskDone')))
    const workers = (await status(client)).workers.map((worker) => worker.pid)
    assert.ok(workers.includes(workerPid))
    writeFileSync(path.join(spillDirectory, 'ab'.repeat(16)), 'value')
    daemon.child.kill('SIGKILL')
    await client.closed
    await assertNothingLeft(daemon, [...workers, grandchild, guardianPid], [spillDirectory, codeDirectory])
    const next = await startDaemonProcess(t, { runtimeDirectory: daemon.runtimeDirectory, prestart: 0 })
    assert.equal(next.ready.ready, true)
  })

  test('a guardian that is killed is replaced', async (t) => {
    const daemon = await startDaemonProcess(t)
    const client = await FakeClient.attach(daemon.socketPath)
    const { workerPid } = await client.lease()
    process.kill(nodeFileOf(daemon).guardianPid, 'SIGKILL')
    const diary = path.join(daemon.runtimeDirectory, 'node.log')
    await until('it is replaced', () => readFileSync(diary, 'utf8').includes('another one takes its place'))
    const { spillDirectory } = nodeFileOf(daemon)
    daemon.child.kill('SIGKILL')
    await assertNothingLeft(daemon, [workerPid], [spillDirectory])
  })

  const refusals: [string, () => Record<string, unknown>, RegExp][] = [
    ['an option that does not exist', () => ({ cpu: 3 }), /a node has no option 'cpu'; it has cpus/],
    ['an option of the wrong type', () => ({ cpus: '3' }), /cpus of a node must be a number; got "3"/],
    ['negative CPUs', () => ({ cpus: -1 }), /cpus of a node must be a number, 0 or more; got -1/],
    ['no workers', () => ({ workersMax: 0 }), /workersMax of a node must be a whole number, 1 or more; got 0/],
    [
      'a socket path that is too long',
      () => ({ runtimeDirectory: path.join(temporaryDirectory(), 'x'.repeat(100)) }),
      /the path of the node's socket has \d+ bytes and the system allows 103: .*set SHOAL_RUNTIME_DIR/,
    ],
    [
      'a runtime folder that others may write to',
      () => {
        const runtimeDirectory = path.join(temporaryDirectory(), 'open')
        mkdirSync(runtimeDirectory)
        // mkdir's own mode goes through the mask.
        const { chmodSync } = process.getBuiltinModule('node:fs')
        chmodSync(runtimeDirectory, 0o777)
        return { runtimeDirectory }
      },
      /may be written to by others \(mode 777\); set SHOAL_RUNTIME_DIR to a folder of your own/,
    ],
  ]
  for (const [what, options, message] of refusals) {
    test(`refused: ${what}`, async (t) => {
      const daemon = await startDaemonProcess(t, options())
      await ended(daemon)
      assert.equal(daemon.child.exitCode, 1)
      assert.match(daemon.ready.error?.message ?? '', message)
    })
  }
})

describe('a running node', { concurrency: true }, () => {
  test('garbage closes that connection and no other', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const client = await FakeClient.attach(daemon.socketPath)
    for (const garbage of [
      'GET / HTTP/1.1\r\n\r\n',
      '\u0000\u0000\u0000\u0000\u0000',
      '\u0005\u0000\u0000\u0000\u0001abcd',
    ]) {
      const socket = net.connect(daemon.socketPath)
      socket.on('error', () => {})
      socket.write(garbage)
      socket.resume()
      await once(socket, 'close')
    }
    const impatient = await FakeClient.connect(daemon.socketPath)
    impatient.send('leaseReturn', { leaseId: 1 })
    assert.match((await impatient.next('refused')).message, /the first message is a leaseReturn, where a hello belongs/)
    await impatient.closed
    assert.equal((await status(client)).clients.length, 1)
    await client.close()
  })

  test('another version of the protocol is told both versions', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const client = await FakeClient.connect(daemon.socketPath)
    client.hello({ protocol: 99 })
    const refused = await client.next('refused')
    assert.equal(refused.code, 'PROTOCOL_VERSION')
    assert.match(
      refused.message,
      /this node speaks protocol \d+ .* and the program speaks protocol 99: use the same version/,
    )
    await client.closed
  })

  test('a process that is no worker of the node cannot pass for one', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const client = await FakeClient.connect(daemon.socketPath)
    client.hello({ role: 'worker', workerId: 1 })
    assert.match((await client.next('refused')).message, /this node has started no worker 1/)
    await client.closed
  })

  test('tasks go to the leased worker and their results come back', async (t) => {
    const daemon = await startDaemonProcess(t, { gpus: 2 })
    const client = await FakeClient.attach(daemon.socketPath)
    const grant = await client.lease({ resources: { CPU: 1, GPU: 1 }, envVars: { FLAVOUR: 'salt' }, envKey: 'salt' })
    client.send('taskPush', { leaseId: grant.leaseId, tasks: [task('environment')] })
    const env = JSON.parse(textOf(await client.next('taskDone'))) as NodeJS.ProcessEnv
    assert.equal(env['CUDA_VISIBLE_DEVICES'], grant.gpuIds.join(','))
    assert.equal(env['FLAVOUR'], 'salt')
    assert.equal(env['NODE_TEST_CONTEXT'], undefined)
    client.send('taskPush', { leaseId: grant.leaseId, tasks: [task('block')] })
    assert.equal((await client.next('leaseBlocked')).isBlocked, true)
    client.send('leaseReturn', { leaseId: grant.leaseId })
    // Late for a lease that has ended: dropped.
    client.send('taskPush', { leaseId: grant.leaseId, tasks: [task('late')] })
    const again = await client.lease()
    client.send('taskPush', { leaseId: again.leaseId, tasks: [task('second')] })
    assert.equal(textOf(await client.next('taskDone', (done) => textOf(done) !== 'block')), 'second')
    await client.close()
  })

  test('a request that can never fit is refused with what there is', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const client = await FakeClient.attach(daemon.socketPath)
    client.send('leaseRequest', leaseRequest(client, { resources: { CPU: 64 }, label: 'huge' }))
    const refused = await client.next('leaseRefuse')
    assert.equal(refused.error, 'infeasible')
    assert.match(refused.message, /64/)
    const cheat = await FakeClient.attach(daemon.socketPath)
    cheat.send('leaseRequest', leaseRequest(cheat, { resources: { CPU: Number.NaN } }))
    assert.match((await cheat.next('refused')).message, /CPU is NaN/)
    await cheat.closed
    await client.close()
  })

  test('the lease of another is out of reach', async (t) => {
    const daemon = await startDaemonProcess(t)
    const owner = await FakeClient.attach(daemon.socketPath)
    const { leaseId } = await owner.lease()
    for (const attack of ['taskPush', 'leaseReturn', 'leaseKill'] as const) {
      const other = await FakeClient.attach(daemon.socketPath)
      if (attack === 'taskPush') other.send('taskPush', { leaseId, tasks: [task('stolen')] })
      else if (attack === 'leaseReturn') other.send('leaseReturn', { leaseId })
      else other.send('leaseKill', { leaseId, reason: 'stolen' })
      assert.match((await other.next('refused')).message, /is not a lease of this client/)
      await other.closed
    }
    owner.send('taskPush', { leaseId, tasks: [task('mine')] })
    assert.equal(textOf(await owner.next('taskDone')), 'mine')
    await owner.close()
  })

  test('the death of a worker: its last answer first, then the loss, then a new worker', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 })
    const client = await FakeClient.attach(daemon.socketPath)
    const { leaseId } = await client.lease()
    client.send('taskPush', { leaseId, tasks: [task('exit')] })
    const lost = await client.next('leaseLost')
    assert.deepEqual(lost, { leaseId, reason: 'exit code 7', outOfMemory: [], isGroupRemoved: false })
    const next = await client.lease()
    const order = ['welcome', 'leaseGrant', 'taskDone', 'leaseLost', 'clientGone', 'leaseGrant']
    assert.deepEqual(client.arrived, order)
    client.send('leaseKill', { leaseId: next.leaseId, reason: 'cancelled' })
    const cancelled = { leaseId: next.leaseId, reason: 'cancelled', outOfMemory: [], isGroupRemoved: false }
    assert.deepEqual(await client.next('leaseLost'), cancelled)
    const { workerPid } = await client.lease()
    process.kill(workerPid, 'SIGKILL')
    assert.equal((await client.next('leaseLost')).reason, 'signal SIGKILL')
    await client.close()
  })

  test('workers that fail at the start: refused with what they said', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 }, { FAKE_WORKER_FAILS: '1' })
    const client = await FakeClient.attach(daemon.socketPath)
    client.send('leaseRequest', leaseRequest(client))
    const refused = await client.next('leaseRefuse')
    assert.equal(refused.error, 'workerStart')
    assert.match(refused.message, /exit code 3: fake failure at the start/)
    client.send('leaseRequest', leaseRequest(client, { envKey: 'x', envVars: { 'no\u0000zero': '1' } }))
    assert.equal((await client.next('leaseRefuse')).error, 'workerStart')
    await client.close()
  })

  test('when an owner goes, its leases come free, its values are deleted and others are told', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 })
    const owner = await FakeClient.attach(daemon.socketPath)
    const other = await FakeClient.attach(daemon.socketPath)
    await owner.lease()
    await owner.store(daemon.socketPath, 'ab'.repeat(16), 5)
    assert.equal((await status(owner)).store.objects, 1)
    owner.socket.destroy()
    assert.equal((await other.next('clientGone')).client, owner.id)
    assert.equal((await status(other)).store.objects, 0)
    await other.lease()
    other.send('objectGet', { to: owner.id, from: other.id, requestId: 9, object: '00'.repeat(22), lostName: '' })
    assert.deepEqual(await other.next('undeliverable'), { client: owner.id, requestId: 9 })
    await other.close()
  })

  test('when a driver goes, its detached work ends, too, and its owner is told', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 2 })
    const driver = await FakeClient.attach(daemon.socketPath)
    const owner = await FakeClient.attach(daemon.socketPath)
    const detached = await owner.lease({ job: driver.id, depth: 1 })
    const own = await owner.lease()
    const waiting = leaseRequest(owner, { job: driver.id, depth: 1 })
    owner.send('leaseRequest', waiting)
    await status(owner)
    driver.socket.destroy()
    const refused = await owner.next('leaseRefuse')
    assert.equal(refused.requestId, waiting.requestId)
    assert.equal((await owner.next('leaseLost')).leaseId, detached.leaseId)
    await until('its worker is gone', () => !isRunning(detached.workerPid))
    const late = leaseRequest(owner, { job: driver.id, depth: 1 })
    owner.send('leaseRequest', late)
    const refusedToo = await owner.next('leaseRefuse')
    assert.equal(refusedToo.requestId, late.requestId)
    assert.match(refusedToo.message, /the program for which it was to run has ended/)
    owner.send('taskPush', { leaseId: own.leaseId, tasks: [task('goes on')] })
    assert.equal(textOf(await owner.next('taskDone')), 'goes on')
    await owner.lease()
    await owner.close()
  })

  test('a worker that says that it is needed outlives its idle time', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 2, prestart: 0, workerIdleMs: 1 })
    const client = await FakeClient.attach(daemon.socketPath)
    const [needed, other] = [await client.lease(), await client.lease()]
    client.send('taskPush', { leaseId: needed.leaseId, tasks: [task('needed')] })
    await client.next('taskDone')
    for (const { leaseId } of [needed, other]) client.send('leaseReturn', { leaseId })
    await until('the other one is stopped', () => !isRunning(other.workerPid))
    assert.equal((await client.lease()).workerPid, needed.workerPid)
    client.send('workerNeeded', { isNeeded: true })
    assert.match((await client.next('refused')).message, /only a worker can say/)
  })

  test('workers that others kill while they start are not held against the request', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 }, { FAKE_WORKER_HANGS: '1' })
    const client = await FakeClient.attach(daemon.socketPath)
    client.send('leaseRequest', leaseRequest(client))
    const killed = new Set<number>()
    while (killed.size < 4) {
      const { workers } = await status(client)
      for (const { pid } of workers) {
        if (pid === 0 || killed.has(pid)) continue
        killed.add(pid)
        process.kill(pid, 'SIGKILL')
      }
    }
    assert.equal((await status(client)).pending.length, 1)
    assert.ok(!client.arrived.includes('leaseRefuse'))
    await client.close()
  })

  test('clients talk to each other under their own names only', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const [a, b] = [await FakeClient.attach(daemon.socketPath), await FakeClient.attach(daemon.socketPath)]
    const message = { to: b.id, from: a.id, requestId: 4, object: 'ab'.repeat(22), lostName: 'cd'.repeat(8) }
    a.send('objectGet', message)
    assert.deepEqual(await b.next('objectGet'), message)
    a.send('objectGet', { ...message, from: b.id })
    assert.match((await a.next('refused')).message, /names another sender/)
    await a.closed
    await b.close()
  })

  test('shipped code is kept under its hash, and only under its own', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    const client = await FakeClient.attach(daemon.socketPath)
    const content = Buffer.from('export const answer = 42\n')
    const hash = createHash('sha256').update(content).digest('hex')
    client.send('blobsWait', { requestId: 1, node: client.welcome.nodeId, hashes: [hash] })
    client.send('blobPut', { hash, content })
    assert.deepEqual(await client.next('blobsReady'), { requestId: 1, missing: [] })
    assert.deepEqual(readFileSync(path.join(client.welcome.codeDirectory, `${hash}.mjs`)), content)
    client.send('blobPut', { hash: '00'.repeat(32), content })
    assert.match((await client.next('refused')).message, /shipped code 0+ has another hash/)
    await client.closed
    assert.deepEqual(readdirSync(client.welcome.codeDirectory), [`${hash}.mjs`])
  })

  test('stored values: counted, freed, and pressure is told', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0, storeBytesMax: 1000, spill: false })
    const client = await FakeClient.attach(daemon.socketPath)
    assert.equal(client.welcome.storeBytesMax, 1000)
    const names = ['aa'.repeat(16), 'bb'.repeat(16)] as const
    for (const name of names) assert.equal((await client.store(daemon.socketPath, name, 450)).kind, 'memory')
    assert.deepEqual(await client.next('storePressure'), { usedBytes: 900, bytesMax: 1000 })
    const refused = await client.store(daemon.socketPath, 'cc'.repeat(16), 450)
    assert.equal(refused.kind, 'refused')
    assert.match(refused.message, /900 of 1000 bytes are in use/)
    client.send('objectFreed', { names: [names[0], '../node.json'] })
    const { store } = await status(client)
    assert.deepEqual([store.usedBytes, store.objects], [450, 1])
    assert.ok(existsSync(path.join(daemon.runtimeDirectory, 'node.json')))
    assert.equal((await client.store(daemon.socketPath, 'cc'.repeat(16), 450)).kind, 'memory')
    const nothing = { bytes: 1, owner: client.id, object: '', crc: 0, isFile: false }
    client.send('objectStored', { ...nothing, name: '../../evil' })
    assert.match((await client.next('refused')).message, /is not the name of a stored value/)
  })

  test('what a task prints reaches its owner, under its name, before the flush is answered', async (t) => {
    const daemon = await startDaemonProcess(t)
    const client = await FakeClient.attach(daemon.socketPath)
    const { leaseId, workerPid } = await client.lease()
    const lines: [boolean, string][] = []
    client.on('log', (log) => {
      assert.equal(log.pid, workerPid)
      assert.equal(log.name, 'print')
      lines.push(...log.lines.map((line): [boolean, string] => [log.isError, line]))
    })
    client.send('taskPush', { leaseId, tasks: [task('print')] })
    await client.next('taskDone')
    client.send('logFlush', { requestId: 1 })
    await client.next('logFlushed')
    assert.deepEqual(
      lines.toSorted(([a], [b]) => Number(a) - Number(b)),
      [
        [false, 'hello'],
        [false, 'world'],
        [true, 'oops'],
      ],
    )
    await client.close()
  })

  test("what a worker prints without a marker is its lease owner's, and forged markers are output", async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 })
    const [first, second] = [await FakeClient.attach(daemon.socketPath), await FakeClient.attach(daemon.socketPath)]
    const { leaseId } = await first.lease({ label: 'early' })
    for (const name of ['speak', 'print']) first.send('taskPush', { leaseId, tasks: [task(name)] })
    // A lease goes back when its tasks are done; the output of one that still ran would come in the next one's time.
    for (const _ of ['speak', 'print']) await first.next('taskDone')
    const spoken = await first.next('log', ({ isError }) => isError)
    assert.deepEqual([spoken.name, spoken.lines], ['early', ['spoken without a marker']])
    first.send('leaseReturn', { leaseId })
    const next = await second.lease({ label: 'late', job: second.id })
    for (const name of ['speak', 'forge']) second.send('taskPush', { leaseId: next.leaseId, tasks: [task(name)] })
    const forged = await second.next('log', ({ isError }) => !isError)
    assert.deepEqual([forged.name, forged.lines], ['late', ['\u001eshoal:{"name":"x","to":"x"}', 'forged']])
    assert.deepEqual((await second.next('log')).lines, ['spoken without a marker'])
    await Promise.all([first.close(), second.close()])
  })

  test('the reason of a crash is told, and its output comes before the news', async (t) => {
    const daemon = await startDaemonProcess(t, { cpus: 1 })
    const client = await FakeClient.attach(daemon.socketPath)
    const thrown = await client.lease()
    client.send('taskPush', { leaseId: thrown.leaseId, tasks: [task('throw')] })
    assert.equal((await client.next('leaseLost')).reason, 'exit code 1; its last words: RangeError: THE REASON')
    assert.ok(client.arrived.indexOf('log') < client.arrived.indexOf('leaseLost'))
    const aborted = await client.lease()
    client.send('taskPush', { leaseId: aborted.leaseId, tasks: [task('speak'), task('abort')] })
    assert.match((await client.next('leaseLost')).reason, /^signal SIGABRT; its last words: \S/)
    const killed = await client.lease()
    client.send('taskPush', { leaseId: killed.leaseId, tasks: [task('speak')] })
    await client.next('log', ({ lines }) => lines.includes('spoken without a marker'))
    client.send('leaseKill', { leaseId: killed.leaseId, reason: 'cancelled' })
    assert.equal((await client.next('leaseLost')).reason, 'cancelled')
    await client.close()
  })
})
