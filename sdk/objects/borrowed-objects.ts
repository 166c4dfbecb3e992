import { ownerOf, sequenceOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { ObjectRecord } from './object-record.ts'

export interface BorrowMessages {
  /** Tells the owner that this process borrows the object. */
  add(id: ObjectId): void
  /** Gives back `count` borrows of the object. */
  release(id: ObjectId, count: number): void
  /** Asks the owner for the value; the record is settled when it comes. */
  fetch(record: ObjectRecord): void
}

interface Borrow {
  record: WeakRef<ObjectRecord>
  /** How many borrows the owner has counted for us. */
  counted: { count: number }
}

/** The objects of other owners that this process has refs to. */
export class BorrowedObjects {
  readonly #messages: BorrowMessages
  readonly #borrows = new Map<ObjectId, Borrow>()
  readonly #onCollected = new FinalizationRegistry<{ id: ObjectId; counted: { count: number } }>(({ id, counted }) => {
    if (this.#borrows.get(id)?.counted === counted) this.#borrows.delete(id)
    this.#messages.release(id, counted.count)
  })

  constructor(messages: BorrowMessages) {
    this.#messages = messages
  }

  /** The sender of the id has told the owner already that we borrow it. */
  adopt(id: ObjectId): ObjectRecord {
    const known = this.#find(id)
    if (known === undefined) return this.#create(id)
    known.counted.count += 1
    return known.record
  }

  /** The id came inside the arguments of a task, whose owner keeps it alive only while the task runs. */
  acquire(id: ObjectId): ObjectRecord {
    const known = this.#find(id)
    if (known !== undefined) return known.record
    this.#messages.add(id)
    return this.#create(id)
  }

  #find(id: ObjectId): { record: ObjectRecord; counted: { count: number } } | undefined {
    const borrow = this.#borrows.get(id)
    const record = borrow?.record.deref()
    return borrow === undefined || record === undefined ? undefined : { record, counted: borrow.counted }
  }

  #create(id: ObjectId): ObjectRecord {
    const record = new ObjectRecord(ownerOf(id), sequenceOf(id))
    record.fetch = () => this.#messages.fetch(record)
    const counted = { count: 1 }
    this.#borrows.set(id, { record: new WeakRef(record), counted })
    this.#onCollected.register(record, { id, counted })
    return record
  }

  /** The live records of some owners, or of all. */
  *records(isMeant: (owner: ClientId) => boolean = () => true): Generator<ObjectRecord> {
    for (const [id, borrow] of this.#borrows) {
      const record = isMeant(ownerOf(id)) ? borrow.record.deref() : undefined
      if (record !== undefined) yield record
    }
  }
}
