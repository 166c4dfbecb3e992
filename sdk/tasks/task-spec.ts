import { ObjectStoreFullError } from '../../protocols/errors.ts'
import { objectIdBytes } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { TaskSpec } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { recordOf } from '../objects/object-ref.ts'
import type { StreamRecord } from './stream-record.ts'
import { tooLarge } from './task-errors.ts'
import type { TaskRecord } from './task-record.ts'

/** What one task may take in its message: large values are in the store by then, so this is names and references. */
const specBytesMax = limits.frameBytesMax - 64 * 1024
/** A push message is sent off when its tasks have this many bytes. */
export const pushBytesMax = limits.frameBytesMax / 4
/** While the store is full, inline values of so many bytes stay in the message. */
const inlineBytesMax = limits.frameBytesMax / 2

export interface TaskSpecHost {
  /** The value of an argument that was given as a ref goes off as a name: whoever cannot read it will ask by its id. */
  named(argument: ObjectRecord): void
  /** Which items of a stream its next try is to send. */
  streamPart(task: TaskRecord, stream: StreamRecord): { skip: number; limit: number }
  /** Moves a value that is too large for its message into the store. Throws ObjectStoreFullError. */
  moveToStore(task: TaskRecord, value: WireValue): WireValue
}

/**
 * A task as it is sent, and what it takes in its message: all its arguments have their values.
 *
 * Throws InvalidArgumentError when it is too large for a message, and ObjectStoreFullError when its arguments are and there is
 * no room for them.
 */
export function sendableSpecOf(task: TaskRecord, host: TaskSpecHost): { spec: TaskSpec; bytes: number } {
  const spec = taskSpecOf(task, host)
  const bytes = specBytes(spec)
  if (bytes > specBytesMax) throw tooLarge(task, bytes, specBytesMax)
  return { spec, bytes }
}

/** A task as it is sent, of any size. Throws ObjectStoreFullError. */
export function taskSpecOf(task: TaskRecord, host: TaskSpecHost): TaskSpec {
  let resolvedBytes = 0
  const resolved = task.resolvedRefs.map(({ position, ref }) => {
    const record = recordOf(ref)
    let value = record.value as WireValue
    resolvedBytes += wireBytes(value)
    if (resolvedBytes > pushBytesMax && value.kind === 'inline') {
      value = movedIfRoom(task, value, host, resolvedBytes <= inlineBytesMax)
    }
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

function movedIfRoom(task: TaskRecord, value: WireValue, host: TaskSpecHost, mayStay: boolean): WireValue {
  try {
    return host.moveToStore(task, value)
  } catch (error) {
    if (mayStay && error instanceof ObjectStoreFullError) return value
    throw error
  }
}

/** What a task takes in its message. */
function specBytes(spec: TaskSpec): number {
  let bytes = 48 + spec.name.length + spec.group.length + wireBytes(spec.args)
  for (const { value } of spec.resolved) bytes += wireBytes(value) + 4 + objectIdBytes
  return bytes
}

/** True while every argument that was given as a ref has a value that is no error. */
export function hasArguments(task: TaskRecord): boolean {
  return task.resolvedRefs.every(({ ref }) => recordOf(ref).value?.isError === false)
}
