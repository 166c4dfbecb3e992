import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FenceQueue } from '../../../node/election/fence-queue.ts'
import type { Term } from '../../../protocols/election.ts'

const [low, mid, high] = [1, 2, 3].map((counter) => ({ counter, head: '00000000000000aa' })) as [Term, Term, Term]

test('one term is written at a time, and of those that wait the highest', () => {
  const queue = new FenceQueue()
  assert.equal(queue.want(low), low)
  assert.equal(queue.want(high), undefined)
  assert.equal(queue.want(mid), undefined)
  assert.equal(queue.ended(true), high)
  assert.equal(queue.ended(true), undefined)
})

test('no term goes back behind one that is on the disk', () => {
  const queue = new FenceQueue()
  assert.equal(queue.want(high), high)
  assert.equal(queue.want(low), undefined)
  assert.equal(queue.ended(true), undefined)
  assert.equal(queue.want(mid), undefined)
  assert.equal(queue.want(high), high)
})

test('a term that could not be written holds up no other', () => {
  const queue = new FenceQueue()
  assert.equal(queue.want(high), high)
  assert.equal(queue.want(low), undefined)
  assert.equal(queue.ended(false), low)
  assert.equal(queue.ended(false), undefined)
  assert.equal(queue.want(low), low)
})
