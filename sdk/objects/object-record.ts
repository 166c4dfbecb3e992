import { objectId, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { Lineage } from '../tasks/lineage.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { recordOf, type ObjectRef } from './object-ref.ts'
import { countOf, withRef, type WeakRefs } from './weak-refs.ts'

/**
 * What this process knows of one object. A record lives as long as something reaches it: a ref, a task that uses it, or
 * the table of objects that others borrow. So nothing is counted here; garbage collection tells when it is free.
 */
export class ObjectRecord {
  readonly owner: ClientId
  /** The owner's number for it. */
  readonly sequence: number
  /** The value, once it is there. */
  value: WireValue | undefined
  /** Refs inside the value, kept alive with it. */
  holds: readonly ObjectRef[] | undefined
  /** Called once, to bring the value here: set for objects of other owners. */
  fetch: (() => void) | undefined
  /** The task of this process that makes it, so that it can be cancelled. */
  task: TaskRecord | undefined
  /** How a stored value that this process owns is made again when it is lost, or what it is that cannot be. */
  lineage: Lineage | 'put' | 'actor' | undefined
  /** Refs that the program has, as far as is known. */
  #used: WeakRefs
  /** Refs inside values of this process. */
  #inside: WeakRefs
  /** As a rule there is one; there may be very many, which come and go. */
  #waiters: (() => void) | Set<() => void> | undefined

  constructor(owner: ClientId, sequence: number) {
    this.owner = owner
    this.sequence = sequence
  }

  /** Made when it is asked for: most objects are never named. */
  get id(): ObjectId {
    return objectId(this.owner, this.sequence)
  }

  /** Sets the value and tells those who wait. Only the first one counts. */
  settle(value: WireValue, holds?: readonly ObjectRef[]): void {
    if (this.value !== undefined) return
    this.value = value
    this.holds = holds
    if (holds !== undefined) for (const ref of holds) recordOf(ref).#isInside(ref)
    this.task = undefined
    this.fetch = undefined
    const waiters = this.#waiters
    this.#waiters = undefined
    if (typeof waiters === 'function') waiters()
    else if (waiters !== undefined) for (const waiter of waiters) waiter()
  }

  /**
   * The program has this ref, and from now on more than that keeps the object, or will: a task, a value, another process.
   * What is kept for those is not this ref but one of their own.
   */
  noteUse(ref: ObjectRef): void {
    // Nobody is told of what is in no store.
    if (this.value?.kind !== 'inline') this.#used = withRef(this.#used, ref)
  }

  #isInside(ref: ObjectRef): void {
    if (this.value?.kind !== 'inline') this.#inside = withRef(this.#inside, ref)
  }

  /** Whether the program has a ref, or had one until its engine looks for garbage; of one that it has not used that is not known. */
  get hasUsedRef(): boolean {
    return countOf(this.#used) > 0
  }

  /** How many values of this process have a ref to the object inside. */
  get insideCount(): number {
    return countOf(this.#inside)
  }

  /** The value is gone, or may be: who asks from now on waits until `settle` is called with another one, or an error. */
  lose(): void {
    this.value = undefined
  }

  /**
   * Calls `onReady` once the value is there; at once when it is. Starts fetching it when it is elsewhere. The same function
   * twice counts as one.
   */
  whenReady(onReady: () => void): void {
    if (this.value !== undefined) {
      onReady()
      return
    }
    if (this.#waiters === undefined) this.#waiters = onReady
    else if (typeof this.#waiters === 'function') this.#waiters = new Set([this.#waiters, onReady])
    else this.#waiters.add(onReady)
    const fetch = this.fetch
    this.fetch = undefined
    fetch?.()
  }

  /** Takes back a `whenReady`, so that a wait that timed out leaves nothing behind. */
  forget(onReady: () => void): void {
    if (typeof this.#waiters === 'object') this.#waiters.delete(onReady)
    else if (this.#waiters === onReady) this.#waiters = undefined
  }
}
