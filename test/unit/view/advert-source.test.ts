import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AdvertSource, type OwnAdvert } from '../../../node/view/advert-source.ts'
import { loadPerCore } from '../../../node/view/load.ts'
import { makeAdvert } from './make-advert.ts'

function own(changes: Partial<OwnAdvert> = {}): OwnAdvert {
  const { version: _, ...rest } = makeAdvert()
  return { ...rest, ...changes }
}

describe('when a node says how it stands', () => {
  test('the first time at once, then on change, then every five seconds', () => {
    const source = new AdvertSource(5_000)
    assert.equal(source.offer(own(), 0, 1)?.version, 5_001)
    assert.equal(source.offer(own(), 200, 1), undefined)
    assert.deepEqual(source.offer(own({ queued: 7 }), 300, 1), { ...own({ queued: 7 }), version: 5_002 })
    assert.equal(source.offer(own({ queued: 7 }), 5_299, 1), undefined)
    assert.equal(source.offer(own({ queued: 7 }), 5_300, 1)?.version, 5_003)
  })

  test('ten times a second at most, the last state of each tenth', () => {
    const source = new AdvertSource(0)
    const published: number[] = []
    for (let nowMs = 0; nowMs < 1_000; nowMs++) {
      const said = source.offer(own({ queued: nowMs }), nowMs, 1)
      if (said !== undefined) published.push(said.queued)
    }
    assert.deepEqual(published, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900])
    assert.equal(source.offer(own({ queued: 999 }), 1_000, 1)?.queued, 999, 'the last change is not lost')
  })

  test('in a large mesh less often at rest, but changes as fast', () => {
    const source = new AdvertSource(0)
    source.offer(own(), 0, 30)
    assert.notEqual(source.offer(own(), 5_000, 30), undefined)
    assert.equal(source.offer(own(), 14_999, 60), undefined)
    assert.notEqual(source.offer(own(), 15_000, 60), undefined)
    assert.notEqual(source.offer(own({ leases: 3 }), 15_100, 60), undefined)
  })

  test('small moves of the load and of the store are no change', () => {
    const source = new AdvertSource(0)
    source.offer(own({ load: 0.5, store: { usedBytes: 0, bytesMax: 100 } }), 0, 1)
    assert.equal(source.offer(own({ load: 0.7, store: { usedBytes: 5, bytesMax: 100 } }), 100, 1), undefined)
    assert.notEqual(source.offer(own({ load: 0.8, store: { usedBytes: 5, bytesMax: 100 } }), 200, 1), undefined)
    assert.notEqual(source.offer(own({ load: 0.8, store: { usedBytes: 50, bytesMax: 100 } }), 300, 1), undefined)
  })

  test('told again when somebody may not know it; versions only go up', () => {
    const source = new AdvertSource(10)
    source.offer(own(), 0, 1)
    source.tellAgain()
    assert.equal(source.offer(own(), 50, 1), undefined)
    assert.equal(source.next(own()).version, 12)
    assert.equal(source.offer(own(), 100, 1)?.version, 13)
    assert.equal(source.offer(own(), 200, 1), undefined)
  })

  test('the load is a number', () => {
    assert.ok(loadPerCore() >= 0 && Number.isFinite(loadPerCore()))
  })
})
