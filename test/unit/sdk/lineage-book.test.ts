import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { ClientId } from '../../../protocols/ids.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef, recordOf } from '../../../sdk/objects/object-ref.ts'
import { LineageBook } from '../../../sdk/tasks/lineage-book.ts'
import { Lineage } from '../../../sdk/tasks/lineage.ts'
import { inlineValue, storedValue, taskOf } from '../../support/task-records.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const owner: ClientId = 'a'.repeat(32)

function bookOf(bytesMax: number): { book: LineageBook; freed: string[] } {
  const freed: string[] = []
  return { book: new LineageBook({ bytesMax, free: (name) => void freed.push(name) }), freed }
}

/** A task that has ended, with one result in the store. */
function ended(
  sequence: number,
  options: Parameters<typeof taskOf>[2] = {},
): { lineage: Lineage; bytes: number; ref: ObjectRef } {
  const record = new ObjectRecord(owner, sequence)
  const task = taskOf(sequence, [record], options)
  const lineage = new Lineage(task, {
    weakly: (each) => ({ deref: () => each }),
    recreate: (number) => new ObjectRecord(owner, number),
  })
  task.lineage = lineage
  record.lineage = lineage
  record.settle(storedValue(`0${sequence}`))
  return { lineage, bytes: lineage.rest(), ref: new ObjectRef(record) }
}

describe('lineages of tasks that have ended', () => {
  test('beyond the bound those of the tasks that ended first go, with their stored arguments', () => {
    const { book, freed } = bookOf(2500)
    const [first, second, third] = [ended(1), ended(2), ended(3)]
    book.keep(first.lineage, 1000, 'args of 1')
    book.keep(second.lineage, 1000, 'args of 2')
    assert.deepEqual([book.count, book.bytes, freed], [2, 2000, []])
    book.keep(third.lineage, 1000, undefined)
    assert.deepEqual([book.count, book.bytes, freed], [2, 2000, ['args of 1']])
    assert.match(first.lineage.refusal ?? '', /has been dropped, because finished tasks kept more than 2500 bytes/)
    assert.equal(second.lineage.refusal, undefined)
  })

  test('one that is larger than the bound is not kept at all', () => {
    const { book, freed } = bookOf(2500)
    const { lineage } = ended(1)
    book.keep(lineage, 3000, 'args')
    assert.deepEqual([book.count, book.bytes, freed], [0, 0, ['args']])
    assert.ok(lineage.refusal !== undefined)
  })

  test('one whose task runs again has its arguments itself, and may come back', () => {
    const { book, freed } = bookOf(2500)
    const { lineage } = ended(1)
    book.keep(lineage, 1000, 'args')
    book.take(lineage)
    book.take(lineage)
    assert.deepEqual([book.count, book.bytes, freed], [0, 0, []])
    book.keep(lineage, 1000, 'args')
    assert.deepEqual([book.count, book.bytes], [1, 1000])
    // It ended last now.
    book.keep(ended(2).lineage, 1000, 'args of 2')
    book.keep(ended(3).lineage, 1000, undefined)
    assert.deepEqual(freed, ['args'])
  })
})

describe('what a lineage keeps', () => {
  test('of an argument that can be made again only the way to do so, of others the ref', () => {
    const made = ended(1)
    const once = ended(2, { retriesLeft: 0 })
    const put = new ObjectRef(new ObjectRecord(owner, 3))
    recordOf(put).settle(inlineValue(1000))
    const args = [made.ref, once.ref, put].map((ref, position) => ({ position, ref }))
    const { lineage, ref } = ended(4, { resolvedRefs: args, holds: [put] })
    const task = lineage.run(recordOf(ref))
    assert.equal(task?.resolvedRefs[1]?.ref, once.ref)
    assert.equal(task.resolvedRefs[2]?.ref, put)
    assert.equal(task.holds?.[0], put)
    // Not the ref, but what it refers to, as long as that is there.
    assert.notEqual(task.resolvedRefs[0]?.ref, made.ref)
    assert.equal(recordOf(task.resolvedRefs[0]?.ref as ObjectRef), recordOf(made.ref))
  })

  test('its size tells what it keeps', () => {
    const plain = ended(1).bytes
    assert.ok(ended(2, { args: inlineValue(50_000) }).bytes >= plain + 49_000)
    const put = new ObjectRef(new ObjectRecord(owner, 3))
    recordOf(put).settle(inlineValue(20_000))
    assert.ok(ended(4, { holds: [put] }).bytes >= plain + 19_000)
    const stored = new ObjectRef(new ObjectRecord(owner, 5))
    recordOf(stored).settle(storedValue('05'))
    assert.ok(ended(6, { holds: [stored] }).bytes < plain + 1000)
  })

  test('each run takes one try, and the last one says so', () => {
    const { lineage, ref } = ended(1, { retriesLeft: 2 })
    for (const attempt of [1, 2]) {
      assert.equal(lineage.refusal, undefined)
      const task = lineage.run(recordOf(ref))
      assert.equal(task?.attempt, attempt)
      assert.equal(lineage.isRunning, true)
      assert.equal(lineage.refusal, undefined)
      // Whoever else needs it waits for the same run.
      assert.equal(lineage.run(recordOf(ref)), undefined)
      lineage.rest()
    }
    assert.equal(lineage.tries, 3)
    assert.match(lineage.refusal ?? '', /no retries left after 3 tries/)
  })

  test('nothing any more once it is dropped', () => {
    const { lineage } = ended(1)
    lineage.drop('for a reason')
    assert.deepEqual([lineage.refusal, lineage.tries, lineage.isRunning], ['for a reason', 1, false])
  })

  test('what it has made for the last time, as long as something else counts on it', async () => {
    const host = { weakly: (each: ObjectRecord) => new WeakRef(each), recreate: () => new ObjectRecord(owner, 9) }
    const made = (retriesLeft: number): Lineage => {
      const record = new ObjectRecord(owner, 1)
      const task = taskOf(1, [record], { retriesLeft })
      const lineage = new Lineage(task, host)
      record.settle(storedValue('01'))
      lineage.rest()
      lineage.run(record)
      lineage.rest()
      return lineage
    }
    const [last, other] = [made(1), made(2)]
    await new Promise(setImmediate)
    collectGarbage()
    assert.equal(last.known(0)?.sequence, 1)
    assert.equal(other.known(0), undefined)
    last.drop('it has no retries left')
    assert.equal(last.known(0)?.sequence, 1)
  })
})
