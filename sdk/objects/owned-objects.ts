import { sequenceOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { ObjectRecord } from './object-record.ts'

/**
 * The objects that this process owns and that others know of. An object that never left this process is not in here: its
 * refs alone keep it.
 */
export class OwnedObjects {
  readonly #owner: ClientId
  readonly #onReleased: () => void
  #nextSequence = 1
  /** Every object whose id has been given away, for as long as it lives. */
  readonly #shared = new Map<number, WeakRef<ObjectRecord>>()
  /** Who borrows what; being in here keeps an object alive. */
  readonly #borrowed = new Map<number, { record: ObjectRecord; counts: Map<ClientId, number> }>()
  readonly #onCollected = new FinalizationRegistry<number>((sequence) => {
    if (this.#shared.get(sequence)?.deref() === undefined) this.#shared.delete(sequence)
  })

  /** @param onReleased called when nobody borrows an object any more. */
  constructor(owner: ClientId, onReleased: () => void = () => undefined) {
    this.#owner = owner
    this.#onReleased = onReleased
  }

  create(): ObjectRecord {
    return new ObjectRecord(this.#owner, this.#nextSequence++)
  }

  /** The record of an object that had none any more, because only what was made of it was left. */
  recreate(sequence: number): ObjectRecord {
    const record = new ObjectRecord(this.#owner, sequence)
    // It has been given away before, perhaps inside of what will be read now.
    this.share(record)
    return record
  }

  /** A number for something else that this process owns and that is named like an object: a function. */
  takeSequence(): number {
    return this.#nextSequence++
  }

  /** To be called before an object's id leaves this process. */
  share(record: ObjectRecord): void {
    const { sequence } = record
    // One that was made again takes the place of the one before it.
    if (this.#shared.get(sequence)?.deref() !== undefined) return
    this.#shared.set(sequence, new WeakRef(record))
    this.#onCollected.register(record, sequence)
  }

  /** The object with this id, if it has been shared and is still alive. */
  find(id: ObjectId): ObjectRecord | undefined {
    return this.#shared.get(sequenceOf(id))?.deref()
  }

  /** Keeps the object alive for `borrower` until it is released as often. */
  addBorrower(id: ObjectId, borrower: ClientId): void {
    const record = this.find(id)
    if (record === undefined) return
    const sequence = sequenceOf(id)
    let entry = this.#borrowed.get(sequence)
    if (entry === undefined) this.#borrowed.set(sequence, (entry = { record, counts: new Map() }))
    entry.counts.set(borrower, (entry.counts.get(borrower) ?? 0) + 1)
  }

  releaseBorrower(id: ObjectId, borrower: ClientId, count: number): void {
    const sequence = sequenceOf(id)
    const entry = this.#borrowed.get(sequence)
    if (entry === undefined) return
    const left = (entry.counts.get(borrower) ?? 0) - count
    if (left > 0) entry.counts.set(borrower, left)
    else entry.counts.delete(borrower)
    if (entry.counts.size === 0) this.#forget(sequence)
  }

  #forget(sequence: number): void {
    this.#borrowed.delete(sequence)
    this.#onReleased()
  }

  /** Clients are gone; what only they borrowed is free. */
  dropBorrowers(isGone: (borrower: ClientId) => boolean): void {
    for (const [sequence, { counts }] of this.#borrowed) {
      let isTouched = false
      for (const borrower of counts.keys()) if (isGone(borrower)) isTouched = counts.delete(borrower)
      if (isTouched && counts.size === 0) this.#forget(sequence)
    }
  }

  /** How many objects others borrow. */
  get borrowedCount(): number {
    return this.#borrowed.size
  }
}
