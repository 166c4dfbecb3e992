import type { ClientId } from '../../protocols/ids.ts'
import type { InlineValue, StoredValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../../sdk/objects/object-record.ts'
import { leaseTerms } from '../../sdk/tasks/lease-terms.ts'
import type { TaskRecord } from '../../sdk/tasks/task-record.ts'

const job: ClientId = 'a'.repeat(32)
const terms = leaseTerms({ CPU: 1 }, {})

/** A task as it is submitted. */
export function taskOf(sequence: number, returns: ObjectRecord[], options: Partial<TaskRecord> = {}): TaskRecord {
  const task: TaskRecord = {
    sequence,
    name: `t${sequence}`,
    function: { id: 'f'.repeat(44), name: 'f', estimateMs: undefined },
    terms,
    job,
    args: inlineValue(4),
    argsBytes: 20,
    holds: undefined,
    resolvedRefs: [],
    returns,
    stream: undefined,
    retryExceptions: false,
    replicas: 1,
    parent: undefined,
    sinceMs: 0,
    retriesLeft: 3,
    attempt: 0,
    state: 'waiting',
    leaseId: undefined,
    isCancelled: false,
    lineage: undefined,
    call: undefined,
    ...options,
  }
  for (const record of returns) record.task = task
  return task
}

export function inlineValue(bytes: number, isError = false): InlineValue {
  return { kind: 'inline', isError, format: 1, head: new Uint8Array(bytes), buffers: [], refs: [], classes: [] }
}

/** @param name begins with the node that has it. */
export function storedValue(name: string): StoredValue {
  return { kind: 'stored', isError: false, name, bytes: 1e6, owner: job, sequence: 0, refs: [], classes: [] }
}
