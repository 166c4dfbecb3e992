import { nodeOf, sequenceOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { Settlement } from './borrow-ledger.ts'
import { engineCollector, type Collector, type WeakRecord } from './collector.ts'
import type { Question } from './loan-checks.ts'
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
  readonly #ledger: OwnerLedger
  /** What somebody borrows: being in here keeps an object alive. */
  readonly #held = new Map<number, ObjectRecord>()
  readonly #collector: Collector
  readonly #register: (record: ObjectRecord, sequence: number) => void

  /**
   * @param on.released called when nobody borrows an object any more
   * @param on.question something is to be asked about who borrows what; `marked` and `settle` take the answers
   */
  constructor(
    owner: ClientId,
    on: { released?(): void; question?(question: Question): void } = {},
    collector = engineCollector,
  ) {
    this.#owner = owner
    this.#onReleased = () => on.released?.()
    this.#ledger = new OwnerLedger((question) => on.question?.(question))
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

  /** Processes of a node cannot be reached any more, for now or for good; what only they borrowed is free. */
  nodeGone(node: NodeId): void {
    this.#release(this.#ledger.nodeGone(node))
  }

  nodeBack(node: NodeId): void {
    this.#ledger.nodeBack(node)
  }

  /** What `from` has lent to processes of a node may not have come to them; of ours, what it has said here. */
  borrowsLost(from: ClientId, node: NodeId): void {
    this.#ledger.doubt(from, node === nodeOf(this.#owner) ? nodeOf(from) : node)
  }

  /** `lender` has sent `borrower` the mark that it was asked for. */
  marked(borrower: ClientId, lender: ClientId, number: number): void {
    this.#release(this.#ledger.marked(borrower, lender, number))
  }

  /** Who borrows an object. */
  borrowersOf(sequence: number): ClientId[] {
    return this.#ledger.borrowersOf(sequence)
  }

  /** A part of the answer: all that `borrower` has from that lender, of the objects from one number to another. */
  settle(borrower: ClientId, { holds, ...answer }: Omit<Settlement, 'owner'>): void {
    const live = holds.filter(({ object }) => this.find(object) !== undefined)
    const counts = new Map(live.map(({ object, count }) => [sequenceOf(object), count]))
    this.#release(this.#ledger.settle({ borrower, ...answer }, counts))
    for (const { object } of live) {
      const record = this.find(object)
      if (record !== undefined && this.#ledger.isHeld(record.sequence)) this.#held.set(record.sequence, record)
    }
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
