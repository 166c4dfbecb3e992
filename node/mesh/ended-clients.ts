import type { ClientId, NodeId } from '../../protocols/ids.ts'

/** Ends that are remembered for nodes that could not be told; a node that missed more does not hear of the first ones. */
const rememberedMax = 10_000
const nodesMax = 1_000

/** Clients of this node that have ended while there was no link to another one, which is to hear so when it is back. */
export class EndedClients {
  /** The last ones to end. */
  readonly #ended: ClientId[] = []
  #count = 0
  /** How many had ended when the link to a node broke. */
  readonly #heard = new Map<NodeId, number>()

  add(client: ClientId): void {
    if (this.#heard.size === 0) return
    this.#count++
    this.#ended.push(client)
    if (this.#ended.length > rememberedMax) this.#ended.shift()
  }

  linkDown(node: NodeId): void {
    this.#heard.delete(node)
    this.#heard.set(node, this.#count)
    if (this.#heard.size <= nodesMax) return
    const [oldest] = this.#heard
    this.#heard.delete((oldest as [NodeId, number])[0])
  }

  /** A node can be told again. Gives the clients of whose end it has not heard. */
  linkUp(node: NodeId): readonly ClientId[] {
    const heard = this.#heard.get(node) ?? this.#count
    this.#heard.delete(node)
    const missed = heard === this.#count ? [] : this.#ended.slice(-(this.#count - heard))
    if (this.#heard.size === 0) this.#ended.length = 0
    return missed
  }
}
