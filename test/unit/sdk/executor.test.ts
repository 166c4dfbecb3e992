import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MessageBody, MessageName } from '../../../protocols/messages.ts'
import type { NodeConnection } from '../../../sdk/client/node-connection.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import type { Runtime } from '../../../sdk/runtime/runtime.ts'
import { taskSpecOf } from '../../../sdk/tasks/task-spec.ts'
import { Executor } from '../../../sdk/worker/executor.ts'
import { RunningTask, taskStorage } from '../../../sdk/worker/running-task.ts'
import { inlineValue, taskOf } from '../../support/task-records.ts'

const owner = '0a'.repeat(16)
const specHost = {
  named: () => undefined,
  streamPart: () => ({ skip: 0, limit: 0 }),
  moveToStore: (_: unknown, value: never) => value,
}

/** A worker whose socket takes what is written when the test says so. */
class Worker {
  /** Tasks that have begun and results that were sent, in their order. */
  readonly events: string[] = []
  readonly executor: Executor
  readonly #writes: (() => void)[] = []
  readonly #last = Promise.withResolvers<void>()
  isFull = false

  constructor() {
    const connection: Partial<NodeConnection> = {
      welcome: { nodeId: '' } as MessageBody<'welcome'>,
      send: (name: MessageName, body: unknown) => {
        if (name === 'taskHandBack') {
          for (const each of (body as MessageBody<'taskHandBack'>).sequences) this.events.push(`handed back ${each}`)
        }
        if (name === 'leaseBlocked') {
          this.events.push((body as MessageBody<'leaseBlocked'>).isBlocked ? 'takes nothing' : 'takes more')
        }
        if (name !== 'taskDone') return
        for (const { sequence } of (body as MessageBody<'taskDone'>).results) this.events.push(`sent ${sequence}`)
      },
      flush: () => undefined,
      written: () => (this.isFull ? new Promise((resolve) => this.#writes.push(resolve)) : undefined),
    }
    const runtime = {
      calls: { runs: { sum: () => true } },
      functions: { table: { loaded: () => (sequence: number) => this.#run(sequence) } },
      objects: { adopt: () => undefined, lend: () => undefined },
      coder: {
        isHere: () => true,
        decodeNow: ({ head }: { head: Uint8Array }) => [head.length],
        encode: () => ({ wire: inlineValue(1), holds: undefined }),
      },
      isNeeded: false,
      onIdle: () => undefined,
    }
    this.executor = new Executor(connection as NodeConnection, runtime as unknown as Runtime, () => undefined)
    this.#tell('leaseStart', { leaseId: 1, owner, job: owner, depth: 1, gpuIds: [] })
  }

  #tell<N extends 'leaseStart' | 'taskPush' | 'taskCancel'>(name: N, body: MessageBody<N>): void {
    this.executor.handlers()[name]?.(body)
  }

  /** Those from 100 on end when the test says so. */
  #run(sequence: number): unknown {
    this.events.push(`ran ${sequence}`)
    return sequence < 100 ? undefined : this.#last.promise
  }

  /** The task that runs ends. */
  end(): void {
    this.#last.resolve()
  }

  /** Tasks that may not run twice, or may. */
  push(...tasks: [sequence: number, kind: 'careful' | 'usual'][]): void {
    const specs = tasks.map(([sequence, kind]) => {
      const options = { args: inlineValue(sequence), retriesLeft: kind === 'careful' ? 0 : 3 }
      return taskSpecOf(taskOf(sequence, [new ObjectRecord(owner, sequence)], options), specHost)
    })
    this.#tell('taskPush', { leaseId: 1, tasks: specs })
  }

  cancel(sequence: number): void {
    this.#tell('taskCancel', { leaseId: 1, sequence, recursive: false })
  }

  /** All that was written is on its way. */
  drain(): void {
    this.isFull = false
    for (const written of this.#writes.splice(0)) written()
  }

  /** What has happened up to this, which is waited for. */
  async until(event: string): Promise<string[]> {
    while (!this.events.includes(event)) await new Promise(setImmediate)
    return this.events.splice(0)
  }

  /** Waits until the executor does, for the socket. */
  async untilFull(): Promise<void> {
    while (this.#writes.length === 0) await new Promise(setImmediate)
  }
}

describe('a task that may not run twice', () => {
  test('runs when the results before it have left the process, and so does what is behind it', async () => {
    const worker = new Worker()
    worker.isFull = true
    worker.push([1, 'usual'], [2, 'usual'], [3, 'careful'], [4, 'usual'])
    await worker.untilFull()
    const events = await worker.until('sent 2')
    assert.deepEqual(events.sort(), ['ran 1', 'ran 2', 'sent 1', 'sent 2'])
    worker.drain()
    assert.deepEqual(await worker.until('sent 4'), ['ran 3', 'sent 3', 'ran 4', 'sent 4'])

    worker.isFull = true
    worker.push([5, 'careful'])
    await worker.untilFull()
    assert.deepEqual(worker.events, [])
    worker.drain()
    assert.deepEqual(await worker.until('sent 5'), ['ran 5', 'sent 5'])

    worker.isFull = true
    worker.push([6, 'usual'])
    await worker.untilFull()
    assert.deepEqual(worker.events, [])
    worker.drain()
    assert.deepEqual(await worker.until('sent 6'), ['ran 6', 'sent 6'])
  })

  test('waits for nothing when the results before it have left already', async () => {
    const worker = new Worker()
    worker.push([1, 'usual'], [2, 'careful'], [3, 'careful'])
    const events = await worker.until('sent 3')
    assert.deepEqual(events, ['ran 1', 'sent 1', 'ran 2', 'sent 2', 'ran 3', 'sent 3'])
  })

  test('does not run when it is cancelled while it waits', async () => {
    const worker = new Worker()
    worker.isFull = true
    worker.push([1, 'usual'], [2, 'careful'], [3, 'careful'])
    await worker.untilFull()
    worker.cancel(2)
    worker.drain()
    assert.deepEqual(await worker.until('sent 3'), ['ran 1', 'sent 1', 'sent 2', 'ran 3', 'sent 3'])
  })
})

describe('what a task has left behind, and what ends the process', () => {
  const ended = new RunningTask(
    taskSpecOf(taskOf(1, [new ObjectRecord(owner, 1)]), specHost),
    { owner, gpuIds: [], job: owner, depth: 1 },
    [],
    '',
  )

  test('waits for the task that runs by now; nothing is begun any more', async () => {
    const worker = new Worker()
    const { executor, events } = worker
    const later = (what: string): boolean =>
      taskStorage.run(ended, () => executor.afterRunning(() => events.push(`${what} told`)))
    assert.equal(later('nobody'), false)
    worker.push([100, 'careful'])
    assert.equal(
      executor.afterRunning(() => undefined),
      false,
    )
    assert.deepEqual([later('first'), later('second')], [true, true])
    worker.push([2, 'careful'])
    assert.deepEqual(await worker.until('handed back 2'), ['ran 100', 'takes nothing', 'handed back 2'])
    worker.end()
    assert.deepEqual(await worker.until('takes more'), ['sent 100', 'first told', 'takes more'])
    worker.push([3, 'careful'])
    assert.deepEqual(await worker.until('sent 3'), ['ran 3', 'sent 3'])
  })

  test('has what is queued go elsewhere', async () => {
    const worker = new Worker()
    worker.isFull = true
    worker.push([1, 'usual'], [2, 'careful'])
    await worker.untilFull()
    worker.executor.giveBack()
    const events = await worker.until('takes more')
    assert.deepEqual(events, ['ran 1', 'sent 1', 'handed back 2', 'takes nothing', 'takes more'])
  })
})
