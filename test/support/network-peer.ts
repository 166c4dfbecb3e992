import type { Frame } from '../../protocols/frame.ts'
import { MembershipError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { nodeIdOf } from '../../node/membership/identity.ts'
import type { BulkStream, MembershipGate, NetworkHandlers, PeerLink, PeerNetwork } from '../../node/network/network.ts'

export type NetworkEvent =
  | { type: 'up'; node: NodeId; link: PeerLink }
  | { type: 'down'; node: NodeId; reason: string }
  | { type: 'frame'; node: NodeId; frameType: number; body: Buffer }
  | { type: 'gossip'; node: NodeId; data: string }
  | { type: 'bulk'; node: NodeId; stream: BulkStream }

/** Writes down all that a network tells, in order, and lets a test wait for it. */
export class NetworkRecord implements NetworkHandlers {
  readonly events: NetworkEvent[] = []
  #changed = Promise.withResolvers<void>()

  onLinkUp(link: PeerLink): void {
    this.#add({ type: 'up', node: link.peer.node, link })
  }

  onLinkDown(link: PeerLink, reason: string): void {
    this.#add({ type: 'down', node: link.peer.node, reason })
  }

  onFrame(link: PeerLink, { type, body }: Frame): void {
    this.#add({ type: 'frame', node: link.peer.node, frameType: type, body: Buffer.from(body) })
  }

  onGossip(node: NodeId, data: Uint8Array): void {
    this.#add({ type: 'gossip', node, data: Buffer.from(data).toString() })
  }

  onBulk(node: NodeId, stream: BulkStream): void {
    this.#add({ type: 'bulk', node, stream })
  }

  of<T extends NetworkEvent['type']>(type: T): Extract<NetworkEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as never
  }

  /** The nodes that links lead to, by what was told. */
  get linked(): NodeId[] {
    const linked = new Set<NodeId>()
    for (const event of this.events) {
      if (event.type === 'up') linked.add(event.node)
      if (event.type === 'down') linked.delete(event.node)
    }
    return [...linked].toSorted()
  }

  /** Resolves with what `find` gives, once that is something. */
  async until<T>(what: string, find: (record: this) => T | undefined | false): Promise<T> {
    const timer = setTimeout(() => {
      this.#changed.reject(new Error(`waited 10 s: ${what}; so far ${JSON.stringify(this.events.slice(-10), brief)}`))
    }, 10_000)
    try {
      for (;;) {
        const found = find(this)
        if (found !== undefined && found !== false) return found
        await this.#changed.promise
      }
    } finally {
      clearTimeout(timer)
    }
  }

  #add(event: NetworkEvent): void {
    this.events.push(event)
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

function brief(key: string, value: unknown): unknown {
  return key === 'link' || key === 'stream' || key === 'body' ? undefined : value
}

export interface NetworkPeer {
  readonly network: PeerNetwork
  readonly record: NetworkRecord
}

/** A membership on paper: whoever says the word belongs to it, unless it was put out. */
export class PaperMembership {
  readonly out = new Set<NodeId>()
  readonly #word: string

  constructor(word = 'shoal') {
    this.#word = word
  }

  gate(credentials = this.#word): MembershipGate {
    return {
      credentials: () => Buffer.from(credentials),
      check: (shown, publicKey) => {
        const node = nodeIdOf(publicKey)
        if (Buffer.from(shown).toString() !== this.#word)
          throw new MembershipError(`node ${node} does not know the word`)
        if (this.out.has(node)) throw new MembershipError(`node ${node} was put out`)
        return { node, role: 'worker' }
      },
    }
  }
}
