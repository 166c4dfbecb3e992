import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ObjectId } from '../../../protocols/ids.ts'
import { HandleWatch } from '../../../sdk/actors/handle-watch.ts'
import type { Collector } from '../../../sdk/objects/collector.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'

const owner = '0a'.repeat(16)

/** A watch whose records are gone when the test says so. */
function watched(): { watch: HandleWatch; gone: ObjectId[]; collect(record: ObjectRecord): void } {
  const gone: ObjectId[] = []
  const told = new Map<ObjectRecord, () => void>()
  const collector: Collector = {
    weakly: (record) => ({ deref: () => record }),
    onCollected: (callback) => (record, said) => {
      assert.ok(!told.has(record), 'a record is registered once')
      told.set(record, () => callback(said))
    },
  }
  const watch = new HandleWatch((actor) => gone.push(actor), collector)
  return { watch, gone, collect: (record) => told.get(record)?.() }
}

describe('HandleWatch', () => {
  test('tells when the record of the handles is no more, once for each record', () => {
    const { watch, gone, collect } = watched()
    const [one, two] = [new ObjectRecord(owner, 1), new ObjectRecord(owner, 2)]
    watch.note(one)
    watch.note(one)
    watch.note(two)
    collect(two)
    assert.deepEqual(gone, [two.id])
    collect(one)
    assert.deepEqual(gone, [two.id, one.id])
  })

  test('an end that is told when there is a new handle is none', () => {
    const { watch, gone, collect } = watched()
    const [before, now] = [new ObjectRecord(owner, 1), new ObjectRecord(owner, 1)]
    watch.note(before)
    watch.note(now)
    collect(before)
    assert.deepEqual(gone, [])
    collect(now)
    assert.deepEqual(gone, [now.id])
  })
})
