import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RecordBook } from '../../../node/directory/record-book.ts'

describe('the records of what others hold', () => {
  test('end when they are taken back, when their node is gone, and in time', () => {
    const book = new RecordBook({ lifeMs: 100 })
    for (const node of ['a', 'b', 'c']) book.add('key', node, 0)
    book.add('other', 'a', 50)
    assert.deepEqual(book.find('key', 99), ['a', 'b', 'c'])
    book.remove('key', 'b')
    book.nodeGone('c')
    assert.deepEqual(book.find('key', 99), ['a'])
    assert.deepEqual(book.find('key', 100), [])
    book.expire(100)
    assert.equal(book.count, 1)
    assert.deepEqual(book.find('other', 149), ['a'])
    book.nodeGone('a')
    assert.equal(book.count, 0)
  })

  test('are bounded for each node, and what is told again counts once', () => {
    const book = new RecordBook({ lifeMs: 100, perNodeMax: 2 })
    assert.deepEqual(
      ['x', 'y', 'x', 'z'].map((key) => book.add(key, 'a', 0)),
      [true, true, true, false],
    )
    assert.equal(book.add('z', 'b', 0), true)
    book.remove('x', 'a')
    assert.equal(book.add('z', 'a', 0), true)
    assert.deepEqual(book.find('z', 0), ['b', 'a'])
  })
})
