import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { OutOfMemoryError, WorkerCrashedError } from '../../../protocols/errors.ts'
import { defaultStrategy, formatStrategy, type SchedulingStrategy } from '../../../protocols/scheduling.ts'
import { leaseTerms } from '../../../sdk/tasks/lease-terms.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { TaskSubmitter } from '../../../sdk/tasks/task-submitter.ts'
import { taskOf } from '../../support/task-records.ts'

const details = {
  node: 'n1',
  usedBytes: 96,
  limitBytes: 95,
  totalBytes: 100,
  rssBytes: 50,
  workers: [{ pid: 7, label: 'train', rssBytes: 50 }],
}

/** A submitter, and a worker for whatever it asks. */
class Harness {
  readonly failed: unknown[] = []
  readonly pushed: number[] = []
  readonly asked: string[] = []
  worker = 'w'.repeat(32)
  readonly pauses: { delayMs: number; callback: () => void }[] = []
  readonly submitter: TaskSubmitter
  #deferred: (() => void)[] = []
  #requests: number[] = []
  leaseId = 0

  constructor() {
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, { strategy }) => {
          this.#requests.push(requestId)
          this.asked.push(formatStrategy(strategy))
        },
        cancelRequest: () => {},
        returnLease: () => {},
        killLease: () => {},
        push: (_lease, tasks) => this.pushed.push(...tasks.map(({ attempt }) => attempt)),
        cancelTask: () => {},
      },
      {
        idleLeaseMs: 300,
        nowMs: () => 0,
        defer: (callback) => void this.#deferred.push(callback),
        after: (delayMs, callback) => void this.pauses.push({ delayMs, callback }),
        settle: () => {},
        discard: () => {},
        fail: (_task, error) => void this.failed.push(error),
        failWith: () => {},
        isRetriable: () => false,
        named: () => {},
        streamPart: () => ({ skip: 0, limit: 0 }),
        moveToStore: (_task, value) => value,
      },
    )
  }

  /** Lets everything happen that does not wait for time, and grants what is asked for. */
  settle(): void {
    while (this.#deferred.length + this.#requests.length > 0) {
      for (const callback of this.#deferred.splice(0)) callback()
      for (const requestId of this.#requests.splice(0)) {
        const leaseId = ++this.leaseId
        this.submitter.onGrant({ requestId, leaseId, workerId: this.worker, workerPid: leaseId, nodesAble: 1 })
      }
    }
  }

  task(retriesLeft: number, more: Partial<TaskRecord> = {}): TaskRecord {
    const task = taskOf(1, [], { retriesLeft, ...more })
    this.submitter.submit(task)
    this.settle()
    return task
  }

  ranOut(): void {
    this.submitter.onLost(this.leaseId, 'node n1 ran out of memory (96 of 100 in use)', { outOfMemory: details })
    this.settle()
  }
}

describe('a worker was ended because memory ran out', () => {
  test('its task is tried again after a pause that doubles, then fails with what is known', () => {
    const harness = new Harness()
    harness.task(2)
    for (const pauseMs of [1_000, 2_000]) {
      harness.ranOut()
      const [pause] = harness.pauses.splice(0)
      assert.equal(pause?.delayMs, pauseMs)
      pause?.callback()
      harness.settle()
    }
    assert.deepEqual(harness.pushed, [0, 1, 2])
    harness.ranOut()
    const [error] = harness.failed
    assert.ok(error instanceof OutOfMemoryError)
    assert.match(
      error.message,
      /task \S+: node n1 ran out of memory .*, and was ended; no retries are left after 3 tries/,
    )
    assert.deepEqual([error.code, error.retryable], ['OUT_OF_MEMORY', true])
    const { usedBytes, limitBytes, rssBytes, node, workers, tries } = error.details
    assert.deepEqual(
      { usedBytes, limitBytes, rssBytes, node, workers, tries },
      {
        usedBytes: 96,
        limitBytes: 95,
        rssBytes: 50,
        node: 'n1',
        workers: details.workers,
        tries: 3,
      },
    )
  })

  test('its task asks for another node than those that had no memory for it; one that is for a node alone does not', () => {
    const askedWith = (strategy: SchedulingStrategy): string[] => {
      const harness = new Harness()
      harness.worker = 'a'.repeat(32)
      harness.task(20, { terms: leaseTerms({ CPU: 1 }, {}, strategy) })
      for (const next of ['b', 'b', 'a', 'c']) {
        harness.ranOut()
        harness.worker = next.repeat(32)
        harness.pauses.splice(0)[0]?.callback()
        harness.settle()
      }
      return harness.asked
    }
    const [a, b] = ['a'.repeat(16), 'b'.repeat(16)]
    assert.deepEqual(askedWith(defaultStrategy), [
      'on any node',
      `on any node, but rather not on ${a}`,
      `on any node, but rather not on ${a}, ${b}`,
      // No other one is left, so it comes to these again.
      `on any node, but rather not on ${a}, ${b}`,
      `on any node, but rather not on ${a}, ${b}`,
    ])
    const hard = askedWith({ kind: 'node', node: a, isSoft: false })
    assert.deepEqual(new Set(hard), new Set([`on node ${a}`]))
  })

  test('a pause has an end, however often it was tried', () => {
    const harness = new Harness()
    harness.task(20)
    for (let count = 0; count < 12; count++) {
      harness.ranOut()
      const [pause] = harness.pauses.splice(0)
      assert.ok(pause !== undefined && pause.delayMs <= 30_000)
      pause.callback()
      harness.settle()
    }
  })

  test('cancelled while it pauses, it does not run again', () => {
    const harness = new Harness()
    const task = harness.task(3)
    harness.ranOut()
    harness.submitter.cancel(task, { force: false, recursive: false })
    harness.pauses[0]?.callback()
    harness.settle()
    assert.deepEqual(harness.pushed, [0])
    assert.equal(harness.submitter.pendingCount, 0)
  })

  test('any other end is a crash, without a pause', () => {
    const harness = new Harness()
    harness.task(1)
    harness.submitter.onLost(harness.leaseId, 'signal SIGSEGV')
    harness.settle()
    assert.deepEqual(harness.pushed, [0, 1])
    harness.submitter.onLost(harness.leaseId, 'signal SIGSEGV')
    assert.ok(harness.failed[0] instanceof WorkerCrashedError)
  })
})
