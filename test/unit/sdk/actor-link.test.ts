import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objectId } from '../../../protocols/ids.ts'
import { limits } from '../../../protocols/limits.ts'
import { ActorLink } from '../../../sdk/actors/actor-link.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { inlineValue, taskOf } from '../../support/task-records.ts'

const worker = '0a'.repeat(16)
const other = '0c'.repeat(16)
const actor = objectId('0b'.repeat(16), 1)

/** A link whose messages are written down. */
class Caller {
  readonly pushed: number[] = []
  readonly cancelled: number[] = []
  /** Of those, which went over the line: cancels as the negative. */
  readonly direct: number[] = []
  readonly met: string[] = []
  line = 0
  fences = 0
  readonly failed: string[] = []
  watches = 0
  nowMs = 0
  #timers: (() => void)[] = []
  readonly link: ActorLink
  #deferred: (() => void)[] = []

  constructor() {
    this.link = new ActorLink(actor, 'Counter', {
      named: () => undefined,
      streamPart: () => ({ skip: 0, limit: 0 }),
      moveToStore: (_, value) => value,
      push: ({ calls, isDirect }) => {
        for (const { task } of calls) {
          this.pushed.push(task.sequence)
          if (isDirect) this.direct.push(task.sequence)
        }
      },
      cancelCall: (_, sequence, { isDirect }) => {
        this.cancelled.push(sequence)
        if (isDirect) this.direct.push(-sequence)
      },
      meet: (to) => this.met.push(to),
      lineTo: () => this.line,
      fence: () => ++this.fences,
      hangUp: () => (this.line = 0),
      watch: () => this.watches++,
      defer: (callback) => this.#deferred.push(callback),
      after: (_, callback) => this.#timers.push(callback),
      nowMs: () => this.nowMs,
      settle: () => undefined,
      discard: () => undefined,
      fail: ({ sequence }, error) => this.failed.push(`${sequence}: ${(error as Error).name}`),
      failAs: () => undefined,
      failWith: () => undefined,
      isRetriable: () => false,
    })
  }

  run(): void {
    for (const callback of this.#deferred.splice(0)) callback()
  }

  /** All that was to happen after a while happens. */
  ring(): void {
    for (const callback of this.#timers.splice(0)) callback()
  }

  alive(incarnation = 0, on = worker): void {
    const status = { state: 'alive', worker: on, incarnation, target: actor, reason: '', error: undefined } as const
    this.link.onStatus(status)
    this.run()
  }

  submit(sequence: number, parent?: object): TaskRecord {
    const task = taskOf(sequence, [], { parent, retriesLeft: 0 })
    this.link.submit(task)
    return task
  }
}

describe('ActorLink', () => {
  test('an actor that stays out of reach: calls fail in the end, and the next call has its owner asked again', () => {
    const caller = new Caller()
    caller.alive()
    caller.submit(1)
    caller.run()
    caller.link.onUndeliverable(worker)
    caller.submit(2)
    caller.nowMs = 16_000
    caller.ring()
    // The owner can be reached, and sees no trouble.
    caller.alive()
    caller.link.onUndeliverable(worker)
    assert.deepEqual(caller.failed, ['1: ActorUnavailableError', '2: ActorUnavailableError'])
    caller.ring()
    assert.equal(caller.watches, 1)
    caller.submit(3)
    caller.ring()
    assert.equal(caller.watches, 2)
    caller.alive()
    assert.deepEqual(caller.pushed, [1, 2, 3])
  })

  test('what is said late of an earlier start does not count; from another leader, who counts on its own, it does', () => {
    const caller = new Caller()
    caller.alive(1, other)
    caller.alive(0)
    assert.equal(caller.link.worker, other)
    caller.link.onLeaderChanged()
    caller.alive(0)
    caller.submit(1)
    caller.run()
    assert.equal(caller.link.worker, worker)
    assert.deepEqual(caller.pushed, [1])
  })

  test('a call that is cancelled there counts as pending until the actor has answered', async () => {
    const caller = new Caller()
    caller.alive()
    const task = caller.submit(1)
    caller.run()
    caller.link.cancel(task, true)
    assert.deepEqual([caller.cancelled, caller.failed], [[1], ['1: TaskCancelledError']])
    assert.equal(caller.link.pendingCount, 1)
    let isLeft = false
    const left = Promise.all([caller.link.left(1).then(() => (isLeft = true)), caller.link.left(1)])
    await new Promise(setImmediate)
    assert.equal(isLeft, false)
    caller.link.onDone(worker, [{ sequence: 1, status: 'cancelled', durationUs: 0, values: [] }])
    assert.equal(caller.link.pendingCount, 0)
    await left
    await caller.link.left(1)
  })

  test('a call that is cancelled while it waits for an argument leaves nothing behind', () => {
    const caller = new Caller()
    caller.alive()
    const argument = new ObjectRecord('0d'.repeat(16), 1)
    const forgotten: (() => void)[] = []
    argument.forget = (callback) => void forgotten.push(callback)
    const task = taskOf(1, [], { resolvedRefs: [{ position: 0, ref: new ObjectRef(argument) }] })
    caller.link.submit(task)
    caller.link.cancel(task, true)
    assert.equal(forgotten.length, 1)
    caller.submit(2)
    caller.run()
    assert.deepEqual(caller.pushed, [2])
  })

  test('with a task, the calls that it has made are cancelled: those under way, and those that wait', () => {
    const caller = new Caller()
    const parent = {}
    caller.submit(1, parent)
    caller.submit(2)
    caller.alive()
    caller.submit(3, parent)
    assert.deepEqual(caller.pushed, [1, 2])
    caller.link.cancelChildren(parent)
    assert.deepEqual(caller.failed, ['1: TaskCancelledError', '3: TaskCancelledError'])
    assert.deepEqual(caller.cancelled, [1])
    caller.run()
    assert.deepEqual(caller.pushed, [1, 2])
  })

  describe('with a line to its worker', () => {
    const ok = (sequence: number) => ({ sequence, status: 'ok' as const, durationUs: 0, values: [] })

    /** A caller with a call under way on a line. */
    function onLine(): Caller {
      const caller = new Caller()
      caller.alive()
      caller.line = 1
      caller.submit(1)
      caller.run()
      return caller
    }

    const withRefs = (sequence: number): TaskRecord =>
      taskOf(sequence, [], { args: { ...inlineValue(1), refs: [actor] }, retriesLeft: 0 })

    test('calls one at a time ask for one', () => {
      const caller = new Caller()
      caller.alive()
      for (let sequence = 1; sequence <= 20; sequence++) {
        caller.submit(sequence)
        caller.run()
        caller.link.onDone(worker, [ok(sequence)])
      }
      assert.deepEqual(caller.met, [worker])
    })

    test('calls and cancels go over it', () => {
      const caller = onLine()
      const task = caller.submit(2)
      caller.run()
      caller.link.cancel(task, true)
      assert.deepEqual(caller.direct, [1, 2, -2])
    })

    test('a call that brings refs along goes behind a fence, though those before it have no result yet', () => {
      const caller = onLine()
      caller.link.submit(withRefs(2))
      caller.submit(3)
      caller.run()
      assert.deepEqual([caller.pushed, caller.fences], [[1], 1])
      caller.link.onFence(worker, 7)
      caller.link.onFence(other, 1)
      caller.run()
      assert.deepEqual([caller.pushed, caller.fences], [[1], 1])
      caller.link.onFence(worker, 1)
      caller.run()
      assert.deepEqual([caller.pushed, caller.direct], [[1, 2, 3], [1]])
    })

    test('… and without one when those before it have their results', () => {
      const caller = onLine()
      caller.link.onDone(worker, [ok(1)])
      caller.link.submit(withRefs(2))
      caller.run()
      assert.deepEqual([caller.pushed, caller.direct, caller.fences], [[1, 2], [1], 0])
    })

    test('when one that waits for a fence is cancelled, those behind it go', () => {
      const caller = onLine()
      const waiting = withRefs(2)
      caller.link.submit(waiting)
      caller.submit(3)
      caller.run()
      caller.link.onDone(worker, [ok(1)])
      caller.link.cancel(waiting, true)
      caller.run()
      assert.deepEqual(caller.pushed, [1, 3])
    })

    test('large arguments go through the node', () => {
      const caller = onLine()
      caller.link.onDone(worker, [ok(1)])
      const record = new ObjectRecord(worker, 9)
      record.settle(inlineValue(limits.inlineBytesMax))
      caller.link.submit(taskOf(2, [], { resolvedRefs: [{ position: 0, ref: new ObjectRef(record) }] }))
      caller.run()
      assert.deepEqual([caller.pushed, caller.direct], [[1, 2], [1]])
    })

    test('when it ends and the worker does not, what was on it fails after a while, and what waits goes through the node', () => {
      const caller = onLine()
      caller.line = 0
      caller.link.onLineEnded(worker, 1)
      caller.submit(2)
      caller.run()
      assert.deepEqual([caller.pushed, caller.failed], [[1], []])
      caller.ring()
      caller.run()
      assert.deepEqual([caller.pushed, caller.failed], [[1, 2], ['1: ActorUnavailableError']])
      assert.deepEqual(caller.direct, [1])
    })

    test('… also when there is a new one by then', () => {
      const caller = onLine()
      caller.link.onLineEnded(worker, 1)
      caller.line = 2
      caller.submit(2)
      caller.run()
      caller.ring()
      caller.run()
      assert.deepEqual([caller.pushed, caller.failed], [[1, 2], ['1: ActorUnavailableError']])
    })

    test('when it ends and the answers come through the node, nothing fails', () => {
      const caller = onLine()
      caller.line = 0
      caller.link.onLineEnded(worker, 1)
      caller.link.onDone(worker, [ok(1)])
      caller.submit(2)
      caller.run()
      caller.ring()
      assert.deepEqual([caller.pushed, caller.failed], [[1, 2], []])
    })

    const dead = { state: 'dead', worker: '', incarnation: 9, target: actor, reason: 'x', error: undefined } as const

    test('news of the end of its worker wait until all is read that it has said', () => {
      const caller = onLine()
      caller.submit(2)
      caller.run()
      caller.alive(1, other)
      caller.submit(3)
      caller.run()
      assert.deepEqual([caller.pushed, caller.failed, caller.line], [[1, 2], [], 1])
      caller.link.onDone(worker, [ok(1)])
      caller.line = 0
      caller.link.onLineEnded(worker, 1)
      caller.run()
      assert.deepEqual([caller.pushed, caller.failed], [[1, 2, 3], ['2: ActorUnavailableError']])
      assert.deepEqual(caller.direct, [1, 2])
    })

    test('… not longer than that takes, though its line may not have ended', () => {
      const caller = onLine()
      caller.link.onStatus(dead)
      caller.link.onDone(worker, [ok(1)])
      assert.deepEqual([caller.failed, caller.line], [[], 0])
      caller.submit(2)
      caller.run()
      assert.deepEqual(caller.failed, ['2: ActorDiedError'])
    })

    test('… and not for ever: then the line is hung up', () => {
      for (const tell of [
        (caller: Caller) => caller.link.onStatus(dead),
        (caller: Caller) => caller.link.onUndeliverable(worker),
        (caller: Caller) => caller.link.onLeaderGone('its node is gone'),
      ]) {
        const caller = onLine()
        tell(caller)
        assert.deepEqual([caller.failed, caller.line], [[], 1])
        caller.ring()
        assert.equal(caller.failed.length, 1)
        assert.equal(caller.line, 0)
      }
    })
  })
})
