import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BundleKey, LeaseAction } from '../../../node/leases/lease-events.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'
import { all, BookHarness, only, type ActionOf } from './book-harness.ts'

const group = `${'a'.repeat(32)}000000000001`

function reserve(harness: BookHarness, tryNumber: number, ...bundles: ResourceSet[]): ActionOf<'bundlesAnswer'> {
  const wanted = bundles.map((resources, index) => ({ index, resources }))
  return only(harness.step({ type: 'bundlesReserve', group, tryNumber, bundles: wanted }), 'bundlesAnswer')
}

function release(harness: BookHarness, tryNumber: number, isRemoved = false, ...indices: number[]): LeaseAction[] {
  const bundles = indices.map((index) => ({ index, tryNumber }))
  return harness.step({ type: 'bundlesRelease', group, bundles, isRemoved, reason: 'it was released' })
}

function claim(harness: BookHarness, ...bundles: BundleKey[]): LeaseAction[] {
  return harness.step({ type: 'bundlesClaim', group, bundles })
}

const cpuFree = ({ book }: BookHarness): number => book.load().available['CPU'] ?? 0

describe('bundles on a node', () => {
  test('are reserved all or none, and given back', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    assert.equal(reserve(harness, 1, { CPU: 1 }, { CPU: 2 }).outcome, 'reserved')
    assert.equal(cpuFree(harness), 1)
    release(harness, 1, false, 0, 1)
    assert.equal(cpuFree(harness), 4)
    const refused = reserve(harness, 2, { CPU: 2 }, { CPU: 3 })
    assert.equal(refused.outcome, 'refused')
    assert.match(refused.reason, /bundle 1 wants CPU 3; CPU: /)
    assert.equal(cpuFree(harness), 4)
  })

  test('that are asked for twice are reserved once', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    const first = reserve(harness, 1, { CPU: 2 })
    assert.deepEqual(reserve(harness, 1, { CPU: 2 }), first)
    assert.equal(cpuFree(harness), 2)
  })

  test('of a later try take the place of those of an earlier one, and news of the earlier one is too late', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 4 })
    assert.equal(reserve(harness, 2, { CPU: 3 }).outcome, 'reserved')
    assert.equal(cpuFree(harness), 1)
    assert.deepEqual(
      harness.step({ type: 'bundlesReserve', group, tryNumber: 1, bundles: [{ index: 0, resources: { CPU: 4 } }] }),
      [],
    )
    release(harness, 1, false, 0)
    assert.equal(cpuFree(harness), 1)
  })

  test('that nobody claims are given up, and those of groups that nobody speaks of', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 }, { CPU: 1 })
    assert.deepEqual(claim(harness, { index: 1, tryNumber: 1 }), [])
    harness.nowMs += 15_000
    harness.step({ type: 'bundlesTick' })
    assert.equal(cpuFree(harness), 3)
    claim(harness, { index: 1, tryNumber: 1 })
    harness.nowMs += 29_000
    harness.step({ type: 'bundlesTick' })
    assert.equal(cpuFree(harness), 3)
    harness.nowMs += 2_000
    harness.step({ type: 'bundlesTick' })
    assert.equal(cpuFree(harness), 4)
  })

  test('that are claimed and not there are lost', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 2, { CPU: 1 })
    const keys = [
      { index: 0, tryNumber: 1 },
      { index: 0, tryNumber: 3 },
      { index: 5, tryNumber: 1 },
    ]
    const lost = only(claim(harness, ...keys), 'bundlesAnswer')
    assert.equal(lost.outcome, 'lost')
    assert.deepEqual(
      lost.bundles,
      keys.slice(1),
      'of an older try than the one that is here: the home knows better by now',
    )
  })

  test('end with the client or the node that made their group', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 })
    harness.step({ type: 'groupsGone', prefix: 'b'.repeat(32), reason: 'gone' })
    assert.equal(cpuFree(harness), 3)
    harness.step({ type: 'groupsGone', prefix: 'a'.repeat(16), reason: 'gone' })
    assert.equal(cpuFree(harness), 4)
  })

  test('serve requests from what they have, not from what the node has', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 })
    const lease = harness.lease({ bundle: { group, index: 0 } })
    assert.equal(cpuFree(harness), 3, 'it was taken already')
    const { actions, requestId } = harness.request({ bundle: { group, index: 0 }, client: 'other' })
    assert.deepEqual(actions, [])
    assert.equal(
      harness.book.snapshot().pending[0]?.reason,
      `in bundle 0 of placement group ${group}: waiting for CPU 1: 1 of 1 in use`,
    )
    harness.lease()
    assert.equal(only(harness.returned(lease), 'grant').requestId, requestId)
  })

  test('serve requests for any of them from one that has room', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 }, { CPU: 2 })
    harness.lease({ bundle: { group, index: 'any' }, resources: { CPU: 2 } })
    harness.lease({ bundle: { group, index: 'any' } })
    assert.deepEqual(all(harness.request({ bundle: { group, index: 'any' } }).actions, 'grant'), [])
  })

  test('refuse what is larger than they are, with the figures', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 })
    const refusal = only(harness.request({ bundle: { group, index: 0 }, resources: { CPU: 2 } }).actions, 'refuse')
    assert.equal(refusal.error, 'infeasible')
    assert.match(refusal.message, /^asked for CPU 2; bundle 0 of placement group a+0*1 on this node has CPU 1: /)
    const absent = only(harness.request({ bundle: { group, index: 1 } }).actions, 'refuse')
    assert.equal(absent.error, 'busy')
  })

  test('give their own devices', () => {
    const harness = new BookHarness({ total: { CPU: 4, GPU: 3 }, gpuIds: [0, 1, 2] })
    reserve(harness, 1, { CPU: 1, GPU: 2 }, { CPU: 1, GPU: 0.5 })
    const whole = harness.lease({ bundle: { group, index: 0 }, resources: { CPU: 1, GPU: 1 } })
    assert.equal(whole.gpuIds.length, 1)
    assert.ok([0, 1].includes(whole.gpuIds[0] ?? -1))
    const half = harness.lease({ bundle: { group, index: 1 }, resources: { GPU: 0.5 } })
    assert.deepEqual(half.gpuIds, [2])
    assert.equal(
      only(harness.request({ bundle: { group, index: 1 }, resources: { GPU: 1 } }).actions, 'refuse').error,
      'infeasible',
    )
  })

  test('that are removed kill what runs in them, refuse what waits, and are free when the processes are gone', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 2 })
    const lease = harness.lease({ bundle: { group, index: 0 }, resources: { CPU: 2 } })
    harness.request({ bundle: { group, index: 0 }, client: 'other' })
    const actions = release(harness, 1, true, 0)
    assert.deepEqual(only(actions, 'stopWorker').workerId, lease.workerId)
    const lost = only(actions, 'lost')
    assert.equal(lost.isGroupRemoved, true)
    assert.match(lost.reason, /is there no more: it was released/)
    assert.equal(only(actions, 'refuse').error, 'groupRemoved')
    assert.equal(cpuFree(harness), 2, 'its process may still use them')
    harness.step({ type: 'workerExited', workerId: lease.workerId, reason: 'killed', startFailed: false })
    assert.equal(cpuFree(harness), 4)
  })

  test('whose place is lost send back what waits for them', () => {
    const harness = new BookHarness({ total: { CPU: 4 } }, { startsAtOnce: false })
    reserve(harness, 1, { CPU: 1 })
    harness.request({ bundle: { group, index: 0 } })
    harness.request({ bundle: { group, index: 0 } })
    const actions = release(harness, 1, false, 0)
    assert.deepEqual(
      all(actions, 'refuse').map(({ error }) => error),
      ['busy', 'busy'],
    )
    assert.equal(cpuFree(harness), 4)
  })

  test('a worker that waits in get() lends its CPU to others of its bundle only', () => {
    const harness = new BookHarness({ total: { CPU: 2 } })
    reserve(harness, 1, { CPU: 1 })
    const lease = harness.lease({ bundle: { group, index: 0 } })
    harness.step({ type: 'blocked', leaseId: lease.leaseId })
    assert.equal(cpuFree(harness), 1)
    harness.lease({ bundle: { group, index: 0 } })
    assert.deepEqual(harness.request({ resources: { CPU: 2 } }).actions, [])
  })

  test('leave a node that takes no new work as soon as nobody uses them', () => {
    const harness = new BookHarness({ total: { CPU: 4 } })
    reserve(harness, 1, { CPU: 1 }, { CPU: 1 })
    claim(harness, { index: 0, tryNumber: 1 }, { index: 1, tryNumber: 1 })
    const lease = harness.lease({ bundle: { group, index: 0 } })
    const closed = only(harness.step({ type: 'opened', isOpen: false }), 'bundlesAnswer')
    assert.deepEqual([closed.outcome, closed.bundles], ['lost', [{ index: 1, tryNumber: 1 }]])
    const returned = only(harness.returned(lease), 'bundlesAnswer')
    assert.deepEqual([returned.outcome, returned.bundles], ['lost', [{ index: 0, tryNumber: 1 }]])
    assert.equal(cpuFree(harness), 4)
    const refused = reserve(harness, 2, { CPU: 1 })
    assert.deepEqual([refused.outcome, /takes no new work/.test(refused.reason)], ['refused', true])
  })

  test('do not take what is kept for a request that has waited long', () => {
    const harness = new BookHarness({ total: { CPU: 4 }, starvationMs: 100 })
    const small = harness.lease()
    harness.request({ resources: { CPU: 4 }, client: 'large' })
    harness.tick(50)
    harness.tick(100)
    assert.match(reserve(harness, 1, { CPU: 1 }).reason, /kept for others/)
    assert.equal(only(harness.returned(small), 'grant').client, 'large')
  })
})
