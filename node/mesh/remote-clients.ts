import { ByteWriter } from '../../protocols/bytes.ts'
import type { Frame } from '../../protocols/frame.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { encodeBody, messages, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { RemoteClients } from '../server/client-directory.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import type { PeerPost } from './peer-post.ts'

/** Clients of one node that are kept; more than that many at once work for this node or ask it something. */
const clientsPerNodeMax = 100_000
/** Those that ended last are remembered. */
const goneMax = 10_000

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
  /** What comes late is not to bring them back. */
  readonly #gone = new Set<ClientId>()

  constructor(post: PeerPost) {
    this.#post = post
  }

  linkUp(node: NodeId): void {
    this.#byNode.set(node, new Map())
  }

  /** Forgets a node's clients; gives those that were known. */
  linkDown(node: NodeId): ClientId[] {
    const known = [...(this.#byNode.get(node)?.keys() ?? [])]
    this.#byNode.delete(node)
    return known
  }

  get(id: ClientId): LeaseEnd | undefined {
    const clients = this.#byNode.get(nodeOf(id))
    if (clients === undefined || this.#gone.has(id)) return undefined
    let client = clients.get(id)
    if (client === undefined) {
      if (clients.size >= clientsPerNodeMax) return undefined
      client = new RemoteClient(id, this.#post)
      clients.set(id, client)
    }
    return client
  }

  /** It has ended, and will not come again: ids are used once. */
  remove(id: ClientId): void {
    this.#gone.add(id)
    if (this.#gone.size > goneMax) for (const oldest of this.#gone.values().take(1)) this.#gone.delete(oldest)
    this.#byNode.get(nodeOf(id))?.delete(id)
  }
}
