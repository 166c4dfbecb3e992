import { ByteReader } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import { decodeBody, encodeBody, messages } from '../../protocols/messages.ts'
import {
  peerMessageName,
  peerMessages,
  type PeerMessageBody,
  type PeerMessageHandlers,
  type PeerMessageName,
} from '../../protocols/peer-messages.ts'
import type { Codec } from '../../protocols/schema.ts'
import type { PeerLink, PeerNetwork } from '../network/network.ts'
import type { FrameLinks } from '../server/relay.ts'

export interface PeerPostHandlers {
  readonly messages: PeerMessageHandlers
  /** A frame between clients. False when it is not one. */
  relay(node: NodeId, frame: Frame): boolean
  onClientGone(node: NodeId, client: ClientId): void
}

/** Typed messages between this node and the others; what it sends to itself comes back at the end of the turn. */
export class PeerPost implements FrameLinks {
  readonly #network: Pick<PeerNetwork, 'self' | 'link' | 'links'>
  #handlers: PeerPostHandlers | undefined

  constructor(network: Pick<PeerNetwork, 'self' | 'link' | 'links'>) {
    this.#network = network
  }

  open(handlers: PeerPostHandlers): void {
    this.#handlers = handlers
  }

  /** Sends to a node. False when there is no link to it: the message is lost then. */
  send<N extends PeerMessageName>(to: NodeId, name: N, body: PeerMessageBody<N>): boolean {
    if (to === this.#network.self) {
      queueMicrotask(() => this.#handle(to, name, body))
      return true
    }
    const link = this.#network.link(to)
    if (link === undefined) return false
    const { code, body: codec } = peerMessages[name]
    link.frame(code, (writer) => (codec as Codec<unknown>).write(writer, body))
    return true
  }

  forward(node: NodeId, frame: Frame, leaseId?: number): boolean {
    const link = this.#network.link(node)
    link?.forward(frame.whole, leaseId)
    return link !== undefined
  }

  /** Bytes that wait to be sent to a node. */
  unsentBytes(node: NodeId): number {
    return this.#network.link(node)?.unsentBytes ?? 0
  }

  /** Tells all, or one node, that a client of this node has gone. */
  tellClientGone(client: ClientId, to?: NodeId): void {
    const { code } = messages.clientGone
    for (const link of this.#network.links()) {
      if (to === undefined || to === link.peer.node) {
        link.frame(code, (writer) => encodeBody(writer, 'clientGone', { client }))
      }
    }
  }

  /** Takes a frame from a link. One that breaks the rules ends the link. */
  receive(link: PeerLink, frame: Frame): void {
    try {
      this.#receive(link.peer.node, frame)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      link.close(error.message)
    }
  }

  #receive(node: NodeId, frame: Frame): void {
    if (this.#handlers?.relay(node, frame) === true) return
    if (frame.type === messages.clientGone.code) {
      this.#handlers?.onClientGone(node, decodeBody('clientGone', frame.body).client)
      return
    }
    const name = peerMessageName(frame.type)
    if (name === undefined) throw new ProtocolError(`a link carries no message of type ${frame.type}`)
    const reader = new ByteReader(frame.body)
    const body = peerMessages[name].body.read(reader)
    if (reader.remaining !== 0) throw new ProtocolError(`a ${name} message has ${reader.remaining} bytes too many`)
    this.#handle(node, name, body)
  }

  #handle<N extends PeerMessageName>(from: NodeId, name: N, body: PeerMessageBody<N>): void {
    const handler = this.#handlers?.messages[name] as ((from: NodeId, body: PeerMessageBody<N>) => void) | undefined
    handler?.(from, body)
  }
}
