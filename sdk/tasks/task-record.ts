import type { ClientId, ObjectId } from '../../protocols/ids.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { LeaseTerms } from './lease-terms.ts'
import type { Lineage } from './lineage.ts'
import type { StreamRecord } from './stream-record.ts'

export type TaskState = 'waiting' | 'queued' | 'pushed' | 'done'

/** How a function behaves at run time, learnt as its tasks end. */
export interface FunctionRecord {
  readonly id: ObjectId
  readonly name: string
  /** How long a call takes, leaning to the longest seen lately; undefined before the first. */
  estimateMs: number | undefined
}

/** A task that this process owns: from the call until its last result is here, and while one may have to be made again. */
export interface TaskRecord {
  /** Number of its first result. */
  readonly sequence: number
  readonly name: string
  readonly function: FunctionRecord
  /** Other ones after memory has run out. */
  terms: LeaseTerms
  /** Of a call of an actor: whose method it is. */
  readonly call: { readonly actor: ObjectId; readonly method: string; readonly group: string } | undefined
  /** The driver at the root of this work; a worker may serve several, one after the other. */
  readonly job: ClientId
  readonly args: WireValue
  /** Bytes of the arguments in a message. */
  readonly argsBytes: number
  /** Everything that the arguments refer to, kept alive until the task is done. */
  holds: readonly ObjectRef[] | undefined
  /** Arguments given as refs, whose values go with the task. */
  resolvedRefs: readonly { position: number; ref: ObjectRef }[]
  /**
   * One for each result; undefined where nobody waits for it, when the task runs again for others. Of a stream, the items that
   * are to come again.
   */
  returns: (ObjectRecord | undefined)[]
  readonly stream: StreamRecord | undefined
  readonly retryExceptions: boolean | readonly (abstract new (...args: never[]) => unknown)[]
  /** On how many nodes large results are kept. */
  readonly replicas: number
  /** The task of this process in which this one was submitted; undefined in a driver. */
  parent: object | undefined
  /** When it was submitted. */
  sinceMs: number
  retriesLeft: number
  attempt: number
  state: TaskState
  leaseId: number | undefined
  isCancelled: boolean
  /** Of a task that has results in a store: what is needed to run it again for those that are lost. */
  lineage: Lineage | undefined
}
