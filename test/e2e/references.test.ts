import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { get, init, ObjectRef, OwnerDiedError, put, remote, shutdown } from '../../sdk/index.ts'
import { FakeClient } from '../support/fake-client.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const large = (fill: number): Uint8Array => new Uint8Array(300_000).fill(fill)

interface Status {
  store: { objects: number; usedBytes: number }
}

describe('references', () => {
  let removeDirectory: () => void
  let observer: FakeClient
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    const { address } = await init({ numCpus: 2 })
    observer = await FakeClient.attach(address, { role: 'command' })
  })
  after(async () => {
    observer.socket.destroy()
    await shutdown()
    removeDirectory()
  })

  let requests = 0
  async function objectsStored(): Promise<number> {
    const requestId = ++requests
    observer.send('statusGet', { requestId })
    const reply = await observer.next('statusReply', (body) => body.requestId === requestId)
    return (reply.status as Status).store.objects
  }

  /** Collects garbage until the store has as many values as it should; the test's own time limit ends a vain wait. */
  async function untilStored(count: number): Promise<void> {
    while ((await objectsStored()) !== count) {
      collectGarbage()
      await new Promise(setImmediate)
    }
  }

  test('values that nobody refers to leave the store', { timeout: 20_000 }, async () => {
    let refs: unknown[] = Array.from({ length: 10 }, (_, i) => put(large(i)))
    // The node may hear of them after it has heard the observer, who has a connection of its own.
    await untilStored(10)
    refs = refs.slice(0, 3)
    await untilStored(3)
    assert.equal(refs.length, 3)
    refs = []
    await untilStored(0)
  })

  test('results and arguments leave it, too', { timeout: 20_000 }, async () => {
    const same = remote((bytes: Uint8Array) => bytes)
    assert.equal((await get(same.remote(large(7))))[5], 7)
    await untilStored(0)
  })

  test('a ref inside a value keeps what it refers to', { timeout: 20_000 }, async () => {
    let outer: ObjectRef<{ inner: ObjectRef<Uint8Array> }> | undefined = put({ inner: put(large(1)) })
    collectGarbage()
    await new Promise(setImmediate)
    const { inner } = await get(outer)
    outer = undefined
    assert.equal((await get(inner))[0], 1)
  })

  test('a task’s object lives while the driver has the ref that the task returned', { timeout: 20_000 }, async () => {
    const make = remote(() => ({ box: put(new Uint8Array(300_000).fill(9)) }))
    await (async () => {
      const { box } = await get(make.remote())
      collectGarbage()
      assert.equal((await get(box))[0], 9)
    })()
    await untilStored(0)
  })

  test('an object whose owner has died is OwnerDiedError, promptly', { timeout: 20_000 }, async () => {
    const make = remote(() => ({ box: put([1, 2, 3]), never: put(large(3)), pid: process.pid }))
    const { box, pid } = await get(make.remote())
    process.kill(pid, 'SIGKILL')
    await assert.rejects(get(box), (error: Error) => {
      assert.ok(error instanceof OwnerDiedError)
      assert.match(error.message, /has ended, and its objects with it/)
      return true
    })
  })

  test('refs come back as the same object that they left as', async () => {
    const echo = remote((box: { ref: ObjectRef<string> }) => box)
    const ref = put('here')
    const back = await get(echo.remote({ ref }))
    assert.ok(back.ref instanceof ObjectRef)
    assert.equal(back.ref.id, ref.id)
    assert.equal(await get(back.ref), 'here')
  })
})
