import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import { liveTasksMax, type MessageBody } from '../../protocols/messages.ts'
import type { TaskRecord } from './task-record.ts'
import type { TaskSubmitter } from './task-submitter.ts'

type Told = Omit<MessageBody<'liveTasks'>, 'requestId'>
type LiveTask = Told['tasks'][number]

/** The calls of one actor that have no result yet; the first `sentCount` are with its worker. */
export interface ActorCalls {
  readonly worker: ClientId
  readonly calls: Iterable<TaskRecord>
  readonly count: number
  readonly sentCount: number
}

const nameCharsMax = 200

/** The tasks of this process that have not ended, for people to read: those on workers first, and no more than they can read. */
export function liveTasks(submitter: TaskSubmitter, actors: Iterable<ActorCalls>, nowMs: number): Told {
  const tasks: LiveTask[] = []
  let count = submitter.pendingCount
  const add = (
    task: TaskRecord,
    state: LiveTask['state'],
    at?: { node: string; pid: number; sinceMs: number },
  ): void => {
    const { sequence, name, job, attempt } = task
    const { node = '', pid: workerPid = 0, sinceMs = task.sinceMs } = at ?? {}
    const forMs = nowMs - sinceMs
    if (tasks.length >= liveTasksMax) return
    tasks.push({ sequence, name: name.slice(0, nameCharsMax), job, attempt, state, node, workerPid, forMs })
  }
  for (const { node, workerPid: pid, tasks: onWorker, firstSinceMs } of submitter.leases()) {
    let isFirst = true
    for (const { task } of onWorker.values()) {
      // A worker runs them in order; the next begins when the result of the last one leaves.
      const sinceMs = isFirst ? firstSinceMs : task.sinceMs
      add(task, isFirst ? 'running' : 'queued', { node, pid, sinceMs })
      isFirst = false
    }
  }
  for (const { worker, calls, count: ofActor, sentCount } of actors) {
    count += ofActor
    let at = 0
    for (const task of calls) {
      if (tasks.length >= liveTasksMax) break
      // How many of them run at a time is known to the actor alone.
      const isSent = at < sentCount
      const state = isSent && at === 0 ? 'running' : task.state === 'waiting' ? 'waiting' : 'queued'
      add(task, state, isSent ? { node: nodeOf(worker), pid: 0, sinceMs: task.sinceMs } : undefined)
      at++
    }
  }
  for (const task of submitter.tasks) {
    if (tasks.length >= liveTasksMax) break
    if (task.state !== 'pushed') add(task, task.state === 'waiting' ? 'waiting' : 'queued')
  }
  return { tasks, more: Math.max(0, count - tasks.length) }
}
