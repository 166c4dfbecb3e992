/** What Ray's tests of its actor pool say (test_actor_pool.py), by their names, and what ours does besides. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import {
  ActorDiedError,
  ActorPool,
  get,
  GetTimeoutError,
  InvalidArgumentError,
  ItemFailedError,
  kill,
  PoolEmptyError,
  remote,
  type ActorHandle,
} from '../../sdk/index.ts'
import { collectGarbage } from '../../sdk/system/engine.ts'
import { attachToNode } from '../support/driver.ts'

class Worker {
  #opened = Promise.withResolvers<void>()
  double(x: number): number {
    return 2 * x
  }
  boxed(x: number): object {
    return { x }
  }
  /** Not before it is opened. */
  async hold(x: number): Promise<number> {
    await this.#opened.promise
    return x
  }
  open(): void {
    this.#opened.resolve()
  }
  failOn(x: number, bad: number): number {
    if (x === bad) throw new RangeError(`no ${x}`)
    return x
  }
  dieOn(x: number, bad: number): number {
    if (x === bad) process.kill(process.pid, 'SIGKILL')
    return x
  }
}
const RemoteWorker = remote(Worker)
type WorkerHandle = ActorHandle<typeof Worker>

const workers = (count: number): WorkerHandle[] => Array.from({ length: count }, () => RemoteWorker.remote())

describe('ActorPool, as Ray has it', () => {
  attachToNode({ numCpus: 4 })
  /** These survive all tests that use them. */
  const [first, second] = [lazily(), lazily()]

  test('test_get_next: results in the order of the submissions', async () => {
    const pool = new ActorPool([first(), second()])
    for (let i = 0; i < 5; i++) pool.submit((actor, x: number) => actor.double.remote(x), i)
    const results: unknown[] = []
    while (pool.hasNext()) results.push(await pool.getNext())
    assert.deepEqual(results, [0, 2, 4, 6, 8])
  })

  test('what was taken is not kept, by whichever way', async () => {
    const pool = new ActorPool<WorkerHandle, object>([first()])
    const taken: WeakRef<object>[] = []
    for (let i = 0; i < 10; i++) {
      pool.submit((actor, x: number) => actor.boxed.remote(x), i)
      taken.push(new WeakRef(await (i < 5 ? pool.getNextUnordered() : pool.getNext())))
    }
    const left = (): number => taken.filter((each) => each.deref() !== undefined).length
    // What a turn has touched is there until it ends; and the last one may be, for as long as this function runs.
    for (let turns = 0; turns < 100 && left() > 1; turns++) {
      await setImmediate()
      collectGarbage()
    }
    assert.ok(left() <= 1, `${left()} of ${taken.length} are there`)
    assert.equal(pool.size, 1)
  })

  test('test_get_next_unordered: as they are there', async () => {
    const [slow, fast] = workers(2) as [WorkerHandle, WorkerHandle]
    const pool = new ActorPool<WorkerHandle, number>([slow, fast])
    pool.submit((actor, x: number) => actor.hold.remote(x), 1)
    for (const x of [2, 3, 4]) pool.submit((actor, item: number) => actor.double.remote(item), x)
    const before = [await pool.getNextUnordered(), await pool.getNextUnordered(), await pool.getNextUnordered()]
    assert.deepEqual(before, [4, 6, 8])
    await get(slow.open.remote())
    assert.equal(await pool.getNextUnordered(), 1)
    assert.equal(pool.hasNext(), false)
  })

  test('test_map', async () => {
    const pool = new ActorPool([first(), second()])
    const doubled = pool.map((actor, x) => actor.double.remote(x), [1, 2, 3, 4, 5])
    assert.deepEqual(await Array.fromAsync(doubled), [2, 4, 6, 8, 10])
  })

  test('test_map_unordered', async () => {
    const pool = new ActorPool([first(), second()])
    const doubled = await Array.fromAsync(pool.mapUnordered((actor, x) => actor.double.remote(x), [1, 2, 3, 4, 5]))
    assert.deepEqual(
      doubled.sort((a, b) => a - b),
      [2, 4, 6, 8, 10],
    )
  })

  test('test_map_gh23107: maps of one pool do not mix, and do not take what was submitted', async () => {
    const pool = new ActorPool([first(), second()])
    const double = (actor: WorkerHandle, x: number) => actor.double.remote(x)
    pool.submit(double, 100)
    const [one, other] = await Promise.all([
      Array.fromAsync(pool.map(double, [1, 2, 3])),
      Array.fromAsync(pool.map(double, [4, 5, 6])),
    ])
    assert.deepEqual(
      [one, other],
      [
        [2, 4, 6],
        [8, 10, 12],
      ],
    )
    assert.equal(await pool.getNext(), 200)
  })

  test('test_get_next_timeout, test_get_next_unordered_timeout: it can be asked for again', async () => {
    const [slow] = workers(1) as [WorkerHandle]
    const pool = new ActorPool([slow])
    pool.submit((actor, x: number) => actor.hold.remote(x), 1)
    await assert.rejects(pool.getNext({ timeoutMs: 10 }), GetTimeoutError)
    await assert.rejects(pool.getNextUnordered({ timeoutMs: 10 }), GetTimeoutError)
    await assert.rejects(pool.getNext({ signal: AbortSignal.abort(new Error('enough')) }), /enough/)
    await get(slow.open.remote())
    assert.equal(await pool.getNext(), 1)
  })

  test('test_get_next_nothing_submitted', async () => {
    const pool = new ActorPool([first()])
    await assert.rejects(pool.getNext(), InvalidArgumentError)
    await assert.rejects(pool.getNextUnordered(), InvalidArgumentError)
  })

  test('test_multiple_returns: a call that gives a list', async () => {
    const Twice = remote(
      class {
        both(x: number): [number, number] {
          return [x, x + 1]
        }
      },
    )
    const pool = new ActorPool([Twice.remote()])
    const pairs = await Array.fromAsync(pool.map((actor, x) => actor.both.remote(x), [1, 5]))
    assert.deepEqual(pairs, [
      [1, 2],
      [5, 6],
    ])
  })

  test('test_pop_idle: gives one that does nothing, and takes it out', async () => {
    const pool = new ActorPool([first()])
    assert.equal(pool.hasFree(), true)
    pool.submit((actor, x: number) => actor.double.remote(x), 1)
    assert.equal(pool.hasFree(), false)
    assert.equal(pool.popIdle(), undefined)
    await pool.getNext()
    assert.equal(pool.popIdle(), first())
    assert.equal(pool.size, 0)
    assert.equal(pool.popIdle(), undefined)
  })

  test('test_push: a new one gets what waits; one that is there already is refused', async () => {
    const [slow] = workers(1) as [WorkerHandle]
    const pool = new ActorPool<WorkerHandle, number>([slow])
    pool.submit((actor, x: number) => actor.hold.remote(x), 1)
    pool.submit((actor, x: number) => actor.double.remote(x), 2)
    assert.throws(() => pool.push(slow), /in the pool already/)
    pool.push(second())
    assert.equal(await pool.getNextUnordered(), 4)
    await get(slow.open.remote())
    assert.equal(await pool.getNextUnordered(), 1)
    assert.throws(() => pool.push(7 as never), /handles of actors; got 7/)
  })

  test('test_get_next_ignore_if_timedout: errors are for the item that they are of, and the others come', async () => {
    const pool = new ActorPool<WorkerHandle, number>([first(), second()])
    for (const x of [1, 2, 3]) pool.submit((actor, item: number) => actor.failOn.remote(item, 2), x)
    assert.equal(await pool.getNext(), 1)
    await assert.rejects(pool.getNext(), (error: Error) => {
      assert.ok(error instanceof ItemFailedError && error.cause instanceof RangeError)
      assert.equal(error.details['index'], 1)
      return true
    })
    assert.equal(await pool.getNext(), 3)
  })

  test('map: the error says which item, and ends the loop', async () => {
    const pool = new ActorPool([first(), second()])
    const seen: number[] = []
    await assert.rejects(
      async () => {
        for await (const x of pool.map((actor, item) => actor.failOn.remote(item, 3), [1, 2, 3, 4])) seen.push(x)
      },
      (error: Error) => {
        assert.ok(error instanceof ItemFailedError)
        assert.match(error.message, /item 2 of ActorPool.map\(\) has failed: RangeError: no 3/)
        return true
      },
    )
    assert.deepEqual(seen, [1, 2])
  })

  test('map: an async iterable is read only as far as is needed, and closed when the loop is left', async () => {
    const pool = new ActorPool([first(), second()])
    let read = 0
    const closed = Promise.withResolvers<void>()
    const source = async function* (): AsyncGenerator<number> {
      try {
        for (;;) yield read++
      } finally {
        closed.resolve()
      }
    }
    for await (const x of pool.map((actor, item) => actor.double.remote(item), source(), { ahead: 4 })) {
      if (x === 10) break
    }
    await closed.promise
    assert.ok(read <= 6 + 4 + 1, `read ${read}`)
  })

  test('map: an abort ends the loop with its reason, and cancels what runs', async () => {
    const [slow] = workers(1) as [WorkerHandle]
    const pool = new ActorPool([slow])
    const controller = new AbortController()
    const loop = Array.fromAsync(pool.map((actor, x) => actor.hold.remote(x), [1, 2], { signal: controller.signal }))
    controller.abort(new Error('enough'))
    await assert.rejects(loop, /enough/)
  })

  test('an actor that dies is left out: its item fails when it may not be called again', async () => {
    const pool = new ActorPool<WorkerHandle, number>(workers(2))
    for (const x of [1, 2, 3, 4]) pool.submit((actor, item: number) => actor.dieOn.remote(item, 1), x)
    await assert.rejects(pool.getNext(), (error: Error) => {
      assert.ok(error instanceof ItemFailedError && error.cause instanceof ActorDiedError)
      return true
    })
    assert.deepEqual([await pool.getNext(), await pool.getNext(), await pool.getNext()], [2, 3, 4])
    assert.equal(pool.size, 1)
  })

  test('else the item goes to another one', async () => {
    const Frail = remote(
      class {
        readonly #isFrail: boolean
        constructor(isFrail: boolean) {
          this.#isFrail = isFrail
        }
        value(x: number): number {
          if (this.#isFrail) process.kill(process.pid, 'SIGKILL')
          return x
        }
      },
      { maxTaskRetries: 1 },
    )
    const pool = new ActorPool([Frail.remote(true), Frail.remote(false)])
    assert.deepEqual(await Array.fromAsync(pool.map((actor, x) => actor.value.remote(x), [1, 2, 3])), [1, 2, 3])
    assert.equal(pool.size, 1)
  })

  test('one that was killed before gets nothing; a pool without actors is an error', async () => {
    const [one] = workers(1) as [WorkerHandle]
    const pool = new ActorPool([one, second()])
    kill(one)
    assert.deepEqual(await Array.fromAsync(pool.map((actor, x) => actor.double.remote(x), [1, 2])), [2, 4])
    assert.equal(pool.size, 1)
    const empty = new ActorPool<WorkerHandle>([])
    await assert.rejects(Array.fromAsync(empty.map((actor, x) => actor.double.remote(x), [1])), PoolEmptyError)
  })
})

/** An actor that is made at its first use. */
function lazily(): () => WorkerHandle {
  let made: WorkerHandle | undefined
  return () => (made ??= RemoteWorker.remote())
}
