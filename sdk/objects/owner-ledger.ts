import type { ClientId } from '../../protocols/ids.ts'

/** Processes that are remembered as gone. */
const goneMax = 10_000

/** Who borrows, and who has lent it the object; the borrower itself when it has said so on its own. */
type Loan = string

const loanOf = (borrower: ClientId, lender: ClientId): Loan => `${borrower} ${lender}`
const borrowerOf = (loan: Loan): ClientId => loan.slice(0, loan.indexOf(' '))
const lenderOf = (loan: Loan): ClientId => loan.slice(loan.indexOf(' ') + 1)

/**
 * Who borrows which objects of one owner, and from whom it has them, counted. What is said about an object comes over
 * several ways: a process may give back a borrow before the owner has heard from another one that it has it, and may be gone
 * by then. So counts may be below nothing for a while, and those who are gone are remembered. Who lends an object on may end
 * before the receiver has it; therefore loans are counted apart by their lenders, so that the receiver can be asked what it
 * has got (`settle`). Pure: it holds no object, and sends nothing.
 */
export class OwnerLedger {
  readonly #counts = new Map<number, Map<Loan, number>>()
  /** How many loans of each object have a count above nothing. */
  readonly #holders = new Map<number, number>()
  readonly #gone = new Set<ClientId>()

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
    if (this.#gone.has(borrower)) return false
    const wasHeld = this.isHeld(sequence)
    const loan = loanOf(borrower, lender)
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
    return this.dropAll((each) => each === borrower)
  }

  /** Forgets what some processes borrow. Gives the objects that nobody holds any more. */
  dropAll(isMeant: (borrower: ClientId) => boolean): number[] {
    return this.#change((loan) => (isMeant(borrowerOf(loan)) ? 0 : undefined))
  }

  /** Who has borrowed something from those, and from which of them: whether all of it has arrived is not known. */
  lentBy(isMeant: (lender: ClientId) => boolean): { borrower: ClientId; lender: ClientId }[] {
    const loans = new Set<Loan>()
    for (const counts of this.#counts.values()) {
      for (const loan of counts.keys())
        if (lenderOf(loan) !== borrowerOf(loan) && isMeant(lenderOf(loan))) loans.add(loan)
    }
    return Array.from(loans, (loan) => ({ borrower: borrowerOf(loan), lender: lenderOf(loan) }))
  }

  /**
   * A borrower has said what it has of all that this lender, who is gone, has lent to it, of the objects from one number to
   * another. Gives those that nobody holds any more.
   */
  settle(
    { borrower, lender, first, last }: { borrower: ClientId; lender: ClientId; first: number; last: number },
    counts: ReadonlyMap<number, number>,
  ): number[] {
    const settled = loanOf(borrower, lender)
    const isMeant = (loan: Loan, sequence: number): boolean => loan === settled && sequence >= first && sequence <= last
    return this.#change((loan, sequence) => (isMeant(loan, sequence) ? (counts.get(sequence) ?? 0) : undefined))
  }

  /** Gives each loan the count that is returned for it, if one is. Gives the objects that nobody holds any more. */
  #change(countFor: (loan: Loan, sequence: number) => number | undefined): number[] {
    const free: number[] = []
    for (const [sequence, counts] of this.#counts) {
      const wasHeld = this.isHeld(sequence)
      for (const loan of counts.keys()) {
        const count = countFor(loan, sequence)
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
