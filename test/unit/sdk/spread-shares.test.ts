import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Lease } from '../../../sdk/tasks/lease.ts'
import { SpreadShares } from '../../../sdk/tasks/spread-shares.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'

let lastSequence = 0

/** A task of a function that is known to be short. */
function task(): TaskRecord {
  return { sequence: ++lastSequence, function: { estimateMs: 0.1 }, argsBytes: 0, stream: undefined } as never
}

function lease(node: string, hasAnswered = true): Lease {
  const made = new Lease(++lastSequence, 1, node, 0)
  made.hasAnswered = hasAnswered
  return made
}

/** Deals out tasks until somebody has to wait; gives how many each node got. Each task is done at once. */
function deal(shares: SpreadShares, leases: readonly Lease[], count: number, nowMs: number): Record<string, number> {
  const given: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const next = task()
    const best = shares.pick(leases, next, nowMs)
    if (best === undefined) break
    best.hasAnswered = true
    given[best.node] = (given[best.node] ?? 0) + 1
  }
  return given
}

describe('the shares of nodes with spread', () => {
  test('are equal when all have begun', () => {
    const shares = new SpreadShares(0)
    shares.granted(3, 0)
    const leases = ['a', 'b', 'c'].map((node) => lease(node))
    assert.deepEqual(deal(shares, leases, 999, 10), { a: 333, b: 333, c: 333 })
  })

  test('are equal by nodes, not by workers', () => {
    const shares = new SpreadShares(0)
    shares.granted(2, 0)
    assert.deepEqual(deal(shares, [lease('a'), lease('a'), lease('a'), lease('b')], 1000, 10), { a: 500, b: 500 })
  })

  test('nobody gets far ahead while others are still to begin', () => {
    const shares = new SpreadShares(0)
    shares.granted(3, 0)
    const leases = [lease('a')]
    assert.deepEqual(deal(shares, leases, 1000, 10), { a: 8 })
    leases.push(lease('b', false))
    assert.deepEqual(deal(shares, leases, 1000, 500), { b: 8 })
    leases.push(lease('c', false))
    assert.deepEqual(deal(shares, leases, 992, 900), { a: 328, b: 328, c: 336 })
  })

  test('who does not come in time is not waited for any longer, and welcome later', () => {
    const shares = new SpreadShares(0)
    shares.granted(2, 100)
    const leases = [lease('a')]
    assert.deepEqual(deal(shares, leases, 100, 1599), { a: 8 })
    assert.deepEqual(deal(shares, leases, 100, 1600), { a: 100 })
    leases.push(lease('b'))
    shares.granted(2, 6000)
    assert.deepEqual(deal(shares, leases, 108, 6000), { b: 108 })
  })

  test('who has come is waited for longer, until it begins', () => {
    const shares = new SpreadShares(0)
    shares.granted(2, 0)
    const slow = lease('b', false)
    slow.add(task(), 0, 0)
    const leases = [lease('a'), slow]
    assert.deepEqual(deal(shares, leases, 100, 4999), { a: 8 })
    const { a = 0, b = 0 } = deal(shares, leases, 100, 5000)
    assert.equal(a + b, 100)
  })

  test('one node alone waits for nobody', () => {
    const shares = new SpreadShares(0)
    shares.granted(1, 0)
    assert.deepEqual(deal(shares, [lease('a')], 100, 0), { a: 100 })
  })

  test('a worker that has not answered yet gets one task at a time', () => {
    const shares = new SpreadShares(0)
    shares.granted(1, 0)
    const fresh = lease('a', false)
    const first = task()
    assert.equal(shares.pick([fresh], first, 0), fresh)
    fresh.add(first, 0, 0)
    assert.equal(shares.pick([fresh], task(), 0), undefined)
    assert.equal(shares.isBeginning([fresh], 0), true)
  })

  test('after a pause the nodes begin anew', () => {
    const shares = new SpreadShares(0)
    shares.granted(2, 0)
    deal(shares, [lease('a'), lease('b')], 10, 6000)
    shares.paused(60_000)
    assert.deepEqual(deal(shares, [lease('a')], 100, 60_001), { a: 8 })
  })
})
