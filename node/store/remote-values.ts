import { ObjectLostError, UnreachableError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { BulkContent, BulkExchange } from '../bulk/bulk-exchange.ts'
import { CopyHolders } from './copy-holders.ts'
import { IncomingCopy } from './incoming-copy.ts'
import { isStoredName } from './stored-name.ts'
import type { StoredQuestion } from '../server/store-desk.ts'
import type { ObjectStore } from './object-store.ts'
import type { OutgoingValue } from './transfer-store.ts'

export interface RemoteValuesOptions {
  self: NodeId
  store: ObjectStore
  bulk: Pick<BulkExchange, 'fetch' | 'onRequest'>
  /** Tells a node that values are freed: its own, or copies of those of this one. May be lost when the node is gone. */
  send(node: NodeId, names: string[]): void
  log(text: string): void
  /** Copies on other nodes that are remembered. @default 200_000 */
  copiesMax?: number
}

/** So many names fit into one message. */
const namesPerMessageMax = 10_000
const chunkBytes = 256 * 1024

/**
 * Values of other nodes: brought into the store here when a client asks, and given to other nodes that ask. The node
 * where a value was written (its name tells) is the one that knows who has copies of it.
 */
export class RemoteValues {
  readonly #options: RemoteValuesOptions
  readonly #incoming = new Map<string, IncomingCopy>()
  readonly #holders: CopyHolders

  constructor(options: RemoteValuesOptions) {
    this.#options = options
    this.#holders = new CopyHolders(options.copiesMax ?? 200_000)
    options.bulk.onRequest('stored', (from, name) => this.#give(from, name))
    options.store.onGone = (name) => this.#onFreed([name])
  }

  /**
   * Brings a value into the store here, unless it is there.
   *
   * Rejects with ObjectLostError when its node does not have it, UnreachableError when that does not answer,
   * ObjectStoreFullError when there is no room for it.
   */
  async fetch({ name, bytes, owner }: StoredQuestion): Promise<void> {
    const { self, store, bulk } = this.#options
    if (nodeOf(name) === self) throw new ObjectLostError(`the value ${name} is no longer in the object store`, { name })
    let copy = this.#incoming.get(name)
    if (copy === undefined) {
      copy = new IncomingCopy({ name, bytes, owner }, { store, bulk })
      this.#incoming.set(name, copy)
      void this.#forgetWhenDone(copy)
    }
    await copy.done
  }

  /** A client of this node needs values no more, of this node or of others. */
  freed(names: readonly string[]): void {
    const { self, store } = this.#options
    const elsewhere = Map.groupBy(
      names.filter((name) => isStoredName(name) && nodeOf(name) !== self),
      nodeOf,
    )
    this.#onFreed(names)
    store.freed(names)
    for (const [node, ofNode] of elsewhere) this.#send(node, ofNode)
  }

  /** A node says that values are needed no more: values of this node, or copies of its own. Others it has no say in. */
  freedElsewhere(from: NodeId, names: readonly string[]): void {
    const { self, store } = this.#options
    const freed = names.filter((name) => nodeOf(name) === self || nodeOf(name) === from)
    this.#onFreed(freed)
    store.freed(freed)
  }

  /** A client, of this node or another, is gone, and what it owned is needed no more. */
  ownerGone(owner: ClientId): void {
    this.#options.store.ownerGone(owner)
  }

  /** A node is gone: so are its values, and nobody there needs what its clients owned here. */
  nodeGone(node: NodeId): void {
    this.#holders.nodeGone(node)
    for (const [name, copy] of this.#incoming) {
      if (nodeOf(name) !== node) continue
      this.#incoming.delete(name)
      copy.stop(new UnreachableError(`node ${node} went away while it sent ${name}`))
    }
    this.#options.store.ownersOfNodeGone(node)
  }

  async #forgetWhenDone(copy: IncomingCopy): Promise<void> {
    try {
      await copy.done
    } catch (error) {
      this.#options.log(`${copy.name} was not brought here: ${(error as Error).message}`)
    } finally {
      if (this.#incoming.get(copy.name) === copy) this.#incoming.delete(copy.name)
    }
  }

  #onFreed(names: readonly string[]): void {
    for (const name of names) {
      const copy = this.#incoming.get(name)
      if (copy === undefined) continue
      this.#incoming.delete(name)
      copy.stop(new ObjectLostError(`the value ${name} was freed while it was brought here`, { name }))
    }
    for (const [node, held] of this.#holders.take(names)) this.#send(node, held)
  }

  #send(node: NodeId, names: readonly string[]): void {
    for (let at = 0; at < names.length; at += namesPerMessageMax) {
      this.#options.send(node, names.slice(at, at + namesPerMessageMax))
    }
  }

  async #give(from: NodeId, name: string): Promise<BulkContent> {
    const { self, store } = this.#options
    if (!isStoredName(name) || nodeOf(name) !== self) throw new ObjectLostError('it is not a value of this node')
    // Before anything else: if it is freed from now on, the asker has to know.
    const oldest = this.#holders.add(name, from)
    if (oldest !== undefined) this.#send(oldest.node, [oldest.name])
    const value = await store.open(name)
    if (value === undefined) {
      this.#holders.remove(name, from)
      throw new ObjectLostError(`the value ${name} is no longer in the object store of its node`, { name })
    }
    return { size: value.bytes, chunks: chunksOf(value) }
  }
}

async function* chunksOf(value: OutgoingValue): AsyncGenerator<Uint8Array> {
  try {
    for (let at = 0; at < value.bytes; at += chunkBytes) {
      // libp2p may keep what it is given for a while.
      yield Uint8Array.from(await value.read(at, Math.min(chunkBytes, value.bytes - at)))
    }
  } finally {
    value.close()
  }
}
