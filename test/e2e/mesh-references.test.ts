import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'

const mebibyte = 1024 * 1024

describe('references in a mesh', () => {
  let mesh: LocalMesh
  before(async () => {
    // The stores are small, so that values are on the disk as well.
    mesh = await startLocalMesh({ nodes: 3, cpus: 1, options: { storeBytesMax: 16 * mebibyte } })
  })
  after(() => mesh[Symbol.asyncDispose]())

  /** A program at the first node that can run tasks where it likes and let go of what it has. */
  function program(source: string): DriverProgram {
    const [home, second, third] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    return new DriverProgram(
      `
      import { init, remote, get, put, ObjectRef } from 'SDK'
      import { existsSync } from 'node:fs'
      import { setFlagsFromString } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      /** Until the file is there; meanwhile this program finds what it does not use any more. */
      const until = async (file: string) => { while (!existsSync(file)) { collect(); await new Promise((r) => setTimeout(r, 20)) } }
      const bytes = (fill: number) => new Uint8Array(${mebibyte}).fill(fill)
      const on = (nodeId: string, more = {}) => ({ schedulingStrategy: { nodeId }, ...more })
      const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
      declare global { var kept: ObjectRef<Uint8Array>[] }
      const [second, third] = ${JSON.stringify([second.nodeId, third.nodeId])} as [string, string]
      await init()
      ${source}`,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
  }

  async function resultOf(driver: DriverProgram): Promise<unknown> {
    const [, result = 'null'] = await driver.printed(/RESULT (.*)/)
    return JSON.parse(result)
  }

  function allow(driver: DriverProgram, file: string): void {
    writeFileSync(path.join(driver.directory, file), '')
  }

  /** Of each node: objects, bytes in memory, bytes on the disk. */
  async function stores(): Promise<number[][]> {
    const clients = await Promise.all(
      mesh.nodes.map(({ socketPath }) => FakeClient.attach(socketPath, { role: 'command' })),
    )
    try {
      return await Promise.all(
        clients.map(async (client) => {
          client.send('statusGet', { requestId: 1 })
          const { store } = (await client.next('statusReply')).status as NodeStatus
          return [store.objects, store.usedBytes, store.spilled.bytes]
        }),
      )
    } finally {
      await Promise.all(clients.map((client) => client.close()))
    }
  }

  /** Waits until no node has anything left, in memory or on the disk; the test's own time limit ends a vain wait. */
  async function allFreed(): Promise<void> {
    while ((await stores()).flat().some((each) => each > 0)) await delay(50)
  }

  test('in objects that refs in objects lead to', { timeout: 120_000 }, async () => {
    await using driver = program(`
      type Nest = { data: ObjectRef<Uint8Array>, inner?: ObjectRef<Nest> }
      const build = (): ObjectRef<Nest> => {
        let nest = put<Nest>({ data: put(bytes(0)) })
        for (let depth = 1; depth < 12; depth++) nest = put<Nest>({ data: put(bytes(depth)), inner: nest })
        return nest
      }
      const inner = remote(async (at: { nest: ObjectRef<Nest> }) => (await get(at.nest)).inner)
      const sum = remote(async (at: { nest: ObjectRef<Nest> | undefined }) => {
        const found: number[] = []
        while (at.nest !== undefined) {
          const { data, inner } = await get(at.nest)
          found.push((await get(data))[1000] as number)
          at = { nest: inner }
        }
        return found
      })
      await (async () => {
        const nest = await get(inner.options(on(second)).remote({ nest: build() }))
        collect()
        tell(await get(sum.options(on(third)).remote({ nest })))
      })()
      await until('end')`)
    assert.deepEqual(await resultOf(driver), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    // While the program and its workers live: they have let go by themselves.
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })

  test('that a task returned, in the hands of a third process from task to task', { timeout: 120_000 }, async () => {
    await using driver = program(`
      const make = remote((fill: number) => ({ box: put(bytes(fill)) }), on(second))
      const keep = remote((at: { box: ObjectRef<Uint8Array> }) => { (globalThis.kept ??= []).push(at.box) }, on(third))
      const read = remote(async () => Promise.all(globalThis.kept.map(async (ref) => (await get(ref))[5])), on(third))
      const drop = remote(() => { globalThis.kept = [] }, on(third))
      for (const fill of [1, 2, 3]) await (async () => { await get(keep.remote(await get(make.remote(fill)))) })()
      collect()
      const rounds = []
      for (let round = 0; round < 3; round++) { rounds.push(await get(read.remote())); collect() }
      tell(rounds)
      await until('drop')
      await get(drop.remote())
      await until('end')`)
    assert.deepEqual(
      await resultOf(driver),
      [1, 2, 3].map(() => [1, 2, 3]),
    )
    assert.ok((await stores()).flat().some((each) => each > 0))
    allow(driver, 'drop')
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })

  test('that a function closes over', { timeout: 120_000 }, async () => {
    await using driver = program(`
      const makeReader = () => { const box = put({ data: put(bytes(7)) }); return async () => (await get((await get(box)).data))[9] }
      const reader = remote(makeReader())
      collect()
      const found = []
      for (const nodeId of [second, third, second]) found.push(await get(reader.options(on(nodeId)).remote()))
      tell(found)`)
    assert.deepEqual(await resultOf(driver), [7, 7, 7])
    await driver.ended()
    // For as long as the function is known; the program’s end is the end of it.
    await allFreed()
  })

  test('of a borrower that is killed', { timeout: 120_000 }, async () => {
    await using driver = program(`
      const keep = remote((at: { box: ObjectRef<Uint8Array> }) => { (globalThis.kept ??= []).push(at.box); return process.pid }, on(third, { maxRetries: 0 }))
      const read = remote(async () => [process.pid, (await get(globalThis.kept[0]))[5]], on(third, { maxRetries: 0 }))
      const pid = await (async () => get(keep.remote({ box: put(bytes(4)) })))()
      collect()
      tell([pid, ...await get(read.remote())])
      await until('end')`)
    const [pid, samePid, value] = (await resultOf(driver)) as [number, number, number]
    assert.deepEqual([samePid, value], [pid, 4])
    process.kill(pid, 'SIGKILL')
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })

  test('that were lent by a process which has died since', { timeout: 120_000 }, async () => {
    await using driver = program(`
      const keep = remote((at: { box: ObjectRef<Uint8Array> }) => { (globalThis.kept ??= []).push(at.box) }, on(third))
      const passOn = remote(async (at: { box: ObjectRef<Uint8Array> }) => { await get(keep.remote(at)); return process.pid }, on(second))
      const read = remote(async () => Promise.all(globalThis.kept.map(async (ref) => (await get(ref))[5])), on(third))
      const drop = remote(() => { globalThis.kept = [] }, on(third))
      await get(drop.remote())
      const pid = await (async () => get(passOn.remote({ box: put(bytes(5)) })))()
      process.kill(pid, 'SIGKILL')
      // It runs where the other one was, so that one is gone, and everybody has been told.
      await get(remote(() => 1, on(second)).remote())
      collect()
      tell(await get(read.remote()))
      await until('drop')
      await get(drop.remote())
      await until('end')`)
    assert.deepEqual(await resultOf(driver), [5])
    assert.ok((await stores()).flat().some((each) => each > 0))
    allow(driver, 'drop')
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })

  test('to what an owner has that is killed: whoever waits for it hears so', { timeout: 120_000 }, async () => {
    await using driver = program(`
      const never = remote(() => new Promise<number>(() => {}), on(second, { numCpus: 0 }))
      const own = remote(() => ({ pid: process.pid, box: put(bytes(1)), never: never.remote() }), on(second, { maxRetries: 0 }))
      const waitFor = remote(async (at: { ref: ObjectRef }) => {
        try { return await get(at.ref) } catch (error) { return (error as { code: string }).code }
      }, on(third))
      const { pid, box, never: pending } = await get(own.remote())
      const there = waitFor.remote({ ref: pending })
      const here = get(pending).catch((error: { code: string }) => error.code)
      // The borrower there has asked its owner when it gives its CPU to this.
      await get(remote(() => 1, on(third)).remote())
      process.kill(pid, 'SIGKILL')
      tell([await get(there), await here, await get(box).catch((error: { code: string }) => error.code), await get(waitFor.remote({ ref: box }))])
      await until('end')`)
    assert.deepEqual(await resultOf(driver), Array(4).fill('OWNER_DIED'))
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })

  test(
    'a result that a worker had stored when it was killed, and that nobody knows of',
    { timeout: 120_000 },
    async () => {
      await using driver = program(`
      const dying = {
        get value() {
          // What it has said by then goes out when it waits.
          void get(remote(() => 1, { numCpus: 0 }).remote()).catch(() => undefined)
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
          process.kill(process.pid, 'SIGKILL')
          return 1
        },
      }
      const make = remote(() => [bytes(1), dying], on(second, { numReturns: 2, maxRetries: 0 }))
      const [first] = make.remote() as unknown as ObjectRef[]
      tell(await get(first as ObjectRef).catch((error: { code: string }) => error.code))
      await until('end')`)
      assert.equal(await resultOf(driver), 'WORKER_CRASHED')
      await allFreed()
      allow(driver, 'end')
      await driver.ended()
    },
  )

  test('in errors: shared by several results, retried, and at the end of a stream', { timeout: 120_000 }, async () => {
    await using driver = program(`
      type Failure = Error & { box: ObjectRef<Uint8Array>, data: Uint8Array }
      const failure = (box: ObjectRef<Uint8Array>) => Object.assign(new Error('no'), { box, data: bytes(3) })
      const fail = remote((at: { box: ObjectRef<Uint8Array> }): unknown => { throw failure(at.box) }, on(second))
      const stream = remote(async function* (at: { box: ObjectRef<Uint8Array> }) { yield 1; throw failure(at.box) }, on(second))
      const make = remote(() => ({ box: put(bytes(6)) }), on(third))
      const use = remote((value: unknown) => value, on(third))
      const caught = async (ref: ObjectRef) => get(ref).then(() => { throw new Error('it has not failed') }, (error: Failure) => error)
      const look = async ({ box, data }: Failure) => [(await get(box))[8], data[8]]
      const found: unknown[] = []
      const three = async (at: { box: ObjectRef<Uint8Array> }) => fail.options({ numReturns: 3 }).remote(at) as unknown as ObjectRef[]
      await (async () => {
        const at = await get(make.remote())
        let refs = await three(at)
        found.push(await look(await caught(refs[0] as ObjectRef)))
        refs = refs.slice(2)
        for (let i = 0; i < 3; i++) { collect(); await new Promise((resolve) => setTimeout(resolve, 20)) }
        found.push(await look(await caught(refs[0] as ObjectRef)))
        found.push(await look(await caught(use.remote(refs[0]))))
        found.push(await look(await caught(fail.options({ retryExceptions: true, maxRetries: 3 }).remote(at))))
        try { for await (const ref of stream.remote(at)) await get(ref) } catch (error) { found.push(await look(error as Failure)) }
        found.push((await get(at.box))[8])
      })()
      tell(found)
      await until('end')`)
    assert.deepEqual(await resultOf(driver), [...[1, 2, 3, 4, 5].map(() => [6, 3]), 6])
    await allFreed()
    allow(driver, 'end')
    await driver.ended()
  })
})
