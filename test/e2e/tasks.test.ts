import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  cancel,
  get,
  GetTimeoutError,
  InfeasibleError,
  init,
  InvalidArgumentError,
  NotCloneableError,
  NotSupportedError,
  put,
  remote,
  shutdown,
  TaskCancelledError,
  TaskError,
  taskContext,
  wait,
  WorkerCrashedError,
  type ObjectRef,
} from '../../sdk/index.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const square = remote((x: number) => x * x)
const identity = remote((x: unknown) => x)

class Point {
  x: number
  y: number
  constructor(x: number, y: number) {
    this.x = x
    this.y = y
  }
  get length(): number {
    return Math.hypot(this.x, this.y)
  }
}

class OutOfRangeError extends Error {
  readonly limit: number
  constructor(message: string, limit: number) {
    super(message)
    this.name = 'OutOfRangeError'
    this.limit = limit
  }
}

describe('tasks on one node', () => {
  let removeDirectory: () => void
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    await init({ numCpus: 2, numGpus: 2, resources: { tpu: 1 }, embedded: true })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })

  describe('calls', () => {
    test('results come back in order', async () => {
      assert.deepEqual(await get([0, 1, 2, 3].map((x) => square.remote(x))), [0, 1, 4, 9])
    })

    test('async functions', async () => {
      const later = remote(async (x: number) => {
        await new Promise((resolve) => setTimeout(resolve, 1))
        return x + 1
      })
      assert.equal(await get(later.remote(1)), 2)
    })

    test('a thousand at once', async () => {
      const refs = Array.from({ length: 1000 }, (_, i) => square.remote(i))
      const values = await get(refs)
      assert.equal(
        values.reduce((sum, value) => sum + value, 0),
        332_833_500,
      )
    })

    test('a ref as an argument is resolved, a nested one stays a ref', async () => {
      const add = remote((a: number, b: number) => a + b)
      assert.equal(await get(add.remote(square.remote(3), square.remote(4))), 25)
      const sum = remote(async (refs: ObjectRef<number>[]) => {
        const values = await get(refs)
        return values.reduce((total, value) => total + value, 0)
      })
      assert.equal(await get(sum.remote([square.remote(3), square.remote(4)])), 25)
    })

    test('a chain of a hundred refs', async () => {
      const increment = remote((x: number) => x + 1)
      let ref: ObjectRef<number> = put(0)
      for (let i = 0; i < 100; i++) ref = increment.remote(ref)
      assert.equal(await get(ref), 100)
    })

    test('several returns', async () => {
      const divide = remote((a: number, b: number): [number, number] => [Math.floor(a / b), a % b], { numReturns: 2 })
      const [quotient, remainder] = divide.remote(17, 5)
      assert.deepEqual([await get(quotient), await get(remainder)], [3, 2])
      const wrong = divide.options({ numReturns: 3 }).remote(17, 5)
      await assert.rejects(get(wrong[0]), /has numReturns 3 but returned 2 values/)
    })

    test('options give another name and leave the rest', async () => {
      const named = remote(() => taskContext().taskName, { name: 'first' })
      assert.equal(await get(named.remote()), 'first')
      assert.equal(await get(named.options({ name: 'second' }).remote()), 'second')
    })
  })

  describe('values', () => {
    test('everything that structured clone knows comes back the same', async () => {
      const cyclic: Record<string, unknown> = { name: 'cycle' }
      cyclic['self'] = cyclic
      const value = {
        map: new Map<unknown, unknown>([['a', new Set([1, 2])]]),
        date: new Date(0),
        regexp: /a+/gi,
        big: 2n ** 80n,
        bytes: new Uint8Array([1, 2, 3]),
        floats: new Float64Array([0.5, -0]),
        view: new DataView(new ArrayBuffer(3)),
        buffer: Buffer.from('text'),
        nothing: undefined,
        nan: Number.NaN,
        cyclic,
      }
      assert.deepEqual(await get(identity.remote(value)), value)
    })

    test('instances of shipped classes keep their class both ways', async () => {
      const scale = remote((point: Point, factor: number) => new Point(point.x * factor, point.y * factor))
      const scaled = await get(scale.remote(new Point(3, 4), 2))
      assert.ok(scaled instanceof Point)
      assert.equal(scaled.length, 10)
      const isPoint = remote((point: unknown) => point instanceof Point)
      assert.equal(await get(isPoint.remote(new Point(1, 1))), true)
    })

    test('a value put once is the same for every task', async () => {
      const data = put(Float64Array.from({ length: 200_000 }, (_, i) => i))
      const sum = remote((values: Float64Array, from: number) =>
        values.subarray(from, from + 1000).reduce((a, b) => a + b, 0),
      )
      assert.deepEqual(await get([0, 1000].map((from) => sum.remote(data, from))), [499_500, 1_499_500])
    })

    test('large results come through the store', async () => {
      const make = remote((length: number) => new Uint8Array(length).fill(7))
      const bytes = await get(make.remote(5_000_000))
      assert.equal(bytes.length, 5_000_000)
      assert.equal(bytes[4_999_999], 7)
    })

    test('put copies: later changes are not seen', async () => {
      const list = [1, 2, 3]
      const ref = put(list)
      list.push(4)
      assert.deepEqual(await get(ref), [1, 2, 3])
    })

    test('refs travel inside results and inside puts', async () => {
      const make = remote(() => ({ inner: put([1, 2, 3]), task: square.remote(5) }))
      const made = await get(make.remote())
      assert.deepEqual(await get(made.inner), [1, 2, 3])
      assert.equal(await get(made.task), 25)
      const outer = put({ inner: put('deep') })
      const read = remote(async (box: { inner: ObjectRef<string> }) => get(box.inner))
      assert.equal(await get(read.remote(outer)), 'deep')
    })

    test('what cannot be copied is an error at the call, with the path to it', () => {
      assert.throws(
        () => identity.remote({ pool: [Promise.resolve(1)] }),
        (error: Error) => {
          assert.ok(error instanceof NotCloneableError)
          assert.match(error.message, /pool\[0\]/)
          assert.match(error.message, /Promise/)
          return true
        },
      )
      assert.throws(() => put(() => 1), /wrap it with remote/)
    })

    test('a result that cannot be copied fails the task', async () => {
      const wrong = remote((): unknown => ({ promise: Promise.resolve(1) }))
      await assert.rejects(get(wrong.remote()), NotCloneableError)
    })
  })

  describe('nested tasks', () => {
    test('a task submits tasks and waits for them', async () => {
      const fib = remote(async (n: number): Promise<number> => {
        if (n < 2) return n
        const [a, b] = await get([fib.remote(n - 1), fib.remote(n - 2)])
        return a + b
      })
      assert.equal(await get(fib.remote(7)), 13)
    })

    test('a remote function is an argument like any other', async () => {
      const apply = remote(async (fn: typeof square, x: number) => get(fn.remote(x)))
      assert.equal(await get(apply.remote(square, 6)), 36)
    })

    test('a remote function keeps its name where it was sent', async () => {
      const named = remote(() => taskContext().taskName)
      const call = remote(async (fn: typeof named) => get(fn.remote()))
      assert.equal(await get(call.remote(named)), 'named')
      const closed = remote(async () => get(named.remote()))
      assert.equal(await get(closed.remote()), 'named')
    })

    test('remote() inside a task', async () => {
      const outer = remote(async (x: number) => {
        const inner = remote((y: number) => y + 1)
        return get(inner.remote(x))
      })
      assert.equal(await get(outer.remote(1)), 2)
    })
  })

  describe('errors', () => {
    test('get throws the error of the task, of its class, with its cause and its place', async () => {
      const fail = remote((limit: number) => {
        throw new OutOfRangeError('too far', limit)
      })
      await assert.rejects(get(fail.remote(5)), (error: Error) => {
        assert.ok(error instanceof OutOfRangeError)
        assert.equal(error.message, 'too far')
        assert.equal(error.limit, 5)
        assert.match(error.stack ?? '', /tasks\.test\.ts:\d+:\d+/)
        assert.match(error.stack ?? '', /in task fail/)
        return true
      })
      const failWithCause = remote(async () => {
        throw new TypeError('outside', { cause: new RangeError('inside') })
      })
      await assert.rejects(get(failWithCause.remote()), (error: Error) => {
        assert.ok(error instanceof TypeError && error.cause instanceof RangeError)
        assert.equal(error.cause.message, 'inside')
        return true
      })
    })

    test('what is no Error is wrapped', async () => {
      const fail = remote(() => {
        throw 'just text'
      })
      await assert.rejects(get(fail.remote()), (error: Error) => {
        assert.ok(error instanceof TaskError)
        assert.equal(error.cause, 'just text')
        return true
      })
    })

    test('get of many fails with the first error, without waiting for the rest', async () => {
      const endless = remote(async () => new Promise<number>(() => undefined))
      const fail = remote(() => {
        throw new Error('first')
      })
      const waiting = endless.remote()
      await assert.rejects(get([waiting, fail.remote()]), /first/)
      cancel(waiting)
    })

    test('a task whose argument failed fails alike, without running', async () => {
      const fail = remote((): number => {
        throw new RangeError('no argument')
      })
      await assert.rejects(get(square.remote(fail.remote())), RangeError)
    })

    test('retryExceptions runs it again, for the classes named', async () => {
      const flaky = remote(
        () => {
          const { attempt } = taskContext()
          if (attempt < 2) throw new OutOfRangeError('again', attempt)
          return attempt
        },
        { retryExceptions: [OutOfRangeError] },
      )
      assert.equal(await get(flaky.remote()), 2)
      await assert.rejects(get(flaky.options({ retryExceptions: [TypeError] }).remote()), OutOfRangeError)
      await assert.rejects(get(flaky.options({ retryExceptions: true, maxRetries: 1 }).remote()), OutOfRangeError)
    })
  })

  describe('get and wait', () => {
    test('get gives up after its time, and the task goes on', async () => {
      const slow = remote(async () => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        return 'done'
      })
      const ref = slow.remote()
      await assert.rejects(get(ref, { timeoutMs: 10 }), (error: Error) => {
        assert.ok(error instanceof GetTimeoutError && error.retryable)
        return true
      })
      assert.equal(await get(ref), 'done')
    })

    test('get ends when its signal aborts', async () => {
      const endless = remote(async () => new Promise<number>(() => undefined))
      const ref = endless.remote()
      const controller = new AbortController()
      const waiting = get(ref, { signal: controller.signal })
      controller.abort(new Error('enough'))
      await assert.rejects(waiting, /enough/)
      await assert.rejects(get(ref, { signal: AbortSignal.abort() }), { name: 'AbortError' })
      cancel(ref)
    })

    test('wait splits into ready and pending, in the order given', async () => {
      const endless = remote(async () => new Promise<number>(() => undefined))
      const stuck = endless.remote()
      const refs = [stuck, square.remote(1), square.remote(2)]
      const { ready, pending } = await wait(refs, { count: 2 })
      assert.deepEqual(ready, refs.slice(1))
      assert.deepEqual(pending, [stuck])
      const timedOut = await wait([stuck], { timeoutMs: 5 })
      assert.deepEqual(timedOut, { ready: [], pending: [stuck] })
      cancel(stuck)
      assert.deepEqual((await wait([stuck])).ready, [stuck])
    })
  })

  describe('streams', () => {
    test('a generator gives refs as it yields', async () => {
      const count = remote(function* (n: number) {
        for (let i = 0; i < n; i++) yield i
      })
      const values: number[] = []
      for await (const ref of count.remote(50)) values.push(await get(ref))
      assert.deepEqual(
        values,
        Array.from({ length: 50 }, (_, i) => i),
      )
    })

    test('an async generator, and an error after two items', async () => {
      const failing = remote(async function* () {
        yield 'a'
        yield 'b'
        throw new RangeError('no more')
      })
      const values: string[] = []
      await assert.rejects(async () => {
        for await (const ref of failing.remote()) values.push(await get(ref))
      }, RangeError)
      assert.deepEqual(values, ['a', 'b'])
    })

    test('the producer waits for its consumer, and stops when that leaves', async () => {
      const counter = remote(async function* (report: string) {
        const { appendFileSync } = await import('node:fs')
        try {
          for (let i = 0; ; i++) {
            appendFileSync(report, `${i}\n`)
            yield i
          }
        } finally {
          appendFileSync(report, 'stopped\n')
        }
      })
      const { mkdtempSync, readFileSync, watch } = await import('node:fs')
      const { tmpdir } = await import('node:os')
      const path = await import('node:path')
      const directory = mkdtempSync(path.join(tmpdir(), 'shoal-test-'))
      const file = path.join(directory, 'report')
      const stream = counter.remote(file)
      for (let i = 0; i < 3; i++) await stream.next()
      const stopped = new Promise<void>((resolve) => {
        const watcher = watch(directory, () => {
          if (!readFileSync(file, 'utf8').includes('stopped')) return
          watcher.close()
          resolve()
        })
      })
      await stream.return()
      await stopped
      const lines = readFileSync(file, 'utf8').trim().split('\n')
      assert.ok(lines.length <= 16 + 3 + 2, `made ${lines.length - 1} items for 3 taken`)
      const { rmSync } = await import('node:fs')
      rmSync(directory, { recursive: true })
    })
  })

  describe('cancelling', () => {
    test('a queued task never runs, a running one is interrupted', async () => {
      const endless = remote(async () => new Promise<number>(() => undefined))
      const blockers = [endless.remote(), endless.remote()]
      const queued = square.remote(2)
      cancel(queued)
      await assert.rejects(get(queued), TaskCancelledError)
      for (const ref of blockers) {
        cancel(ref, { force: true })
        await assert.rejects(get(ref), TaskCancelledError)
      }
      assert.equal(await get(square.remote(3)), 9)
    })

    test('a busy task is ended by force, and the worker replaced', async () => {
      const busy = remote(() => {
        for (;;);
      })
      const ref = busy.remote()
      await assert.rejects(get(ref, { timeoutMs: 100 }), GetTimeoutError)
      cancel(ref, { force: true })
      await assert.rejects(get(ref), TaskCancelledError)
      assert.deepEqual(await get([square.remote(3), square.remote(4)]), [9, 16])
    })
  })

  describe('crashes', () => {
    test('a worker that dies is replaced and its task tried again', async () => {
      const dieOnce = remote((x: number) => {
        if (taskContext().attempt === 0) process.kill(process.pid, 'SIGKILL')
        return x * 2
      })
      assert.equal(await get(dieOnce.remote(21)), 42)
    })

    test('without retries it is WorkerCrashedError', async () => {
      const die = remote(() => process.kill(process.pid, 'SIGKILL'), { maxRetries: 0 })
      await assert.rejects(get(die.remote()), (error: Error) => {
        assert.ok(error instanceof WorkerCrashedError && error.retryable)
        assert.match(error.message, /SIGKILL/)
        return true
      })
    })

    test('the tasks around a crash all come right', async () => {
      const some = remote((x: number) => {
        if (x % 50 === 25 && taskContext().attempt === 0) process.exit(3)
        return x
      })
      const values = await get(Array.from({ length: 200 }, (_, i) => some.remote(i)))
      assert.deepEqual(
        values,
        Array.from({ length: 200 }, (_, i) => i),
      )
    })
  })

  describe('resources', () => {
    test('what can never fit is an error that says what there is', async () => {
      await assert.rejects(get(square.options({ numCpus: 64 }).remote(1)), (error: Error) => {
        assert.ok(error instanceof InfeasibleError)
        assert.match(error.message, /CPU 64/)
        assert.match(error.message, /CPU 2/)
        return true
      })
      await assert.rejects(get(square.options({ resources: { quantum: 1 } }).remote(1)), /quantum/)
    })

    test('GPU tasks see their own devices, others none', async () => {
      const devices = remote(() => process.env['CUDA_VISIBLE_DEVICES'])
      assert.equal(await get(devices.remote()), '')
      assert.match((await get(devices.options({ numGpus: 1 }).remote())) ?? '', /^[01]$/)
      assert.equal(await get(devices.options({ numGpus: 2 }).remote()), '0,1')
      await assert.rejects(
        get(devices.options({ acceleratorType: 'H100' }).remote()),
        (error) => error instanceof InfeasibleError && /GPU type H100; this node has .* GPU 2/.test(error.message),
      )
      assert.equal(await get(devices.options({ numGpus: 0.5, resources: { tpu: 0.5 } }).remote()), '0')
    })

    test('environment variables of the runtime environment', async () => {
      const read = remote(() => process.env['TEST_VALUE'])
      assert.equal(await get(read.options({ runtimeEnv: { envVars: { TEST_VALUE: 'here' } } }).remote()), 'here')
      assert.equal(await get(read.remote()), undefined)
    })
  })

  describe('bad input', () => {
    const cases: [string, () => unknown, RegExp, new (...args: never[]) => Error][] = [
      [
        'an unknown option',
        () => remote(() => 1, { numCpu: 1 } as never),
        /no option "numCpu"; it knows numCpus/,
        InvalidArgumentError,
      ],
      [
        'negative CPUs',
        () => remote(() => 1, { numCpus: -1 }),
        /numCpus must be a number, 0 or more; got -1/,
        InvalidArgumentError,
      ],
      [
        'a wrong type',
        () => remote(() => 1, { numCpus: '2' as never }),
        /numCpus must be a number.*got "2"/,
        InvalidArgumentError,
      ],
      [
        'a GPU type, and no GPU',
        () => remote(() => 1, { acceleratorType: 'H100', numGpus: 0 }),
        /acceleratorType asks for a GPU \(H100\), and numGpus for none/,
        InvalidArgumentError,
      ],
      [
        'no GPU type',
        () => remote(() => 1, { acceleratorType: ['H100', ''] }),
        /acceleratorType must be a type of GPU of 1 to 48 characters/,
        InvalidArgumentError,
      ],
      [
        'GPU memory below zero',
        () => remote(() => 1, { gpuMemoryBytes: -1 }),
        /gpuMemoryBytes must be a number, 0 or more; got -1/,
        InvalidArgumentError,
      ],
      [
        'more GPU memory than can be counted',
        () => remote(() => 1, { gpuMemoryBytes: 1e30 }),
        /gpuMemoryBytes is 1e\+30; expected at most/,
        InvalidArgumentError,
      ],
      [
        'less of a GPU than is counted',
        () => remote(() => 1, { numGpus: 1e-6 }),
        /numGpus is 0.000001; expected 0 or at least 0.0001/,
        InvalidArgumentError,
      ],
      [
        'a GPU type among the resources',
        () => remote(() => 1, { resources: { 'accelerator:H100': 1 } }),
        /ask for accelerator:H100 by the option acceleratorType/,
        InvalidArgumentError,
      ],
      [
        'one and a half GPUs',
        () => remote(() => 1, { numGpus: 1.5 }),
        /numGpus must be a fraction up to 1/,
        InvalidArgumentError,
      ],
      ['no function', () => remote(42 as never), /remote\(\) takes a function; got 42/, InvalidArgumentError],
      [
        'a strategy that there is not',
        () => remote(() => 1, { schedulingStrategy: 'scatter' as never }),
        /schedulingStrategy must be 'default', 'spread', .*got "scatter"/,
        InvalidArgumentError,
      ],
      [
        'a node that is none',
        () => remote(() => 1, { schedulingStrategy: { nodeId: 'lab1' } }),
        /schedulingStrategy.nodeId must be the id of a node, 16 hex digits.*got "lab1"/,
        InvalidArgumentError,
      ],
      [
        'a label that cannot be',
        () => remote(() => 1, { schedulingStrategy: { labels: { zone: { is: 'lab1' } as never } } }),
        /schedulingStrategy.labels.zone must be a text, \{ in/,
        InvalidArgumentError,
      ],
      [
        'a runtime environment to come',
        () => remote(() => 1, { runtimeEnv: { npm: ['x'] } as never }),
        /runtimeEnv.npm is not built yet/,
        NotSupportedError,
      ],
      [
        'no replica at all',
        () => remote(() => 1, { replicas: 0 }),
        /replicas must be a whole number, 1 or more; got 0/,
        InvalidArgumentError,
      ],
      ['half a replica', () => put(1, { replicas: 1.5 }), /replicas must be a whole .*got 1.5/, InvalidArgumentError],
      ['put of a ref', () => put(put(1)), /not an ObjectRef/, InvalidArgumentError],
      [
        'cancel of nothing',
        () => cancel(undefined as never),
        /cancel\(\) takes an ObjectRef; got undefined/,
        InvalidArgumentError,
      ],
    ]
    for (const [what, call, message, errorClass] of cases) {
      test(what, () => {
        assert.throws(call, (error: Error) => {
          assert.ok(error instanceof errorClass, error.name)
          assert.match(error.message, message)
          return true
        })
      })
    }

    test('get and wait of wrong things', async () => {
      await assert.rejects(get(7 as never), /takes an ObjectRef or an array of them; got 7/)
      await assert.rejects(get([square.remote(1), 7 as never]), /item 1 is 7/)
      await assert.rejects(get(square.remote(1), { timeout: 5 } as never), /no option "timeout"/)
      await assert.rejects(wait([square.remote(1)], { count: 2 }), /a count of 2 but only 1 ref$/)
      const ref = square.remote(1)
      await assert.rejects(wait(ref as never), /wait\(\) takes an array of ObjectRefs; got an ObjectRef/)
      await assert.rejects(wait([ref, ref]), /the same ref twice/)
      await assert.rejects(wait([ref], { fetchLocal: 1 } as never), /fetchLocal must be true or false; got 1/)
    })
  })
})
