import type { ByteWriter } from '../../protocols/bytes.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { NodeId } from '../../protocols/ids.ts'

/**
 * How nodes of one mesh reach each other: one link per pair of nodes for messages, gossip to all for hints, and streams
 * for bulk. There are two networks: libp2p, and one in memory for simulations; one suite of tests holds for both.
 *
 * A link exists only between members: the network has the membership of both sides checked before anybody hears of it.
 *
 * @example
 * network.open({ onLinkUp: (link) => link.frame(1, (writer) => writer.u32(7)), ... })
 * const node = await network.connect('/ip4/192.168.1.7/tcp/7461')
 */
export interface PeerNetwork {
  readonly self: NodeId
  /** Where others reach this node, best first. */
  readonly addresses: readonly string[]
  /** Begins to listen, to look for other members, and to keep links to them. */
  open(handlers: NetworkHandlers): Promise<void>
  /**
   * Links up with the member at an address. Fulfilled when the link is up (or was up already).
   *
   * Rejects with UnreachableError when nobody answers there in time, MembershipError when one side refuses the other.
   */
  connect(address: string, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<NodeId>
  /** Links that are up now. */
  links(): Iterable<PeerLink>
  link(node: NodeId): PeerLink | undefined
  /** Tells all members that can be reached, over others if need be. May be lost, late or doubled. At most 64 KiB. */
  publish(data: Uint8Array): void
  /** A stream of its own to a linked node, for what is large. Rejects with UnreachableError. */
  openBulk(node: NodeId, options?: { timeoutMs?: number; purpose?: BulkPurpose }): Promise<BulkStream>
  /** Checks again who may stay: after a revocation, and as time goes by. */
  recheck(): void
  /** Ends all links in good order, and listens no more. */
  close(): Promise<void>
}

export interface NetworkHandlers {
  onLinkUp(link: PeerLink): void
  /** Told once for every link that was told to be up. */
  onLinkDown(link: PeerLink, reason: string): void
  onFrame(link: PeerLink, frame: Frame): void
  /** `from` is who published it, which the network has checked. */
  onGossip(from: NodeId, data: Uint8Array): void
  onBulk(from: NodeId, stream: BulkStream, purpose: BulkPurpose): void
}

/** What a node knows of the other end of a link. */
export interface PeerInfo {
  readonly node: NodeId
  /** Its machine's name, for people. */
  readonly name: string
  /** Version of its program. */
  readonly version: string
  readonly role: MemberRole
  /** Where it says that it can be reached, and the address of this link's connection. */
  readonly addresses: readonly string[]
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
}

/** `worker`: runs tasks only. `submitter`: submits tasks, offers nothing. `admin`: both, and may admit others. */
export type MemberRole = 'worker' | 'submitter' | 'admin'

/** The link to one other node. Frames arrive in order, each once, until the link goes down; then some last ones may be lost. */
export interface PeerLink {
  readonly peer: PeerInfo
  /** Appends a frame; all frames of one turn of the event loop go out together. */
  frame(type: number, write: (writer: ByteWriter) => void): void
  /** Appends a frame that was received elsewhere. `leaseId`, if given, takes the place of the first 4 bytes of its body. */
  forward(whole: Uint8Array, leaseId?: number): void
  flush(): void
  /** Bytes that wait for the other side to take them. A link with more than `limits.unsentBytesMax` is closed. */
  readonly unsentBytes: number
  /** Ends the link. The other side is told the reason; both hear of it by `onLinkDown`. */
  close(reason: string): void
}

/**
 * What a stream is for. `exchange`: one question and its answer. `values`: values of the object store; such a stream stays,
 * and is as fast as the machines can make it.
 */
export type BulkPurpose = 'exchange' | 'values'

/** Bytes both ways, with backpressure, apart from the link. */
export interface BulkStream {
  /**
   * Resolves when there is room for more; the bytes must stay as they are until then. Rejects when the stream is broken.
   */
  write(bytes: Uint8Array): Promise<void>
  /** No more will be written. */
  end(): Promise<void>
  /** The bytes of the other side, until its end. Throws when the stream breaks. To be read once. */
  readonly source: AsyncIterable<Uint8Array>
  /**
   * Fills the target with the next bytes of the other side. Calls that overlap are served in their order. Rejects with
   * UnreachableError when the stream ends before. Not to be used together with `source`.
   */
  readInto(target: Uint8Array): Promise<void>
  abort(reason: string): void
}

/** Who belongs to the mesh: the network asks at every link. */
export interface MembershipGate {
  /** What proves this node's membership, for the hello of a link. */
  credentials(): Uint8Array
  /**
   * Checks the proof of a node that holds the key. Throws MembershipError that says why it does not belong here.
   */
  check(credentials: Uint8Array, publicKey: Uint8Array): { node: NodeId; role: MemberRole }
}

/** One conversation of a node that is not a member yet with one that may admit it, over an encrypted connection. */
export interface JoinConversation {
  /** The other's key, proven by the connection. */
  readonly publicKey: Uint8Array
  /** The observed address of the other side. */
  readonly address: string
  /** Sends one message, at most 16 KiB. */
  send(message: Uint8Array): void
  /** The next message. Rejects with UnreachableError when the other side has gone, or says nothing for 10 s. */
  receive(): Promise<Uint8Array>
  close(): void
}
