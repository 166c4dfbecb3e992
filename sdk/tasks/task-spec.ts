import { objectIdBytes } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { TaskSpec } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { recordOf } from '../objects/object-ref.ts'
import type { StreamRecord } from './stream-record.ts'
import type { TaskRecord } from './task-record.ts'

/** What one task may take in its message: large values are in the store by then, so this is names and references. */
export const specBytesMax = limits.frameBytesMax - 64 * 1024
/** A push message is sent off when its tasks have this many bytes. */
export const pushBytesMax = limits.frameBytesMax / 4

export interface TaskSpecHost {
  /** The value of an argument that was given as a ref goes off as a name: whoever cannot read it will ask by its id. */
  named(argument: ObjectRecord): void
  /** Which items of a stream its next try is to send. */
  streamPart(task: TaskRecord, stream: StreamRecord): { skip: number; limit: number }
  /** Moves a value that is too large for its message into the store. */
  moveToStore(task: TaskRecord, value: WireValue): WireValue
}

/** A task as it is sent: all its arguments have their values. */
export function taskSpecOf(task: TaskRecord, host: TaskSpecHost): TaskSpec {
  let resolvedBytes = 0
  const resolved = task.resolvedRefs.map(({ position, ref }) => {
    const record = recordOf(ref)
    let value = record.value as WireValue
    resolvedBytes += wireBytes(value)
    if (resolvedBytes > pushBytesMax && value.kind === 'inline') value = host.moveToStore(task, value)
    if (value.kind === 'stored') host.named(record)
    return { position, object: record.id, value }
  })
  const part = task.stream === undefined ? undefined : host.streamPart(task, task.stream)
  return {
    sequence: task.sequence,
    functionId: task.function.id,
    attempt: task.attempt,
    returnCount: task.stream === undefined ? task.returns.length : 0,
    isCareful: task.attempt > 0 || task.retriesLeft === 0,
    streamSkip: part?.skip ?? 0,
    streamLimit: part?.limit ?? 0,
    name: task.name,
    args: task.args,
    resolved,
    group: task.terms.group,
  }
}

/** What a task takes in its message. */
export function specBytes(spec: TaskSpec): number {
  let bytes = 48 + spec.name.length + spec.group.length + wireBytes(spec.args)
  for (const { value } of spec.resolved) bytes += wireBytes(value) + 4 + objectIdBytes
  return bytes
}

/** True while every argument that was given as a ref has a value that is no error. */
export function hasArguments(task: TaskRecord): boolean {
  return task.resolvedRefs.every(({ ref }) => recordOf(ref).value?.isError === false)
}
