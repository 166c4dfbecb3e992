import { stat } from 'node:fs/promises'
import { InvalidArgumentError, ObjectLostError, UnreachableError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { BulkContent, BulkExchange } from '../bulk/bulk-exchange.ts'
import { fileChunks } from '../bulk/file-chunks.ts'
import { CopyHolders } from './copy-holders.ts'
import { IncomingCopy } from './incoming-copy.ts'
import { isStoredName } from './stored-name.ts'
import type { StoredFiles } from './stored-files.ts'

export interface RemoteValuesOptions {
  self: NodeId
  files: StoredFiles
  bulk: Pick<BulkExchange, 'fetch' | 'onRequest'>
  /** Tells a node that values are freed: its own, or copies of those of this one. May be lost when the node is gone. */
  send(node: NodeId, names: string[]): void
  log(text: string): void
  /** Copies on other nodes that are remembered. @default 200_000 */
  copiesMax?: number
}

/** So many names fit into one message. */
const namesPerMessageMax = 10_000

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
    options.files.onFreed = (names) => this.#onFreed(names)
  }

  /**
   * Brings a value into the store here, unless it is there.
   *
   * Rejects with ObjectLostError when its node does not have it, UnreachableError when that does not answer,
   * ObjectStoreFullError when there is no room for it.
   */
  async fetch(name: string, bytes: number): Promise<void> {
    const { self, files, bulk } = this.#options
    if (!isStoredName(name)) throw new InvalidArgumentError(`'${name}' is not the name of a stored value`, { name })
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new InvalidArgumentError(`a stored value cannot have ${bytes} bytes`, { name, bytes })
    }
    if (nodeOf(name) === self) {
      this.#checkSize(name, bytes, files.bytesOf(name) ?? (await this.#sizeOf(name)))
      return
    }
    files.wanted(name)
    if (files.bytesOf(name) === undefined) {
      let copy = this.#incoming.get(name)
      if (copy === undefined) {
        copy = new IncomingCopy(name, bytes, { files, bulk })
        this.#incoming.set(name, copy)
        void this.#forgetWhenDone(copy)
      }
      await copy.done
    }
    this.#checkSize(name, bytes, files.bytesOf(name))
  }

  /** A client of this node needs values no more, of this node or of others. */
  freed(names: readonly string[]): void {
    const { self, files } = this.#options
    const elsewhere = Map.groupBy(
      names.filter((name) => isStoredName(name) && nodeOf(name) !== self),
      nodeOf,
    )
    files.freed(names)
    for (const [node, ofNode] of elsewhere) this.#send(node, ofNode)
  }

  /** A node says that values are needed no more: values of this node, or copies of its own. Others it has no say in. */
  freedElsewhere(from: NodeId, names: readonly string[]): void {
    const { self, files } = this.#options
    files.freed(names.filter((name) => nodeOf(name) === self || nodeOf(name) === from))
  }

  /** A client, of this node or another, is gone, and what it owned is needed no more. */
  ownerGone(owner: ClientId): void {
    this.#options.files.ownerGone(owner)
  }

  /** A node is gone: so are its values, and nobody there needs what its clients owned here. */
  nodeGone(node: NodeId): void {
    this.#holders.nodeGone(node)
    for (const [name, copy] of this.#incoming) {
      if (nodeOf(name) !== node) continue
      this.#incoming.delete(name)
      copy.stop(new UnreachableError(`node ${node} went away while it sent ${name}`))
    }
    this.#options.files.ownersOfNodeGone(node)
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
    const { self, files } = this.#options
    if (!isStoredName(name) || nodeOf(name) !== self) throw new ObjectLostError('it is not a value of this node')
    // Before anything else: if it is freed from now on, the asker has to know.
    const oldest = this.#holders.add(name, from)
    if (oldest !== undefined) this.#send(oldest.node, [oldest.name])
    try {
      return { size: await this.#sizeOf(name), chunks: fileChunks(files.fileOf(name)) }
    } catch (error) {
      this.#holders.remove(name, from)
      throw error
    }
  }

  /** A value may be in the folder and be asked for before its writer has told of it. */
  async #sizeOf(name: string): Promise<number> {
    try {
      const { size } = await stat(this.#options.files.fileOf(name))
      return size
    } catch {
      throw new ObjectLostError(`the value ${name} is no longer in the object store of its node`, { name })
    }
  }

  #checkSize(name: string, bytes: number, size: number | undefined): void {
    if (size === bytes) return
    const what = size === undefined ? 'was freed while it was brought here' : `has ${size} of ${bytes} bytes`
    throw new ObjectLostError(`the value ${name} ${what}`, { name, bytes })
  }
}
