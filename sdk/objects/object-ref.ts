import { inspect } from 'node:util'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ObjectRecord } from './object-record.ts'

/** Opens a ref for the SDK; users see only its id. */
export let recordOf: (ref: ObjectRef<unknown>) => ObjectRecord

/** A ref to the same object for what keeps it on its own account, so that it can be told whether the program has one, too. */
export function anotherRef(ref: ObjectRef): ObjectRef {
  return new ObjectRef(recordOf(ref))
}

/**
 * A reference to a value that a task will make, or that was `put`. It can be passed to tasks and put inside other values,
 * to any process of the mesh. The value is freed when no ref to it is left anywhere.
 *
 * @example
 * const ref: ObjectRef<number> = square.remote(3)
 * console.log(await get(ref)) // 9
 */
export class ObjectRef<T = unknown> {
  readonly #record: ObjectRecord
  /** Only in the type system: what `get` gives. */
  declare protected readonly valueType: T

  /** @internal Refs come from `put` and from calls of remote functions. */
  constructor(record: ObjectRecord) {
    if (typeof (record as Partial<ObjectRecord> | null | undefined)?.whenReady !== 'function') {
      throw new InvalidArgumentError(
        'an ObjectRef cannot be made from an id: refs come from put() and calls; an id alone is for `shoal objects locate`',
      )
    }
    this.#record = record
  }

  /** 44 hex digits, unique in the mesh: the owner's id and a number. */
  get id(): string {
    return this.#record.id
  }

  toString(): string {
    return `ObjectRef(${this.id})`
  }

  [inspect.custom](): string {
    return this.toString()
  }

  static {
    recordOf = (ref) => ref.#record
  }
}
