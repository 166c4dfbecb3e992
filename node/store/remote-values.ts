import { ObjectLostError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { StoredQuestion } from '../server/store-desk.ts'
import type { Transfers } from '../transfer/transfers.ts'
import { CopyHolders } from './copy-holders.ts'
import type { ObjectStore } from './object-store.ts'
import type { Replicas } from './replicas.ts'
import { isStoredName } from './stored-name.ts'

export interface RemoteValuesOptions {
  self: NodeId
  store: ObjectStore
  transfers: Pick<Transfers, 'pull' | 'freed' | 'nodeGone'>
  replicas: Pick<Replicas, 'holdersOf' | 'isComingFor' | 'freed' | 'ownerGone' | 'nodeGone'>
  /** Tells a node that values are freed: its own, or copies of those of this one. May be lost when the node is gone. */
  send(node: NodeId, names: string[]): void
  /** Tells a node that this one does not remember the copy any more that it has of a value of this node. */
  forget(node: NodeId, name: string): void
  /** Tells the owner of values, a client of another node, that this node has them. What he does not know, he frees. */
  tellOwner(owner: ClientId, names: string[]): void
  /** False for a client that has ended. */
  isThere(client: ClientId): boolean
  /** Nodes that a link leads to. */
  linked(): Iterable<NodeId>
  /** Copies on other nodes that are remembered. @default 200_000 */
  copiesMax?: number
}

/** So many names fit into one message. */
const namesPerMessageMax = 10_000

/**
 * Values of other nodes: brought into the store here when a client asks, and freed everywhere when nobody needs them. The
 * node where a value was written (its name tells) is asked first, and knows who has copies of it.
 */
export class RemoteValues {
  readonly #options: RemoteValuesOptions
  readonly #holders: CopyHolders

  constructor(options: RemoteValuesOptions) {
    this.#options = options
    this.#holders = new CopyHolders(options.copiesMax ?? 200_000)
  }

  /**
   * Brings a value into the store here.
   *
   * Rejects with ObjectLostError when no node has it, UnreachableError when those that could have it do not answer,
   * ObjectStoreFullError when there is no room for it, and with the signal's reason.
   */
  async fetch({ name, bytes, priority, owner, object }: StoredQuestion, signal: AbortSignal): Promise<void> {
    const { store, transfers, replicas, isThere } = this.#options
    if (store.has(name)) return
    if (!isThere(owner)) throw new ObjectLostError(`the owner of the value ${name} is gone`, { name, bytes })
    // Besides the node that made it, the one of its owner knows where there are replicas.
    const likely = [nodeOf(name), ...replicas.holdersOf(name)].filter((node) => this.#isLinked(node))
    const hints = likely.length > 0 || !this.#isLinked(nodeOf(owner)) ? likely : [nodeOf(owner)]
    // One that was made here has been lost here: what comes takes its place.
    const isReplica = nodeOf(name) === this.#options.self
    await transfers.pull(name, bytes, { owner, object, priority, hints, signal, isReplica })
    // Nobody is left to free it.
    if (!isThere(owner)) store.ownerGone(owner)
    // Nor is there anybody who is asked first, and so knows who has it.
    else if (!isReplica && !this.#isLinked(nodeOf(name))) this.#tellOwner(owner, [name])
  }

  #tellOwner(owner: ClientId, names: readonly string[]): void {
    const { self, tellOwner } = this.#options
    // What clients of this node free goes here anyway.
    if (nodeOf(owner) === self) return
    for (const part of inMessages(names)) tellOwner(owner, part)
  }

  #isLinked(node: NodeId): boolean {
    for (const each of this.#options.linked()) if (each === node) return true
    return false
  }

  /** A node has asked for a value, and will have a copy. */
  asked(node: NodeId, name: string): void {
    const oldest = this.#holders.add(name, node)
    if (oldest !== undefined) this.#options.forget(oldest.node, oldest.name)
  }

  /** A node tells a client of this one that it has values of his, which other nodes have made. */
  heldBy(node: NodeId, names: readonly string[]): void {
    for (const name of names) if (nodeOf(name) !== node) this.asked(node, name)
  }

  /** A client of this node needs values no more, of this node or of others. */
  freed(names: readonly string[]): void {
    const { self, store, linked } = this.#options
    const elsewhere = Map.groupBy(
      names.filter((name) => isStoredName(name) && nodeOf(name) !== self),
      nodeOf,
    )
    this.#free(names)
    this.#options.replicas.freed(names)
    store.freed(names)
    for (const [node, ofNode] of elsewhere) {
      if (this.#isLinked(node)) this.#send(node, ofNode)
      // It is gone, and nobody knows who has copies.
      else for (const each of linked()) this.#send(each, ofNode)
    }
  }

  /**
   * A node says that values are needed no more. It has a say in values of this node, in copies of its own, and in those that
   * its clients own, or that come here at its wish.
   */
  freedElsewhere(from: NodeId, names: readonly string[]): void {
    const { self, store, replicas } = this.#options
    const freed = names.filter((name) => {
      const isOf = nodeOf(name) === self || nodeOf(name) === from || nodeOf(store.ownerOf(name) ?? '') === from
      return isOf || replicas.isComingFor(from, name)
    })
    this.#free(freed)
    store.freed(freed)
  }

  /**
   * A node will not tell this one when that value of its own is freed. A copy can be had again; a replica stays, it is the
   * node of its owner that frees it.
   */
  forgottenElsewhere(from: NodeId, name: string): void {
    const { store } = this.#options
    if (nodeOf(name) !== from || store.kindOf(name) !== 'copy') return
    this.#free([name])
    store.freed([name])
  }

  /** A client, of this node or another, is gone, and what it owned is needed no more. */
  ownerGone(owner: ClientId): void {
    this.#options.replicas.ownerGone(owner)
    this.#options.store.ownerGone(owner)
  }

  /**
   * A node is gone: nobody needs what its clients owned, and of its values only copies are left. Should it come back, it does
   * not know of them, so their owners have to.
   */
  nodeGone(node: NodeId): void {
    const { store, transfers, replicas } = this.#options
    this.#holders.nodeGone(node)
    transfers.nodeGone(node)
    store.ownersOfNodeGone(node)
    for (const [owner, names] of store.originGone(node)) this.#tellOwner(owner, names)
    replicas.nodeGone(node)
  }

  #free(names: readonly string[]): void {
    this.#options.transfers.freed(names)
    for (const [node, held] of this.#holders.take(names)) this.#send(node, held)
  }

  #send(node: NodeId, names: readonly string[]): void {
    for (const part of inMessages(names)) this.#options.send(node, part)
  }
}

function* inMessages(names: readonly string[]): Generator<string[]> {
  for (let at = 0; at < names.length; at += namesPerMessageMax) yield names.slice(at, at + namesPerMessageMax)
}
