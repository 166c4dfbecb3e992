import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { protocolVersion, type MessageBody } from '../../protocols/messages.ts'
import type { NodeStatus } from '../../node/status.ts'
import { startDaemonProcess, type DaemonProcess } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'

const workerEntry = fileURLToPath(new URL('../../sdk/worker/main.ts', import.meta.url))
const mebibyte = 1024 * 1024
let lastName = 0

/** The second connection of a client, on which it asks for room. */
async function storeChannel({ socketPath }: DaemonProcess, clientId: string): Promise<FakeClient> {
  const channel = await FakeClient.connect(socketPath)
  channel.send('storeAttach', { protocol: protocolVersion, clientId })
  return channel
}

function ask(channel: FakeClient, owner: string, bytes: number, name = nextName()): string {
  channel.send('storeAllocate', { requestId: 1, name, bytes, owner, isAhead: false })
  return name
}

function nextName(): string {
  return (++lastName).toString(16).padStart(32, '0')
}

function stored(client: FakeClient, name: string, bytes: number): void {
  client.send('objectStored', { name, bytes, owner: client.id, object: '', crc: 0, isFile: false })
}

async function statusOf(watcher: FakeClient): Promise<NodeStatus> {
  watcher.send('statusGet', { requestId: 1 })
  return (await watcher.next('statusReply')).status as NodeStatus
}

async function usedBytes(watcher: FakeClient): Promise<number> {
  return (await statusOf(watcher)).store.usedBytes
}

/** The tables of pins of those that have left. */
async function tablesLeft(watcher: FakeClient): Promise<number> {
  const { store, clients } = await statusOf(watcher)
  return store.pinTables - clients.filter(({ role }) => role !== 'command').length
}

async function untilIs(wanted: number, figure: () => Promise<number>): Promise<void> {
  const end = Date.now() + 10_000
  for (let found = await figure(); found !== wanted; found = await figure()) {
    assert.ok(Date.now() < end, `it is ${found} and not ${wanted}`)
    await delay(10)
  }
}

function untilUsed(watcher: FakeClient, bytes: number): Promise<void> {
  return untilIs(bytes, () => usedBytes(watcher))
}

/** A process that does nothing until it is killed. */
function idleProcess(t: TestContext): ChildProcess {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' })
  t.after(() => void child.kill('SIGKILL'))
  return child
}

describe('clients of the object store that come to grief', () => {
  test('room stays with a writer whose connection has ended, until its process has', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 1_000_000, spill: false, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    const other = await FakeClient.attach(daemon.socketPath)
    const process = idleProcess(t)
    const writer = await FakeClient.attach(daemon.socketPath, { pid: process.pid as number })
    const channel = await storeChannel(daemon, writer.id)
    ask(channel, writer.id, 800_000)
    assert.equal((await channel.next('storePlaced')).kind, 'memory')
    await writer.close()
    await channel.closed
    // It may be writing there at this moment.
    const otherChannel = await storeChannel(daemon, other.id)
    ask(otherChannel, other.id, 800_000)
    assert.equal((await otherChannel.next('storePlaced')).kind, 'refused')
    assert.equal(await usedBytes(watcher), 800_000)
    process.kill('SIGKILL')
    await once(process, 'exit')
    await untilUsed(watcher, 0)
    ask(otherChannel, other.id, 800_000)
    assert.equal((await otherChannel.next('storePlaced')).kind, 'memory')
  })

  test('the owner of a result dies while it is written: nobody else is given that room', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 1_000_000, spill: false, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    const owner = await FakeClient.attach(daemon.socketPath, { pid: 2 ** 22 - 1 })
    const writer = await FakeClient.attach(daemon.socketPath)
    const channel = await storeChannel(daemon, writer.id)
    const name = ask(channel, owner.id, 800_000)
    const first = await channel.next('storePlaced')
    await owner.close()
    await writer.next('clientGone', ({ client }) => client === owner.id)
    ask(channel, writer.id, 800_000)
    assert.equal((await channel.next('storePlaced')).kind, 'refused')
    // Now it is done, and the value is nobody's.
    writer.send('objectStored', { name, bytes: 800_000, owner: owner.id, object: '', crc: 0, isFile: false })
    await untilUsed(watcher, 0)
    ask(channel, writer.id, 800_000)
    const second = await channel.next('storePlaced')
    assert.deepEqual([second.kind, second.offset], ['memory', first.offset])
    assert.notEqual(second.generation, first.generation)
  })

  test('room ahead of need: only from what is free, given back when it is not needed, and as small as what was written', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 1_000_000, spill: false, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    const client = await FakeClient.attach(daemon.socketPath)
    const channel = await storeChannel(daemon, client.id)
    const askAhead = async (bytes: number): Promise<{ name: string; kind: string }> => {
      const name = nextName()
      channel.send('storeAllocate', { requestId: 1, name, bytes, owner: client.id, isAhead: true })
      return { name, kind: (await channel.next('storePlaced')).kind }
    }
    assert.equal((await askAhead(600_000)).kind, 'refused', 'more than half of the store')
    const unused = await askAhead(400_000)
    assert.equal(unused.kind, 'memory')
    assert.equal((await askAhead(200_000)).kind, 'refused', 'what is given counts')
    channel.send('storeAbandon', { name: unused.name })
    await untilUsed(watcher, 0)
    // Not needed any more before there is an answer.
    const hasty = nextName()
    channel.send('storeAllocate', { requestId: 2, name: hasty, bytes: 400_000, owner: client.id, isAhead: true })
    channel.send('storeAbandon', { name: hasty })
    assert.equal((await channel.next('storePlaced')).requestId, 2)
    await untilUsed(watcher, 0)
    ask(channel, client.id, 400_000, hasty)
    assert.equal((await channel.next('storePlaced')).kind, 'memory')
    channel.send('storeAbandon', { name: hasty })
    const { name } = await askAhead(400_000)
    stored(client, name, 100_000)
    await untilUsed(watcher, 100_000)
    ask(channel, client.id, 900_000)
    assert.equal((await channel.next('storePlaced')).kind, 'memory', 'the rest of that room is free')
  })

  test('a program that puts many values and then none keeps no room for another', async (t) => {
    const { runtimeDirectory, socketPath } = await startDaemonProcess(t, { storeBytesMax: 100_000_000, mesh: false })
    const watcher = await FakeClient.attach(socketPath, { role: 'command' })
    await using driver = new DriverProgram(
      `
      import { init, get, put } from 'SDK'
      await init()
      // Each as large as, larger or smaller than what the one before it lets expect.
      const sizes = [1_000_000, 1_000_000, 1_050_000, 3_000_000, 200_000, 200_000, 9_000_000, 150_000]
      const refs = sizes.map((size, i) => put(new Uint8Array(size).fill(i + 1)))
      const right = (await Promise.all(refs.map((ref) => get(ref)))).map((value, i) => value.length === sizes[i] && value.every((byte) => byte === i + 1))
      console.log('RIGHT ' + right.every(Boolean) + ' ' + refs.length)
      await new Promise((resolve) => setTimeout(resolve, 1e6))
      `,
      { SHOAL_RUNTIME_DIR: runtimeDirectory },
    )
    await driver.printed(/RIGHT true 8/)
    const sum = [1_000_000, 1_000_000, 1_050_000, 3_000_000, 200_000, 200_000, 9_000_000, 150_000].reduce(
      (a, b) => a + b,
    )
    const end = Date.now() + 10_000
    let used = Infinity
    // Values have a little more to them than their bytes.
    for (; used > sum + 8 * 5000; used = await usedBytes(watcher))
      assert.ok(Date.now() < end, `${used} of ${sum} bytes`)
    assert.ok(used >= sum)
    driver.kill('SIGKILL')
    await untilUsed(watcher, 0)
  })

  test('a second channel takes the place of the first', async (t) => {
    const daemon = await startDaemonProcess(t, { mesh: false })
    const client = await FakeClient.attach(daemon.socketPath)
    const first = await storeChannel(daemon, client.id)
    ask(first, client.id, 10)
    await first.next('storePlaced')
    const second = await storeChannel(daemon, client.id)
    await first.closed
    ask(second, client.id, 10)
    assert.equal((await second.next('storePlaced')).kind, 'memory')
    ask(second, client.id, 10)
    assert.equal((await second.next('storePlaced')).kind, 'memory')
  })

  test('who breaks the rules on a channel loses it, and nothing else', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 1_000_000, spill: false, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    const client = await FakeClient.attach(daemon.socketPath)
    const filling = await storeChannel(daemon, client.id)
    const name = ask(filling, client.id, 900_000)
    await filling.next('storePlaced')
    stored(client, name, 900_000)
    const breaches: ((channel: FakeClient) => void)[] = [
      (channel) => void channel.socket.write(Buffer.alloc(64, 0xff)),
      (channel) => void channel.socket.write(Buffer.from([0xff, 0xff, 0xff, 0x7f, 1])),
      (channel) => channel.send('objectFreed', { names: [name] }),
      (channel) => void ask(channel, client.id, 10, '../../etc/passwd'),
      (channel) => void ask(channel, client.id, -1),
      // Two at once: the first of them waits.
      (channel) => void [ask(channel, client.id, 500_000), ask(channel, client.id, 500_000)],
    ]
    for (const breach of breaches) {
      const channel = await storeChannel(daemon, client.id)
      breach(channel)
      await channel.closed
      assert.ok(channel.arrived.includes('refused'))
    }
    const command = await storeChannel(daemon, watcher.id)
    assert.match((await command.next('refused')).message, /no client/)
    const unknown = await storeChannel(daemon, 'f'.repeat(32))
    assert.match((await unknown.next('refused')).message, /no client/)
    // The value is still there, and the client is served.
    assert.equal(await usedBytes(watcher), 900_000)
    const last = await storeChannel(daemon, client.id)
    ask(last, client.id, 50_000)
    assert.equal((await last.next('storePlaced')).kind, 'memory')
  })

  test('a channel that closes while its client waits for room: what is given then comes back', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 1_000_000, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    const [holder, waiter] = [await FakeClient.attach(daemon.socketPath), await FakeClient.attach(daemon.socketPath)]
    const holding = await storeChannel(daemon, holder.id)
    const name = ask(holding, holder.id, 900_000)
    await holding.next('storePlaced')
    const waiting = await storeChannel(daemon, waiter.id)
    ask(waiting, waiter.id, 900_000)
    await waiting.close()
    holder.send('storeAbandon', { name })
    await untilUsed(watcher, 0)
    const placed: MessageBody<'storePlaced'> = await waiter.store(daemon.socketPath, nextName(), 1_000_000)
    assert.equal(placed.kind, 'memory')
  })

  test('a program that comes and goes takes no more of the node than one that stays', async (t) => {
    const daemon = await startDaemonProcess(t, { storeBytesMax: 50 * mebibyte, mesh: false })
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    await using program = new DriverProgram(
      `
      import { init, get, put, release, shutdown } from 'SDK'
      import { once } from 'node:events'
      let view
      for (let i = 0; i < 12; i++) {
        await init()
        if (i % 3 > 0) view = await get(put(new Uint8Array(${mebibyte}).fill(i)))
        if (i % 3 === 1) release(view)
        if (i % 3 === 2 && i < 11) setTimeout(release, 100, view)
        await shutdown()
      }
      console.log('LEFT ' + view.every((byte) => byte === 11))
      await once(process.stdin, 'data')
      release(view)
      await new Promise((resolve) => setTimeout(resolve, 1e6))
      `,
      { SHOAL_RUNTIME_DIR: daemon.runtimeDirectory },
    )
    await program.printed(/LEFT true/)
    // All but the one through which it looks at its last value.
    await untilIs(1, () => tablesLeft(watcher))
    assert.ok((await usedBytes(watcher)) >= mebibyte)
    program.write('go on')
    await untilIs(0, () => tablesLeft(watcher))
    await untilUsed(watcher, 0)
  })

  test('a program that has left the node goes on looking at its values, and they stay as they are', async (t) => {
    const daemon = await startDaemonProcess(t, { workerEntry, storeBytesMax: 12 * mebibyte, spill: false })
    const source = (body: string): string => `
      import { init, get, put, shutdown } from 'SDK'
      import { existsSync } from 'node:fs'
      const make = (seed: number, bytes: number) => { const data = new Uint8Array(bytes); for (let i = 0; i < bytes; i++) data[i] = (i * 7 + (i >> 8) + seed * 31) & 255; return data }
      await init()
      ${body}`
    const env = { SHOAL_RUNTIME_DIR: daemon.runtimeDirectory }
    await using looking = new DriverProgram(
      source(`
      const view = await get(put(make(1, 6 * ${mebibyte})))
      await shutdown()
      console.log('LEFT')
      while (!existsSync('used')) await new Promise((resolve) => setTimeout(resolve, 20))
      console.log('RIGHT ' + (Buffer.compare(view, make(1, view.length)) === 0))`),
      env,
    )
    await looking.printed(/LEFT/)
    await using filling = new DriverProgram(
      source(`
      let isRight = true
      for (let i = 0; i < 6; i++) {
        let full = false
        try { put(make(9, 7 * ${mebibyte})) } catch { full = true }
        const data = make(i, 200_000)
        isRight &&= full && Buffer.compare(await get(put(data)), data) === 0
      }
      console.log('FILLED ' + isRight)`),
      env,
    )
    await filling.printed(/FILLED true/)
    writeFileSync(path.join(looking.directory, 'used'), '')
    await looking.printed(/RIGHT true/)
    const watcher = await FakeClient.attach(daemon.socketPath, { role: 'command' })
    await Promise.all([looking.ended(), filling.ended()])
    await untilUsed(watcher, 0)
  })
})
