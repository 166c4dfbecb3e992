import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'

/** Processes that are remembered as gone. */
const goneMax = 10_000

/** What this process has of an object of another one: how often it was lent to it, and by whom. */
export interface Borrow {
  readonly id: ObjectId
  readonly counts: Map<ClientId, number>
}

/** What an owner is told: all that this process still has of what that lender has lent to it. */
export interface Settlement {
  owner: ClientId
  lender: ClientId
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
  /** Owners who wait for an answer, by the lender that they ask about. */
  readonly #asked = new Map<ClientId, Set<ClientId>>()

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
    this.#goneNodes.delete(nodeOf(lender))
    counts.set(lender, (counts.get(lender) ?? 0) + 1)
  }

  /** The process has it no more. Gives what the owner is to be told: how many borrows of which lender end. */
  end(borrow: Borrow): Iterable<[lender: ClientId, count: number]> {
    this.#borrows.delete(borrow)
    return borrow.counts
  }

  /** An owner asks what this process has from a lender that is gone. Undefined when that is not known yet. */
  ask(owner: ClientId, lender: ClientId): Settlement | undefined {
    if (this.#gone.has(lender) || this.#goneNodes.has(nodeOf(lender))) return this.#settlement(owner, lender)
    const owners = this.#asked.get(lender)
    if (owners === undefined) this.#asked.set(lender, new Set([owner]))
    else owners.add(owner)
    return undefined
  }

  /** A process has ended, and nothing of it will arrive any more. Gives what owners have waited for. */
  clientGone(client: ClientId): Settlement[] {
    this.#gone.add(client)
    if (this.#gone.size > goneMax) {
      const [oldest] = this.#gone
      this.#gone.delete(oldest as ClientId)
    }
    return this.#answer((each) => each === client)
  }

  /** The way to a node is cut off, and its owners have forgotten us: should it come back, nothing is to be given back. */
  nodeGone(node: NodeId): Settlement[] {
    this.#goneNodes.add(node)
    for (const { id, counts } of this.#borrows) if (nodeOf(id) === node) counts.clear()
    return this.#answer((client) => nodeOf(client) === node)
  }

  #answer(isGone: (client: ClientId) => boolean): Settlement[] {
    const settlements: Settlement[] = []
    for (const [lender, owners] of this.#asked) {
      for (const owner of owners) if (isGone(owner)) owners.delete(owner)
      if (isGone(lender)) for (const owner of owners) settlements.push(this.#settlement(owner, lender))
      if (isGone(lender) || owners.size === 0) this.#asked.delete(lender)
    }
    return settlements
  }

  #settlement(owner: ClientId, lender: ClientId): Settlement {
    const holds = new Map<ObjectId, number>()
    for (const { id, counts } of this.#borrows) {
      const count = ownerOf(id) === owner ? counts.get(lender) : undefined
      if (count !== undefined) holds.set(id, (holds.get(id) ?? 0) + count)
    }
    return { owner, lender, holds: Array.from(holds, ([object, count]) => ({ object, count })) }
  }
}
