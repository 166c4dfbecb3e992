import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObjectNews } from '../../../sdk/runtime/object-news.ts'

test('lost objects are told together, with the first of them', () => {
  const timers: (() => void)[] = []
  const told: unknown[] = []
  const news = new ObjectNews(
    (_, callback) => void timers.push(callback),
    (each) => void told.push(each),
  )
  news.tell('remade', 'a', 'its node is gone')
  news.tell('remade', 'b', 'its node is gone')
  news.tell('lost', 'c', 'x')
  assert.deepEqual([told.length, timers.length], [0, 1])
  timers.pop()?.()
  assert.deepEqual(told, [{ remade: 2, lost: 1, object: 'a', reason: 'its node is gone' }])
  news.tell('lost', 'd', 'y'.repeat(1000))
  timers.pop()?.()
  assert.deepEqual(told[1], { remade: 0, lost: 1, object: 'd', reason: 'y'.repeat(500) })
})
