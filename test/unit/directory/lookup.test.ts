import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { UnreachableError } from '../../../protocols/errors.ts'
import { lookUp, type Lookup } from '../../../node/directory/lookup.ts'

type Answer = readonly string[] | 'none' | Error

/** Nodes that answer when the test says so. */
function lookup(steps: string[][], more: Partial<Lookup> = {}) {
  const asked: string[] = []
  const signals: AbortSignal[] = []
  const walks: boolean[] = []
  const waiting = new Map<string, PromiseWithResolvers<readonly string[]>>()
  const found = lookUp({
    steps,
    ask(node, signal) {
      asked.push(node)
      signals.push(signal)
      const answer = Promise.withResolvers<readonly string[]>()
      waiting.set(node, answer)
      return answer.promise
    },
    otherwise(haveAllAnswered) {
      walks.push(haveAllAnswered)
      return Promise.resolve(['walked'])
    },
    patienceMs: 60_000,
    signal: new AbortController().signal,
    ...more,
  })
  const answer = async (node: string, what: Answer): Promise<void> => {
    if (what instanceof Error) waiting.get(node)?.reject(what)
    else waiting.get(node)?.resolve(what === 'none' ? [] : what)
    await turn()
  }
  return { found, asked, signals, walks, answer }
}

describe('a lookup', () => {
  test('ends with the first answer that names a holder, and asks nobody else', async () => {
    const { found, asked, signals, answer } = lookup([['a', 'b', 'c'], ['d']])
    assert.deepEqual(asked, ['a', 'b', 'c'])
    await answer('b', 'none')
    await answer('c', ['x', 'y'])
    assert.deepEqual(await found, ['x', 'y'])
    assert.deepEqual(asked, ['a', 'b', 'c'])
    assert.ok(
      signals.every(({ aborted }) => aborted),
      'nobody waits for the others',
    )
  })

  test('asks the next when none of those before knows, and only then', async () => {
    const { found, asked, walks, answer } = lookup([['a', 'b'], ['c']])
    await answer('a', 'none')
    assert.deepEqual(asked, ['a', 'b'])
    await answer('b', 'none')
    assert.deepEqual(asked, ['a', 'b', 'c'])
    await answer('c', ['x'])
    assert.deepEqual(await found, ['x'])
    assert.deepEqual(walks, [])
  })

  test('says whether all have answered when nobody knew', async () => {
    const all = lookup([['a'], ['b']])
    await all.answer('a', 'none')
    await all.answer('b', 'none')
    assert.deepEqual([await all.found, all.walks], [['walked'], [true]])

    const some = lookup([['a'], ['b']])
    await some.answer('a', new UnreachableError('gone'))
    await some.answer('b', 'none')
    assert.deepEqual([await some.found, some.walks], [['walked'], [false]])

    const nobody = lookup([[], []])
    assert.deepEqual([await nobody.found, nobody.walks], [['walked'], [true]])
  })

  test('does not wait for one that is silent, and still takes what it says late', async () => {
    const walked = Promise.withResolvers<void>()
    const { found, asked, answer } = lookup([['a', 'b'], ['c']], {
      patienceMs: 5,
      otherwise(haveAllAnswered, signal) {
        assert.equal(haveAllAnswered, false)
        walked.resolve()
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    await answer('b', 'none')
    await walked.promise
    assert.deepEqual(asked, ['a', 'b', 'c'])
    await answer('a', ['late'])
    assert.deepEqual(await found, ['late'])
  })

  test('ends when nobody wants it any more', async () => {
    const controller = new AbortController()
    const { found, signals } = lookup([['a', 'b']], { signal: controller.signal })
    controller.abort(new Error('not needed'))
    await assert.rejects(found)
    assert.ok(signals.every(({ aborted }) => aborted))
  })
})
