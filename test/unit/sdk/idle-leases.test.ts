import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ResourceSet } from '../../../protocols/resources.ts'
import { leaseTerms } from '../../../sdk/tasks/lease-terms.ts'
import { TaskSubmitter } from '../../../sdk/tasks/task-submitter.ts'
import { taskOf } from '../../support/task-records.ts'

/** A submitter whose messages to the node are kept. */
class Harness {
  readonly requested: { requestId: number; resources: ResourceSet }[] = []
  readonly returned: number[] = []
  readonly submitter: TaskSubmitter
  #deferred: (() => void)[] = []

  constructor() {
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, { resources }) => void this.requested.push({ requestId, resources }),
        cancelRequest: () => {},
        returnLease: (leaseId) => void this.returned.push(leaseId),
        killLease: () => {},
        push: () => {},
        cancelTask: () => {},
      },
      {
        idleLeaseMs: 300,
        nowMs: () => 0,
        defer: (callback) => void this.#deferred.push(callback),
        after: () => {},
        settle: () => {},
        discard: () => {},
        fail: (_task, error) => assert.fail(error as Error),
        failWith: () => assert.fail('no argument has failed'),
        isRetriable: () => false,
        named: () => {},
        streamPart: () => ({ skip: 0, limit: 0 }),
        moveToStore: (_task, value) => value,
      },
    )
  }

  submit(sequence: number, resources: ResourceSet, group = ''): void {
    this.submitter.submit(taskOf(sequence, [], { terms: leaseTerms(resources, {}, undefined, true, group) }))
    this.#settle()
  }

  /** Grants the oldest request as the lease of that number. */
  grant(leaseId: number): void {
    const [request] = this.requested.splice(0, 1)
    const requestId = request?.requestId ?? assert.fail('nothing is asked for')
    this.submitter.onGrant({ requestId, leaseId, workerId: 'w'.repeat(32), workerPid: 1, nodesAble: 1 })
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
  harness.submit(2, wanted, group)
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
})
