import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Ring } from '../../../node/reports/ring.ts'

describe('a ring', () => {
  test('gives what is there, and says what is gone', () => {
    const ring = new Ring<number>(3)
    assert.deepEqual(ring.from(0, 10), { items: [], next: 0, hasMore: false, lost: 0 })
    for (const item of [0, 1, 2, 3, 4]) ring.push(item)
    assert.deepEqual(ring.from(0, 10), { items: [2, 3, 4], next: 5, hasMore: false, lost: 2 })
    assert.deepEqual(ring.from(2, 2), { items: [2, 3], next: 4, hasMore: true, lost: 0 })
    assert.deepEqual(ring.from(5, 2), { items: [], next: 5, hasMore: false, lost: 0 })
    assert.deepEqual(ring.last(2), [3, 4])
    assert.deepEqual(ring.last(10), [2, 3, 4])
  })

  test('who comes with a number of another ring begins anew', () => {
    const ring = new Ring<string>(3)
    ring.push('a')
    assert.deepEqual(ring.from(100, 10), { items: ['a'], next: 1, hasMore: false, lost: 0 })
  })
})
