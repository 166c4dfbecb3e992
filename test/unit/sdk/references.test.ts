import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ByteWriter } from '../../../protocols/bytes.ts'
import { limits } from '../../../protocols/limits.ts'
import { encodeBody, referencesMax } from '../../../protocols/messages.ts'
import type { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { anotherRef, ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { OwnedObjects } from '../../../sdk/objects/owned-objects.ts'
import type { ObjectExchange } from '../../../sdk/runtime/object-exchange.ts'
import { references } from '../../../sdk/runtime/references.ts'
import { StoredValues } from '../../../sdk/runtime/stored-values.ts'
import { Lineage } from '../../../sdk/tasks/lineage.ts'
import { until } from '../../support/daemon-process.ts'
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

test('a ref of the program itself is told of besides a task that takes the object, for as long as it is there', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { objects, stored, all } = owner(1, 0)
  const record = all[0] as ObjectRecord
  const program: { ref: ObjectRef | undefined } = { ref: new ObjectRef(record) }
  /** As a call does it. */
  const submit = (ref: ObjectRef) => {
    record.noteUse(ref)
    return taskOf(9, [], { holds: [anotherRef(ref)] })
  }
  const tasks = [submit(program.ref as ObjectRef)]
  const told = () =>
    references({ objects, stored, tasks, lineages: [] }).owned.map(({ tasks: n, hasRef }) => [n, hasRef])
  collect()
  assert.deepEqual(told(), [[1, true]])
  program.ref = undefined
  await until('the ref is collected', () => {
    collect()
    return told()[0]?.[1] === false
  })
  assert.deepEqual(told(), [[1, false]])
})

test('values that have a ref to an object inside are counted, each once, as long as they live', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { objects, stored, all } = owner(1, 0)
  const record = all[0] as ObjectRecord
  const boxes: ObjectRecord[] = []
  const fill = (): void => {
    for (let i = 0; i < 20; i++) {
      const box = objects.owned.create()
      box.settle(storedValue('0'.repeat(44)), [new ObjectRef(record)])
      boxes.push(box)
    }
    // It was lost, and is there again.
    const again = boxes[0] as ObjectRecord
    again.lose()
    again.settle(storedValue('0'.repeat(44)), again.holds)
  }
  fill()
  const insides = () => references({ objects, stored, tasks: [], lineages: [] }).owned[0]?.insides
  assert.equal(insides(), 20)
  boxes.length = 3
  await until('the others are collected', () => {
    collect()
    return insides() === 3
  })
})
