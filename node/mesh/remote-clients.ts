import { ByteWriter } from '../../protocols/bytes.ts'
import type { Frame } from '../../protocols/frame.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { encodeBody, messages, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { RemoteClients } from '../server/client-directory.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import type { PeerPost } from './peer-post.ts'

/** Clients of one node that are kept; more than that many at once work for this node or ask it something. */
const clientsPerNodeMax = 100_000
/** Clients of one node that are remembered as gone. */
const gonePerNodeMax = 10_000

/** A client message packed up for a link: its type and its body. */
export function packFrame<N extends MessageName>(name: N, body: MessageBody<N>): Uint8Array {
  const writer = new ByteWriter(256)
  writer.u8(messages[name].code)
  encodeBody(writer, name, body)
  return writer.take()
}

/** A client of another node. */
class RemoteClient implements LeaseEnd {
  readonly id: ClientId
  /** Its own node leaves out what it does not want. */
  readonly wantsLogs = true
  readonly #node: NodeId
  readonly #post: PeerPost

  constructor(id: ClientId, post: PeerPost) {
    this.id = id
    this.#node = nodeOf(id)
    this.#post = post
  }

  get unsentBytes(): number {
    return this.#post.unsentBytes(this.#node)
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#post.send(this.#node, 'toClient', { client: this.id, frame: packFrame(name, body) })
  }

  forward(frame: Frame, leaseId?: number): void {
    this.#post.forward(this.#node, frame, leaseId)
  }
}

/** The clients of nodes that a link leads to, as far as this node has to do with them. */
export class LinkedClients implements RemoteClients {
  readonly #post: PeerPost
  readonly #byNode = new Map<NodeId, Map<ClientId, RemoteClient>>()
  /** What others have to say of these may still be on its way. */
  readonly #gone = new Map<NodeId, Set<ClientId>>()

  constructor(post: PeerPost) {
    this.#post = post
  }

  linkUp(node: NodeId): void {
    this.#byNode.set(node, new Map())
    this.#gone.set(node, new Set())
  }

  /** Forgets a node's clients; gives those that were known. */
  linkDown(node: NodeId): ClientId[] {
    const known = [...(this.#byNode.get(node)?.keys() ?? [])]
    this.#byNode.delete(node)
    this.#gone.delete(node)
    return known
  }

  get(id: ClientId): LeaseEnd | undefined {
    const clients = this.#byNode.get(nodeOf(id))
    if (clients === undefined) return undefined
    let client = clients.get(id)
    if (client === undefined) {
      if (clients.size >= clientsPerNodeMax) return undefined
      client = new RemoteClient(id, this.#post)
      clients.set(id, client)
    }
    return client
  }

  /** True when it is known to have ended, or no link leads to it. */
  isGone(id: ClientId): boolean {
    return this.#gone.get(nodeOf(id))?.has(id) ?? true
  }

  /** It has ended. */
  remove(id: ClientId): void {
    this.#byNode.get(nodeOf(id))?.delete(id)
    const gone = this.#gone.get(nodeOf(id))
    gone?.add(id)
    if (gone === undefined || gone.size <= gonePerNodeMax) return
    const [oldest] = gone
    gone.delete(oldest as ClientId)
  }
}
