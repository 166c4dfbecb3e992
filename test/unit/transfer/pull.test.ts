import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChunkSet } from '../../../node/transfer/chunks.ts'
import { Pull, type PullSource } from '../../../node/transfer/pull.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const origin = '0'.repeat(16)
const pullers = 8
const bytes = 256 * 1024 * 1024

interface Asked {
  pull: Pull
  source: PullSource
  requestId: number
  index: number
}

test('pullers that know what the others have leave most of it to each other to give', () => {
  const random = seededRandom(7)
  const ids = Array.from({ length: pullers }, (_, i) => (i + 1).toString(16).padStart(16, '0'))
  const pulls = new Map(ids.map((id) => [id, new Pull('aa', bytes, random)]))
  for (const [id, pull] of pulls) for (const node of [origin, ...ids]) if (node !== id) pull.addSource(node)

  /** One request of each to a node, all under way before the first is answered. */
  const askAll = (node: string, holds?: ChunkSet): number => {
    const asked: Asked[] = []
    for (const [id, pull] of pulls) {
      const source = pull.sources.get(node)
      if (id === node || source === undefined) continue
      pull.told(source, holds ?? ChunkSet.full(pull.have.size))
      const next = pull.next(source, 0)
      if (next !== undefined) asked.push({ pull, source, ...next })
    }
    for (const { pull, source, requestId, index } of asked) {
      pull.answered(source, requestId, index < 0 ? 'have' : 'data', 0)
    }
    return asked.filter(({ index }) => index >= 0).length
  }

  let sent = 0
  while ([...pulls.values()].some(({ have }) => !have.isFull)) {
    sent += askAll(origin)
    for (const [id, { have }] of pulls) askAll(id, new ChunkSet(have.size, have.toBytes()))
  }
  const count = pulls.get(ids[0] ?? '')?.have.size ?? 0
  assert.ok(sent <= 1.6 * count, `the origin sent ${sent} chunks of ${count} to ${pullers} nodes`)
})

test('a pull is stuck when none of its sources has any of what is missing, and nothing is on its way', () => {
  const mib = 1024 * 1024
  const pull = new Pull('aa', 6 * mib, seededRandom(7))
  const first = new ChunkSet(3, Uint8Array.of(1))
  const firstTwo = new ChunkSet(3, Uint8Array.of(3))
  assert.equal(pull.addSource('a'), true)
  assert.equal(pull.addSource('a'), false)
  assert.deepEqual([pull.isStuck, pull.isNowhere], [false, false], 'it has not said what it has')
  const source = pull.sources.get('a')
  assert.ok(source !== undefined)
  assert.equal(pull.told(source, first), true)
  assert.equal(pull.told(source, first), false, 'it has no more than before')
  const asked = pull.next(source, 0)
  assert.equal(asked?.index, 0)
  assert.equal(pull.isStuck, false, 'a part is on its way')
  pull.answered(source, asked.requestId, 'data', 0)
  assert.deepEqual([pull.isStuck, pull.isNowhere], [true, true])
  assert.equal(pull.told(source, firstTwo), true)
  assert.deepEqual([pull.isStuck, pull.isNowhere], [false, false])
  for (let i = 0; i < 5; i++) pull.failed(source, 0)
  assert.deepEqual([pull.isStuck, pull.isNowhere], [true, false], 'it is given up, but may have it')
})

test('what a source was asked for that is removed is asked of others, and of its node only as a new source', () => {
  const mib = 1024 * 1024
  const pull = new Pull('aa', 6 * mib, seededRandom(7))
  const add = (): PullSource => {
    pull.addSource('a')
    const source = pull.sources.get('a')
    assert.ok(source !== undefined)
    return source
  }
  const old = add()
  pull.told(old, ChunkSet.full(3))
  const asked = pull.next(old, 0)
  assert.ok(asked !== undefined)
  pull.removeSource('a')
  for (const isBack of [false, true]) {
    if (isBack) add()
    assert.deepEqual([pull.next(old, 0), pull.mayAsk(old, 0), pull.takeRest(old)], [undefined, false, []])
    assert.equal(pull.answered(old, asked.requestId, 'data', 0), false)
    pull.failed(old, 0)
  }
  const source = add()
  assert.equal(source.failures, 0)
  assert.equal(pull.told(old, ChunkSet.full(3)), false)
  assert.deepEqual(pull.takeRest(source), [0, 1, 2])
})

test('what is copied from the memory of a node is asked of nobody else before that has ended', () => {
  const mib = 1024 * 1024
  const pull = new Pull('aa', 6 * mib, seededRandom(7))
  for (const node of ['near', 'far']) pull.addSource(node)
  const [near, far] = [...pull.sources.values()]
  assert.ok(near !== undefined && far !== undefined)
  for (const source of [near, far]) pull.told(source, ChunkSet.full(3))
  const taken = pull.takeRest(near)
  // Slow ones are helped by others otherwise.
  near.failures = 1
  assert.equal(pull.next(far, 0), undefined)
  pull.removeSource('near')
  assert.equal(pull.next(far, 0), undefined)
  pull.copied(near, taken.slice(0, 2), true)
  assert.equal(pull.have.count, 2)
  assert.equal(pull.next(far, 0), undefined)
  pull.copied(near, taken.slice(2), false)
  assert.equal(pull.next(far, 0)?.index, 2)
})
