import type { PlannedNode } from './planned-node.ts'

interface Entry {
  readonly node: PlannedNode
  cost: number
}

/**
 * The nodes of a class, the cheapest first. Costs may only rise while the heap is in use, and what a node costs is looked
 * at again when it comes up; so giving out many places costs little for each.
 */
export class CostHeap {
  readonly #entries: Entry[] = []
  readonly #costOf: (node: PlannedNode) => number

  /** @param costOf Infinity for a node that is out of the question now */
  constructor(nodes: readonly PlannedNode[], costOf: (node: PlannedNode) => number) {
    this.#costOf = costOf
    for (const node of nodes) {
      const cost = costOf(node)
      if (cost !== Infinity) this.#entries.push({ node, cost })
    }
    for (let at = (this.#entries.length >> 1) - 1; at >= 0; at--) this.#sink(at)
  }

  /** The cheapest node that is not refused; undefined when there is none. It stays in the heap. */
  best(isRefused?: (node: PlannedNode) => boolean): PlannedNode | undefined {
    const aside: Entry[] = []
    let found: PlannedNode | undefined
    for (let top = this.#fresh(); top !== undefined; top = this.#fresh()) {
      if (isRefused?.(top.node) !== true) {
        found = top.node
        break
      }
      aside.push(top)
      this.#removeTop()
    }
    for (const entry of aside) this.#push(entry)
    return found
  }

  /** The top, with its cost as it is now. */
  #fresh(): Entry | undefined {
    for (let top = this.#entries[0]; top !== undefined; top = this.#entries[0]) {
      const cost = this.#costOf(top.node)
      if (cost <= top.cost) return top
      if (cost === Infinity) this.#removeTop()
      else {
        top.cost = cost
        this.#sink(0)
      }
    }
    return undefined
  }

  #removeTop(): void {
    const last = this.#entries.pop()
    if (last === undefined || this.#entries.length === 0) return
    this.#entries[0] = last
    this.#sink(0)
  }

  #push(entry: Entry): void {
    const entries = this.#entries
    let at = entries.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = entries[parent] as Entry
      if (above.cost <= entry.cost) break
      entries[at] = above
      at = parent
    }
    entries[at] = entry
  }

  #sink(start: number): void {
    const entries = this.#entries
    const entry = entries[start] as Entry
    let at = start
    for (;;) {
      let child = at * 2 + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && (entries[child + 1] as Entry).cost < (entries[child] as Entry).cost) child++
      if (entry.cost <= (entries[child] as Entry).cost) break
      entries[at] = entries[child] as Entry
      at = child
    }
    entries[at] = entry
  }
}
