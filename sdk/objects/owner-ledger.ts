import type { ClientId } from '../../protocols/ids.ts'

/** Processes that are remembered as gone. */
const goneMax = 10_000

/**
 * Who borrows which objects of one owner, counted. What is said about an object comes over several ways: a process may give
 * back a borrow before the owner has heard from another one that it has it, and may be gone by then. So counts may be below
 * nothing for a while, and those who are gone are remembered. Pure: it holds no object, and sends nothing.
 */
export class OwnerLedger {
  readonly #counts = new Map<number, Map<ClientId, number>>()
  /** How many borrowers of each object have a count above nothing. */
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
    return [...(this.#counts.get(sequence) ?? [])].filter(([, count]) => count > 0).map(([borrower]) => borrower)
  }

  /** `change` more borrows of the object by that process, or fewer. True when nobody holds it any more by that. */
  count(sequence: number, borrower: ClientId, change: number): boolean {
    if (this.#gone.has(borrower)) return false
    const wasHeld = this.isHeld(sequence)
    this.#set(sequence, borrower, (this.#counts.get(sequence)?.get(borrower) ?? 0) + change)
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
    const free: number[] = []
    for (const [sequence, counts] of this.#counts) {
      const wasHeld = this.isHeld(sequence)
      for (const borrower of counts.keys()) if (isMeant(borrower)) this.#set(sequence, borrower, 0)
      if (wasHeld && !this.isHeld(sequence)) free.push(sequence)
    }
    return free
  }

  /** The object is no more: nothing that is still said about it matters. */
  forget(sequence: number): void {
    this.#counts.delete(sequence)
    this.#holders.delete(sequence)
  }

  #set(sequence: number, borrower: ClientId, count: number): void {
    const counts = this.#counts.get(sequence) ?? new Map<ClientId, number>()
    const before = counts.get(borrower) ?? 0
    if (count === 0) counts.delete(borrower)
    else counts.set(borrower, count)
    if (counts.size === 0) this.#counts.delete(sequence)
    else this.#counts.set(sequence, counts)
    const holders = (this.#holders.get(sequence) ?? 0) + Number(count > 0) - Number(before > 0)
    if (holders > 0) this.#holders.set(sequence, holders)
    else this.#holders.delete(sequence)
  }
}
