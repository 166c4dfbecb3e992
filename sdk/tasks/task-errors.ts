import {
  InfeasibleError,
  InvalidArgumentError,
  MembershipError,
  OutOfMemoryError,
  PlacementGroupRemovedError,
  WorkerCrashedError,
  WorkerLimitError,
  WorkerStartError,
} from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import { triesText } from './lineage.ts'
import type { TaskRecord } from './task-record.ts'

export function crashError(
  task: TaskRecord,
  { workerPid: pid, node }: { workerPid: number; node: NodeId },
  reason: string,
): WorkerCrashedError {
  return new WorkerCrashedError(
    `the worker (pid ${pid} of node ${node}) died while it ran task ${task.name}: ${reason}; no retries are left after ${triesText(task.attempt + 1)}`,
    { task: task.name, workerPid: pid, node, reason, tries: task.attempt + 1 },
  )
}

/** The group in which a task ran, or was to run, was removed. */
export function groupRemovedError(task: TaskRecord, reason: string): PlacementGroupRemovedError {
  return new PlacementGroupRemovedError(`task ${task.name}: ${reason}`, { task: task.name, reason })
}

export function outOfMemoryError(
  task: TaskRecord,
  { workerPid }: { workerPid: number },
  reason: string,
  details: OutOfMemoryDetails,
): OutOfMemoryError {
  const tries = task.attempt + 1
  return new OutOfMemoryError(
    `task ${task.name}: ${reason}, and was ended; no retries are left after ${triesText(tries)}; ask for memory by memoryBytes, so that fewer run at a time, or work on smaller parts`,
    { task: task.name, workerPid, tries, ...details },
  )
}

export function tooLarge(task: TaskRecord, bytes: number, bytesMax: number): InvalidArgumentError {
  return new InvalidArgumentError(
    `the arguments of task ${task.name} take ${bytes} bytes in its message, more than the ${bytesMax} that are possible: there are too many ObjectRefs in them; put() parts of them and pass their refs`,
    { task: task.name, bytes },
  )
}

export function refusalError(
  kind: MessageBody<'leaseRefuse'>['error'],
  name: string,
  message: string,
  details: Record<string, unknown>,
): Error {
  const text = `task ${name}: ${message}`
  if (kind === 'infeasible') return new InfeasibleError(text, details)
  if (kind === 'forbidden') return new MembershipError(text, details)
  if (kind === 'groupRemoved') return new PlacementGroupRemovedError(text, details)
  if (kind === 'workerLimit') return new WorkerLimitError(text, details)
  return new WorkerStartError(text, details)
}
