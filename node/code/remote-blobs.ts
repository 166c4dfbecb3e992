import { ObjectLostError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { BulkContent, BulkExchange } from '../bulk/bulk-exchange.ts'
import { fileChunks } from '../bulk/file-chunks.ts'
import { Slots } from '../bulk/slots.ts'
import type { BlobCache } from './blob-cache.ts'

export interface RemoteBlobsOptions {
  self: NodeId
  blobs: BlobCache
  bulk: Pick<BulkExchange, 'fetch' | 'onRequest'>
  log(text: string): void
}

const fetchedAtOnceMax = 8
const waitingMax = 100_000

/** Shipped code of other nodes: brought into the cache here, and given to other nodes from there. */
export class RemoteBlobs {
  readonly #options: RemoteBlobsOptions
  readonly #fetching = new Map<string, Promise<void>>()
  readonly #slots = new Slots(fetchedAtOnceMax, waitingMax)

  constructor(options: RemoteBlobsOptions) {
    this.#options = options
    options.bulk.onRequest('blob', (_, hash) => this.#give(hash))
  }

  /** Waits until blobs are here; those of `node` are brought here. Gives the ones that cannot be had. */
  async wait(hashes: readonly string[], node: NodeId): Promise<string[]> {
    const { self, blobs } = this.#options
    if (node === self) return await blobs.wait(hashes)
    await Promise.all(hashes.map((hash) => this.#bring(hash, node)))
    const missing = hashes.filter((hash) => !blobs.isExpected(hash))
    // Some may be on their way from a client of this node.
    return [...missing, ...(await blobs.wait(hashes.filter((hash) => blobs.isExpected(hash))))]
  }

  async #bring(hash: string, node: NodeId): Promise<void> {
    const { blobs } = this.#options
    // Others may be at it, from a node that does not have it.
    for (let other = this.#fetching.get(hash); other !== undefined; other = this.#fetching.get(hash)) await other
    if (blobs.isExpected(hash)) return
    const fetching = this.#fetch(hash, node)
    this.#fetching.set(hash, fetching)
    await fetching
  }

  async #fetch(hash: string, node: NodeId): Promise<void> {
    const { blobs, log } = this.#options
    try {
      const content = await this.#slots.use(() => this.#content(hash, node))
      if (!(await blobs.put(hash, content))) log(`node ${node} gave other code for ${hash}: it is not used`)
    } catch (error) {
      log(`shipped code ${hash} was not brought here: ${(error as Error).message}`)
    } finally {
      this.#fetching.delete(hash)
    }
  }

  async #content(hash: string, node: NodeId): Promise<Uint8Array> {
    const request = { kind: 'blob', name: hash, bytesMax: limits.blobBytesMax } as const
    const { size, bytes } = await this.#options.bulk.fetch(node, request)
    const content = Buffer.allocUnsafeSlow(size)
    let at = 0
    for await (const chunk of bytes) {
      content.set(chunk, at)
      at += chunk.length
    }
    return content
  }

  async #give(hash: string): Promise<BulkContent> {
    const { blobs } = this.#options
    const missing = blobs.isExpected(hash) ? await blobs.wait([hash]) : [hash]
    if (missing.length > 0) throw new ObjectLostError('this node has no such code')
    return { size: blobs.bytesOf(hash), chunks: fileChunks(blobs.fileOf(hash)) }
  }
}
