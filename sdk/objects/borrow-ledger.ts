import { limits } from '../../protocols/limits.ts'
import { nodeOf, ownerOf, sequenceOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'

/**
 * Processes, and nodes, that are remembered as gone. To forget one does no harm: an owner that asks about a lender there is
 * then not answered, and keeps until this process ends what it has lent by it; nothing is freed that somebody has. And owners
 * ask when they themselves hear of the end, so within seconds, and not after the ends of ten thousand others.
 */
const goneMax = 10_000
const sequenceMax = 2 ** 48 - 1

/** What this process has of an object of another one: how often it was lent to it, and by whom. */
export interface Borrow {
  readonly id: ObjectId
  readonly counts: Map<ClientId, number>
}

/** What an owner is told: all that this process still has of what that lender has lent to it, of some of its objects. */
export interface Settlement {
  owner: ClientId
  lender: ClientId
  /** The owner's number of the question. */
  number: number
  /** The numbers of the first and the last of those objects. */
  first: number
  last: number
  holds: { object: ObjectId; count: number }[]
}

/**
 * What this process borrows, counted by lenders as its owner counts it. When a lender is gone, owners ask what has arrived of
 * what it lent: that is known once this process, too, has heard that it is gone, for then nothing more can come. Pure.
 */
export class BorrowLedger {
  readonly #borrows = new Set<Borrow>()
  readonly #gone = new Set<ClientId>()
  readonly #goneNodes = new Set<NodeId>()
  /** Owners who wait for an answer, each with the number of its question, by the lender that they ask about. */
  readonly #asked = new Map<ClientId, Map<ClientId, number>>()
  readonly #holdsMax: number

  /** @param options.holdsMax in one settlement; of more there are several */
  constructor({ holdsMax = limits.settledObjectsMax }: { holdsMax?: number } = {}) {
    this.#holdsMax = holdsMax
  }

  /** Objects that this process has, and those that it has let go of without having said so. */
  get size(): number {
    return this.#borrows.size
  }

  add(id: ObjectId, lender: ClientId): Borrow {
    const borrow = { id, counts: new Map<ClientId, number>() }
    this.#borrows.add(borrow)
    this.again(borrow, lender)
    return borrow
  }

  /** The object has been lent once more. */
  again({ counts }: Borrow, lender: ClientId): void {
    counts.set(lender, (counts.get(lender) ?? 0) + 1)
  }

  /** The process has it no more. Gives what the owner is to be told: how many borrows of which lender end. */
  end(borrow: Borrow): Iterable<[lender: ClientId, count: number]> {
    this.#borrows.delete(borrow)
    return borrow.counts
  }

  /** An owner asks what this process has from a lender that is gone. Gives nothing when that is not known yet. */
  ask(owner: ClientId, lender: ClientId, number: number): Settlement[] {
    if (this.#gone.has(lender) || this.#goneNodes.has(nodeOf(lender))) return this.mark(owner, lender, number)
    const owners = this.#asked.get(lender)
    if (owners === undefined) this.#asked.set(lender, new Map([[owner, number]]))
    else owners.set(owner, number)
    return []
  }

  /** A lender has sent the mark that an owner has asked it for. Gives what this process has of that owner's by that lender now. */
  mark(owner: ClientId, lender: ClientId, number: number): Settlement[] {
    return this.#settlements(owner, lender).map((part) => ({ ...part, number }))
  }

  /** A process has ended, and nothing of it will arrive any more. Gives what owners have waited for. */
  clientGone(client: ClientId): Settlement[] {
    remember(this.#gone, client)
    return this.#answer((each) => each === client)
  }

  /** The way to a node is cut off. */
  nodeGone(node: NodeId): Settlement[] {
    remember(this.#goneNodes, node)
    return this.#answer((client) => nodeOf(client) === node)
  }

  /** There is a new way to a node: of lenders there that live, more may arrive. */
  nodeBack(node: NodeId): void {
    this.#goneNodes.delete(node)
  }

  #answer(isGone: (client: ClientId) => boolean): Settlement[] {
    const settlements: Settlement[] = []
    for (const [lender, owners] of this.#asked) {
      for (const owner of owners.keys()) if (isGone(owner)) owners.delete(owner)
      if (isGone(lender)) for (const [owner, number] of owners) settlements.push(...this.mark(owner, lender, number))
      if (isGone(lender) || owners.size === 0) this.#asked.delete(lender)
    }
    return settlements
  }

  #settlements(owner: ClientId, lender: ClientId): Omit<Settlement, 'number'>[] {
    const holds = new Map<ObjectId, number>()
    for (const { id, counts } of this.#borrows) {
      const count = ownerOf(id) === owner ? counts.get(lender) : undefined
      if (count !== undefined) holds.set(id, (holds.get(id) ?? 0) + count)
    }
    const all = Array.from(holds, ([object, count]) => ({ object, count }))
    // Each part says of which objects it is, so that parts need not be gathered where they come.
    if (all.length > this.#holdsMax) all.sort((a, b) => sequenceOf(a.object) - sequenceOf(b.object))
    const parts: Omit<Settlement, 'number'>[] = []
    let first = 0
    do {
      const part = all.splice(0, this.#holdsMax)
      const last = all.length === 0 ? sequenceMax : sequenceOf((part.at(-1) as { object: ObjectId }).object)
      parts.push({ owner, lender, first, last, holds: part })
      first = last + 1
    } while (all.length > 0)
    return parts
  }
}

function remember<T>(gone: Set<T>, one: T): void {
  gone.delete(one)
  gone.add(one)
  if (gone.size <= goneMax) return
  const [oldest] = gone
  gone.delete(oldest as T)
}
