import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { StoredValue } from '../../../protocols/wire-value.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { StoredValues } from '../../../sdk/runtime/stored-values.ts'

const owner = '0'.repeat(32)

function valueOf(sequence: number, bytes: number): StoredValue {
  const name = owner + String(sequence).padStart(12, '0')
  return { kind: 'stored', name, bytes, owner, sequence, isError: false, refs: [], classes: [] }
}

describe('stored values', () => {
  test('what fills a store, on this node or another, is looked through for garbage', { timeout: 20_000 }, async () => {
    const { promise, resolve } = Promise.withResolvers<string[]>()
    const values = new StoredValues(resolve, 4000)
    const kept = new ObjectRecord(owner, 1)
    values.attach(kept, valueOf(1, 600))
    const dropOne = (): void => values.attach(new ObjectRecord(owner, 2), valueOf(2, 600))
    dropOne()
    // Nothing else keeps this process running.
    const timer = setInterval(() => {}, 1000)
    assert.deepEqual(await promise, [valueOf(2, 0).name])
    clearInterval(timer)
    assert.equal(kept.sequence, 1)
    assert.equal(values.attachedCount, 1)
  })

  test('what a worker has left is freed, unless it is known', async () => {
    const { promise, resolve } = Promise.withResolvers<string[]>()
    const values = new StoredValues(resolve, 1e9)
    const known = new ObjectRecord(owner, 1)
    values.attach(known, valueOf(1, 1))
    values.freeUnknown([valueOf(1, 1).name, valueOf(2, 1).name])
    assert.deepEqual(await promise, [valueOf(2, 1).name])
    assert.equal(known.sequence, 1)
  })
})
