import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MessageBody } from '../../../protocols/messages.ts'
import { TaskCancelledError, WorkerCrashedError } from '../../../protocols/errors.ts'
import { errorName, RunLog, runsMax, unfinishedRun, type TaskRun } from '../../../sdk/tasks/run-log.ts'

const owner = 'a'.repeat(32)

function run(sequence: number, changes: Partial<TaskRun> = {}): TaskRun {
  return {
    owner,
    job: owner,
    sequence,
    attempt: 0,
    name: 'square',
    state: 'finished',
    code: '',
    isHere: true,
    node: '',
    pid: 0,
    startMs: sequence,
    endMs: sequence + 0.5,
    busyMs: 0.25,
    count: 1,
    ...changes,
  }
}

/** A task has ended. */
function end(log: RunLog, ended: TaskRun): void {
  const { name: taskName, owner: caller, job, busyMs, endMs } = ended
  if (ended.state !== 'finished' || !log.sum({ taskName, caller, job }, busyMs, endMs)) log.add(ended)
}

/** A log whose time passes when the test says so. */
function makeLog(): { log: RunLog; told: MessageBody<'taskRuns'>[]; pass(): void } {
  const told: MessageBody<'taskRuns'>[] = []
  const timers: (() => void)[] = []
  const log = new RunLog({
    wallOffsetMs: () => 1000,
    after: (_, callback) => void timers.push(callback),
    send: (message) => void told.push(message),
  })
  return { log, told, pass: () => timers.splice(0).forEach((callback) => callback()) }
}

describe('what became of tasks', () => {
  test('is told together, by the wall clock', () => {
    const { log, told, pass } = makeLog()
    log.add(run(1))
    log.add(run(2, { state: 'failed', code: 'TypeError' }))
    assert.equal(told.length, 0)
    pass()
    assert.deepEqual(told, [
      {
        left: 0,
        runs: [
          run(1, { startMs: 1001, endMs: 1001.5 }),
          run(2, { state: 'failed', code: 'TypeError', startMs: 1002, endMs: 1002.5 }),
        ],
      },
    ])
    pass()
    assert.equal(told.length, 1)
    log.add(run(3))
    pass()
    assert.equal(told.length, 2)
  })

  test('of very many short tasks those of one name are told as one; long ones and failures by themselves', () => {
    const { log, told, pass } = makeLog()
    for (let i = 0; i < 10_000; i++) end(log, run(i))
    end(log, run(10_000, { busyMs: 5 }))
    end(log, run(10_001, { state: 'failed' }))
    end(log, run(10_002, { name: 'cube' }))
    end(log, run(10_003, { name: 'cube' }))
    pass()
    const [{ runs, left } = { runs: [], left: -1 }] = told
    assert.equal(left, 0)
    assert.equal(
      runs.reduce((sum, { count }) => sum + count, 0),
      10_004,
    )
    const sum = runs.find(({ count }) => count > 100)
    assert.deepEqual([sum?.sequence, sum?.count, sum?.endMs, sum?.busyMs], [50, 9950, 1000 + 9999.5, 2487.5])
    assert.deepEqual(
      runs.slice(51).map(({ sequence, name, count }) => [sequence, name, count]),
      [
        [10_000, 'square', 1],
        [10_001, 'square', 1],
        [10_002, 'cube', 2],
      ],
    )
  })

  test('tasks of another owner are not added to those of this one', () => {
    const { log, told, pass } = makeLog()
    for (let i = 0; i < 51; i++) end(log, run(i))
    end(log, run(1, { owner: 'b'.repeat(32) }))
    pass()
    assert.equal(told[0]?.runs.length, 52)
  })

  test('what does not fit is counted', () => {
    const { log, told, pass } = makeLog()
    for (let i = 0; i < runsMax + 5; i++) end(log, run(i, { state: 'failed' }))
    pass()
    assert.deepEqual([told[0]?.runs.length, told[0]?.left], [runsMax, 5])
  })
})

describe('tasks that did not run to their end', () => {
  const task = { sequence: 7, name: 'square', job: owner, attempt: 2, sinceMs: 10 }

  test('one that died with its worker is told with where that was', () => {
    const error = new WorkerCrashedError('gone', { node: '0'.repeat(16), workerPid: 42 })
    const { state, code, node, pid, startMs, endMs } = unfinishedRun(task, { owner, error, nowMs: 30 })
    assert.deepEqual([state, code, node, pid, startMs, endMs], ['failed', 'WORKER_CRASHED', '0'.repeat(16), 42, 10, 30])
  })

  test('one that was cancelled, and one whose argument is an error', () => {
    const cancelled = unfinishedRun(task, { owner, error: new TaskCancelledError('x'), nowMs: 30 })
    assert.equal(cancelled.state, 'cancelled')
    const { state, code } = unfinishedRun(task, { owner, nowMs: 30 })
    assert.deepEqual([state, code], ['failed', 'ARGUMENT_FAILED'])
  })

  test('errors are named by code or class', () => {
    class Odd extends Error {
      override name = 'Odd'
    }
    const cases = [new TypeError('x'), new Odd('x'), Object.assign(new Error('x'), { code: 'ENOENT' }), 5]
    assert.deepEqual(cases.map(errorName), ['TypeError', 'Odd', 'ENOENT', 'number'])
  })
})
