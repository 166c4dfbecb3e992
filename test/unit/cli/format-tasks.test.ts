import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LiveTaskReport, NodeAnswer, NodeTasks, TaskReport } from '../../../protocols/admin.ts'
import { formatTasks, listTasks } from '../../../node/cli/format-tasks.ts'

const desk = '0000000000000001'
const driver = `${desk}${'a'.repeat(16)}`
const idOf = (number: number): string => driver + number.toString(16).padStart(12, '0')

function live(number: number, changes: Partial<LiveTaskReport> = {}): LiveTaskReport {
  return { id: idOf(number), name: 'train', state: 'queued', job: driver, attempt: 0, forMs: 1000, ...changes }
}

function ended(number: number, changes: Partial<TaskReport> = {}): TaskReport {
  const times = { startMs: 1000 + number, endMs: 1100 + number, busyMs: 100 }
  return {
    id: idOf(number),
    name: 'train',
    state: 'finished',
    job: driver,
    attempt: 0,
    node: desk,
    pid: 7,
    count: 1,
    ...times,
    ...changes,
  }
}

function answer(value: Partial<NodeTasks>): NodeAnswer<NodeTasks> {
  const drivers = [{ client: driver, pid: 5, role: 'driver', program: '/home/x/main.ts' }] as const
  return {
    node: desk,
    name: 'desk',
    value: { live: [], more: 0, ended: [], left: 0, drivers, silent: [], ...value },
  }
}

describe('shoal tasks', () => {
  test('what runs comes first, then what waits, then what has ended, the last one last', () => {
    const tasks = [
      answer({
        live: [live(1), live(2, { state: 'waiting', forMs: 2 }), live(3, { state: 'running', node: desk, pid: 7 })],
        ended: [ended(5, { state: 'failed', code: 'Type\u001bError' }), ended(4)],
      }),
    ]
    const text = formatTasks(listTasks(tasks, { limit: 20 }))
    assert.deepEqual(text.split('\n'), [
      'TASK                                          NAME   STATE     NODE  PID  JOB              TIME   TRY  ERROR',
      `${idOf(3)}  train  running   desk  7    main.ts (pid 5)  1s     1`,
      `${idOf(1)}  train  queued    -     -    main.ts (pid 5)  1s     1`,
      `${idOf(2)}  train  waiting   -     -    main.ts (pid 5)  2ms    1`,
      `${idOf(4)}  train  finished  desk  7    main.ts (pid 5)  100ms  1`,
      `${idOf(5)}  train  failed    desk  7    main.ts (pid 5)  100ms  1    Type?Error`,
    ])
  })

  test('a task is told once: as its worker saw its end', () => {
    const own = ended(1, { state: 'cancelled', busyMs: 0, code: 'TASK_CANCELLED' })
    const { tasks } = listTasks([answer({ live: [live(1)], ended: [ended(1), own] })], { limit: 20 })
    assert.deepEqual(
      tasks.map(({ state }) => state),
      ['finished'],
    )
    const again = listTasks([answer({ live: [live(1, { attempt: 1 })], ended: [ended(1)] })], { limit: 20 })
    assert.equal(again.tasks.length, 2)
  })

  test('only those that are meant, and of ended ones the last', () => {
    const value = { live: [live(1), live(2, { name: 'cube' })], ended: [ended(3), ended(4), ended(5)] }
    const named = listTasks([answer(value)], { limit: 2, only: 'rain' })
    assert.deepEqual(
      named.tasks.map(({ id }) => id),
      [idOf(1), idOf(4), idOf(5)],
    )
    const byId = listTasks([answer(value)], { limit: 2, only: idOf(2) })
    assert.deepEqual(
      byId.tasks.map(({ name }) => name),
      ['cube'],
    )
  })

  test('what is not known is said', () => {
    const silent = [{ client: driver, pid: 9, role: 'driver', program: '' }] as const
    const many = ended(1, { count: 500, busyMs: 2 })
    const answers = [
      answer({ ended: [many], more: 3, left: 1, silent }),
      { node: '2', name: 'lap', problem: 'no link' },
    ]
    const text = formatTasks(listTasks(answers, { limit: 20 }))
    assert.match(text, /train × 500 .* 2\.00ms /)
    assert.match(text, /A line with × stands for so many short tasks/)
    assert.match(text, /and 3 tasks more that wait or run\n1 ended task not recorded/)
    assert.match(text, /Busy, so that their tasks are not known: driver 9\nlap does not say: no link/)
    assert.equal(formatTasks(listTasks([], { limit: 20 })), 'No tasks.')
  })
})
