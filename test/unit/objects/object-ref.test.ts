import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidArgumentError } from '../../../protocols/errors.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef, recordOf } from '../../../sdk/objects/object-ref.ts'

test('a ref is made of a record, and of nothing else', () => {
  const record = new ObjectRecord('0'.repeat(32), 1)
  const ref = new ObjectRef(record)
  assert.equal(recordOf(ref), record)
  for (const wrong of [ref.id, ref, {}, undefined, null]) {
    assert.throws(
      () => new ObjectRef(wrong as never),
      (error) => error instanceof InvalidArgumentError && /refs come from put\(\) and calls; an id/.test(error.message),
    )
  }
})
