import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TaskCancelledError } from '../../../protocols/errors.ts'
import type { ResourceSet } from '../../../protocols/resources.ts'
import type { SchedulingStrategy } from '../../../protocols/scheduling.ts'
import { leaseTerms } from '../../../sdk/tasks/lease-terms.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { TaskSubmitter } from '../../../sdk/tasks/task-submitter.ts'
import { taskOf } from '../../support/task-records.ts'

interface Place {
  group?: string
  strategy?: SchedulingStrategy
}

/** A submitter whose messages to the node are kept. */
class Harness {
  readonly requested: { requestId: number; resources: ResourceSet }[] = []
  readonly returned: number[] = []
  readonly cancelled: number[] = []
  readonly submitter: TaskSubmitter
  nowMs = 0
  #deferred: (() => void)[] = []

  constructor() {
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, { resources }) => void this.requested.push({ requestId, resources }),
        cancelRequest: (requestId) => void this.cancelled.push(requestId),
        returnLease: (leaseId) => void this.returned.push(leaseId),
        killLease: () => {},
        push: () => {},
        cancelTask: () => {},
      },
      {
        idleLeaseMs: 300,
        nowMs: () => this.nowMs,
        defer: (callback) => void this.#deferred.push(callback),
        after: () => {},
        settle: () => {},
        discard: () => {},
        fail: (_task, error) => assert.ok(error instanceof TaskCancelledError, error as Error),
        failWith: () => assert.fail('no argument has failed'),
        isRetriable: () => false,
        named: () => {},
        streamPart: () => ({ skip: 0, limit: 0 }),
        moveToStore: (_task, value) => value,
      },
    )
  }

  submit(sequence: number, resources: ResourceSet, { group = '', strategy }: Place = {}): TaskRecord {
    const task = taskOf(sequence, [], { terms: leaseTerms(resources, {}, strategy, true, group) })
    this.submitter.submit(task)
    this.#settle()
    return task
  }

  cancel(task: TaskRecord): void {
    this.submitter.cancel(task, { force: false, recursive: false })
    this.#settle()
  }

  /** Grants the oldest request as the lease of that number. */
  grant(leaseId: number, { at = 0, nodesAble = 1 } = {}): void {
    const [request] = this.requested.splice(at, 1)
    const requestId = request?.requestId ?? assert.fail('nothing is asked for')
    this.submitter.onGrant({ requestId, leaseId, workerId: 'w'.repeat(32), workerPid: 1, nodesAble })
    this.#settle()
  }

  done(leaseId: number, sequence: number): void {
    this.submitter.onDone(leaseId, [{ sequence, status: 'ok', values: [], durationUs: 1 }])
    this.#settle()
  }

  #settle(): void {
    while (this.#deferred.length > 0) for (const callback of this.#deferred.splice(0)) callback()
  }
}

/** A lease with these resources has come to the end of its work while a task with others waits. */
function idleBeside(held: ResourceSet, wanted: ResourceSet, group = ''): readonly number[] {
  const harness = new Harness()
  harness.submit(1, held)
  harness.submit(2, wanted, { group })
  harness.grant(7)
  assert.deepEqual(harness.returned, [])
  harness.done(7, 1)
  return harness.returned
}

describe('a lease with nothing to do', () => {
  test('is kept for the next task of its kind while nothing else waits', () => {
    const harness = new Harness()
    harness.submit(1, { CPU: 1 })
    harness.grant(7)
    harness.done(7, 1)
    assert.deepEqual(harness.returned, [])
    harness.submit(2, { CPU: 1 })
    assert.deepEqual(harness.requested, [])
  })

  test('is given back at once when tasks of another kind wait for what it holds', () => {
    assert.deepEqual(idleBeside({ CPU: 1 }, { CPU: 0.5 }), [7])
    assert.deepEqual(idleBeside({ CPU: 1, GPU: 1 }, { GPU: 1 }), [7])
    assert.deepEqual(idleBeside({ CPU: 1 }, {}), [7], 'its worker is wanted')
  })

  test('is kept when it is of no help to those that wait', () => {
    assert.deepEqual(idleBeside({ CPU: 1 }, { GPU: 1 }), [])
    assert.deepEqual(idleBeside({ CPU: 1 }, { CPU: 1 }, 'group-of-another'), [])
  })

  test('is kept for a while when the one before was given back for nothing', () => {
    const harness = new Harness()
    harness.submit(1, { CPU: 1 })
    harness.submit(2, { CPU: 1, GPU: 1 })
    harness.grant(7)
    harness.done(7, 1)
    assert.deepEqual(harness.returned, [7])
    harness.submit(3, { CPU: 1 })
    harness.grant(8, { at: 1 })
    harness.done(8, 3)
    assert.deepEqual(harness.returned, [7], 'the one that waits for a GPU has not been helped')
    harness.submit(4, { CPU: 1 })
    harness.nowMs = 500
    harness.done(8, 4)
    assert.deepEqual(harness.returned, [7, 8])
  })

  test('is kept while tasks of its own kind are held back', () => {
    const harness = new Harness()
    const strategy = { kind: 'spread' } as const
    for (let sequence = 1; sequence <= 20; sequence++) harness.submit(sequence, { CPU: 1 }, { strategy })
    harness.submit(99, { CPU: 2 })
    harness.grant(7, { nodesAble: 2 })
    // So far one node may be ahead of the others while they have not begun.
    for (let sequence = 1; sequence <= 8; sequence++) harness.done(7, sequence)
    assert.equal(harness.submitter.pushedCount, 0, 'the others wait for a lease of the other node')
    assert.deepEqual(harness.returned, [])
  })
})

describe('a cancelled task that was queued', () => {
  test('takes back what was asked for it', () => {
    const harness = new Harness()
    const task = harness.submit(1, { CPU: 2 })
    const [request] = harness.requested
    harness.cancel(task)
    assert.deepEqual(harness.cancelled, [request?.requestId])
  })
})
