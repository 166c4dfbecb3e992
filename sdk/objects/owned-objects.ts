import { sequenceOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { Settlement } from './borrow-ledger.ts'
import { engineCollector, type Collector, type WeakRecord } from './collector.ts'
import { ObjectRecord } from './object-record.ts'
import { OwnerLedger } from './owner-ledger.ts'

/**
 * The objects that this process owns and that others know of. An object that never left this process is not in here: its
 * refs alone keep it.
 */
export class OwnedObjects {
  readonly #owner: ClientId
  readonly #onReleased: () => void
  #nextSequence = 1
  /** Every object whose id has been given away, for as long as it lives. */
  readonly #shared = new Map<number, WeakRecord>()
  /** Who borrows what. */
  readonly #ledger = new OwnerLedger()
  /** What somebody borrows: being in here keeps an object alive. */
  readonly #held = new Map<number, ObjectRecord>()
  readonly #collector: Collector
  readonly #register: (record: ObjectRecord, sequence: number) => void

  /** @param onReleased called when nobody borrows an object any more. */
  constructor(owner: ClientId, onReleased: () => void = () => undefined, collector = engineCollector) {
    this.#owner = owner
    this.#onReleased = onReleased
    this.#collector = collector
    this.#register = collector.onCollected((sequence) => this.#onCollected(sequence))
  }

  #onCollected(sequence: number): void {
    if (this.#shared.get(sequence)?.deref() !== undefined) return
    this.#shared.delete(sequence)
    this.#ledger.forget(sequence)
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
    this.#shared.set(sequence, this.#collector.weakly(record))
    this.#register(record, sequence)
  }

  /** The object with this id, if it has been shared and is still alive. */
  find(id: ObjectId): ObjectRecord | undefined {
    return this.#shared.get(sequenceOf(id))?.deref()
  }

  /** Keeps the object alive for `borrower`, to whom `lender` lends it, until it is released as often. */
  addBorrower(id: ObjectId, borrower: ClientId, lender: ClientId): void {
    this.#count(id, borrower, lender, 1)
  }

  /** May come before the borrow that it ends was told by its lender. */
  releaseBorrower(id: ObjectId, borrower: ClientId, lender: ClientId, count: number): void {
    this.#count(id, borrower, lender, -count)
  }

  #count(id: ObjectId, borrower: ClientId, lender: ClientId, change: number): void {
    const record = this.find(id)
    // Of what is no more, nobody needs to keep count.
    if (record === undefined) return
    const { sequence } = record
    const isFree = this.#ledger.count(sequence, borrower, lender, change)
    if (this.#ledger.isHeld(sequence)) this.#held.set(sequence, record)
    if (isFree) this.#release([sequence])
  }

  #release(sequences: readonly number[]): void {
    for (const sequence of sequences) this.#held.delete(sequence)
    if (sequences.length > 0) this.#onReleased()
  }

  /** A process has ended; what only it borrowed is free. */
  borrowerGone(borrower: ClientId): void {
    this.#release(this.#ledger.gone(borrower))
  }

  /** Processes cannot be reached any more, for now or for good; what only they borrowed is free. */
  dropBorrowers(isGone: (borrower: ClientId) => boolean): void {
    this.#release(this.#ledger.dropAll(isGone))
  }

  /** Who borrows an object. */
  borrowersOf(sequence: number): ClientId[] {
    return this.#ledger.borrowersOf(sequence)
  }

  /** Who has to be asked what has arrived of what those have lent, who are gone. */
  lentBy(isGone: (lender: ClientId) => boolean): { borrower: ClientId; lender: ClientId }[] {
    return this.#ledger.lentBy(isGone)
  }

  /** A part of the answer: all that `borrower` has from that lender, of the objects from one number to another. */
  settle(borrower: ClientId, { lender, first, last, holds }: Omit<Settlement, 'owner'>): void {
    const counts = new Map(holds.map(({ object, count }) => [sequenceOf(object), count]))
    this.#release(this.#ledger.settle({ borrower, lender, first, last }, counts))
  }

  /** The objects that others borrow. */
  borrowed(): Iterable<ObjectRecord> {
    return this.#held.values()
  }

  /** Objects of which borrows are counted: more than those that are borrowed while messages are under way. */
  get countedCount(): number {
    return this.#ledger.size
  }

  /** How many objects others borrow. */
  get borrowedCount(): number {
    return this.#ledger.heldCount
  }
}
