import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { liveTasksMax } from '../../../protocols/messages.ts'
import { Lease } from '../../../sdk/tasks/lease.ts'
import { liveTasks } from '../../../sdk/tasks/live-tasks.ts'
import type { TaskSubmitter } from '../../../sdk/tasks/task-submitter.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { taskOf } from '../../support/task-records.ts'

const node = '1'.repeat(16)
const worker = node + '2'.repeat(16)

function submitter(leases: Lease[], tasks: TaskRecord[]): TaskSubmitter {
  return { leases: () => leases, tasks, pendingCount: tasks.length } as unknown as TaskSubmitter
}

describe('tasks that have not ended', () => {
  test('those on workers come first, and only the first on each runs', () => {
    const lease = new Lease(1, 7, worker, 0)
    const tasks = [1, 2, 3, 4].map((sequence) => taskOf(sequence, [], { sinceMs: 10 }))
    const [running, behind, queued, waiting] = tasks as [TaskRecord, TaskRecord, TaskRecord, TaskRecord]
    queued.state = 'queued'
    waiting.state = 'waiting'
    lease.add(running, 1, 20)
    lease.add(behind, 1, 20)
    lease.firstSinceMs = 30
    const told = liveTasks(submitter([lease], tasks), [], 100)
    assert.deepEqual(
      told.tasks.map(({ sequence, state, node: at, workerPid, forMs }) => [sequence, state, at, workerPid, forMs]),
      [
        [1, 'running', node, 7, 70],
        [2, 'queued', node, 7, 90],
        [3, 'queued', '', 0, 90],
        [4, 'waiting', '', 0, 90],
      ],
    )
    assert.equal(told.more, 0)
  })

  test('calls of actors, too', () => {
    const calls = [1, 2, 3].map((sequence) => taskOf(sequence, [], { sinceMs: 10, state: 'queued' }))
    const actor = { worker, calls, count: 3, sentCount: 2 }
    const { tasks } = liveTasks(submitter([], []), [actor], 100)
    assert.deepEqual(
      tasks.map(({ sequence, state, node: at }) => [sequence, state, at]),
      [
        [1, 'running', node],
        [2, 'queued', node],
        [3, 'queued', ''],
      ],
    )
  })

  test('of very many only some', () => {
    const tasks = Array.from({ length: liveTasksMax + 10 }, (_, i) => taskOf(i + 1, [], { state: 'queued' }))
    const actor = { worker, calls: tasks, count: tasks.length, sentCount: 0 }
    const told = liveTasks(submitter([], tasks), [actor], 0)
    assert.deepEqual([told.tasks.length, told.more], [liveTasksMax, liveTasksMax + 20])
  })
})
