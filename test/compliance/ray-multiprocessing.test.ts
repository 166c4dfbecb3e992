/** What Ray's tests of its multiprocessing.Pool say (test_multiprocessing.py), by their names, and parallelMap. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  get,
  GetTimeoutError,
  InvalidArgumentError,
  ItemFailedError,
  parallelMap,
  parallelMapIterable,
  Pool,
  PoolClosedError,
  PoolEmptyError,
  put,
  remote,
  taskContext,
  WorkerCrashedError,
  type MapProgress,
  type ObjectRef,
} from '../../sdk/index.ts'
import { attachToNode } from '../support/driver.ts'

const square = (x: number): number => x * x
const pidOf = (): number => process.pid
const failOn3 = (x: number): number => {
  if (x === 3) throw new RangeError('no 3')
  return x
}

describe('Pool, as Ray has it', () => {
  attachToNode({ numCpus: 4 })

  describe('one pool for many calls', () => {
    let made: Pool | undefined
    const pool = (): Pool => (made ??= new Pool({ size: 2 }))

    test('test_apply', async () => {
      assert.equal(await pool().apply((a: number, b: number) => a + b, 1, 2), 3)
      await assert.rejects(pool().apply(failOn3, 3), RangeError)
    })

    test('test_apply_async, test_wait, test_successful', async () => {
      const result = pool().applyAsync(square, 3)
      await result.wait()
      assert.deepEqual([result.ready(), result.successful(), await result.get()], [true, true, 9])
      const failing = pool().applyAsync(failOn3, 3)
      await failing.wait()
      assert.equal(failing.successful(), false)
      await assert.rejects(failing.get(), RangeError)
      const endless = new Pool({ size: 1 })
      const waiting = endless.applyAsync(async () => new Promise(() => undefined))
      await assert.rejects(waiting.get({ timeoutMs: 10 }), GetTimeoutError)
      await waiting.wait({ timeoutMs: 10 })
      assert.equal(waiting.ready(), false)
      assert.throws(() => waiting.successful(), InvalidArgumentError)
      endless.terminate()
      await assert.rejects(waiting.get(), PoolClosedError)
    })

    test('test_map', async () => {
      const items = Array.from({ length: 100 }, (_, i) => i)
      assert.deepEqual(await pool().map(square, items), items.map(square))
      assert.deepEqual(await pool().map(square, []), [])
      assert.deepEqual(await pool().map((x: number, index: number) => x + index, new Set([5, 6])), [5, 7])
    })

    test('test_map_chunksize: a chunk is for one process', async () => {
      const pids = await pool().map(pidOf, [1, 2, 3, 4, 5, 6], { chunkSize: 3 })
      assert.equal(new Set(pids.slice(0, 3)).size, 1)
      assert.equal(new Set(pids.slice(3)).size, 1)
    })

    test('test_map_no_chunksize, test_callbacks: progress is told', async () => {
      const told: MapProgress[] = []
      await pool().map(square, [1, 2, 3, 4, 5], { chunkSize: 2, onProgress: (progress) => told.push(progress) })
      assert.equal(told.length, 3)
      assert.deepEqual(told.at(-1), { done: 5, total: 5 })
    })

    test('test_map_error: says which item, at once', async () => {
      await assert.rejects(pool().map(failOn3, [1, 2, 3, 4], { chunkSize: 4 }), (error: Error) => {
        assert.ok(error instanceof ItemFailedError && error.cause instanceof RangeError)
        assert.equal(error.details['index'], 2)
        return true
      })
    })

    test('test_starmap', async () => {
      assert.deepEqual(
        await pool().starmap(
          (a: number, b: string) => `${a}${b}`,
          [
            [1, 'a'],
            [2, 'b'],
          ],
        ),
        ['1a', '2b'],
      )
    })

    test('test_imap: in order, while others go on', async () => {
      const values: number[] = []
      for await (const value of pool().imap(square, [1, 2, 3, 4], { chunkSize: 2 })) values.push(value)
      assert.deepEqual(values, [1, 4, 9, 16])
      const seen: number[] = []
      await assert.rejects(async () => {
        for await (const value of pool().imap(failOn3, [1, 2, 3, 4])) seen.push(value)
      }, ItemFailedError)
      assert.deepEqual(seen, [1, 2])
    })

    test('test_imap_unordered', async () => {
      const values = await Array.fromAsync(pool().imapUnordered(square, [1, 2, 3, 4]))
      assert.deepEqual(
        values.sort((a, b) => a - b),
        [1, 4, 9, 16],
      )
    })

    test('test_imap_lazy: an endless iterable is read only as far as is needed', async () => {
      let read = 0
      const endless = function* (): Generator<number> {
        for (;;) yield read++
      }
      for await (const value of pool().imap(square, endless())) if (value === 25) break
      assert.ok(read <= 6 + 4 + 1, `read ${read}`)
    })

    test('test_ref_arguments: refs inside stay refs', async () => {
      const sum = async (refs: ObjectRef<number>[]): Promise<number> => (await get(refs)).reduce((a, b) => a + b, 0)
      assert.equal(await pool().apply(sum, [put(1), put(2)]), 3)
    })

    test('test_abort: it ends with the signal’s reason', async () => {
      const controller = new AbortController()
      const mapping = pool().map(square, [1, 2, 3], { signal: controller.signal })
      controller.abort(new Error('enough'))
      await assert.rejects(mapping, /enough/)
    })

    test('test_close, test_join', async () => {
      const last = pool().applyAsync(square, 5)
      await assert.rejects(pool().join(), InvalidArgumentError)
      pool().close()
      await assert.rejects(pool().map(square, [1]), PoolClosedError)
      assert.throws(() => pool().applyAsync(square, 1), PoolClosedError)
      await pool().join()
      assert.equal(await last.get(), 25)
    })
  })

  test('test_initializer: runs once in each process', async () => {
    const store = globalThis as { level?: string; times?: number }
    const prepare = (level: string): void => {
      store.level = level
      store.times = (store.times ?? 0) + 1
    }
    await using pool = new Pool({ size: 2, initializer: prepare, initArgs: ['high'] })
    const read = (): string => {
      const { level, times } = globalThis as { level?: string; times?: number }
      return `${level} ${times}`
    }
    assert.deepEqual(new Set(await pool.map(read, [1, 2, 3, 4], { chunkSize: 1 })), new Set(['high 1']))
  })

  test('test_initializer_error: it is the cause of the error of what waits', async () => {
    const fail = (): never => {
      throw new RangeError('no start')
    }
    await using pool = new Pool({ size: 1, initializer: fail })
    await assert.rejects(pool.map(square, [1]), (error: Error) => {
      assert.ok(error instanceof PoolEmptyError)
      assert.match((error.cause as Error).message, /no start/)
      return true
    })
  })

  test('test_terminate: what has no result fails, and nothing is left', async () => {
    const pool = new Pool({ size: 1 })
    const waiting = pool.applyAsync(async () => new Promise(() => undefined))
    const queued = pool.applyAsync(square, 1)
    pool.terminate()
    await assert.rejects(waiting.get(), PoolClosedError)
    await assert.rejects(queued.get(), PoolClosedError)
    assert.equal(pool.size, 0)
    await assert.rejects(pool.apply(square, 1), PoolClosedError)
  })

  test('test_worker_crash: its process is replaced; the calls are made again, or say so', async () => {
    await using pool = new Pool({ size: 1, maxRetries: 1 })
    const dieOnce = (x: number): number => {
      if (x === 2 && taskContext().attempt === 0) process.kill(process.pid, 'SIGKILL')
      return x
    }
    assert.deepEqual(await pool.map(dieOnce, [1, 2, 3], { chunkSize: 1 }), [1, 2, 3])
  })

  test('test_more_processes_than_cpus: those that there is room for do the work', async () => {
    await using pool = new Pool({ size: 3, numCpus: 3 })
    assert.deepEqual(await pool.map(square, [1, 2, 3]), [1, 4, 9])
  })

  test('test_deadlock_avoidance_in_recursive_tasks: a pool inside of a task', async () => {
    const nested = remote(async () => {
      await using pool = new Pool({ size: 2 })
      return pool.map((x: number) => x + 1, [1, 2])
    })
    assert.deepEqual(await get(nested.remote()), [2, 3])
  })

  test('test_bad_arguments', () => {
    assert.throws(() => new Pool({ size: 0 }), /size must be a whole number, 1 or more; got 0/)
    assert.throws(() => new Pool({ processes: 2 } as never), /no option "processes"; it knows size/)
    assert.throws(() => new Pool({ initializer: 1 as never }), /initializer must be a function; got 1/)
  })

  describe('parallelMap, as p-map', () => {
    test('main: results in the order of the items, whatever these come from', async () => {
      const mapper = async (x: number, index: number): Promise<number> => x * 10 + index
      assert.deepEqual(await parallelMap([1, 2, 3], mapper), [10, 21, 32])
      assert.deepEqual(await parallelMap([Promise.resolve(1), 2], mapper), [10, 21])
      const later = async function* (): AsyncGenerator<number> {
        yield* [1, 2]
      }
      assert.deepEqual(await parallelMap(later(), mapper), [10, 21])
      assert.deepEqual(await parallelMap([], mapper), [])
      assert.deepEqual(await parallelMap([4], remote(square)), [16])
    })

    test('concurrency: no more at a time', async () => {
      const Meter = remote(
        class {
          now = 0
          most = 0
          begin(): void {
            this.now += 1
            this.most = Math.max(this.most, this.now)
          }
          end(): void {
            this.now -= 1
          }
          read(): number {
            return this.most
          }
        },
      )
      const meter = Meter.remote()
      const measured = async (x: number): Promise<number> => {
        await get(meter.begin.remote())
        await get(meter.end.remote())
        return x
      }
      await parallelMap(
        Array.from({ length: 20 }, (_, i) => i),
        measured,
        { concurrency: 2, numCpus: 0.5 },
      )
      assert.ok((await get(meter.read.remote())) <= 2)
    })

    test('pMapSkip', async () => {
      assert.deepEqual(await parallelMap([1, 2, 3, 4], (x) => (x % 2 === 0 ? x : parallelMap.skip)), [2, 4])
      assert.deepEqual(await parallelMap([1, 2], () => undefined), [undefined, undefined])
    })

    test('reject: with the mapper’s own error, and reads no further', async () => {
      let read = 0
      const endless = function* (): Generator<number> {
        for (;;) yield ++read
      }
      await assert.rejects(parallelMap(endless(), failOn3, { concurrency: 2 }), RangeError)
      assert.ok(read < 100)
    })

    test('aggregate errors when stopOnError is false', async () => {
      const failing = parallelMap([1, 3, 2, 3], failOn3, { stopOnError: false })
      await assert.rejects(failing, (error: Error) => {
        assert.ok(error instanceof AggregateError)
        assert.equal(error.message, '2 of 4 items have failed: 1, 3')
        assert.ok(error.errors.every((each) => each instanceof RangeError))
        return true
      })
    })

    test('abort by AbortController', async () => {
      const controller = new AbortController()
      const endless = async (): Promise<void> => new Promise(() => undefined)
      const mapping = parallelMap([1, 2], endless, { signal: controller.signal })
      controller.abort(new Error('enough'))
      await assert.rejects(mapping, /enough/)
      await assert.rejects(parallelMap([1], square, { signal: AbortSignal.abort() }), { name: 'AbortError' })
    })

    test('onProgress, and options of tasks', async () => {
      const told: MapProgress[] = []
      const names = await parallelMap([1, 2], () => taskContext().taskName, {
        name: 'mapped',
        onProgress: (progress) => told.push(progress),
      })
      assert.deepEqual(names, ['mapped', 'mapped'])
      assert.deepEqual(told, [
        { done: 1, total: 2 },
        { done: 2, total: 2 },
      ])
    })

    test('a remote function keeps its own options, but for those given', async () => {
      const runtimeEnv = { envVars: { MAPPED: 'yes' } }
      const told = remote(() => [process.env['MAPPED'], taskContext().taskName], { runtimeEnv, name: 'own' })
      assert.deepEqual(await parallelMap([1], told), [['yes', 'own']])
      assert.deepEqual(await parallelMap([1], told, { name: 'given' }), [['yes', 'given']])
      assert.deepEqual(await parallelMap([1], told.options({ numReturns: 2 }) as never), [['yes', 'own']])
      const crashing = remote(
        () => {
          if (taskContext().attempt === 0) process.exit(1)
          return 'again'
        },
        { maxRetries: 0 },
      )
      await assert.rejects(parallelMap([1], crashing), WorkerCrashedError)
      assert.deepEqual(await parallelMap([1], crashing, { maxRetries: 1 }), ['again'])
    })

    test('a ref among the items stands for its value', async () => {
      assert.deepEqual(await parallelMap([put(2), put(3)], square), [4, 9])
    })

    test('pMapIterable: in order, with back-pressure', async () => {
      let read = 0
      const endless = function* (): Generator<number> {
        for (;;) yield read++
      }
      const seen: number[] = []
      for await (const value of parallelMapIterable(endless(), square, { concurrency: 2, backpressure: 3 })) {
        seen.push(value)
        if (value === 16) break
      }
      assert.deepEqual(seen, [0, 1, 4, 9, 16])
      assert.ok(read <= 5 + 3, `read ${read}`)
    })

    test('wrong arguments', async () => {
      await assert.rejects(parallelMap([1], square, { concurrency: 0 }), /concurrency must be .*got 0/)
      await assert.rejects(parallelMap(5 as never, square), /takes an iterable .*got 5/)
      await assert.rejects(parallelMap([1], 5 as never), InvalidArgumentError)
      const tight = parallelMapIterable([1], square, { concurrency: 3, backpressure: 2 })
      await assert.rejects(tight.next(), /backpressure must be 3/)
    })
  })
})
