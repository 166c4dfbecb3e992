import { ObjectLostError, UnreachableError, type ShoalError } from '../../protocols/errors.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import type { ObjectExchange } from './object-exchange.ts'
import type { Recovery } from './recovery.ts'

export interface ReadHow {
  decode(wire: WireValue): Promise<unknown>
  /** Waits until the record has a value again. Rejects when the reader waits no longer. */
  ready(record: ObjectRecord): Promise<void>
}

/** What is made again for one reader may be lost again so often. */
const lossesMax = 100

/** Reads values of objects. Those that are lost are had made again by their owners, if possible. */
export class ObjectReader {
  readonly #objects: Pick<ObjectExchange, 'isOwn' | 'refetch'>
  readonly #recovery: Pick<Recovery, 'lossIn' | 'lost'>

  constructor(objects: Pick<ObjectExchange, 'isOwn' | 'refetch'>, recovery: Pick<Recovery, 'lossIn' | 'lost'>) {
    this.#objects = objects
    this.#recovery = recovery
  }

  /** The value of an object. Rejects with it when it is an error, and with ObjectLostError when it is lost for good. */
  async read(record: ObjectRecord, how: ReadHow): Promise<unknown> {
    let reported = ''
    for (let losses = 0; ;) {
      const wire = record.value
      if (wire === undefined) {
        await how.ready(record)
        continue
      }
      let value: unknown
      try {
        value = await how.decode(wire)
      } catch (error) {
        // Its owner can read it, or does not know better.
        if (wire.kind !== 'stored' || wire.name === reported || ++losses > lossesMax) throw error
        if (this.report(record, wire, error)) reported = wire.name
        continue
      }
      if (wire.isError) throw value
      // Keeps the object alive while it is read: it is freed when nothing refers to its record any more.
      return record.sequence < 0 ? undefined : value
    }
  }

  /**
   * Tells the owner that a value could not be read, so that the record gets another one, or an error. False when somebody has
   * done so already. Throws `error` when it is not for a loss, ObjectLostError when nothing can be done.
   */
  report(record: ObjectRecord, wire: WireValue & { kind: 'stored' }, error: unknown): boolean {
    if (this.#objects.isOwn(record.id)) {
      const reason = this.#recovery.lossIn(error, wire.name)
      if (reason === undefined) throw error
      const lost = this.#recovery.lost(record, wire.name, reason)
      if (lost !== undefined) throw lost
      return true
    }
    if (!isReadFailure(error, wire.name)) throw error
    return this.#objects.refetch(record, wire.name)
  }
}

/** True when the value itself could not be had. The owner may have another way to it than this process. */
export function isReadFailure(error: unknown, name: string): error is ShoalError {
  return (error instanceof ObjectLostError || error instanceof UnreachableError) && error.details['name'] === name
}
