import { createHash, randomBytes } from 'node:crypto'
import type { NodeId } from '../../protocols/ids.ts'

/** What lets its holder open one direct connection: 32 random bytes, told to one node over a link's own connection. */
export interface Ticket {
  readonly node: NodeId
  readonly secret: Buffer
}

const secretBytes = 32
const lifeMs = 10_000
const ticketsPerNodeMax = 64

interface Issued extends Ticket {
  readonly untilMs: number
}

/**
 * Tickets that this node has given out. Each opens one connection, within some seconds, for the node that asked for it.
 *
 * The two ends of a direct connection use the secret as the pre-shared key of TLS 1.3, with a fresh key exchange on top. It
 * was told over an encrypted connection between the two nodes' own keys, so only these two have it: whoever stands between
 * can neither read nor take part, and what was recorded stays closed when a secret becomes known later.
 */
export class Tickets {
  readonly #now: () => number
  readonly #issued = new Map<string, Issued>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Undefined when the node has too many that it has not used. */
  issue(node: NodeId): Buffer | undefined {
    let unused = 0
    for (const [name, ticket] of this.#issued) {
      if (ticket.untilMs <= this.#now()) this.#issued.delete(name)
      else if (ticket.node === node) unused += 1
    }
    if (unused >= ticketsPerNodeMax) return undefined
    const secret = randomBytes(secretBytes)
    this.#issued.set(ticketName(secret), { node, secret, untilMs: this.#now() + lifeMs })
    return secret
  }

  /** The ticket of a name, which is used up by that. */
  take(name: string): Ticket | undefined {
    const ticket = this.#issued.get(name)
    this.#issued.delete(name)
    return ticket === undefined || ticket.untilMs <= this.#now() ? undefined : ticket
  }

  /** The node may open no connection any more. */
  revoke(node: NodeId): void {
    for (const [name, ticket] of this.#issued) if (ticket.node === node) this.#issued.delete(name)
  }
}

/** What a ticket is called on the wire, where all can read it: it says nothing of the secret. */
export function ticketName(secret: Uint8Array): string {
  return createHash('sha256').update('shoal ticket').update(secret).digest('hex').slice(0, 32)
}
