import { ObjectLostError, ShoalError } from '../../protocols/errors.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { StoredValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { Lineage } from '../tasks/lineage.ts'

/** How a value came to be lost. */
export interface Loss {
  /** Undefined when it had been freed before it was needed once more. */
  readonly value: StoredValue | undefined
  readonly reason: string
}

/** Why a lost value cannot be made again; undefined when it can. */
export function refusalOf(record: ObjectRecord, value: StoredValue | undefined): string | undefined {
  const { lineage } = record
  if (lineage instanceof Lineage) return lineage.refusalFor(record)
  if (lineage === 'put') {
    const where = value === undefined ? '' : ` on node ${nodeOf(value.name)}`
    return `it was put by process ${record.owner}${where}, and no task can make it again: let a task make what must not be lost`
  }
  if (lineage === 'actor') {
    return 'a call of an actor made it, and calls are not made again for that: a second one might give something else'
  }
  return 'nothing is kept of how it was made'
}

/** The error of an object that is lost and was not, or could not be, made again. */
export function objectLost(record: ObjectRecord, loss: Loss, why: string, cause?: unknown): ObjectLostError {
  const { id, lineage } = record
  const { name = '', bytes = 0 } = loss.value ?? {}
  const what = loss.value === undefined ? `the object ${id}` : `the object ${id} (${bytes} bytes)`
  const error = new ObjectLostError(`${what} is lost: ${loss.reason}; ${why}`, {
    name,
    bytes,
    object: id,
    reason: loss.reason,
    tries: lineage instanceof Lineage ? lineage.tries : 0,
  })
  if (cause !== undefined) error.cause = cause
  return error
}

/** The end of a program, or of a task by the user's wish, is no loss. */
const passedOn = new Set(['TASK_CANCELLED', 'NODE_DIED', 'NOT_INITIALIZED'])

/** What to tell when the task of a lost object has failed without a result of its own. */
export function notMadeAgain(record: ObjectRecord, loss: Loss, error: unknown): unknown {
  if (error instanceof ShoalError && passedOn.has(error.code)) return error
  return objectLost(record, loss, `running its task again has failed: ${(error as Error).message}`, error)
}
