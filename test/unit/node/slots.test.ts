import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Slots } from '../../../node/bulk/slots.ts'

describe('slots', () => {
  test('are taken in order; who gives up waiting takes none, and who is too many is refused', async () => {
    const slots = new Slots(1, 2, 'things')
    await slots.take()
    const order: string[] = []
    const controller = new AbortController()
    const first = slots.take(controller.signal)
    const second = slots.take().then(() => order.push('second'))
    await assert.rejects(slots.take(), /2 things wait for their turn already/)
    controller.abort(new Error('not needed'))
    await assert.rejects(first, /not needed/)
    await assert.rejects(slots.take(controller.signal), /not needed/)
    const third = slots.take(new AbortController().signal).then(() => order.push('third'))
    slots.release()
    await second
    assert.deepEqual(order, ['second'])
    slots.release()
    await third
    slots.release()
    assert.equal(await slots.use(() => Promise.resolve('free again')), 'free again')
  })
})
