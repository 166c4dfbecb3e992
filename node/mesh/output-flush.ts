import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { PeerLink } from '../network/network.ts'
import type { PeerPost } from './peer-post.ts'
import { packFrame } from './remote-clients.ts'

/** A node that has not answered by then is not waited for. */
const waitMs = 1500

/** Has other nodes send on what workers there have printed for a program of this one, before it ends. */
export class OutputFlush {
  readonly #post: PeerPost
  readonly #waiting = new Map<number, { node: NodeId; resolve: () => void }>()
  #lastId = 0

  constructor(post: PeerPost) {
    this.#post = post
  }

  async flush(job: ClientId, links: Iterable<PeerLink>): Promise<void> {
    const answers: Promise<void>[] = []
    for (const { peer } of links) answers.push(this.#ask(job, peer.node))
    if (answers.length === 0) return
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, waitMs)
    await Promise.race([Promise.all(answers), late])
    clearTimeout(timer)
  }

  #ask(job: ClientId, node: NodeId): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const requestId = (this.#lastId = (this.#lastId + 1) % 0xffff_ffff)
    this.#waiting.set(requestId, { node, resolve })
    this.#post.send(node, 'fromClient', { client: job, frame: packFrame('logFlush', { requestId }) })
    return promise
  }

  onFlushed(node: NodeId, requestId: number): void {
    const waiting = this.#waiting.get(requestId)
    if (waiting?.node !== node) return
    this.#waiting.delete(requestId)
    waiting.resolve()
  }

  onLinkDown(node: NodeId): void {
    for (const [requestId, waiting] of this.#waiting) if (waiting.node === node) this.onFlushed(node, requestId)
  }
}
