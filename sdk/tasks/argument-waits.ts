import type { ObjectRecord } from '../objects/object-record.ts'
import { recordOf, type ObjectRef } from '../objects/object-ref.ts'
import type { TaskRecord } from './task-record.ts'

interface Wait {
  readonly records: ReadonlySet<ObjectRecord>
  readonly onReady: () => void
}

/** Tasks that wait for the values of arguments that were given as refs. */
export class ArgumentWaits {
  readonly #waits = new Map<TaskRecord, Wait>()

  /**
   * Calls back once, when all are there, with one that is an error, if any is; before this returns when they are there already.
   * When the task waits already, that ends.
   */
  begin(task: TaskRecord, callback: (failed: ObjectRef | undefined) => void): void {
    const { resolvedRefs } = task
    const records = new Set(resolvedRefs.map(({ ref }) => recordOf(ref)))
    let missing = records.size
    const onReady = (): void => {
      if (--missing > 0 || !this.#waits.delete(task)) return
      callback(resolvedRefs.find(({ ref }) => recordOf(ref).value?.isError === true)?.ref)
    }
    this.end(task)
    this.#waits.set(task, { records, onReady })
    for (const record of records) record.whenReady(onReady)
  }

  /** The task needs no arguments any more, and nothing of it is kept. */
  end(task: TaskRecord): void {
    const wait = this.#waits.get(task)
    if (wait === undefined) return
    this.#waits.delete(task)
    for (const record of wait.records) record.forget(wait.onReady)
  }
}
