import { UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { PeerPost } from './peer-post.ts'

const answerMs = 3000
const askedMax = 1000

interface Asked {
  node: NodeId
  resolve(answer: unknown): void
  reject(error: unknown): void
}

/** Questions to other nodes and their answers, by number. */
export class Questions {
  readonly #post: PeerPost
  readonly #asked = new Map<number, Asked>()
  #lastId = 0

  constructor(post: PeerPost) {
    this.#post = post
  }

  /**
   * Asks a node. Rejects with UnreachableError when it does not answer in time, or its link goes down, and with the signal's
   * reason.
   */
  async ask<T>(
    node: NodeId,
    send: (post: PeerPost, askId: number) => boolean,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<T> {
    signal?.throwIfAborted()
    if (this.#asked.size >= askedMax)
      throw new UnreachableError(`${askedMax} questions to other nodes wait for answers already`)
    const askId = (this.#lastId = (this.#lastId + 1) % 0xffff_ffff)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#asked.set(askId, { node, resolve, reject })
    const timer = setTimeout(() => this.#fail(askId, `node ${node} has not answered for ${answerMs} ms`), answerMs)
    const giveUp = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', giveUp, { once: true })
    if (!send(this.#post, askId)) this.#fail(askId, `there is no link to node ${node}`)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', giveUp)
      this.#asked.delete(askId)
    }
  }

  onAnswer(from: NodeId, askId: number, answer: unknown): void {
    const asked = this.#asked.get(askId)
    if (asked?.node === from) asked.resolve(answer)
  }

  onLinkDown(node: NodeId): void {
    for (const [askId, asked] of this.#asked)
      if (asked.node === node) this.#fail(askId, `the link to node ${node} is down`)
  }

  #fail(askId: number, message: string): void {
    this.#asked.get(askId)?.reject(new UnreachableError(message))
  }
}
