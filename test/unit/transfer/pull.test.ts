import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChunkSet } from '../../../node/transfer/chunks.ts'
import { Pull } from '../../../node/transfer/pull.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const origin = '0'.repeat(16)
const pullers = 8
const bytes = 256 * 1024 * 1024

interface Asked {
  pull: Pull
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
      pull.told(node, holds ?? ChunkSet.full(pull.have.size))
      const next = pull.next(source, 0)
      if (next !== undefined) asked.push({ pull, ...next })
    }
    for (const { pull, requestId, index } of asked) pull.answered(node, requestId, index < 0 ? 'have' : 'data', 0)
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
