import { nodeOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { addTo, removeFrom } from './set-map.ts'

/** A value that is to be on several nodes. */
export interface ReplicatedValue {
  readonly name: string
  readonly bytes: number
  readonly owner: ClientId
  readonly object: ObjectId
  /** On so many nodes, the one that made it included. */
  readonly copies: number
}

/** A node that could have a replica. */
export interface ReplicaPlace {
  readonly node: NodeId
  readonly freeBytes: number
  readonly bytesMax: number
  /** False for one that may leave at any time. */
  readonly isLasting: boolean
}

/** A node is to bring a value to itself from those that have it, and to keep it. */
export interface ReplicaAsk {
  readonly node: NodeId
  readonly value: ReplicatedValue
  readonly sources: readonly NodeId[]
}

interface Entry {
  value: ReplicatedValue
  readonly holders: Set<NodeId>
  readonly asked: Set<NodeId>
  /** They could not, and are not asked again until they have been away. */
  readonly refused: Set<NodeId>
  /** They have it, and are about to be away. */
  readonly leaving: Set<NodeId>
}

/** `nowhere`: nobody who could take it is left. */
export type Standing = 'kept' | 'coming' | 'nowhere'

/**
 * Which nodes have the values of this node's clients that are to be on several, and who is asked to take one: those with the
 * most room. When one is gone, another is asked, as long as somebody has the value. Knows no network and no clock.
 */
export class ReplicaBook {
  readonly #places: () => readonly ReplicaPlace[]
  readonly #byName = new Map<string, Entry>()
  readonly #byNode = new Map<NodeId, Set<Entry>>()
  readonly #byOwner = new Map<ClientId, Set<Entry>>()
  /** Those for which there were not enough nodes. */
  readonly #short = new Set<Entry>()
  /** What nodes are asked to take, and what they say of their room does not tell yet. */
  readonly #askedBytes = new Map<NodeId, number>()

  /** @param places the nodes that can be asked now; may include this one */
  constructor(places: () => readonly ReplicaPlace[]) {
    this.#places = places
  }

  get count(): number {
    return this.#byName.size
  }

  /** One that is known already, since its node is about to leave, say, is to be on as many as this says, if that is more. */
  keep(value: ReplicatedValue): ReplicaAsk[] {
    const { name, copies } = value
    if (copies < 2) return []
    const entry = this.#byName.get(name)
    if (entry === undefined) return this.#fill(this.#enter(value))
    if (copies <= entry.value.copies) return []
    entry.value = { ...entry.value, copies }
    return this.#fill(entry)
  }

  #enter(value: ReplicatedValue): Entry {
    const none = (): Set<NodeId> => new Set<NodeId>()
    const entry: Entry = { value, holders: none(), asked: none(), refused: none(), leaving: none() }
    this.#byName.set(value.name, entry)
    addTo(this.#byOwner, value.owner, entry)
    this.#hold(entry, nodeOf(value.name))
    return entry
  }

  /** A node that has the value is about to leave: it is to be on as many others. Also for one that is on a single node. */
  evacuate(value: ReplicatedValue, node: NodeId): { standing: Standing; asks: ReplicaAsk[] } {
    let entry = this.#byName.get(value.name)
    if (entry === undefined) {
      entry = this.#enter(value)
      // Where it was made it may be only on the leaving node by now.
      if (nodeOf(value.name) !== node) this.#unlist(entry, nodeOf(value.name))
    }
    this.#hold(entry, node)
    entry.leaving.add(node)
    if (this.#standing(entry) === 'nowhere') entry.refused.clear()
    const asks = this.#fill(entry)
    return { standing: this.#standing(entry), asks }
  }

  #standing({ holders, leaving, asked }: Entry): Standing {
    if (holders.difference(leaving).size > 0) return 'kept'
    return asked.size > 0 ? 'coming' : 'nowhere'
  }

  /** A node that was asked has the value now, or cannot have it. `isWanted`: false when it has one that nobody needs. */
  answered(node: NodeId, name: string, isKept: boolean): { asks: ReplicaAsk[]; isWanted: boolean } {
    const entry = this.#byName.get(name)
    if (entry === undefined) return { asks: [], isWanted: false }
    const wasAsked = this.#unask(entry, node)
    const isWanted = isKept && (wasAsked || entry.holders.has(node) || entry.holders.size < entry.value.copies)
    if (isWanted) this.#hold(entry, node)
    else {
      this.#unlist(entry, node)
      if (wasAsked) entry.refused.add(node)
    }
    return { asks: this.#fill(entry), isWanted }
  }

  /** There is one more node, or it is known now what room it has. */
  nodeUp(node: NodeId): ReplicaAsk[] {
    return [...this.#short].flatMap((entry) => {
      entry.refused.delete(node)
      return this.#fill(entry)
    })
  }

  nodeGone(node: NodeId): ReplicaAsk[] {
    const entries = [...(this.#byNode.get(node) ?? [])]
    for (const entry of entries) {
      this.#unask(entry, node)
      entry.holders.delete(node)
      entry.leaving.delete(node)
    }
    this.#byNode.delete(node)
    this.#askedBytes.delete(node)
    return entries.flatMap((entry) => this.#fill(entry))
  }

  /** Nodes that have a value, as far as is known; none when it is not one of those in here. */
  holdersOf(name: string): readonly NodeId[] {
    return [...(this.#byName.get(name)?.holders ?? [])]
  }

  /** Forgets values. Gives the nodes that have them, or are about to, besides those that made them. */
  take(names: Iterable<string>): Map<NodeId, string[]> {
    const taken = new Map<NodeId, string[]>()
    for (const name of names) {
      const entry = this.#byName.get(name)
      if (entry === undefined) continue
      for (const node of new Set([...entry.holders, ...entry.asked])) {
        if (node === nodeOf(name)) continue
        const ofNode = taken.get(node)
        if (ofNode === undefined) taken.set(node, [name])
        else ofNode.push(name)
      }
      this.#forget(entry)
    }
    return taken
  }

  /** Forgets the values of a client. Every node drops those of a client that is gone by itself. */
  ownerGone(owner: ClientId): void {
    for (const entry of [...(this.#byOwner.get(owner) ?? [])]) this.#forget(entry)
  }

  #fill(entry: Entry): ReplicaAsk[] {
    const { value, holders, asked, refused, leaving } = entry
    const missing = value.copies - holders.difference(leaving).size - asked.size
    if (missing <= 0 || holders.size === 0) {
      this.#short.delete(entry)
      return []
    }
    const sources = [...holders]
    const chosen = this.#places()
      .filter(({ node, bytesMax }) => {
        return bytesMax >= value.bytes && !holders.has(node) && !asked.has(node) && !refused.has(node)
      })
      .toSorted((a, b) => Number(b.isLasting) - Number(a.isLasting) || this.#room(b) - this.#room(a))
      .slice(0, missing)
    for (const { node } of chosen) {
      asked.add(node)
      addTo(this.#byNode, node, entry)
      this.#askedBytes.set(node, (this.#askedBytes.get(node) ?? 0) + value.bytes)
    }
    if (chosen.length < missing) this.#short.add(entry)
    else this.#short.delete(entry)
    return chosen.map(({ node }) => ({ node, value, sources }))
  }

  #room({ node, freeBytes }: ReplicaPlace): number {
    return freeBytes - (this.#askedBytes.get(node) ?? 0)
  }

  #hold(entry: Entry, node: NodeId): void {
    entry.holders.add(node)
    addTo(this.#byNode, node, entry)
  }

  #unask(entry: Entry, node: NodeId): boolean {
    if (!entry.asked.delete(node)) return false
    const left = (this.#askedBytes.get(node) ?? 0) - entry.value.bytes
    if (left > 0) this.#askedBytes.set(node, left)
    else this.#askedBytes.delete(node)
    return true
  }

  #unlist(entry: Entry, node: NodeId): void {
    entry.holders.delete(node)
    removeFrom(this.#byNode, node, entry)
  }

  #forget(entry: Entry): void {
    const { name, owner } = entry.value
    for (const node of [...entry.asked]) {
      this.#unask(entry, node)
      this.#unlist(entry, node)
    }
    for (const node of [...entry.holders]) this.#unlist(entry, node)
    this.#byName.delete(name)
    removeFrom(this.#byOwner, owner, entry)
    this.#short.delete(entry)
  }
}
