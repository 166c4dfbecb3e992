import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { borrowerOf, lenderOf, type Loan } from './loan.ts'

/** Pairs, and nodes, that are remembered. To forget one costs a question more. */
const rememberedMax = 100_000

/**
 * What is to be asked about a loan. When its lender is gone: what the borrower has got, once it, too, has heard of that. Else
 * the lender is to send a mark behind all that it has lent to the borrower so far, at which that says what it has.
 */
export interface Question {
  readonly borrower: ClientId
  readonly lender: ClientId
  readonly number: number
  readonly isLenderGone: boolean
}

/** A loan whose borrower is being asked. */
export class Check {
  readonly number: number
  readonly isLenderGone: boolean
  /** Everything that the owner hears of the lender from now on is behind the mark. */
  isMarked: boolean
  /** What the borrower has said that it has; it gives that back from then on. */
  readonly has = new Map<number, number>()
  isAnswered = false
  readonly lentSince = new Map<number, number>()
  readonly returnedSince = new Map<number, number>()

  constructor(number: number, isLenderGone: boolean) {
    this.number = number
    this.isLenderGone = isLenderGone
    this.isMarked = isLenderGone
  }

  get isDone(): boolean {
    return this.isMarked && this.isAnswered
  }

  /** Takes note of borrows that are told, or given back, while the answer is awaited. */
  note(sequence: number, change: number): void {
    if (change > 0 && this.isMarked) add(this.lentSince, sequence, change)
    if (change < 0 && this.isAnswered) add(this.returnedSince, sequence, -change)
  }

  /** How often the borrower has the object by this loan. */
  count(sequence: number): number {
    const of = (counts: ReadonlyMap<number, number>): number => counts.get(sequence) ?? 0
    return of(this.has) + of(this.lentSince) - of(this.returnedSince)
  }
}

/**
 * Which loans of an owner are in doubt, and what is being asked about them. When the link to a node breaks, some of what was
 * said about loans of processes there is lost, and some comes later all the same: the counts are right no more. They are set
 * right by the next word about such a loan, which has the borrower asked. Pure.
 */
export class LoanChecks {
  readonly #away = new Set<NodeId>()
  /** Nodes to which a link was broken at some time. */
  readonly #doubtful = new Set<NodeId>()
  /** Loans of processes there that have been set right since. */
  readonly #sure = new Set<Loan>()
  readonly #open = new Map<Loan, Check>()
  #lastNumber = 0

  isAway(node: NodeId): boolean {
    return this.#away.has(node)
  }

  isDoubtful(loan: Loan): boolean {
    const isOn = (client: ClientId): boolean => this.#doubtful.has(nodeOf(client))
    return this.#doubtful.size > 0 && !this.#sure.has(loan) && (isOn(borrowerOf(loan)) || isOn(lenderOf(loan)))
  }

  get(loan: Loan): Check | undefined {
    return this.#open.get(loan)
  }

  open(): Iterable<[Loan, Check]> {
    return this.#open
  }

  /** Asks anew: what is still answered to an earlier question does not count. */
  begin(loan: Loan, isLenderGone: boolean): Question {
    const check = new Check((this.#lastNumber = (this.#lastNumber + 1) % 2 ** 32), isLenderGone)
    this.#open.set(loan, check)
    return { borrower: borrowerOf(loan), lender: lenderOf(loan), number: check.number, isLenderGone }
  }

  /** It has been answered. */
  end(loan: Loan): void {
    this.#open.delete(loan)
    if (this.isDoubtful(loan)) remember(this.#sure, loan)
  }

  borrowersGone(isGone: (borrower: ClientId) => boolean): void {
    for (const loans of [this.#sure, this.#open])
      for (const loan of loans.keys()) if (isGone(borrowerOf(loan))) loans.delete(loan)
  }

  /** The link to a node is broken, or another one of a lender there. */
  doubt(node: NodeId, isMeant: (loan: Loan) => boolean): void {
    remember(this.#doubtful, node)
    for (const loan of this.#sure) if (isMeant(loan)) this.#sure.delete(loan)
  }

  nodeGone(node: NodeId): void {
    remember(this.#away, node)
    this.doubt(node, (loan) => nodeOf(borrowerOf(loan)) === node || nodeOf(lenderOf(loan)) === node)
  }

  nodeBack(node: NodeId): void {
    this.#away.delete(node)
  }
}

function add(counts: Map<number, number>, sequence: number, count: number): void {
  counts.set(sequence, (counts.get(sequence) ?? 0) + count)
}

function remember<T>(set: Set<T>, one: T): void {
  set.delete(one)
  set.add(one)
  if (set.size <= rememberedMax) return
  const [oldest] = set
  set.delete(oldest as T)
}
