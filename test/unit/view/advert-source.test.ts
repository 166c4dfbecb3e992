import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AdvertSource, type OwnAdvert } from '../../../node/view/advert-source.ts'
import { loadPerCore } from '../../../node/view/load.ts'
import { makeAdvert } from './make-advert.ts'

function own(changes: Partial<OwnAdvert> = {}): OwnAdvert {
  const { version: _, ...rest } = makeAdvert()
  return { ...rest, ...changes }
}

const few = { size: 1, isLinkedToAll: false }
const many = { size: 60, isLinkedToAll: false }

describe('when a node says how it stands', () => {
  test('the first time at once, then every five seconds', () => {
    const source = new AdvertSource(5_000)
    assert.deepEqual(source.offer(own(), 0, few), { advert: { ...own(), version: 5_001 }, isForAll: true })
    assert.equal(source.offer(own(), 200, few), undefined)
    assert.equal(source.dueInMs, 4_800)
    assert.equal(source.offer(own(), 4_999, few), undefined)
    assert.deepEqual(source.offer(own(), 5_000, few), { advert: { ...own(), version: 5_002 }, isForAll: true })
  })

  test('on change to the head at once, and to all when the change has lasted for a second', () => {
    const source = new AdvertSource(0)
    source.offer(own(), 0, few)
    assert.equal(source.offer(own({ queued: 7 }), 3_000, few)?.isForAll, false)
    assert.equal(source.dueInMs, 1_000)
    assert.equal(source.offer(own({ queued: 8 }), 3_999, few)?.isForAll, false)
    assert.equal(source.dueInMs, 1)
    assert.equal(source.offer(own({ queued: 8 }), 4_000, few)?.isForAll, true)
    assert.equal(source.dueInMs, 5_000)
  })

  test('what is as it was again within a second is told to the head alone', () => {
    const source = new AdvertSource(0)
    source.offer(own(), 0, few)
    for (let nowMs = 2_000; nowMs < 4_500; nowMs += 500) {
      assert.equal(source.offer(own({ leases: 9 }), nowMs, few)?.isForAll, false)
      assert.equal(source.offer(own(), nowMs + 300, few)?.isForAll, false)
    }
    assert.equal(source.dueInMs, 700, 'only the rest is due, five seconds after the last time')
  })

  test('to the head ten times a second at most, the last state of each tenth', () => {
    const source = new AdvertSource(0)
    const toHead: number[] = []
    const toAll: number[] = []
    for (let nowMs = 0; nowMs < 3_000; nowMs++) {
      const due = source.offer(own({ queued: nowMs }), nowMs, few)
      if (due === undefined) continue
      toHead.push(due.advert.queued)
      if (due.isForAll) toAll.push(due.advert.queued)
    }
    const tenths = Array.from({ length: 11 }, (_, i) => i * 100)
    assert.deepEqual(toHead.slice(0, 11), tenths)
    assert.deepEqual(toAll, [0, 1_001, 2_002])
    const { dueInMs } = source
    assert.equal(
      source.offer(own({ queued: 2_999 }), 2_999 + dueInMs, few)?.advert.queued,
      2_999,
      'the last is not lost',
    )
  })

  test('a change of what stays for long is told to all at once, ten times a second at most', () => {
    for (const change of [
      { isOpen: false },
      { role: 'submitter' },
      { total: { CPU: 99 } },
      { labels: { zone: 'x' } },
      { addresses: ['/ip4/192.0.2.9/tcp/1'] },
    ] satisfies Partial<OwnAdvert>[]) {
      const source = new AdvertSource(0)
      source.offer(own(), 0, many)
      assert.equal(source.offer(own(change), 20, many), undefined)
      assert.equal(source.dueInMs, 80)
      assert.equal(source.offer(own(change), 100, many)?.isForAll, true)
      assert.equal(source.offer(own(), 1_000, many)?.isForAll, true)
      assert.equal(source.offer(own(change), 1_099, many), undefined)
    }
  })

  test('in a large mesh less often, but to the head as fast', () => {
    const source = new AdvertSource(0)
    const toAll: number[] = []
    let toHead = 0
    for (let nowMs = 0; nowMs < 20_000; nowMs += 100) {
      const due = source.offer(own({ queued: nowMs }), nowMs, many)
      if (due !== undefined) toHead++
      if (due?.isForAll === true) toAll.push(nowMs)
    }
    assert.equal(toHead, 200)
    assert.deepEqual(toAll, [0, 2_500, 5_000, 7_500, 10_000, 12_500, 15_000, 17_500])
    const last = own({ queued: 19_900 })
    assert.equal(source.offer(last, 20_000, many)?.isForAll, true)
    assert.equal(source.offer(last, 29_900, many), undefined)
    assert.equal(source.offer(last, 30_000, many)?.isForAll, true)
  })

  test('at rest, linked with everybody, every twenty seconds, and the head every five', () => {
    const source = new AdvertSource(0)
    const linked = { size: 3, isLinkedToAll: true }
    const told: [number, boolean][] = []
    for (let nowMs = 0; nowMs < 30_000; nowMs += 1_000) {
      const due = source.offer(own(), nowMs, linked)
      if (due !== undefined) told.push([nowMs, due.isForAll])
    }
    assert.deepEqual(told, [
      [0, true],
      [5_000, false],
      [10_000, false],
      [15_000, false],
      [20_000, true],
      [25_000, false],
    ])
    // A link has gone down.
    assert.equal(source.offer(own(), 29_500, { size: 3, isLinkedToAll: false })?.isForAll, true)
  })

  test('small moves of the load and of the store are no change', () => {
    const source = new AdvertSource(0)
    source.offer(own({ load: 0.5, store: { usedBytes: 0, bytesMax: 100 } }), 0, few)
    assert.equal(source.offer(own({ load: 0.7, store: { usedBytes: 5, bytesMax: 100 } }), 100, few), undefined)
    assert.notEqual(source.offer(own({ load: 0.8, store: { usedBytes: 5, bytesMax: 100 } }), 200, few), undefined)
    assert.notEqual(source.offer(own({ load: 0.8, store: { usedBytes: 50, bytesMax: 100 } }), 300, few), undefined)
  })

  test('told again when somebody may not know it; versions only go up', () => {
    const source = new AdvertSource(10)
    source.offer(own(), 0, few)
    source.tellAgain()
    assert.equal(source.offer(own(), 50, few), undefined)
    assert.equal(source.dueInMs, 50)
    assert.equal(source.next(own()).version, 12)
    assert.deepEqual(source.offer(own(), 100, few), { advert: { ...own(), version: 13 }, isForAll: false })
    assert.equal(source.dueInMs, 900)
    assert.deepEqual(source.offer(own(), 1_000, few), { advert: { ...own(), version: 14 }, isForAll: true })
    assert.equal(source.offer(own(), 1_100, few), undefined)
  })

  test('what was told to one who asked is put right with the head, not with all', () => {
    const source = new AdvertSource(0)
    source.offer(own(), 0, few)
    assert.deepEqual(source.next(own({ leases: 9 })), { ...own({ leases: 9 }), version: 2 })
    assert.equal(source.offer(own(), 20, few), undefined)
    assert.equal(source.dueInMs, 80)
    assert.deepEqual(source.offer(own(), 100, few), { advert: { ...own(), version: 3 }, isForAll: false })
    assert.equal(source.dueInMs, 4_900)
    assert.equal(source.next(own()).version, 4)
    assert.equal(source.offer(own(), 200, few), undefined)
  })

  test('the load is a number', () => {
    assert.ok(loadPerCore() >= 0 && Number.isFinite(loadPerCore()))
  })
})
