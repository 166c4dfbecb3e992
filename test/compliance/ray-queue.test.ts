/** What Ray's tests of its queue say (test_queue.py), by their names, and what ours does besides. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ActorDiedError,
  cancel,
  get,
  put,
  Queue,
  QueueClosedError,
  QueueEmptyError,
  QueueFullError,
  remote,
  type ObjectRef,
} from '../../sdk/index.ts'
import { currentRuntime } from '../../sdk/runtime/current-runtime.ts'
import { attachToNode } from '../support/driver.ts'
import { FakeClient } from '../support/fake-client.ts'

class Point {
  readonly x: number
  constructor(x: number) {
    this.x = x
  }
}

describe('Queue, as Ray has it', () => {
  attachToNode({ numCpus: 4 })

  test('test_simple_usage: first in, first out', async () => {
    const queue = new Queue<number>()
    for (let i = 0; i < 5; i++) await queue.put(i)
    const items: number[] = []
    for (let i = 0; i < 5; i++) items.push(await queue.get())
    assert.deepEqual(items, [0, 1, 2, 3, 4])
  })

  test('… however large the items are', async () => {
    const queue = new Queue<number | Uint8Array>()
    const puts: Promise<void>[] = []
    for (let i = 0; i < 20; i++) puts.push(queue.put(i % 3 === 0 ? new Uint8Array(300_000).fill(i) : i))
    await Promise.all(puts)
    const items = await queue.getNowaitBatch(20)
    assert.deepEqual(
      items.map((item) => (typeof item === 'number' ? item : item[0])),
      Array.from({ length: 20 }, (_, i) => i),
    )
  })

  test('test_get, test_get_async: waits for an item; Empty when the time is up', async () => {
    const queue = new Queue<string | undefined>()
    await assert.rejects(queue.getNowait(), QueueEmptyError)
    await assert.rejects(queue.get({ timeoutMs: 10 }), (error: Error) => {
      assert.ok(error instanceof QueueEmptyError && error.retryable)
      return true
    })
    const waiting = queue.get()
    await queue.put('a')
    assert.equal(await waiting, 'a')
    await queue.put(undefined)
    assert.equal(await queue.get(), undefined)
  })

  test('test_put, test_put_async: waits for room; Full when the time is up', async () => {
    const queue = new Queue<number>({ maxSize: 1 })
    await queue.put(1)
    await assert.rejects(queue.putNowait(2), QueueFullError)
    await assert.rejects(queue.put(2, { timeoutMs: 10 }), (error: Error) => {
      assert.ok(error instanceof QueueFullError && error.retryable)
      return true
    })
    const waiting = queue.put(3)
    assert.equal(await queue.get(), 1)
    await waiting
    assert.equal(await queue.get(), 3)
  })

  test('test_concurrent_get: many wait in many processes, and each item comes once', async () => {
    const queue = new Queue<number>()
    const take = remote(async (from: Queue<number>) => from.get())
    const taken = Array.from({ length: 3 }, () => take.remote(queue))
    await queue.putBatch([1, 2, 3])
    assert.deepEqual(new Set(await get(taken)), new Set([1, 2, 3]))
  })

  test('test_concurrent_put', async () => {
    const queue = new Queue<number>({ maxSize: 1 })
    const bring = remote(async (to: Queue<number>, item: number) => to.put(item))
    const brought = [1, 2, 3].map((item) => bring.remote(queue, item))
    const items = [await queue.get(), await queue.get(), await queue.get()]
    await get(brought)
    assert.deepEqual(new Set(items), new Set([1, 2, 3]))
  })

  test('test_batch: all or none without waiting; else as there is room', async () => {
    const queue = new Queue<number>({ maxSize: 3 })
    await assert.rejects(queue.putNowaitBatch([1, 2, 3, 4]), QueueFullError)
    assert.equal(await queue.size(), 0)
    await queue.putNowaitBatch([1, 2, 3])
    await assert.rejects(queue.getNowaitBatch(4), QueueEmptyError)
    assert.deepEqual(await queue.getNowaitBatch(3), [1, 2, 3])
    const putting = queue.putBatch([1, 2, 3, 4, 5])
    assert.deepEqual(await queue.getBatch(10), [1, 2, 3])
    await putting
    assert.deepEqual(await queue.getBatch(1), [4])
    await assert.rejects(queue.putBatch([6, 7, 8], { timeoutMs: 10 }), (error: Error) => {
      assert.ok(error instanceof QueueFullError)
      assert.equal(error.details['count'], 2)
      return true
    })
    assert.deepEqual(await queue.getBatch(9), [5, 6, 7])
  })

  test('test_qsize: size, empty and full', async () => {
    const queue = new Queue<number>({ maxSize: 2 })
    assert.deepEqual([await queue.size(), await queue.empty(), await queue.full()], [0, true, false])
    await queue.putBatch([1, 2])
    assert.deepEqual([await queue.size(), await queue.empty(), await queue.full()], [2, false, true])
  })

  test('test_shutdown: who waits is told', async () => {
    const queue = new Queue<number>()
    const waiting = queue.get()
    await queue.size()
    queue.shutdown()
    await assert.rejects(waiting, ActorDiedError)
    await assert.rejects(queue.put(1), ActorDiedError)
  })

  test('test_custom_resources, test_actor_options', async () => {
    const queue = new Queue<number>({ actorOptions: { numCpus: 1, runtimeEnv: { envVars: { FOR_QUEUE: '1' } } } })
    await queue.put(1)
    assert.equal(await queue.get(), 1)
    queue.shutdown()
    assert.throws(() => new Queue({ maxSize: -1 }), /maxSize must be a whole number, 0 or more; got -1/)
    assert.throws(() => new Queue({ actorOptions: { numCpu: 1 } as never }), /no option "numCpu"/)
  })

  test('test_pull_from_streaming_batch_queue: a loop to the end, shared by several', async () => {
    const queue = new Queue<number>({ maxSize: 4 })
    const sum = remote(async (from: Queue<number>) => {
      let total = 0
      for await (const item of from) total += item
      return total
    })
    const sums = [sum.remote(queue), sum.remote(queue)]
    for (let i = 1; i <= 50; i++) await queue.put(i)
    await queue.close()
    const [one = 0, other = 0] = await get(sums)
    assert.equal(one + other, 1275)
    await assert.rejects(queue.put(1), QueueClosedError)
    await assert.rejects(queue.putNowait(1), QueueClosedError)
    await assert.rejects(queue.get(), QueueClosedError)
    await assert.rejects(queue.getNowait(), QueueClosedError)
  })

  test('it is closed over, travels in values and comes back, as the same queue', async () => {
    const queue = new Queue<number>()
    const fill = remote(async () => {
      await queue.put(1)
      const own = new Queue<number>()
      await own.put(3)
      return { own, same: queue }
    })
    const { own, same } = await get(fill.remote())
    assert.ok(own instanceof Queue && same instanceof Queue)
    await same.put(2)
    assert.deepEqual(await queue.getNowaitBatch(2), [1, 2])
  })

  test('a queue that a task has made ends with the task’s process, but not before', async () => {
    const make = remote(async () => new Queue<number>({ maxSize: 1 }))
    const queue = await get(make.remote())
    await queue.put(1)
    assert.equal(await queue.get(), 1)
  })

  test('items of any kind: instances, refs and large buffers', async () => {
    const queue = new Queue<unknown>()
    await queue.putBatch([new Point(3), put('value'), new Uint8Array(300_000).fill(5)])
    const [point, ref, bytes] = await queue.getNowaitBatch(3)
    assert.ok(point instanceof Point && point.x === 3)
    assert.equal(await get(ref as ObjectRef<string>), 'value')
    assert.equal((bytes as Uint8Array)[299_999], 5)
    const xOf = remote(async (from: Queue<unknown>) => ((await from.get()) as Point).x)
    await queue.put(new Point(4))
    assert.equal(await get(xOf.remote(queue)), 4)
  })

  test('an abort of a get loses no item', async () => {
    const queue = new Queue<number>()
    const controller = new AbortController()
    const waiting = queue.get({ signal: controller.signal })
    await queue.size()
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    await queue.put(1)
    assert.equal(await queue.getNowait(), 1)
    await assert.rejects(queue.get({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  })

  test('a task that is cancelled while it waits for an item takes none along', async () => {
    const queue = new Queue<number>()
    const began = new Queue<string>()
    const take = remote(async () => {
      const waiting = queue.get()
      await queue.size()
      try {
        // The cancel may come while the put is still under way.
        return await Promise.all([waiting, began.put('began')])
      } finally {
        // The get was given up before this is sent.
        void began.put('ended').catch(() => undefined)
      }
    })
    const taking = take.remote()
    assert.equal(await began.get(), 'began')
    cancel(taking)
    await assert.rejects(get(taking), { code: 'TASK_CANCELLED' })
    assert.equal(await began.get(), 'ended')
    await queue.put(1)
    assert.equal(await queue.get({ timeoutMs: 20_000 }), 1)
  })

  test('a consumer whose process dies while it waits takes no item along', async () => {
    const { socketPath } = currentRuntime().connection
    const observer = await FakeClient.attach(socketPath)
    const queue = new Queue<number>()
    const began = new Queue<number>()
    const take = remote(
      async () => {
        const waiting = queue.get()
        await queue.size()
        await began.put(process.pid)
        return waiting
      },
      { maxRetries: 0 },
    )
    const taking = take.remote()
    process.kill(await began.get(), 'SIGKILL')
    await assert.rejects(get(taking), { code: 'WORKER_CRASHED' })
    // Whoever calls has gone for the queue's actor before it hears anything more from this node.
    await observer.next('clientGone')
    await queue.put(1)
    assert.equal(await queue.get({ timeoutMs: 20_000 }), 1)
    await observer.close()
  })
})
