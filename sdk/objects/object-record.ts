import type { ObjectId } from '../../protocols/ids.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from './object-ref.ts'

/**
 * What this process knows of one object. A record lives as long as something reaches it: a ref, a task that uses it, or
 * the table of objects that others borrow. So nothing is counted here; garbage collection tells when it is free.
 */
export class ObjectRecord {
  readonly id: ObjectId
  /** The value, once it is there. */
  value: WireValue | undefined
  /** Refs inside the value, kept alive with it. */
  holds: readonly ObjectRef[] | undefined
  /** Called once, to bring the value here: set for objects of other owners. */
  fetch: (() => void) | undefined
  /** Who made it, so that it can be cancelled. */
  producer: ObjectProducer | undefined
  #waiters: (() => void)[] | undefined

  constructor(id: ObjectId) {
    this.id = id
  }

  /** Sets the value and tells those who wait. Only the first one counts. */
  settle(value: WireValue, holds?: readonly ObjectRef[]): void {
    if (this.value !== undefined) return
    this.value = value
    this.holds = holds
    this.producer = undefined
    this.fetch = undefined
    const waiters = this.#waiters
    this.#waiters = undefined
    if (waiters !== undefined) for (const waiter of waiters) waiter()
  }

  /** Calls `onReady` once the value is there; at once when it is. Starts fetching it when it is elsewhere. */
  whenReady(onReady: () => void): void {
    if (this.value !== undefined) {
      onReady()
      return
    }
    ;(this.#waiters ??= []).push(onReady)
    const fetch = this.fetch
    this.fetch = undefined
    fetch?.()
  }

  /** Takes back a `whenReady`, so that a wait that timed out leaves nothing behind. */
  forget(onReady: () => void): void {
    const at = this.#waiters?.indexOf(onReady) ?? -1
    if (at >= 0) this.#waiters?.splice(at, 1)
  }
}

/** The task that makes an object. */
export interface ObjectProducer {
  cancel(options: { force: boolean; recursive: boolean }): void
}
