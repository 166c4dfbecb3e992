import { ownerOf, sequenceOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import { BorrowLedger, type Borrow } from './borrow-ledger.ts'
import { engineCollector, type Collector, type WeakRecord } from './collector.ts'
import { ObjectRecord } from './object-record.ts'

export interface BorrowMessages {
  /** Tells the owner that this process borrows the object. */
  add(id: ObjectId): void
  /** Gives back `count` borrows of the object that this lender has given. */
  release(id: ObjectId, lender: ClientId, count: number): void
  /** Asks the owner for the value; the record is settled when it comes. */
  fetch(record: ObjectRecord): void
}

/** The objects of other owners that this process has refs to. */
export class BorrowedObjects {
  readonly ledger = new BorrowLedger()
  readonly #self: ClientId
  readonly #messages: BorrowMessages
  readonly #collector: Collector
  readonly #known = new Map<ObjectId, { record: WeakRecord; borrow: Borrow }>()
  readonly #register: (record: ObjectRecord, borrow: Borrow) => void

  constructor(self: ClientId, messages: BorrowMessages, collector = engineCollector) {
    this.#self = self
    this.#messages = messages
    this.#collector = collector
    this.#register = collector.onCollected((borrow) => this.#onCollected(borrow))
  }

  #onCollected(borrow: Borrow): void {
    const { id } = borrow
    if (this.#known.get(id)?.borrow === borrow) this.#known.delete(id)
    for (const [lender, count] of this.ledger.end(borrow)) this.#messages.release(id, lender, count)
  }

  /** The sender of the id has told the owner already that we borrow it. */
  adopt(id: ObjectId, lender: ClientId): ObjectRecord {
    const known = this.#find(id)
    if (known === undefined) return this.#create(id, lender)
    this.ledger.again(known.borrow, lender)
    return known.record
  }

  /** Nobody has told the owner that we borrow it. */
  acquire(id: ObjectId): ObjectRecord {
    const known = this.#find(id)
    if (known !== undefined) return known.record
    this.#messages.add(id)
    return this.#create(id, this.#self)
  }

  #find(id: ObjectId): { record: ObjectRecord; borrow: Borrow } | undefined {
    const known = this.#known.get(id)
    const record = known?.record.deref()
    return known === undefined || record === undefined ? undefined : { record, borrow: known.borrow }
  }

  #create(id: ObjectId, lender: ClientId): ObjectRecord {
    const record = new ObjectRecord(ownerOf(id), sequenceOf(id))
    record.fetch = () => this.#messages.fetch(record)
    const borrow = this.ledger.add(id, lender)
    this.#known.set(id, { record: this.#collector.weakly(record), borrow })
    this.#register(record, borrow)
    return record
  }

  /**
   * Owners are gone, or out of reach: whatever is still awaited from them will not come. Should one of them come back and lend
   * an object anew, that is another record.
   */
  fail(isMeant: (owner: ClientId) => boolean, error: WireValue): void {
    for (const record of this.records(isMeant)) {
      if (record.value !== undefined) continue
      this.forget(record)
      record.settle(error)
    }
  }

  /** What is lent from now on is another record. */
  forget(record: ObjectRecord): void {
    if (this.#find(record.id)?.record === record) this.#known.delete(record.id)
  }

  /** The live records of some owners, or of all. */
  *records(isMeant: (owner: ClientId) => boolean = () => true): Generator<ObjectRecord> {
    for (const [id, known] of this.#known) {
      const record = isMeant(ownerOf(id)) ? known.record.deref() : undefined
      if (record !== undefined) yield record
    }
  }
}
