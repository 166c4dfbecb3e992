import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StreamSender } from '../../../sdk/worker/stream-sender.ts'

function senderOf(items: Iterator<unknown> | AsyncIterator<unknown>, send: (item: unknown) => void): StreamSender {
  const host = { send: (_index: number, item: unknown) => send(item), beginStall: () => () => undefined }
  return new StreamSender(items, { skip: 0, limit: 0 }, host)
}

const refuseTwo = (item: unknown): void => {
  if (item === 2) throw new RangeError('not this one')
}

describe('a stream with an item that cannot be sent', () => {
  test('ends with what is wrong with it, and its generator is closed', async () => {
    const closed: string[] = []
    function* numbers() {
      try {
        yield* [1, 2, 3]
      } finally {
        closed.push('usual')
      }
    }
    async function* later() {
      try {
        yield* [1, 2, 3]
      } finally {
        await new Promise(setImmediate)
        closed.push('async')
      }
    }
    for (const items of [numbers(), later()]) {
      await assert.rejects(senderOf(items, refuseTwo).run(), { message: 'not this one' })
      assert.equal((await items.next()).done, true)
    }
    assert.deepEqual(closed, ['usual', 'async'])
  })

  test('ends with that even when its generator cannot be closed', async () => {
    function* numbers() {
      try {
        yield* [1, 2, 3]
      } finally {
        // oxlint-disable-next-line no-unsafe-finally
        throw new TypeError('nor that')
      }
    }
    await assert.rejects(senderOf(numbers(), refuseTwo).run(), { message: 'not this one' })
    const items = { next: () => ({ done: false, value: 2 }) }
    await assert.rejects(senderOf(items, refuseTwo).run(), { message: 'not this one' })
  })
})
