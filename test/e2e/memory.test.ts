import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { HeldObject, MemoryReport } from '../../protocols/admin.ts'
import { shoal } from '../support/command-line.ts'
import { startDaemonProcess } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'

const workerEntry = fileURLToPath(new URL('../../sdk/worker/main.ts', import.meta.url))

/** Values of so many bytes, so that each can be told from the others. */
const bytes = {
  both: 9_000_000,
  kept: 8_000_000,
  argument: 7_000_000,
  result: 6_000_000,
  borrowed: 5_000_000,
  viewed: 4_000_000,
  inner: 3_000_000,
  other: 2_000_000,
  closedOver: 1_000_000,
}

describe('shoal memory', () => {
  test('says of each value who keeps it, and why', async (t) => {
    const { runtimeDirectory } = await startDaemonProcess(t, {
      workerEntry,
      mesh: false,
      cpus: 3,
      storeBytesMax: 100_000_000,
    })
    const empty = await shoal(runtimeDirectory, 'memory')
    assert.match(empty.stdout, /^The object store is empty/)
    await using driver = new DriverProgram(
      `
      import { init, remote, get, put } from 'SDK'
      import { existsSync } from 'node:fs'
      import { setFlagsFromString } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      await init()
      const bytes = ${JSON.stringify(bytes)}
      const end = ${JSON.stringify(path.join(runtimeDirectory, 'end'))}
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const make = remote(function make(size: number, _: Uint8Array) { return new Uint8Array(size) })
      const hold = remote(async (_: { ref: unknown }, __: Uint8Array) => { await until(end) })
      const kept = put(new Uint8Array(bytes.kept))
      const result = make.remote(bytes.result, put(new Uint8Array(bytes.argument)) as never)
      await get(result)
      const both = put(new Uint8Array(bytes.both))
      const other = make.remote(bytes.other, both as never)
      await get(other)
      const closedOver = put(new Uint8Array(bytes.closedOver))
      await get(remote(async () => void (await get(closedOver))).remote())
      const box = put({ inner: put(new Uint8Array(bytes.inner)) })
      const borrowed = put(new Uint8Array(bytes.borrowed))
      const viewed = put(new Uint8Array(bytes.viewed))
      const running = hold.remote({ ref: borrowed }, viewed as never)
      setFlagsFromString('--expose-gc')
      for (let i = 0; i < 5; i++) {
        await new Promise((r) => setTimeout(r, 10))
        runInNewContext('gc')()
      }
      console.log('READY')
      await until(end)
      await get(running)
      console.log(kept, result, both, other, box, closedOver)
      `,
      { SHOAL_RUNTIME_DIR: runtimeDirectory },
    )
    await driver.printed(/READY/)
    const whyOf = ({ holders }: HeldObject): string[] =>
      holders.map(({ process, why, count }) => `${process?.role} ${why} ${count}`).toSorted()
    const reported = async (): Promise<Map<number, HeldObject>> => {
      const { stdout } = await shoal(runtimeDirectory, 'memory', '--json')
      const { objects } = JSON.parse(stdout) as MemoryReport
      return new Map(objects.map((each) => [Math.floor(each.bytes / 1_000_000) * 1_000_000, each]))
    }
    let held = await reported()
    const isThere = (size: number, role: string): boolean =>
      held.get(size)?.holders.some(({ process }) => process?.role === role) === true
    for (let asks = 0; !isThere(bytes.borrowed, 'worker') || !isThere(bytes.viewed, 'worker'); asks++) {
      assert.ok(asks < 50, JSON.stringify([...held.values()]))
      held = await reported()
    }
    const found = (size: number): HeldObject => held.get(size) as HeldObject
    assert.deepEqual(whyOf(found(bytes.kept)), ['driver owner 1'])
    assert.deepEqual(
      whyOf(found(bytes.argument)).filter((why) => why.startsWith('driver')),
      ['driver rebuild 1'],
    )
    assert.deepEqual(
      whyOf(found(bytes.both)).filter((why) => why.startsWith('driver')),
      ['driver owner 1', 'driver rebuild 1'],
    )
    assert.deepEqual(whyOf(found(bytes.inner)), ['driver inside 1'])
    assert.ok(whyOf(found(bytes.closedOver)).includes('driver owner 1'))
    assert.ok(whyOf(found(bytes.closedOver)).includes('worker borrower 1'))
    assert.ok(whyOf(found(bytes.borrowed)).includes('driver owner 1'))
    assert.ok(whyOf(found(bytes.borrowed)).includes('driver task 1'))
    assert.ok(whyOf(found(bytes.borrowed)).includes('worker borrower 1'))
    assert.ok(whyOf(found(bytes.viewed)).includes('worker view 1'))
    assert.equal(found(bytes.result).made, 'result of make')
    assert.equal(found(bytes.kept).made, 'put')
    const { stdout } = await shoal(runtimeDirectory, 'memory')
    assert.match(stdout, /^OBJECT +SIZE +MADE BY +WHERE +KEPT BY\n/)
    assert.match(stdout, new RegExp(`put +memory +driver ${driver.pid} \\(driver\\.ts\\): ref\n`))
    assert.match(stdout, /driver \d+ \(driver\.ts\): to rebuild 1 result/)
    assert.match(stdout, /driver \d+ \(driver\.ts\): inside 1 value\n/)
    const objects = await shoal(runtimeDirectory, 'objects')
    assert.match(objects.stdout, /^OBJECT +SIZE +OWNER +KIND +WHERE +PINNED BY +REFS +AGE\n/)
    writeFileSync(path.join(runtimeDirectory, 'end'), '')
    assert.equal((await driver.ended()).code, 0)
  })

  test('a program that is busy does not keep the answer back for long, and is named', async (t) => {
    const { runtimeDirectory } = await startDaemonProcess(t, { workerEntry, mesh: false, cpus: 1 })
    await using driver = new DriverProgram(
      `
      import { init, put } from 'SDK'
      await init()
      const ref = put(new Uint8Array(1_000_000))
      console.log('READY')
      // Until it is killed.
      for (let i = 0; ref; i++) Math.sqrt(i)
      `,
      { SHOAL_RUNTIME_DIR: runtimeDirectory },
    )
    await driver.printed(/READY/)
    const { stdout } = await shoal(runtimeDirectory, 'memory')
    assert.match(stdout, new RegExp(`not known: driver ${driver.pid} \\(driver\\.ts\\)`))
    driver.kill('SIGKILL')
  })
})

test("a worker's heap may grow to most of the machine's memory, unless its environment says otherwise", async (t) => {
  const { runtimeDirectory } = await startDaemonProcess(t, { workerEntry, mesh: false, cpus: 2 })
  await using driver = new DriverProgram(
    `
    import { init, remote, get } from 'SDK'
    await init()
    const limit = remote(async () => (await import('node:v8')).getHeapStatistics().heap_size_limit)
    const envVars = { NODE_OPTIONS: '--max-old-space-size=300' }
    console.log('LIMITS ' + JSON.stringify(await get([limit.remote(), limit.options({ runtimeEnv: { envVars } }).remote()])))
    `,
    { SHOAL_RUNTIME_DIR: runtimeDirectory },
  )
  const [, text = ''] = await driver.printed(/LIMITS (.*)/)
  const [byDefault, asAsked] = JSON.parse(text) as [number, number]
  assert.ok(byDefault >= totalmem() * 0.7, `${byDefault} bytes`)
  assert.ok(asAsked < 1024 ** 3, `${asAsked} bytes`)
})
