import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { copyableError, shortError } from '../../../sdk/values/copyable-error.ts'

const inlineBytesMax = 100 * 1024

/** What the texts and fields of an error and its causes take at most. */
function bytesOf(error: unknown): number {
  if (!(error instanceof Error)) return error === undefined ? 0 : 2 * JSON.stringify(error).length
  const texts = 2 * (error.name.length + error.message.length + (error.stack ?? '').length)
  const fields = Object.entries(error).reduce((sum, [key, value]) => sum + 2 * key.length + bytesOf(value), 0)
  return texts + fields + bytesOf(error.cause)
}

/** Large in every way, with causes of the same kind. */
function large(depth: number): Error {
  const error = new RangeError('\u4e00'.repeat(500_000), depth === 0 ? {} : { cause: large(depth - 1) })
  const fields = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`field${i}`, 'x'.repeat(400)]))
  return Object.assign(error, { data: 'x'.repeat(500_000), ['k'.repeat(500_000)]: 1 }, fields)
}

describe('errors that cannot travel as they are', () => {
  test('go without what cannot be copied', () => {
    const error = Object.assign(new RangeError('no'), { code: 7, open: () => 1 })
    const copy = copyableError(error, (value) => typeof value !== 'function')
    assert.ok(copy instanceof RangeError)
    assert.deepEqual([copy.message, copy.stack, { ...copy }], ['no', error.stack, { code: 7 }])
  })

  test('are short when they must be, however much there is of everything', () => {
    const copy = shortError(large(10), () => true)
    assert.ok(copy instanceof RangeError)
    assert.equal(copy.message, '\u4e00'.repeat(2_000))
    assert.equal(Object.keys(copy)[0], 'field0')
    assert.ok(copy.cause instanceof RangeError)
    assert.ok(bytesOf(copy) < inlineBytesMax, `${bytesOf(copy)} bytes`)
  })

  test('keep what is small when they are short', () => {
    const error = Object.assign(new Error('boom', { cause: new TypeError('why') }), { hint: 7, data: 'x'.repeat(1e6) })
    const copy = shortError(error, () => true)
    assert.deepEqual([copy.message, { ...copy }, (copy.cause as Error).message], ['boom', { hint: 7 }, 'why'])
  })
})
