/**
 * What Ray's tests say of tasks: test_cancel.py, test_wait.py, test_failure*.py, test_basic*.py, test_reference_counting*.py and
 * test_reconstruction*.py, by their names. What needs several nodes is in test/e2e: lineage, references, replicas, mesh.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, test } from 'node:test'
import {
  cancel,
  get,
  GetTimeoutError,
  InfeasibleError,
  InvalidArgumentError,
  ObjectRef,
  put,
  remote,
  taskContext,
  TaskCancelledError,
  TaskError,
  wait,
  WorkerCrashedError,
} from '../../sdk/index.ts'
import { attachToNode } from '../support/driver.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'shoal-ray-tasks-'))
const fileNamed = (name: string): string => path.join(directory, name)

const echo = remote(<T>(value: T): T => value)
const add = remote((a: number, b: number) => a + b)
/** Goes on until the file is there. */
const until = remote(async (file: string) => {
  while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 5))
  return file
})
/** Tells that it runs, and never ends by itself. */
const hang = remote(async (file: string) => {
  writeFileSync(file, '')
  await new Promise((resolve) => {
    taskContext().signal.addEventListener('abort', resolve)
    setTimeout(() => undefined, 1e9)
  })
})
/** As `hang`, but hears nothing. */
const spin = remote((file: string) => {
  writeFileSync(file, '')
  for (;;);
})
const die = remote(() => process.kill(process.pid, 'SIGKILL'))

async function errorOf(
  call: Promise<unknown>,
): Promise<Error & { details?: Record<string, unknown>; retryable?: boolean }> {
  try {
    await call
  } catch (error) {
    return error as Error
  }
  throw new assert.AssertionError({ message: 'it did not fail' })
}

async function running(file: string): Promise<void> {
  await get(until.options({ numCpus: 0 }).remote(file))
}

describe('tasks, as Ray has them', () => {
  attachToNode({ numCpus: 2 })
  after(() => rmSync(directory, { recursive: true, force: true }))

  describe('test_cancel', () => {
    test('test_cancel_chain: whatever waits for a cancelled task fails with it', async () => {
      const file = fileNamed('chain')
      const first = hang.remote(file)
      const second = echo.remote(first)
      const third = echo.remote(second)
      await running(file)
      cancel(first)
      for (const ref of [first, second, third]) assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
    })

    test('test_cancel_during_arg_deser / test_cancel_multiple_dependents: dependents of one are all told', async () => {
      const file = fileNamed('dependents')
      const head = hang.remote(file)
      const dependents = [1, 2, 3].map(() => echo.remote(head))
      await running(file)
      cancel(head)
      for (const each of dependents) assert.ok((await errorOf(get(each))) instanceof TaskCancelledError)
    })

    test('test_single_cpu_cancel: one that waits for a CPU never runs', async () => {
      const [holds, never] = [fileNamed('holds'), fileNamed('never')]
      const holder = hang.options({ numCpus: 2 }).remote(holds)
      await running(holds)
      const queued = hang.options({ numCpus: 2 }).remote(never)
      cancel(queued)
      assert.ok((await errorOf(get(queued))) instanceof TaskCancelledError)
      cancel(holder)
      assert.ok((await errorOf(get(holder))) instanceof TaskCancelledError)
      assert.equal(await get(add.remote(1, 2)), 3)
      assert.equal(existsSync(never), false)
    })

    test('test_stress / test_fast: many that are cancelled at once leave the node as it was', async () => {
      const refs = Array.from({ length: 100 }, (_, i) => add.remote(i, 1))
      for (const ref of refs) cancel(ref)
      const results = await Promise.allSettled(refs.map((ref) => get(ref)))
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') assert.equal(result.value, i + 1)
        else assert.ok(result.reason instanceof TaskCancelledError)
      }
      assert.equal(await get(add.remote(20, 22)), 42)
    })

    test('test_comprehensive: cancelling twice, and what is done, changes nothing', async () => {
      const done = add.remote(1, 1)
      assert.equal(await get(done), 2)
      cancel(done)
      assert.equal(await get(done), 2)
      const file = fileNamed('twice')
      const ref = hang.remote(file)
      await running(file)
      cancel(ref)
      cancel(ref, { force: true })
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
    })

    test('test_recursive_cancel: a task takes those along that it has started', async () => {
      const [parentFile, childFile] = [fileNamed('parent'), fileNamed('child')]
      const parent = remote(async (own: string, child: string) => {
        const ref = hang.options({ numCpus: 0 }).remote(child)
        writeFileSync(own, '')
        await get(ref)
      })
      const ref = parent.remote(parentFile, childFile)
      await running(parentFile)
      await running(childFile)
      cancel(ref)
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
      // All CPUs are free again, so neither of the two goes on.
      assert.equal(await get(add.options({ numCpus: 2 }).remote(1, 1)), 2)
    })

    test('test_force_cancel: one that hears nothing loses its worker at once', async () => {
      const file = fileNamed('spin')
      const ref = spin.remote(file)
      await running(file)
      cancel(ref, { force: true })
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
    })

    test('test_remote_cancel: a task may cancel what another one has made', async () => {
      const file = fileNamed('remote-cancel')
      const ref = hang.remote(file)
      await running(file)
      const canceller = remote((refs: [ObjectRef]) => cancel(refs[0]))
      await get(canceller.remote([ref]))
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
    })

    test('test_cancel_with_dependency: one whose argument is not there yet', async () => {
      const file = fileNamed('dependency')
      const argument = hang.remote(file)
      const ref = echo.remote(argument)
      await running(file)
      cancel(ref)
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
      // The argument is a task of its own, which others may want.
      cancel(argument)
    })

    test('test_is_canceled_with_keyboard_interrupt: the task is told by its signal, and can clean up', async () => {
      const [file, clean] = [fileNamed('told'), fileNamed('clean')]
      const tidy = remote(async (started: string, tidied: string) => {
        const { signal } = taskContext()
        writeFileSync(started, '')
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        writeFileSync(tidied, '')
      })
      const ref = tidy.remote(file, clean)
      await running(file)
      cancel(ref)
      assert.ok((await errorOf(get(ref))) instanceof TaskCancelledError)
      await running(clean)
    })
  })

  describe('test_wait', () => {
    test('test_wait: the ready ones in the order given, no more than asked for, the others pending', async () => {
      const file = fileNamed('wait')
      const [slow, ...quick] = [until.remote(file), echo.remote('a'), echo.remote('b'), echo.remote('c')]
      await get(quick)
      const { ready, pending } = await wait([slow, ...quick], { count: 2 })
      assert.deepEqual(ready, quick.slice(0, 2))
      assert.deepEqual(pending, [slow, quick[2]])
      writeFileSync(file, '')
      assert.equal((await wait(pending, { count: 2 })).pending.length, 0)
    })

    test('test_wait_timing: a timeout is no error', async () => {
      const file = fileNamed('timeout')
      const ref = until.remote(file)
      const { ready, pending } = await wait([ref], { timeoutMs: 20 })
      assert.deepEqual([ready.length, pending.length], [0, 1])
      writeFileSync(file, '')
      await get(ref)
    })

    test('test_wait_args: the same ref twice, too large a count, no refs', async () => {
      const ref = put(1)
      assert.ok((await errorOf(wait([ref, ref]))) instanceof InvalidArgumentError)
      assert.ok((await errorOf(wait([ref], { count: 2 }))) instanceof InvalidArgumentError)
      assert.ok((await errorOf(wait([], { count: 1 }))) instanceof InvalidArgumentError)
      assert.ok((await errorOf(wait([1 as never]))) instanceof InvalidArgumentError)
      assert.ok((await errorOf(wait([ref], { count: 0 }))) instanceof InvalidArgumentError)
    })

    test('test_wait_always_fetch / test_wait_put_in_object: what was put is ready at once, by either way', async () => {
      for (const fetchLocal of [true, false]) {
        const ref = put(new Uint8Array(300_000))
        assert.deepEqual((await wait([ref], { fetchLocal })).ready, [ref])
      }
    })

    test('test_wait_makes_object_local: an error counts as ready', async () => {
      const bad = remote(() => {
        throw new RangeError('no')
      }).remote()
      assert.deepEqual((await wait([bad])).ready, [bad])
      assert.ok((await errorOf(get(bad))) instanceof RangeError)
    })
  })

  describe('test_basic', () => {
    test('test_nested_object_refs / test_put_get: refs inside of values stay refs', async () => {
      const inner = put(5)
      const outer = put({ inner })
      const found = await get(outer)
      assert.ok(found.inner instanceof ObjectRef)
      assert.equal(await get(found.inner), 5)
    })

    test('test_passing_arguments_by_value: all that can be copied comes back equal', async () => {
      const values = [
        null,
        undefined,
        true,
        -0,
        Number.NaN,
        2n ** 80n,
        'ü\u0000',
        new Date(3),
        /a+/gi,
        new Map([[{ a: 1 }, new Set([1, '2'])]]),
        [1, [2, [3]]],
        new Float32Array([1.5, -2]),
        Buffer.from('bytes'),
        { deep: { deeper: [{ deepest: null }] } },
      ]
      assert.deepEqual(await get(values.map((value) => echo.remote(value as never))), values)
    })

    test('test_returning_multiple_values: numReturns', async () => {
      const three = remote((x: number) => [x, x + 1, x + 2] as const, { numReturns: 3 })
      const [a, b, c] = three.remote(1)
      assert.deepEqual(await get([a, b, c]), [1, 2, 3])
      const wrong = three.options({ numReturns: 2 }).remote(1)
      assert.ok((await errorOf(get(wrong as never))) instanceof TaskError)
    })

    test('test_call_chain: a thousand, each on the result of the last', async () => {
      let ref = add.remote(0, 1)
      for (let i = 0; i < 999; i++) ref = add.remote(ref, 1)
      assert.equal(await get(ref), 1000)
    })

    test('test_fair_queueing: tasks that wait for their own tasks never stand still, on one CPU too', async () => {
      const one = { numCpus: 2 } as const
      const tree = remote(async function grow(depth: number): Promise<number> {
        if (depth === 0) return 1
        const parts = await get([tree.options(one).remote(depth - 1), tree.options(one).remote(depth - 1)])
        return parts[0] + parts[1]
      })
      assert.equal(await get(tree.options(one).remote(3)), 8)
    })

    test('test_options_num_returns / test_options_name: options of one call do not change the function', async () => {
      const named = echo.options({ name: 'other' })
      assert.equal(named.name, 'other')
      assert.notEqual(echo.name, 'other')
    })

    test('test_get_with_timeout: the task goes on, and its value can be had later', async () => {
      const file = fileNamed('get-timeout')
      const ref = until.remote(file)
      const error = await errorOf(get(ref, { timeoutMs: 20 }))
      assert.ok(error instanceof GetTimeoutError)
      assert.equal(error.retryable, true)
      writeFileSync(file, '')
      assert.equal(await get(ref), file)
    })

    test('test_background_tasks_with_max_calls: what nobody looks at runs all the same', async () => {
      const file = fileNamed('background')
      void remote((name: string) => writeFileSync(name, '')).remote(file)
      await running(file)
    })
  })

  describe('test_failure', () => {
    test('test_failed_task / test_baseexception_task: the class, the message, the stack and the cause', async () => {
      class OwnError extends Error {
        readonly answer = 42
      }
      const fail = remote(() => {
        throw new OwnError('own', { cause: new TypeError('why') })
      })
      const error = await errorOf(get(fail.remote()))
      assert.ok(error instanceof OwnError)
      assert.equal(error.answer, 42)
      assert.ok(error.cause instanceof TypeError)
      assert.match(String(error.stack), /ray-tasks\.test\.ts/)
    })

    test('test_unpickleable_exception / test_throw_something_else: what is no Error is wrapped', async () => {
      const odd = remote((): void => {
        throw 'a text'
      })
      const error = await errorOf(get(odd.remote()))
      assert.ok(error instanceof TaskError)
      assert.equal(error.cause, 'a text')
    })

    test('test_fail_importing_task / test_failed_function_to_run: a promise that is rejected fails the task', async () => {
      const late = remote(async () => {
        await new Promise(setImmediate)
        throw new SyntaxError('late')
      })
      assert.ok((await errorOf(get(late.remote()))) instanceof SyntaxError)
    })

    test('test_get_throws_quickly_when_found_exception: without waiting for the others', async () => {
      const file = fileNamed('quickly')
      const slow = until.remote(file)
      const bad = remote(() => {
        throw new RangeError('quick')
      }).remote()
      assert.ok((await errorOf(get([slow, bad]))) instanceof RangeError)
      writeFileSync(file, '')
      await get(slow)
    })

    test('test_worker_dying / test_worker_raising_exception: tries are counted, and the last one is told', async () => {
      const error = await errorOf(get(die.options({ maxRetries: 0 }).remote()))
      assert.ok(error instanceof WorkerCrashedError)
      assert.match(error.message, /SIGKILL/)
      const twice = await errorOf(get(die.options({ maxRetries: 1 }).remote()))
      assert.equal(twice.details?.['tries'], 2)
    })

    test('test_dependency_worker_failure: a task is tried again, and what depends on it does not see that', async () => {
      const file = fileNamed('once')
      const flaky = remote((name: string) => {
        if (existsSync(name)) return 'second'
        writeFileSync(name, '')
        return process.kill(process.pid, 'SIGKILL')
      })
      assert.equal(await get(echo.remote(flaky.remote(file) as never)), 'second')
    })

    test('test_retry_application_level_error: retryExceptions, all of them or those of a class', async () => {
      const flaky = remote(
        (name: string, times: number) => {
          const { attempt } = taskContext()
          if (attempt < times) throw name === 'range' ? new RangeError('r') : new TypeError('t')
          return attempt
        },
        { maxRetries: 3 },
      )
      assert.equal(await get(flaky.options({ retryExceptions: true }).remote('range', 2)), 2)
      assert.equal(await get(flaky.options({ retryExceptions: [RangeError] }).remote('range', 3)), 3)
      const other = flaky.options({ retryExceptions: [RangeError] }).remote('type', 1)
      assert.ok((await errorOf(get(other))) instanceof TypeError)
      assert.ok((await errorOf(get(flaky.remote('range', 1)))) instanceof RangeError)
    })

    test('test_infeasible_task: what no node can ever run says what was asked and what there is', async () => {
      const error = await errorOf(get(echo.options({ numCpus: 1000 }).remote(1)))
      assert.ok(error instanceof InfeasibleError)
      assert.match(error.message, /CPU/)
    })

    test('test_argument_error: an argument that is an error fails the task, which does not run', async () => {
      const file = fileNamed('not-run')
      const bad = remote((): string => {
        throw new RangeError('argument')
      }).remote()
      const uses = remote((name: string, text: string) => writeFileSync(name, text))
      assert.ok((await errorOf(get(uses.remote(file, bad)))) instanceof RangeError)
      assert.equal(existsSync(file), false)
    })
  })

  describe('test_reference_counting', () => {
    test('test_recursively_nest_ids: refs inside of refs inside of refs', async () => {
      let ref: ObjectRef<unknown> = put('the core')
      for (let i = 0; i < 20; i++) ref = put({ next: ref })
      const dig = remote(async (start: { next: ObjectRef<unknown> }) => {
        let at: unknown = start
        for (let depth = 0; typeof at !== 'string'; depth++) {
          if (depth > 30) throw new Error('too deep')
          at = await get((at as { next: ObjectRef<unknown> }).next)
        }
        return at
      })
      assert.equal(await get(dig.remote(ref as never)), 'the core')
    })

    test('test_return_object_ref: a ref that a task gives can be read after it has ended, large or small', async () => {
      for (const bytes of [10, 400_000]) {
        const make = remote((size: number) => [put(new Uint8Array(size).fill(3))])
        const [inner] = await get(make.remote(bytes))
        const data = await get(inner as ObjectRef<Uint8Array>)
        assert.equal(data.length, bytes)
        assert.equal(data.at(-1), 3)
      }
    })

    test('test_captured_object_ref: a ref that a function closes over', async () => {
      const captured = put(new Uint8Array(300_000).fill(9))
      const read = remote(async () => (await get(captured)).at(0))
      assert.deepEqual(await get([read.remote(), read.remote()]), [9, 9])
    })

    test('test_basic_serialized_reference / test_multiple_borrowers: a ref goes through tasks of tasks', async () => {
      const ref = put(new Uint8Array(200_000).fill(5))
      const leaf = remote(async (refs: [ObjectRef<Uint8Array>]) => (await get(refs[0])).at(-1))
      const branch = remote(async (refs: [ObjectRef<Uint8Array>]) => get([leaf.remote(refs), leaf.remote(refs)]))
      assert.deepEqual(await get(branch.remote([ref])), [5, 5])
    })
  })
})
