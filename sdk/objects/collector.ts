import type { ObjectRecord } from './object-record.ts'

/** Knows a record without keeping it alive. */
export interface WeakRecord {
  deref(): ObjectRecord | undefined
}

/** Finds out when nothing refers to a record any more: the engine's garbage collection, or what a simulation makes of it. */
export interface Collector {
  weakly(record: ObjectRecord): WeakRecord
  /** Gives what registers records, together with what is to be said of each when it is no more. */
  onCollected<T>(callback: (said: T) => void): (record: ObjectRecord, said: T) => void
}

export const engineCollector: Collector = {
  weakly: (record) => new WeakRef(record),
  onCollected<T>(callback: (said: T) => void) {
    const registry = new FinalizationRegistry<T>(callback)
    return (record: ObjectRecord, said: T): void => registry.register(record, said)
  },
}
