import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { ArgumentWaits } from '../../../sdk/tasks/argument-waits.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { TaskSubmitter } from '../../../sdk/tasks/task-submitter.ts'
import { inlineValue, taskOf } from '../../support/task-records.ts'

/** An object that says who waits for it. */
class WatchedRecord extends ObjectRecord {
  readonly waiting = new Set<() => void>()

  override whenReady(onReady: () => void): void {
    this.waiting.add(onReady)
    super.whenReady(onReady)
  }

  override forget(onReady: () => void): void {
    this.waiting.delete(onReady)
    super.forget(onReady)
  }
}

describe('tasks that wait for arguments', () => {
  let first: WatchedRecord
  let second: WatchedRecord
  let task: TaskRecord

  beforeEach(() => {
    first = new WatchedRecord('bb'.repeat(16), 1)
    second = new WatchedRecord('bb'.repeat(16), 2)
    // One of them is given twice.
    const resolvedRefs = [first, second, first].map((record, position) => ({ position, ref: new ObjectRef(record) }))
    task = taskOf(7, [], { resolvedRefs })
  })

  test('are told when all are there, and of one that is an error', () => {
    const waits = new ArgumentWaits()
    const told: (ObjectRef | undefined)[] = []
    waits.begin(task, (failed) => told.push(failed))
    first.settle(inlineValue(1))
    assert.equal(told.length, 0)
    second.settle(inlineValue(1, true))
    assert.deepEqual(told, [task.resolvedRefs[1]?.ref])
    waits.begin(task, (failed) => told.push(failed))
    assert.equal(told.length, 2)
  })

  test('that begin again are told once, of the new wait; those that end are told nothing', () => {
    const waits = new ArgumentWaits()
    const told: string[] = []
    waits.begin(task, () => told.push('old'))
    waits.begin(task, () => told.push('new'))
    first.settle(inlineValue(1))
    second.settle(inlineValue(1))
    assert.deepEqual(told, ['new'])
    const third = new WatchedRecord('bb'.repeat(16), 3)
    task.resolvedRefs = [{ position: 0, ref: new ObjectRef(third) }]
    waits.begin(task, () => told.push('ended'))
    waits.end(task)
    assert.equal(third.waiting.size, 0)
    third.settle(inlineValue(1))
    assert.deepEqual(told, ['new'])
  })

  test('leave nothing behind when they are cancelled', () => {
    const nothing = (): undefined => undefined
    const submitter = new TaskSubmitter(
      {
        requestLease: nothing,
        cancelRequest: nothing,
        returnLease: nothing,
        killLease: nothing,
        push: nothing,
        cancelTask: nothing,
      },
      {
        idleLeaseMs: 0,
        nowMs: () => 0,
        defer: nothing,
        after: nothing,
        settle: nothing,
        discard: nothing,
        fail: nothing,
        failWith: nothing,
        isRetriable: () => false,
        named: nothing,
        streamPart: () => ({ skip: 0, limit: 0 }),
        moveToStore: (_, value) => value,
      },
    )
    submitter.submit(task)
    assert.deepEqual([first.waiting.size, second.waiting.size], [1, 1])
    submitter.cancel(task, { force: false, recursive: true })
    assert.deepEqual([first.waiting.size, second.waiting.size], [0, 0])
  })
})
