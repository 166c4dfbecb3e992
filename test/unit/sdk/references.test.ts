import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteWriter } from '../../../protocols/bytes.ts'
import { limits } from '../../../protocols/limits.ts'
import { encodeBody, referencesMax } from '../../../protocols/messages.ts'
import type { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { OwnedObjects } from '../../../sdk/objects/owned-objects.ts'
import type { ObjectExchange } from '../../../sdk/runtime/object-exchange.ts'
import { references } from '../../../sdk/runtime/references.ts'
import { StoredValues } from '../../../sdk/runtime/stored-values.ts'
import { Lineage } from '../../../sdk/tasks/lineage.ts'
import { storedValue, taskOf } from '../../support/task-records.ts'

const self = '0'.repeat(32)
const clientOf = (n: number): string => n.toString(16).padStart(32, '0')

/** A process that owns so many stored objects, each larger than the one before, with names as long as can be. */
function owner(
  count: number,
  borrowers: number,
): { objects: ObjectExchange; stored: StoredValues; all: ObjectRecord[] } {
  const owned = new OwnedObjects(self)
  const stored = new StoredValues(() => {}, Infinity)
  const host = { weakly: (record: ObjectRecord) => ({ deref: () => record }), recreate: () => owned.create() }
  const all = Array.from({ length: count }, (_, i) => {
    const record = owned.create()
    const value = { ...storedValue(self + i.toString(16).padStart(12, '0')), bytes: 200_000 + i }
    stored.attach(record, value)
    record.lineage = new Lineage(taskOf(record.sequence, [record], { name: '\u{1f41f}'.repeat(100) }), host)
    record.settle(value)
    owned.share(record)
    for (let n = 1; n <= borrowers; n++) owned.addBorrower(record.id, clientOf(n), self)
    return record
  })
  return { objects: { owned, borrowed: () => all } as unknown as ObjectExchange, stored, all }
}

test('what a program tells of its references fits into a message, however many it has: the largest', () => {
  const { objects, stored, all } = owner(referencesMax + 500, 50)
  const told = references({ objects, stored, tasks: [], lineages: [] })
  assert.equal(told.owned.length, referencesMax)
  assert.equal(told.owned[0]?.object, all.at(-1)?.id)
  assert.ok(!told.owned.some(({ object }) => object === all[0]?.id))
  const writer = new ByteWriter(1024)
  encodeBody(writer, 'references', { requestId: 1, ...told })
  assert.ok(writer.length < limits.frameBytesMax, `${writer.length} bytes`)
})

test('tasks that take an object are counted once each', () => {
  const { objects, stored, all } = owner(2, 0)
  const [first, second] = all as [ObjectRecord, ObjectRecord]
  const refs = [first, first, second].map((record, position) => ({ position, ref: new ObjectRef(record) }))
  const tasks = [taskOf(9, [], { resolvedRefs: refs }), taskOf(10, [], { holds: [new ObjectRef(first)] })]
  const { owned } = references({ objects, stored, tasks, lineages: [] })
  assert.deepEqual(
    owned.map(({ object, tasks: count }) => [object, count]),
    [
      [second.id, 1],
      [first.id, 2],
    ],
  )
})
