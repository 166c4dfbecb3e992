import type { NodeId } from '../../protocols/ids.ts'
import { addTo, removeFrom } from './set-map.ts'

/** A copy of a value, on another node. */
export interface HeldCopy {
  name: string
  node: NodeId
}

/** Which other nodes have copies of values of this one, so that they can be told when those are freed. */
export class CopyHolders {
  readonly #copiesMax: number
  /** Oldest first. */
  readonly #nodesByName = new Map<string, Set<NodeId>>()
  readonly #namesByNode = new Map<NodeId, Set<string>>()
  #count = 0

  constructor(copiesMax: number) {
    this.#copiesMax = copiesMax
  }

  /** Takes note of a copy. When there are too many, gives an old one that is forgotten for it: it has to go. */
  add(name: string, node: NodeId): HeldCopy | undefined {
    const nodes = this.#nodesByName.get(name)
    if (nodes?.has(node) === true) return undefined
    const oldest = this.#count >= this.#copiesMax ? this.#takeOldest() : undefined
    addTo(this.#nodesByName, name, node)
    addTo(this.#namesByNode, node, name)
    this.#count++
    return oldest
  }

  remove(name: string, node: NodeId): void {
    if (this.#nodesByName.get(name)?.has(node) !== true) return
    removeFrom(this.#nodesByName, name, node)
    removeFrom(this.#namesByNode, node, name)
    this.#count--
  }

  /** Forgets the copies of these values, and tells which node has which of them. */
  take(names: Iterable<string>): Map<NodeId, string[]> {
    const taken = new Map<NodeId, string[]>()
    for (const name of names) {
      for (const node of this.#nodesByName.get(name) ?? []) {
        const ofNode = taken.get(node)
        if (ofNode === undefined) taken.set(node, [name])
        else ofNode.push(name)
        this.remove(name, node)
      }
    }
    return taken
  }

  /** Forgets all copies of a node. */
  nodeGone(node: NodeId): void {
    for (const name of this.#namesByNode.get(node) ?? []) this.remove(name, node)
  }

  #takeOldest(): HeldCopy | undefined {
    for (const [name, nodes] of this.#nodesByName) {
      for (const node of nodes) {
        this.remove(name, node)
        return { name, node }
      }
    }
    return undefined
  }
}
