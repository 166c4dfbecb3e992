import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { GetTimeoutError, InvalidArgumentError, NotCloneableError, ShoalError } from '../../../protocols/errors.ts'
import { noContents, type WireValue } from '../../../protocols/wire-value.ts'
import { get, put, wait } from '../../../sdk/api/values.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { setCurrentRuntime } from '../../../sdk/runtime/current-runtime.ts'

const here = fileURLToPath(import.meta.url)
const taskError = new GetTimeoutError('a task has waited in vain')
const taskStack = taskError.stack
const failed: WireValue = {
  kind: 'inline',
  head: new Uint8Array(),
  buffers: [],
  isError: true,
  format: 1,
  refs: noContents,
  classes: noContents,
}

let sequence = 0
function refOf(value?: WireValue): ObjectRef {
  const record = new ObjectRecord('0'.repeat(32), ++sequence)
  if (value !== undefined) record.settle(value)
  return new ObjectRef(record)
}

/** The frames of an error, the innermost first: each is a file and a line, or a word of the engine. */
function frames(error: unknown): string[] {
  assert.ok(error instanceof ShoalError)
  const [head, ...lines] = (error.stack ?? '').split('\n')
  assert.equal(head, `${error.name}: ${error.message}`)
  return lines
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail('it has not been rejected')
}

before(() => {
  const runtime = {
    coder: { isHere: () => true, decodeNow: () => taskError },
    waiting: (promise: Promise<unknown>) => promise,
    put: (): never => {
      throw new NotCloneableError('no')
    },
  }
  setCurrentRuntime(runtime as never)
})
after(() => setCurrentRuntime(undefined))

describe('stacks lead to who has called', () => {
  test('put', () => {
    const wrong: [() => unknown, new (...args: never[]) => ShoalError][] = [
      [() => put(1), NotCloneableError],
      [() => put(1, { replicas: 0 }), InvalidArgumentError],
    ]
    for (const [call, type] of wrong) {
      assert.throws(call, (error) => {
        assert.ok(error instanceof type)
        assert.ok(frames(error)[0]?.includes(here), error.stack)
        return true
      })
    }
  })

  test('get, when the time is up', async () => {
    async function user(refs: ObjectRef | ObjectRef[]): Promise<unknown> {
      return await get(refs as ObjectRef, { timeoutMs: 0 })
    }
    for (const refs of [refOf(), [refOf(), refOf()]]) {
      const error = await rejection(user(refs))
      assert.ok(error instanceof GetTimeoutError)
      const [first = ''] = frames(error)
      assert.ok(/at async user /.test(first) && first.includes(here), error.stack)
    }
  })

  test('an error of a task keeps its stack', async () => {
    assert.equal(await rejection(get(refOf(failed))), taskError)
    assert.equal(taskError.stack, taskStack)
  })
})

describe('what is said', () => {
  const slow = refOf()
  const there = refOf({ ...failed, isError: false })

  test('how many of how many values are missing when the time is up', async () => {
    const timeout = { timeoutMs: 0 }
    await assert.rejects(
      get([there, slow, slow], timeout),
      /: 2 of 3 values are not there after 0 ms; the tasks go on$/,
    )
    await assert.rejects(get([slow], timeout), /: the value is not there after 0 ms/)
    await assert.rejects(get(slow, timeout), { details: { missing: 1, count: 1, timeoutMs: 0 } })
  })

  const wrong: [string, () => Promise<unknown>, string][] = [
    ['get of two refs', () => get(slow, there as never), 'the options of get() must be an object; got an ObjectRef'],
    [
      'wait with one more',
      () => wait([slow], there as never),
      'the options of wait() must be an object; got an ObjectRef',
    ],
    ['wait for one ref', () => wait(slow as never), 'wait() takes an array of ObjectRefs; got an ObjectRef'],
    ['wait for a wrong one', () => wait([1 as never]), 'wait() takes an array of ObjectRefs; item 0 is 1'],
    ['get of nothing', () => get({} as never), 'get() takes an ObjectRef or an array of them; got an object'],
    [
      'get of a wrong one',
      () => get([{}] as never),
      'get() takes an ObjectRef or an array of them; item 0 is an object',
    ],
    ['wait for too many', () => wait([slow], { count: 2 }), 'wait() has a count of 2 but only 1 ref'],
    ['wait for none', () => wait([]), 'wait() has a count of 1 but only 0 refs'],
  ]
  for (const [what, call, message] of wrong) {
    test(what, async () => {
      await assert.rejects(call, { name: 'InvalidArgumentError', message })
    })
  }

  test('put with a ref as options', () => {
    assert.throws(() => put(1, slow as never), /the options of put\(\) must be an object; got an ObjectRef/)
  })
})
