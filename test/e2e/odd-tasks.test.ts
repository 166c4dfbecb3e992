import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  ActorDiedError,
  cancel,
  get,
  init,
  put,
  remote,
  shutdown,
  TaskCancelledError,
  TaskError,
  taskContext,
  type ObjectRef,
} from '../../sdk/index.ts'
import { startDaemonProcess } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const quick = remote((x: number) => x + 1)
const never = remote(async () => new Promise<number>(() => undefined))

/** Whatever went before, the one CPU of the node must be free again, and its worker fit. */
async function assertWorks(): Promise<void> {
  assert.equal(await get(quick.options({ maxRetries: 0 }).remote(1)), 2)
}

describe('odd tasks, on one CPU', () => {
  let removeDirectory: () => void
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    await init({ numCpus: 1 })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })

  test('a cancelled task that never ends costs nobody else a try', async () => {
    const stuck = never.remote()
    const next = quick.options({ maxRetries: 0 }).remote(1)
    cancel(stuck)
    await assert.rejects(get(stuck), TaskCancelledError)
    assert.equal(await get(next), 2)
  })

  test('a busy task that cannot hear that it is cancelled loses its worker in the end', async () => {
    const busy = remote(() => {
      console.log('busy')
      for (;;);
    }).remote()
    await assert.rejects(get(busy, { timeoutMs: 100 }))
    cancel(busy)
    await assertWorks()
  })

  test('an instance of a class that a task made is not mistaken for one of the same text', async () => {
    const named = (name: string): new () => { name: () => string } =>
      class {
        name(): string {
          return name
        }
      }
    const [mine] = await get([put(new (named('driver'))())])
    const task = remote((name: string) => new (named(name))())
    const theirs = await get([task.remote('a'), task.remote('b')])
    assert.deepEqual(
      [mine, ...theirs].map((instance) => instance?.name()),
      ['driver', 'a', 'b'],
    )
    const back = remote((...given: { name: () => string }[]) => given)
    const again = await get(back.remote(...theirs))
    assert.deepEqual(
      again.map((instance, i) => [instance.name(), instance.constructor === theirs[i]?.constructor]),
      [
        ['a', true],
        ['b', true],
      ],
    )
  })

  test('a dropped stream whose generator hangs frees its CPU', async () => {
    const hanging = remote(async function* () {
      yield 1
      await new Promise(() => undefined)
    })
    for await (const ref of hanging.remote()) {
      assert.equal(await get(ref), 1)
      break
    }
    await assertWorks()
  })

  test('a dropped stream is not begun again when its worker dies', async () => {
    const counted = remote(
      async function* () {
        if (taskContext().attempt > 0) yield 'again'
        yield 'first'
        try {
          yield 'second'
        } finally {
          process.kill(process.pid, 'SIGKILL')
        }
      },
      { maxRetries: 5 },
    )
    const stream = counted.remote()
    const { value } = await stream.next()
    assert.equal(await get(value as ObjectRef<string>), 'first')
    await stream.return()
    await assertWorks()
  })

  test('what is thrown may be as odd as can be, the first time and later', async () => {
    const throwers = [
      () => {
        throw Object.create(null)
      },
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        throw proxy
      },
      () => {
        throw Object.defineProperty(new Error('x'), 'stack', {
          get() {
            throw new Error('no stack')
          },
        })
      },
      () => ({
        // oxlint-disable-next-line unicorn/no-thenable
        get then() {
          throw new RangeError('no then')
        },
      }),
      () => {
        throw undefined
      },
    ]
    for (const [i, thrower] of throwers.entries()) {
      const odd = remote(thrower, { maxRetries: 0, name: `odd${i}` })
      for (let round = 0; round < 3; round++) {
        await assert.rejects(get(odd.remote()), (error: Error & { code?: string }) => {
          assert.ok(error instanceof Error)
          assert.notEqual(error.code, 'WORKER_CRASHED', `thrower ${i}, round ${round}`)
          return true
        })
      }
    }
    await assertWorks()
  })

  test('an error keeps all of it that can be copied', async () => {
    const fail = remote(() => {
      const cause = Object.assign(new RangeError('inside'), { socket: Promise.resolve(1), port: 80 })
      throw Object.assign(new TypeError('outside', { cause }), { handler: () => 1, code: 'E_ODD' })
    })
    await assert.rejects(get(fail.remote()), (error: TypeError & { code?: string; handler?: unknown }) => {
      assert.ok(error instanceof TypeError && error.cause instanceof RangeError)
      assert.deepEqual([error.message, error.code, error.handler], ['outside', 'E_ODD', undefined])
      assert.equal((error.cause as RangeError & { port: number }).port, 80)
      return true
    })
  })

  test('a get that a task leaves behind does not trouble the tasks after it', async () => {
    const leave = remote((box: { ref: ObjectRef<number> }) => {
      void get(box.ref).catch(() => undefined)
      return 'left'
    })
    const stuck = never.options({ numCpus: 0 }).remote()
    assert.equal(await get(leave.remote({ ref: stuck })), 'left')
    for (let i = 0; i < 5; i++) await assertWorks()
    cancel(stuck, { force: true })
  })

  test('cancelling a task cancels what it has submitted, and nothing else', async () => {
    const parent = remote(async (box: { children: ObjectRef<number>[] }) => {
      await get(box.children)
    })
    const child = never.options({ numCpus: 0 }).remote()
    const waiting = parent.remote({ children: [child] })
    cancel(waiting)
    await assert.rejects(get(waiting), TaskCancelledError)
    await assert.rejects(get(child, { timeoutMs: 200 }), { code: 'GET_TIMEOUT' })
    cancel(child, { force: true })
    await assertWorks()
  })

  test('more references than a message takes are refused, and the program goes on', async () => {
    const refs = Array.from({ length: 45_000 }, () => put(0))
    const many = [put(refs), put(refs), put(refs), put(refs), put(refs)]
    const count = remote((...lists: unknown[][]) => lists.length)
    await assert.rejects(get(count.remote(...(many as unknown as unknown[][]))), /too many ObjectRefs/)
    assert.throws(() => put(Array.from({ length: 50_001 }, () => put(0))), /at most 50000 are possible/)
    await assertWorks()
  })

  test('however long the name of a function or class is, the program goes on', async () => {
    for (const name of ['x'.repeat(2000), '漢'.repeat(500), '😀'.repeat(20_000)]) {
      const { fn } = { fn: { [name]: () => 1 }[name] as () => number }
      assert.equal(await get(remote(fn).remote()), 1)
      const Named = class {
        one(): number {
          return 1
        }
      }
      Object.defineProperty(Named, 'name', { value: name })
      assert.equal(await get(remote(Named).remote().one.remote()), 1)
      assert.equal((await get(put(new Named()))).one(), 1)
    }
    await assertWorks()
  })

  test('a long message of an error ends no connection', async () => {
    const Broken = remote(
      class {
        constructor() {
          throw new Error('漢'.repeat(30_000))
        }
        call(): number {
          return 1
        }
      },
    )
    await assert.rejects(get(Broken.remote().call.remote()), ActorDiedError)
    await assertWorks()
  })

  test('variables that do not fit are refused', () => {
    const withEnv = (envVars: Record<string, string>) => () => quick.options({ runtimeEnv: { envVars } })
    assert.throws(withEnv({ BIG: 'x'.repeat(40_000) }), /at most 500 of 32768 bytes/)
    assert.throws(withEnv({ CUDA_VISIBLE_DEVICES: '1' }), /set by the node itself: ask for GPUs by the option numGpus/)
  })

  test('init() again is the same; with options it is refused', async () => {
    assert.equal(await init(), await init({}))
    await assert.rejects(init({ numCpus: 2 }), /called already/)
  })

  test('a task that throws what is no Error', async () => {
    const fail = remote(() => {
      throw { reason: 'object' }
    })
    await assert.rejects(get(fail.remote()), (error: Error) => {
      assert.ok(error instanceof TaskError)
      assert.match(error.message, /no Error: \{ reason: 'object' \}/)
      return true
    })
  })
})

describe('console output', () => {
  test('however much a task prints before it ends, all of it arrives, in order', async () => {
    await using program = new DriverProgram(`
import { init, remote, get, shutdown } from 'SDK'
await init({ numCpus: 1 })
const print = remote((count: number) => { for (let i = 0; i < count; i++) console.log('line', i) })
await get(print.remote(20_000))
await shutdown()
`)
    const { stdout } = await program.ended()
    const numbers = [...stdout.matchAll(/^\(print pid=\d+\) line (\d+)$/gm)].map(([, number]) => Number(number))
    assert.equal(numbers.length, 20_000)
    assert.ok(numbers.every((number, i) => number === i))
  })
})

describe('a store that is too small', () => {
  test('says so at the call, and for results from get', async (t) => {
    const workerEntry = fileURLToPath(new URL('../../sdk/worker/main.ts', import.meta.url))
    const { runtimeDirectory } = await startDaemonProcess(t, { storeBytesMax: 1e6, spill: false, workerEntry })
    await using program = new DriverProgram(
      `
import { init, remote, get, put } from 'SDK'
await init({ embedded: false })
const tell = (error: unknown) => { const { code, retryable, message } = error as { code: string, retryable: boolean, message: string }; console.log(code, retryable, message) }
const length = remote((data: Uint8Array) => data.length)
const make = remote((size: number) => new Uint8Array(size), { maxRetries: 0 })
try { put(new Uint8Array(2e6)) } catch (error) { tell(error) }
try { length.remote(new Uint8Array(2e6)) } catch (error) { tell(error) }
await get(make.remote(2e6)).catch(tell)
const kept = put(new Uint8Array(7e5))
await get(make.remote(7e5)).catch(tell)
console.log('still', await get(length.remote(kept)))
`,
      { SHOAL_RUNTIME_DIR: runtimeDirectory },
    )
    const { stdout, stderr } = await program.ended()
    const full = /^OBJECT_STORE_FULL true no room in the object store for a value of \d+ bytes \(.*\): drop refs/
    const lines = stdout.trim().split('\n')
    assert.equal(lines.length, 5, stdout + stderr)
    for (const line of lines.slice(0, 4)) assert.match(line, full)
    assert.equal(lines[4], 'still 700000')
  })
})
