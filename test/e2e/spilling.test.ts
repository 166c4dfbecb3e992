import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { NodeOptions } from '../../node/options.ts'
import type { NodeStatus } from '../../node/status.ts'
import {
  isRunning,
  nodeFileOf,
  startDaemonProcess,
  temporaryDirectory,
  until,
  type DaemonProcess,
} from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'

const workerEntry = fileURLToPath(new URL('../../sdk/worker/main.ts', import.meta.url))
const mebibyte = 1024 * 1024

function startDaemon(t: TestContext, options: NodeOptions): Promise<DaemonProcess> {
  return startDaemonProcess(t, { workerEntry, ...options })
}

/** A program with values that can be told from each other, byte by byte. */
function program(runtimeDirectory: string, source: string): DriverProgram {
  return new DriverProgram(
    `import { init, remote, get, put, wait, taskContext } from 'SDK'
    import { existsSync } from 'node:fs'
    const size = 4 * ${mebibyte}
    const make = (seed: number, bytes = size) => { const data = new Uint8Array(bytes); for (let i = 0; i < bytes; i++) data[i] = (i * 7 + (i >> 8) + seed * 31) & 255; return data }
    const isRight = (data: Uint8Array, seed: number, bytes = size) => Buffer.compare(data, make(seed, bytes)) === 0
    const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
    await init()
    ${source}`,
    { SHOAL_RUNTIME_DIR: runtimeDirectory },
  )
}

async function resultOf(driver: DriverProgram): Promise<unknown> {
  const { stdout, stderr, code } = await driver.ended()
  assert.equal(code, 0, stderr)
  return JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? 'null')
}

function bytesIn(directory: string): number {
  return readdirSync(directory).reduce(
    (sum, name) => sum + (statSync(path.join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}

async function statusOf(daemon: DaemonProcess): Promise<NodeStatus> {
  const client = await FakeClient.attach(daemon.socketPath, { role: 'command' })
  client.send('statusGet', { requestId: 1 })
  const { status } = await client.next('statusReply')
  await client.close()
  return status as NodeStatus
}

/** What a node has put on the disk. */
function spillFolderOf(daemon: DaemonProcess): string {
  return nodeFileOf(daemon).spillDirectory
}

describe('a store that is too small for the work', () => {
  test('three times its size, put and made by tasks: right to the byte, and nothing is left', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 40 * mebibyte, spillDirectory: disk })
    const folder = spillFolderOf(daemon)
    assert.equal(path.dirname(folder), disk)
    await using driver = program(
      daemon.runtimeDirectory,
      `
      const puts = Array.from({ length: 20 }, (_, i) => put(make(i)))
      const makeThere = remote((seed: number) => make(seed))
      const made = Array.from({ length: 15 }, (_, i) => makeThere.remote(100 + i))
      await wait(made, { count: made.length })
      const sum = remote((data: Uint8Array, seed: number) => isRight(data, seed))
      const right = [
        ...await Promise.all(puts.map(async (ref, i) => isRight(await get(ref), i))),
        ...await Promise.all(made.map(async (ref, i) => isRight(await get(ref), 100 + i))),
        ...await get(puts.map((ref, i) => sum.remote(ref, i))),
        ...await get(made.map((ref, i) => sum.remote(ref, 100 + i))),
      ]
      console.log('READ')
      while (!existsSync('enough')) await new Promise((resolve) => setTimeout(resolve, 20))
      tell([right.length, right.every(Boolean), puts.length + made.length])`,
    )
    await driver.printed(/READ/)
    assert.ok(bytesIn(folder) > 60 * mebibyte, `${bytesIn(folder)} bytes are on the disk`)
    const { usedBytes, bytesMax } = (await statusOf(daemon)).store
    assert.ok(usedBytes <= bytesMax, `${usedBytes} bytes are in memory`)
    assert.ok(readdirSync(folder).length < 35, 'small values share files')
    // Values pass through the memory that is shared, not through the node's own.
    const ownKilobytes = Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1])
    assert.ok(ownKilobytes < 256 * 1024, `the node has ${ownKilobytes} kB of its own`)
    writeFileSync(path.join(driver.directory, 'enough'), '')
    assert.deepEqual(await resultOf(driver), [70, true, 35])
    await until('all is freed on the disk', () => readdirSync(folder).length === 0)
    // What the program still looked at is free when its process is gone, and what workers did when they have collected it.
    let left = [1]
    for (const end = Date.now() + 30_000; left.some((each) => each > 0) && Date.now() < end;) {
      const { store } = await statusOf(daemon)
      left = [store.objects, store.usedBytes, store.spilled.bytes]
    }
    assert.deepEqual(left, [0, 0, 0])
  })

  test('a value that is larger than the store', async (t) => {
    const daemon = await startDaemon(t, { storeBytesMax: 2 * mebibyte, spillDirectory: temporaryDirectory() })
    await using driver = program(
      daemon.runtimeDirectory,
      `
      const double = remote((data: Uint8Array) => data.map((byte) => byte * 2))
      const doubled = await get(double.remote(put(make(1))))
      tell(doubled.length === size && Buffer.compare(doubled, make(1).map((byte) => byte * 2)) === 0)`,
    )
    assert.equal(await resultOf(driver), true)
  })

  test('full, it fails calls whose arguments have no room, and errors arrive nevertheless', async (t) => {
    const daemon = await startDaemon(t, { cpus: 1, storeBytesMax: 8 * mebibyte, spill: false })
    await using driver = program(
      daemon.runtimeDirectory,
      `const small = remote((i: number) => 'x'.repeat(90_000) + i)
      const refs = Array.from({ length: 60 }, (_, i) => small.remote(i))
      await wait(refs, { count: refs.length })
      const hold = put(make(1, 7.9 * ${mebibyte}))
      const outcome = (work: Promise<unknown>) => work.catch((error: { code?: string; message: string }) => error.code ?? error.message)
      const total = remote((...texts: string[]) => texts.length)
      class Counter {
        count = 0
        total(...texts: string[]) { this.count++; return texts.length }
        fail() { this.count++; throw Object.assign(new RangeError('too much'), { data: 'x'.repeat(500_000), hint: 7 }) }
        counted() { return this.count }
      }
      const Counters = remote(Counter)
      const counter = Counters.remote()
      const Built = remote(class { length: number; constructor(...texts: string[]) { this.length = texts.length } get() { return this.length } })
      const fail = remote(() => { throw Object.assign(new RangeError('too much'), { data: 'x'.repeat(500_000), hint: 7 }) }, { maxRetries: 0 })
      const failed = (work: Promise<unknown>) => work.then(() => 'right', (error: { name: string; message: string; hint: number; data: unknown }) => [error instanceof RangeError, error.message, error.hint, error.data])
      tell({
        some: await outcome(get(total.remote(...refs.slice(0, 20)))),
        many: await outcome(get(total.remote(...refs))),
        call: await outcome(get(counter.total.remote(...refs))),
        made: await outcome(get(Built.remote(...refs).get.remote())),
        error: await failed(get(fail.remote())),
        callError: await failed(get(counter.fail.remote())),
        counted: await get(counter.counted.remote()),
        after: await get(total.remote(refs[0]!, 'b')),
        hold: isRight(await get(hold), 1, 7.9 * ${mebibyte} | 0),
      })`,
    )
    assert.deepEqual(await resultOf(driver), {
      some: 20,
      many: 'OBJECT_STORE_FULL',
      call: 'OBJECT_STORE_FULL',
      made: 'ACTOR_DIED',
      error: [true, 'too much', 7, null],
      callError: [true, 'too much', 7, null],
      counted: 1,
      after: 2,
      hold: true,
    })
  })

  test('without a disk it says that it is full', async (t) => {
    const daemon = await startDaemon(t, { storeBytesMax: 2 * mebibyte, spill: false })
    assert.equal(nodeFileOf(daemon).spillDirectory, '')
    await using driver = program(
      daemon.runtimeDirectory,
      `try { put(make(1)) } catch (error) { tell([(error as { code: string }).code, (error as { retryable: boolean }).retryable]) }`,
    )
    assert.deepEqual(await resultOf(driver), ['OBJECT_STORE_FULL', true])
  })

  test('a full disk: a clear error, nothing lost, and all goes on when there is room again', async (t) => {
    const disk = temporaryDirectory()
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk], { stdio: 'ignore' })
    } catch {
      return t.skip('needs the right to mount a file system')
    }
    t.after(() => execFileSync('umount', ['-l', disk]))
    const daemon = await startDaemon(t, { storeBytesMax: 12 * mebibyte, spillDirectory: disk })
    await using driver = program(
      daemon.runtimeDirectory,
      `
      const refs = []
      let full
      for (let i = 0; i < 100 && full === undefined; i++) {
        try { refs.push(put(make(i))) } catch (error) { full = error as { code: string, message: string } }
      }
      const huge = (() => { try { put(new Uint8Array(40 * ${mebibyte})) } catch (error) { return (error as { code: string }).code } })()
      const makeThere = remote((seed: number) => make(seed), { maxRetries: 0 })
      const failed = await get(makeThere.remote(7)).catch((error: { code: string }) => error.code)
      const right = await Promise.all(refs.map(async (ref, i) => isRight(await get(ref), i)))
      const kept = refs.length
      refs.length = 0
      let again
      for (let i = 0; i < 200 && again === undefined; i++) {
        try { again = put(make(9)) } catch { globalThis.gc?.(); await new Promise((resolve) => setTimeout(resolve, 50)) }
      }
      tell({ code: full?.code, names: full?.message.includes('disk'), huge, failed, kept: kept >= 5, right: right.every(Boolean), again: again !== undefined && isRight(await get(again), 9) })`,
    )
    assert.deepEqual(await resultOf(driver), {
      code: 'OBJECT_STORE_FULL',
      names: true,
      huge: 'OBJECT_STORE_FULL',
      failed: 'OBJECT_STORE_FULL',
      kept: true,
      right: true,
      again: true,
    })
  })

  test('nothing stays on the disk when the node is killed', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 2 * mebibyte, spillDirectory: disk })
    await using driver = program(
      daemon.runtimeDirectory,
      `const ref = put(make(1)); console.log('PUT'); await new Promise(() => {}); tell(ref)`,
    )
    await driver.printed(/PUT/)
    assert.ok(bytesIn(spillFolderOf(daemon)) > 0)
    process.kill(daemon.pid, 'SIGKILL')
    await once(daemon.child, 'exit')
    await until('the disk is clean', () => readdirSync(disk).length === 0)
  })

  test('a node that is killed with its guardian: the next one cleans the disk', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 2 * mebibyte, spillDirectory: disk })
    const { guardianPid } = nodeFileOf(daemon)
    await using driver = program(
      daemon.runtimeDirectory,
      `const ref = put(make(1)); console.log('PUT'); await new Promise(() => {}); tell(ref)`,
    )
    await driver.printed(/PUT/)
    const folder = spillFolderOf(daemon)
    // Else it would see that its guardian is gone, and start another one.
    process.kill(daemon.pid, 'SIGSTOP')
    process.kill(guardianPid, 'SIGKILL')
    process.kill(daemon.pid, 'SIGKILL')
    await once(daemon.child, 'exit')
    await until('the guardian is gone', () => !isRunning(guardianPid))
    assert.ok(bytesIn(folder) > 0)
    const { runtimeDirectory } = daemon
    const next = await startDaemon(t, { storeBytesMax: 2 * mebibyte, spillDirectory: disk, runtimeDirectory })
    assert.ok(!existsSync(folder))
    assert.deepEqual(readdirSync(disk), [path.basename(spillFolderOf(next))])
  })

  test('a file that is damaged, cut short or gone is a lost value, and no other is', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 9 * mebibyte, spillDirectory: disk })
    await using driver = program(
      daemon.runtimeDirectory,
      `
      const refs = Array.from({ length: 12 }, (_, i) => put(make(i)))
      console.log('PUT')
      while (!existsSync('damaged')) await new Promise((resolve) => setTimeout(resolve, 20))
      const read = await Promise.all(refs.map((ref, i) => get(ref).then((data) => isRight(data, i) ? 'right' : 'wrong', (error: { code: string, message: string }) => error.code + ': ' + error.message)))
      tell(read)`,
    )
    await driver.printed(/PUT/)
    const folder = spillFolderOf(daemon)
    await until('some are on the disk', () => readdirSync(folder).length >= 3)
    const [first, second, third] = readdirSync(folder).map((file) => path.join(folder, file))
    writeFileSync(first as string, 'x')
    truncateSync(second as string, 1000)
    rmSync(third as string)
    writeFileSync(path.join(driver.directory, 'damaged'), '')
    const read = (await resultOf(driver)) as string[]
    const lost = read.filter((each) => each !== 'right')
    assert.ok(lost.length > 0 && lost.length < read.length, read.join('\n'))
    for (const each of lost)
      assert.match(each, /^OBJECT_LOST: .*its file( on the disk)? (is damaged|was cut short|is gone)/)
  })

  test('a file that the system does not read this time is no loss: the next get has the value, and no task runs again', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 9 * mebibyte, spillDirectory: disk })
    await using driver = program(
      daemon.runtimeDirectory,
      `
      import { appendFileSync, readFileSync } from 'node:fs'
      const log = process.cwd() + '/runs'
      const call = remote((seed: number) => { appendFileSync(log, 'x'); return make(seed) })
      const refs = [put(make(0)), call.remote(1)]
      await wait(refs, { count: 2 })
      const more = Array.from({ length: 8 }, () => put(make(9)))
      const read = () => Promise.all(refs.map((ref, i) => get(ref).then((data) => isRight(data, i) ? 'right' : 'wrong', (error) => error.code + ' ' + error.retryable)))
      const next = async (file: string) => { console.log('BEFORE ' + file); while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20)) }
      await next('away')
      const first = await read()
      await next('back')
      tell([first, await read(), readFileSync(log, 'utf8'), more.length])`,
    )
    await driver.printed(/BEFORE away/)
    const folder = spillFolderOf(daemon)
    await until('most are on the disk', () => bytesIn(folder) >= 8 * 4 * mebibyte)
    const files = readdirSync(folder).map((file) => path.join(folder, file))
    for (const file of files) {
      renameSync(file, `${file}.away`)
      mkdirSync(file)
    }
    writeFileSync(path.join(driver.directory, 'away'), '')
    await driver.printed(/BEFORE back/)
    for (const file of files) {
      rmdirSync(file)
      renameSync(`${file}.away`, file)
    }
    writeFileSync(path.join(driver.directory, 'back'), '')
    const [first, second, runs] = (await resultOf(driver)) as [string[], string[], string]
    assert.deepEqual(first, ['OBJECT_UNAVAILABLE true', 'OBJECT_UNAVAILABLE true'])
    assert.deepEqual([second, runs], [['right', 'right'], 'x'])
  })

  test('what one task has made and the disk has lost comes back of one more run', async (t) => {
    const disk = temporaryDirectory()
    const daemon = await startDaemon(t, { storeBytesMax: 9 * mebibyte, spillDirectory: disk, cpus: 1 })
    await using driver = program(
      daemon.runtimeDirectory,
      `
      import { appendFileSync, readFileSync } from 'node:fs'
      const log = process.cwd() + '/runs'
      const several = remote(() => { appendFileSync(log, 's'); return Array.from({ length: 6 }, (_, i) => make(i, ${mebibyte})) })
      const stream = remote(function* () { appendFileSync(log, 'i'); for (let i = 0; i < 6; i++) yield make(i, ${mebibyte}) })
      const refs = several.options({ numReturns: 6 }).remote()
      await wait(refs, { count: 6 })
      const items = []
      for await (const item of stream.remote()) items.push(item)
      const more = Array.from({ length: 6 }, () => put(make(9)))
      console.log('BEFORE')
      while (!existsSync('gone')) await new Promise((resolve) => setTimeout(resolve, 20))
      const read = []
      for (const all of [refs, items]) for (const [i, ref] of all.entries()) read.push(await get(ref).then((data) => isRight(data, i, ${mebibyte}), (error) => error.message))
      tell([read, readFileSync(log, 'utf8'), more.length])`,
    )
    await driver.printed(/BEFORE/)
    const folder = spillFolderOf(daemon)
    await until('they are on the disk', () => bytesIn(folder) >= 26 * mebibyte)
    for (const file of readdirSync(folder)) rmSync(path.join(folder, file))
    writeFileSync(path.join(driver.directory, 'gone'), '')
    const [read, runs] = (await resultOf(driver)) as [unknown[], string]
    assert.deepEqual([read, runs], [Array.from({ length: 12 }, () => true), 'sisi'])
  })

  test('a place that cannot be used is an error at the start', async (t) => {
    const { ready } = await startDaemon(t, { spillDirectory: '/dev/null/spill' })
    assert.match(ready.error?.message ?? '', /--spill-dir/)
  })
})
