import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { Settlement } from './borrow-ledger.ts'
import { LoanChecks, type Question } from './loan-checks.ts'
import { borrowerOf, lenderOf, loanOf, type Loan } from './loan.ts'

/** Processes that are remembered as gone. */
const goneMax = 10_000

const sequenceMax = 2 ** 48 - 1

/** A part of an answer. */
export type Answer = Pick<Settlement, 'lender' | 'number' | 'first' | 'last'> & { borrower: ClientId }

/**
 * Who borrows which objects of one owner, and from whom it has them, counted. What is said about an object comes over
 * several ways: a process may give back a borrow before the owner has heard from another one that it has it, and may be gone
 * by then. So counts may be below nothing for a while, and those who are gone are remembered. Who lends an object on may end
 * before the receiver has it; therefore loans are counted apart by their lenders, so that the receiver can be asked what it
 * has got (`settle`). When a link breaks, some of what is said is lost, and some of it comes when the link is back. Who borrows
 * over a broken link holds nothing; afterwards a loan of whose count the ledger is not sure only ever grows, until its borrower
 * has been asked, too. Pure: it holds no object, and sends nothing.
 */
export class OwnerLedger {
  readonly #counts = new Map<number, Map<Loan, number>>()
  /** How many loans of each object have a count above nothing. */
  readonly #holders = new Map<number, number>()
  readonly #gone = new Set<ClientId>()
  readonly #checks = new LoanChecks()
  readonly #ask: (question: Question) => void

  /** @param ask what is to be asked; `settle` takes the answer */
  constructor(ask: (question: Question) => void = () => undefined) {
    this.#ask = ask
  }

  /** Objects that somebody borrows. */
  get heldCount(): number {
    return this.#holders.size
  }

  /** Objects that something is known of: more than those that are held while messages are under way. */
  get size(): number {
    return this.#counts.size
  }

  isHeld(sequence: number): boolean {
    return this.#holders.has(sequence)
  }

  borrowersOf(sequence: number): ClientId[] {
    const loans = [...(this.#counts.get(sequence) ?? [])].filter(([, count]) => count > 0)
    return [...new Set(loans.map(([loan]) => borrowerOf(loan)))]
  }

  /**
   * `change` more borrows of the object by that process, lent by that one, or fewer. True when nobody holds it any more by
   * that.
   */
  count(sequence: number, borrower: ClientId, lender: ClientId, change: number): boolean {
    // What is lent over a broken link does not arrive.
    if (this.#gone.has(borrower) || this.#checks.isAway(nodeOf(borrower))) return false
    const wasHeld = this.isHeld(sequence)
    const loan = loanOf(borrower, lender)
    const isDoubtful = this.#checks.isDoubtful(loan)
    if (isDoubtful && this.#checks.get(loan) === undefined) this.#begin(loan)
    this.#checks.get(loan)?.note(sequence, change)
    if (isDoubtful && change < 0) return false
    this.#set(sequence, loan, (this.#counts.get(sequence)?.get(loan) ?? 0) + change)
    return wasHeld && !this.isHeld(sequence)
  }

  /** A process has ended. What is still said in its name counts no more. Gives the objects that nobody holds any more. */
  gone(borrower: ClientId): number[] {
    this.#gone.add(borrower)
    if (this.#gone.size > goneMax) {
      const [oldest] = this.#gone
      this.#gone.delete(oldest as ClientId)
    }
    const freed = this.#drop((each) => each === borrower)
    this.#askAbout((loan) => lenderOf(loan) === borrower)
    return freed
  }

  /** The link to a node is broken. Gives the objects that nobody else holds. */
  nodeGone(node: NodeId): number[] {
    this.#checks.nodeGone(node)
    const freed = this.#drop((borrower) => nodeOf(borrower) === node)
    this.#askAbout((loan) => nodeOf(lenderOf(loan)) === node)
    return freed
  }

  /** There is a new link to a node. Lenders there may live, and lend more. */
  nodeBack(node: NodeId): void {
    this.#checks.nodeBack(node)
    this.#askAbout((loan) => nodeOf(lenderOf(loan)) === node && !this.#gone.has(lenderOf(loan)))
  }

  /** Some of what a process has said about loans is lost, or of what it has lent to processes of a node. */
  doubt(client: ClientId, node = nodeOf(client)): void {
    const isMeant = (loan: Loan): boolean =>
      node === nodeOf(client)
        ? [lenderOf(loan), borrowerOf(loan)].includes(client)
        : lenderOf(loan) === client && nodeOf(borrowerOf(loan)) === node
    this.#checks.doubt(node, isMeant)
    this.#askAbout(isMeant)
  }

  /** Forgets what some processes borrow. Gives the objects that nobody holds any more. */
  #drop(isMeant: (borrower: ClientId) => boolean): number[] {
    this.#checks.borrowersGone(isMeant)
    return this.#change((loan) => (isMeant(borrowerOf(loan)) ? 0 : undefined))
  }

  /** Asks about loans of which something is counted, or asked already. */
  #askAbout(isMeant: (loan: Loan) => boolean): void {
    const loans = new Set<Loan>()
    for (const counts of this.#counts.values()) for (const loan of counts.keys()) if (isMeant(loan)) loans.add(loan)
    for (const [loan] of this.#checks.open()) if (isMeant(loan)) loans.add(loan)
    for (const loan of loans) this.#begin(loan)
  }

  #begin(loan: Loan): void {
    const lender = lenderOf(loan)
    const isLenderGone = this.#gone.has(lender) || this.#checks.isAway(nodeOf(lender))
    // Who gives back what was lent to it has been lent it, but by a word that is lost, perhaps.
    if (this.#checks.isDoubtful(loan)) this.#change((each, _, count) => (each === loan && count < 0 ? 0 : undefined))
    this.#ask(this.#checks.begin(loan, isLenderGone))
  }

  /**
   * A lender has sent the mark to the borrower, and what it says from now on is of what it lends behind it. Gives the objects
   * that nobody holds any more.
   */
  marked(borrower: ClientId, lender: ClientId, number: number): number[] {
    const loan = loanOf(borrower, lender)
    const check = this.#checks.get(loan)
    if (check?.number !== number) return []
    check.isMarked = true
    return this.#settled(loan)
  }

  /**
   * A borrower has said what it has of all that this lender has lent to it, of the objects from one number to another. Gives
   * those that nobody holds any more.
   */
  settle({ borrower, lender, number, last }: Answer, counts: ReadonlyMap<number, number>): number[] {
    const loan = loanOf(borrower, lender)
    const check = this.#checks.get(loan)
    if (check?.number !== number || check.isAnswered) return []
    for (const [sequence, count] of counts) check.has.set(sequence, count)
    check.isAnswered = last >= sequenceMax
    return this.#settled(loan)
  }

  #settled(settled: Loan): number[] {
    const check = this.#checks.get(settled)
    if (check?.isDone !== true) return []
    this.#checks.end(settled)
    // It may have what is not counted: that was lent to it before a link broke.
    for (const sequence of check.has.keys()) {
      if (this.#counts.get(sequence)?.has(settled) !== true) this.#set(sequence, settled, check.count(sequence))
    }
    return this.#change((loan, sequence) => (loan === settled ? check.count(sequence) : undefined))
  }

  /** Gives each loan the count that is returned for it, if one is. Gives the objects that nobody holds any more. */
  #change(countFor: (loan: Loan, sequence: number, count: number) => number | undefined): number[] {
    const free: number[] = []
    for (const [sequence, counts] of this.#counts) {
      const wasHeld = this.isHeld(sequence)
      for (const [loan, before] of counts) {
        const count = countFor(loan, sequence, before)
        if (count !== undefined) this.#set(sequence, loan, count)
      }
      if (wasHeld && !this.isHeld(sequence)) free.push(sequence)
    }
    return free
  }

  /** The object is no more: nothing that is still said about it matters. */
  forget(sequence: number): void {
    this.#counts.delete(sequence)
    this.#holders.delete(sequence)
  }

  #set(sequence: number, loan: Loan, count: number): void {
    const counts = this.#counts.get(sequence) ?? new Map<Loan, number>()
    const before = counts.get(loan) ?? 0
    if (count === 0) counts.delete(loan)
    else counts.set(loan, count)
    if (counts.size === 0) this.#counts.delete(sequence)
    else this.#counts.set(sequence, counts)
    const holders = (this.#holders.get(sequence) ?? 0) + Number(count > 0) - Number(before > 0)
    if (holders > 0) this.#holders.set(sequence, holders)
    else this.#holders.delete(sequence)
  }
}
