/** What Ray's tests of streams say of actors (test_streaming_generator*.py), by their names. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  actorContext,
  ActorDiedError,
  get,
  kill,
  put,
  remote,
  type ActorHandle,
  type ObjectRef,
  type ObjectRefStream,
} from '../../sdk/index.ts'
import { attachToNode } from '../support/driver.ts'

class Streamer {
  log: string[] = []
  list(n: number): number[] {
    return Array.from({ length: n }, (_, i) => i)
  }
  *count(n: number): Generator<number> {
    try {
      for (let i = 0; i < n; i++) {
        this.log.push(`made ${i}`)
        yield i
      }
    } finally {
      this.log.push('ended')
    }
  }
  async *countLater(n: number): AsyncGenerator<number> {
    try {
      for (let i = 0; i < n; i++) {
        await new Promise(setImmediate)
        this.log.push(`made ${i}`)
        yield i
      }
    } finally {
      this.log.push('ended')
    }
  }
  *failAfter(n: number): Generator<number> {
    for (let i = 0; i < n; i++) yield i
    throw new RangeError(`only ${n}`)
  }
  *large(n: number): Generator<Uint8Array> {
    for (let i = 0; i < n; i++) yield new Uint8Array(300_000).fill(i)
  }
  *dieAfter(n: number): Generator<number> {
    for (let i = 0; i < n; i++) yield i
    process.kill(process.pid, 'SIGKILL')
  }
  takeLog(): string[] {
    return this.log.splice(0)
  }
}
const RemoteStreamer = remote(Streamer)

async function valuesOf<T>(stream: ObjectRefStream<T>): Promise<T[]> {
  const values: T[] = []
  for await (const ref of stream) values.push(await get(ref))
  return values
}

/** Waits until the generator has run its `finally`. */
async function untilEnded(actor: ActorHandle<typeof Streamer>): Promise<string[]> {
  const log: string[] = []
  while (!log.includes('ended')) log.push(...(await get(actor.takeLog.remote())))
  return log
}

describe('streams of actors, as Ray has them', () => {
  attachToNode({ numCpus: 4 })
  let made: ActorHandle<typeof Streamer> | undefined
  const streamer = (): ActorHandle<typeof Streamer> => (made ??= RemoteStreamer.remote())

  test('test_generator_basic, test_generator_streaming', async () => {
    assert.deepEqual(
      await valuesOf(streamer().count.remote(50)),
      Array.from({ length: 50 }, (_, i) => i),
    )
    await untilEnded(streamer())
  })

  test('test_async_actor_generator', async () => {
    assert.deepEqual(
      await valuesOf(streamer().countLater.remote(40)),
      Array.from({ length: 40 }, (_, i) => i),
    )
    await untilEnded(streamer())
  })

  test('test_generator_empty', async () => {
    assert.deepEqual(await valuesOf(streamer().count.remote(0)), [])
    await untilEnded(streamer())
  })

  test('test_streaming_generator_bad_exception_not_failing: the items before the error, then the error', async () => {
    const stream = streamer().failAfter.remote(2)
    const values: number[] = []
    await assert.rejects(async () => {
      for await (const ref of stream) values.push(await get(ref))
    }, RangeError)
    assert.deepEqual(values, [0, 1])
    assert.equal((await stream.next()).done, true)
  })

  test('test_generator_backpressure: the producer is at most so far ahead, and stops when its consumer leaves', async () => {
    const actor = RemoteStreamer.options({ maxConcurrency: 2 }).remote()
    for await (const ref of actor.count.remote(100_000)) if ((await get(ref)) === 2) break
    const log = await untilEnded(actor)
    assert.ok(log.length <= 3 + 16 + 2, `made ${log.length - 1}`)
    kill(actor)
  })

  test('test_generator_cancel: return() of an async generator runs its finally', async () => {
    const actor = RemoteStreamer.remote()
    const stream = actor.countLater.remote(100_000)
    await stream.next()
    await stream.return()
    await untilEnded(actor)
    assert.equal((await stream.next()).done, true)
    kill(actor)
  })

  test('test_generator_dist_gather: streams of several actors at a time', async () => {
    const others = [streamer(), RemoteStreamer.remote()]
    const all = await Promise.all(others.map((actor) => valuesOf(actor.count.remote(30))))
    assert.deepEqual(
      all.map((values) => values.length),
      [30, 30],
    )
  })

  test('test_generator_dist_chain: a stream through a chain of actors', async () => {
    const Adder = remote(
      class {
        async *addOne(actor: ActorHandle<typeof Streamer>, n: number): AsyncGenerator<number> {
          for await (const ref of actor.count.remote(n)) yield (await get(ref)) + 1
        }
      },
    )
    assert.deepEqual(
      await valuesOf(Adder.remote().addOne.remote(streamer(), 20)),
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
  })

  test('test_generator_large_items: over 100 KiB', async () => {
    const values = await valuesOf(streamer().large.remote(5))
    assert.deepEqual(
      values.map((bytes) => [bytes.length, bytes[299_999]]),
      [0, 1, 2, 3, 4].map((i) => [300_000, i]),
    )
  })

  test('test_generator_dynamic: a method that gives a list streams by its option', async () => {
    const stream = streamer().list.options({ numReturns: 'streaming' }).remote(3)
    assert.deepEqual(await valuesOf(stream), [0, 1, 2])
  })

  test('test_generator_pass_refs: items go on to other calls as refs', async () => {
    const square = remote((x: number) => x * x)
    const squares: ObjectRef<number>[] = []
    for await (const ref of streamer().count.remote(5)) squares.push(square.remote(ref))
    assert.deepEqual(await get(squares), [0, 1, 4, 9, 16])
    const total = remote(async (refs: ObjectRef<number>[]) => (await get(refs)).reduce((a, b) => a + b, 0))
    assert.equal(await get(total.remote([...squares, put(1)])), 31)
  })

  test('test_actor_generator_fail: the actor dies in the middle: what was there is given, then its death', async () => {
    const actor = RemoteStreamer.remote()
    const values: number[] = []
    await assert.rejects(async () => {
      for await (const ref of actor.dieAfter.remote(3)) values.push(await get(ref))
    }, ActorDiedError)
    assert.ok(values.length <= 3)
    assert.deepEqual(values, [0, 1, 2].slice(0, values.length))
  })

  test('test_actor_generator_retry: with restarts and retries it comes whole', async () => {
    const Resuming = remote(
      class {
        async *count(n: number): AsyncGenerator<number> {
          for (let i = 0; i < n; i++) {
            if (i === 5 && actorContext().restarts === 0) process.kill(process.pid, 'SIGKILL')
            yield i
          }
        }
      },
      { maxRestarts: 1, maxTaskRetries: 1 },
    )
    assert.deepEqual(
      await valuesOf(Resuming.remote().count.remote(10)),
      Array.from({ length: 10 }, (_, i) => i),
    )
  })

  test('test_generator_kill: a kill ends a stream that waits', async () => {
    const Stuck = remote(
      class {
        async *stuck(): AsyncGenerator<number> {
          yield 1
          await new Promise(() => undefined)
        }
      },
    )
    const actor = Stuck.remote()
    const stream = actor.stuck.remote()
    assert.equal(await get((await stream.next()).value as ObjectRef<number>), 1)
    const waiting = stream.next()
    kill(actor)
    await assert.rejects(waiting, ActorDiedError)
  })

  test('streams that were left do not count as pending for ever', async () => {
    const actor = RemoteStreamer.options({ maxConcurrency: 1, maxPendingCalls: 4 }).remote()
    for (let i = 0; i < 6; i++) {
      for await (const _ of actor.count.remote(1000)) break
      // Comes after the stream, whose end is told with it at the latest.
      assert.equal((await get(actor.takeLog.remote())).at(-1), 'ended')
    }
    kill(actor)
  })

  test('test_generator_order: calls after a stream wait for its end in an actor that runs one at a time', async () => {
    const actor = RemoteStreamer.options({ maxConcurrency: 1 }).remote()
    const stream = actor.count.remote(3)
    const log = actor.takeLog.remote()
    assert.deepEqual(await valuesOf(stream), [0, 1, 2])
    assert.deepEqual(await get(log), ['made 0', 'made 1', 'made 2', 'ended'])
    const endless = actor.count.remote(1000)
    const queued = actor.takeLog.remote()
    await endless.next()
    await endless.return()
    assert.equal((await get(queued)).at(-1), 'ended')
  })
})
