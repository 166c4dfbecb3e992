import type { Host } from './libp2p-host.ts'

export interface GossipOptions {
  meshId: Uint8Array
  isMember(peer: string): boolean
  onMessage(peer: string, data: Uint8Array): void
}

const bytesMax = 64 * 1024
const perSecondMax = 20
const peersMax = 2000

/** What is told to all members over gossipsub: signed, from members only, so many a second from each. */
export class Gossip {
  readonly #pubsub: Host['pubsub']
  readonly #options: GossipOptions
  readonly #topic: string
  /** How many each peer may say now, as of when. */
  readonly #budgets = new Map<string, { left: number; atMs: number }>()

  constructor({ pubsub }: Host, options: GossipOptions) {
    const { meshId, isMember, onMessage } = options
    this.#pubsub = pubsub
    this.#options = options
    this.#topic = `/shoal/${Buffer.from(meshId).toString('hex', 0, 8)}/1`
    pubsub.topicValidators.set(this.#topic, (_, message) => {
      const from = message.type === 'signed' ? message.from.toString() : ''
      return this.#validity(from, message.data) as never
    })
    pubsub.addEventListener('message', ({ detail }) => {
      if (detail.topic !== this.#topic || detail.type !== 'signed') return
      const from = detail.from.toString()
      if (isMember(from)) onMessage(from, detail.data)
    })
    pubsub.subscribe(this.#topic)
  }

  /** Resolves when it is on its way. */
  publish(data: Uint8Array): Promise<unknown> {
    if (data.length > bytesMax) throw new RangeError(`gossip of ${data.length} bytes; at most ${bytesMax}`)
    return this.#pubsub.publish(this.#topic, data)
  }

  /** Who passes something on may know members that this node does not know: that is no fault. */
  #validity(from: string, data: Uint8Array): 'accept' | 'ignore' | 'reject' {
    if (data.length > bytesMax) return 'reject'
    return this.#options.isMember(from) && this.#maySay(from) ? 'accept' : 'ignore'
  }

  #maySay(peer: string): boolean {
    const nowMs = performance.now()
    const { left, atMs } = this.#budgets.get(peer) ?? { left: perSecondMax, atMs: nowMs }
    const now = Math.min(perSecondMax, left + ((nowMs - atMs) / 1000) * perSecondMax)
    const isFine = now >= 1
    this.#budgets.delete(peer)
    if (this.#budgets.size >= peersMax) this.#budgets.delete(this.#budgets.keys().next().value ?? '')
    this.#budgets.set(peer, { left: isFine ? now - 1 : now, atMs: nowMs })
    return isFine
  }
}
