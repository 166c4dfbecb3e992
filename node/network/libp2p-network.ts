import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { MembershipError, NodeUnavailableError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { nodeIdOf } from '../membership/identity.ts'
import { Acquaintances, keyOf, type Acquaintance } from './acquaintances.ts'
import { DirectBulk } from './direct-bulk.ts'
import type { DirectStream } from './direct-stream.ts'
import { Gossip } from './gossip.ts'
import { KademliaPort } from './kademlia.ts'
import { protocols, startHost, stopLibp2p, type Host } from './libp2p-host.ts'
import { bytesOf, Libp2pBulkStream, rawStream, StreamConversation } from './libp2p-streams.ts'
import { LinkTable } from './link-table.ts'
import { realClock } from './network-clock.ts'
import type {
  BulkPurpose,
  BulkStream,
  JoinConversation,
  MembershipGate,
  NetworkHandlers,
  PeerLink,
  PeerNetwork,
} from './network.ts'
import { keyOfPeer, nearestFirst, peerIdOf, reasonOf, withPeer } from './peers.ts'
import { RefusalLog } from './refusal-log.ts'
import type { Line, Session } from './session.ts'

export interface Libp2pNetworkOptions {
  /** The 32 bytes of this node's Ed25519 private key, and its public key. */
  seed: Uint8Array
  publicKey: Uint8Array
  gate: MembershipGate
  meshId: Uint8Array
  name: string
  version: string
  protocolVersion: number
  /** Nobody has asked for a port that is only a `habit`: another one does as well when that is taken. */
  listen: { host: string; port: number; isHabit?: boolean }
  /** Look for neighbours of the same mesh. */
  mdns: boolean
  /** Addresses of members that were known before. */
  remembered: readonly string[]
  /** Addresses that the user gave. */
  fixed: readonly string[]
  /** Somebody who may want to join. */
  onJoin(conversation: JoinConversation): void
  /** The addresses of those who are known have changed. */
  onPeersChanged(addresses: string[]): void
  /** It listens at this port. */
  onListening(port: number): void
  /** The largest body of a frame of the upper layer; 0 for a type that it does not have. */
  bytesMaxOf(type: number): number
  log(text: string): void
  keepAliveMs?: number
  silentMsMax?: number
  unsentBytesMax?: number
}

const provingMs = 5000
const connectMs = 5000
const redialMs = 200
const restMs = 1000
const lingerMs = 500
const lastWordsMs = 50
const joinsMax = 8
/** Of a port and a secret. */
const ticketAnswerBytes = 34
const directMs = 2000
/** So long no direct connection is tried again. */
const indirectMs = 60_000

/** The network of a mesh over libp2p: TCP, TLS with the nodes' own keys, yamux, gossipsub, mDNS, Kademlia. */
export class Libp2pNetwork implements PeerNetwork {
  readonly self: NodeId
  readonly #options: Libp2pNetworkOptions
  readonly #table: LinkTable
  readonly #lines = new WeakMap<Connection, Line>()
  readonly #connections = new WeakMap<Line, Connection>()
  readonly #acquaintances = new Acquaintances(Math.random)
  readonly #refusals: RefusalLog
  /** Open streams for bulk. */
  readonly #bulk = new Set<Stream>()
  readonly #neighbours = new Set<string>()
  readonly #direct: DirectBulk
  /** Lookups in the DHT. */
  readonly kademlia = new KademliaPort({ peerOf: (node) => this.#peerOf(node) })
  /** Nodes that could not be reached directly a while ago. */
  readonly #indirectUntil = new Map<NodeId, number>()
  #host: Host | undefined
  #gossip: Gossip | undefined
  #handlers: NetworkHandlers | undefined
  #joins = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: Libp2pNetworkOptions) {
    const { gate, bytesMaxOf, keepAliveMs, silentMsMax, unsentBytesMax, log } = options
    this.#options = options
    this.#direct = new DirectBulk({
      host: options.listen.host,
      now: () => performance.now(),
      onStream: (node, stream) => this.#handlers?.onBulk(node, stream, 'values'),
      log: options.log,
    })
    this.self = nodeIdOf(options.publicKey)
    this.#refusals = new RefusalLog(log)
    this.#table = new LinkTable({
      self: { ...options, node: this.self, addresses: () => this.addresses },
      gate,
      clock: realClock,
      bytesMaxOf,
      keepAliveMs,
      silentMsMax,
      unsentBytesMax,
      onLinkUp: (link) => this.#onLinkUp(link),
      onLinkDown: (link, reason) => {
        this.#direct.end(link.peer.node)
        this.#indirectUntil.delete(link.peer.node)
        this.#redialIn(redialMs)
        this.#handlers?.onLinkDown(link, reason)
      },
      onFrame: (link, frame) => this.#handlers?.onFrame(link, frame),
      onAddress: (address) => {
        if (/^\/ip[46]\/.+\/p2p\/\w+$/.test(address)) this.#met(address)
      },
      onRefused: ({ peer, address }, reason) => this.#refusals.say(peer, `no link with ${address}: ${reason}`),
      onLineFree: (line) => this.#closeWhenUnused(this.#connections.get(line)),
    })
  }

  get addresses(): readonly string[] {
    return nearestFirst(this.#host?.libp2p.getMultiaddrs().map(String) ?? [])
  }

  /** Some other member is known, whether or not there is a link to it. */
  get knowsOthers(): boolean {
    return !this.#acquaintances.isEmpty
  }

  /** How many members were found by multicast since the start. */
  get neighboursSeen(): number {
    return this.#neighbours.size
  }

  async open(handlers: NetworkHandlers): Promise<void> {
    this.#handlers = handlers
    const { listen, meshId, remembered, fixed, onListening } = this.#options
    await this.#direct.open()
    const host = await this.#listen(listen.port).catch(async (error: Error) => {
      if (listen.isHabit !== true || listen.port === 0) throw error
      this.#options.log(`port ${listen.port}, which it had last, is not free; it takes another: ${error.message}`)
      return this.#listen(0)
    })
    const port = /\/tcp\/(\d+)/.exec(this.addresses[0] ?? '')?.[1]
    if (port !== undefined) onListening(Number(port))
    this.#gossip = new Gossip(host, {
      meshId,
      isMember: (peer) => this.#table.member(peer) !== undefined,
      onMessage: (peer, data) => {
        const node = this.#table.member(peer)
        if (node !== undefined) handlers.onGossip(node, data)
      },
    })
    for (const address of remembered) this.#met(address)
    for (const address of fixed) this.#met(address, true)
    this.#redial()
  }

  links(): Iterable<PeerLink> {
    return this.#table.links()
  }

  link(node: NodeId): PeerLink | undefined {
    return this.#table.link(node)
  }

  async connect(
    address: string,
    { timeoutMs = connectMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NodeId> {
    const deadline = AbortSignal.timeout(timeoutMs)
    return this.#dial([address], signal === undefined ? deadline : AbortSignal.any([deadline, signal]))
  }

  publish(data: Uint8Array): void {
    this.#gossip?.publish(data).catch((error: Error) => this.#options.log(`gossip: ${error.message}`))
  }

  async openBulk(
    node: NodeId,
    { timeoutMs = connectMs, purpose = 'exchange' }: { timeoutMs?: number; purpose?: BulkPurpose } = {},
  ): Promise<BulkStream> {
    const session = this.#table.link(node)
    const connection = session === undefined ? undefined : this.#connections.get(session.line)
    if (connection === undefined) throw new UnreachableError(`there is no link to node ${node}`)
    const signal = AbortSignal.timeout(timeoutMs)
    try {
      if (purpose === 'exchange') return this.#bulkOver(await connection.newStream(protocols.bulk, { signal }))
      const direct = await this.#openDirect(node, connection, signal)
      return direct ?? this.#bulkOver(await connection.newStream(protocols.values, { signal }))
    } catch (cause) {
      throw new UnreachableError(`node ${node} takes no stream: ${reasonOf(cause)}`, { cause })
    }
  }

  /** Undefined when the other node cannot be reached but through libp2p. */
  async #openDirect(node: NodeId, connection: Connection, signal: AbortSignal): Promise<DirectStream | undefined> {
    const [, host] = /^\/ip[46]\/([^/]+)\/tcp\//.exec(connection.remoteAddr.toString()) ?? []
    if (host === undefined || (this.#indirectUntil.get(node) ?? 0) > performance.now()) return undefined
    const stream = new Libp2pBulkStream(await connection.newStream(protocols.ticket, { signal }))
    const answer = Buffer.alloc(ticketAnswerBytes)
    signal.addEventListener('abort', () => stream.abort('it took too long'), { once: true })
    try {
      await stream.readInto(answer)
    } finally {
      await stream.end().catch(() => {})
    }
    const port = answer.readUInt16LE(0)
    if (port === 0) return undefined
    try {
      return await this.#direct.connect(node, { host, port, secret: answer.subarray(2) }, directMs)
    } catch (error) {
      this.#indirectUntil.set(node, performance.now() + indirectMs)
      this.#refusals.say(
        node,
        `${(error as Error).message}; values go over libp2p, which is slower: does a firewall let only one port through?`,
      )
      return undefined
    }
  }

  /** Gives a node what it takes to connect directly: the port, and a secret; port 0 when it may not. */
  #onTicket(stream: Stream, connection: Connection): void {
    const link = this.#table.linkOf(connection.remotePeer.toString())
    const secret = link === undefined ? undefined : this.#direct.issue(link.peer.node)
    const answer = Buffer.alloc(ticketAnswerBytes)
    if (secret !== undefined) {
      answer.writeUInt16LE(this.#direct.port, 0)
      secret.copy(answer, 2)
    }
    const out = new Libp2pBulkStream(stream)
    void out
      .write(answer)
      .then(() => out.end())
      .catch((error: Error) => out.abort(error.message))
  }

  recheck(): void {
    this.#table.recheck()
  }

  /** Does not look for a node any more. */
  forget(publicKey: Uint8Array): void {
    void peerIdOf(publicKey).then((id) => this.#acquaintances.forget(id))
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#table.close('the node is stopping')
    // Half of what was to be read must not look like the whole.
    for (const stream of this.#bulk) stream.abort(new Error('the node is stopping'))
    this.#direct.close()
    // What was said last is to arrive.
    await delay(lastWordsMs)
    if (this.#host !== undefined) await stopLibp2p(this.#host.libp2p)
  }

  async #listen(port: number): Promise<Host> {
    const { seed, mdns, meshId, listen } = this.#options
    const tag = `_shoal-${Buffer.from(meshId).toString('hex', 0, 4)}._udp.local`
    const isMember = (peer: PeerId): boolean => this.#table.isMember(peer.toString())
    const host = await startHost({
      seed,
      listen: { host: listen.host, port },
      mdnsTag: mdns ? tag : undefined,
      isMember,
    })
    this.#host = host
    this.kademlia.open(host)
    const { libp2p } = host
    libp2p.addEventListener('connection:open', ({ detail }) => this.#onConnection(detail))
    libp2p.addEventListener('peer:discovery', ({ detail }) => {
      this.#neighbours.add(detail.id.toString())
      for (const address of detail.multiaddrs) this.#met(withPeer(address.toString(), detail.id.toString()))
    })
    const { peer, join, bulk, values, ticket } = protocols
    await libp2p.handle(peer, (stream, connection) => this.#start(stream, connection, false), { maxInboundStreams: 2 })
    await libp2p.handle(join, (stream, connection) => this.#onJoin(stream, connection), { maxInboundStreams: 1 })
    const streams = { maxInboundStreams: 64 }
    await libp2p.handle(bulk, (stream, connection) => this.#onBulk(stream, connection, 'exchange'), streams)
    await libp2p.handle(values, (stream, connection) => this.#onBulk(stream, connection, 'values'), streams)
    await libp2p.handle(ticket, (stream, connection) => this.#onTicket(stream, connection), streams)
    try {
      await libp2p.start()
      return host
    } catch (cause) {
      const at = { host: listen.host, port }
      await stopLibp2p(libp2p).catch(() => {})
      throw new NodeUnavailableError(
        `this node cannot listen at ${at.host}:${port}: ${reasonOf(cause)}; choose another with --listen HOST:PORT`,
        { cause, retryable: false, details: at },
      )
    }
  }

  #peerOf(node: NodeId): PeerId | undefined {
    if (node === this.self) return this.#host?.libp2p.peerId
    const session = this.#table.link(node)
    return session === undefined ? undefined : this.#connections.get(session.line)?.remotePeer
  }

  // --- whom it knows

  #met(address: string, isFixed = false): void {
    if (keyOf(address) === this.#host?.libp2p.peerId.toString()) return
    if (!this.#acquaintances.met(address, performance.now(), isFixed)) return
    this.#tellChanged()
    if (this.#timer !== undefined) this.#redialIn(redialMs)
  }

  #redialIn(delayMs: number): void {
    clearTimeout(this.#timer)
    if (!this.#isClosed) this.#timer = setTimeout(this.#redial, delayMs)
  }

  #tellChanged(): void {
    this.#options.onPeersChanged(Array.from(this.#acquaintances.all(), ({ addresses }) => [...addresses]).flat())
  }

  readonly #redial = (): void => {
    let isComplete = true
    for (const known of this.#acquaintances.due(performance.now())) {
      if (this.#table.isMeeting(known.key) || this.#isLinkedAt(known.key)) continue
      isComplete = false
      known.isDialing = true
      this.#dial([...known.addresses], AbortSignal.timeout(connectMs)).then(
        () => {
          known.isDialing = false
        },
        (error: Error) => this.#onDialFailed(known, error),
      )
    }
    this.#redialIn(isComplete && !this.#acquaintances.hasFailed ? restMs : redialMs)
  }

  #onDialFailed(known: Acquaintance, error: Error): void {
    known.isDialing = false
    if (this.#table.linkOf(known.key) === undefined) {
      this.#acquaintances.failed(known, performance.now(), error instanceof MembershipError)
    }
  }

  /** Somebody who is known by an address alone. */
  #isLinkedAt(address: string): boolean {
    return this.#table
      .links()
      .some(({ peer }) => peer.addresses.some((each) => each === address || each.startsWith(`${address}/p2p/`)))
  }

  async #dial(addresses: string[], signal: AbortSignal): Promise<NodeId> {
    const { libp2p } = this.#host ?? {}
    if (libp2p === undefined || this.#isClosed) throw new UnreachableError('the network is not open')
    const { multiaddr } = await import('@multiformats/multiaddr')
    let connection: Connection
    try {
      connection = await libp2p.dial(
        addresses.map((address) => multiaddr(address)),
        { signal },
      )
    } catch (cause) {
      throw new UnreachableError(`nobody answers at ${addresses.join(', ')}: ${reasonOf(cause)}`, { cause })
    }
    const open = async (): Promise<void> => {
      this.#start(await connection.newStream(protocols.peer, { signal }), connection, true)
    }
    return this.#table.reach(connection.remotePeer.toString(), open, signal)
  }

  // --- connections and links

  /** Who has come in and shown nothing after a while has to go. */
  #onConnection(connection: Connection): void {
    if (connection.direction !== 'inbound') return
    const timer = setTimeout(() => {
      const { remotePeer, remoteAddr, status } = connection
      if (status !== 'open' || this.#isUsed(connection) || this.#table.isMeeting(remotePeer.toString())) return
      this.#refusals.say(
        hostOf(remoteAddr.toString()),
        `${String(remoteAddr)} has shown no certificate: connection closed`,
      )
      hangUp(connection)
    }, provingMs)
    timer.unref()
  }

  #start(stream: Stream, connection: Connection, isOpener: boolean): void {
    const line = this.#lineOf(connection)
    if (line === undefined || this.#isClosed) {
      stream.abort(new Error('only Ed25519 keys are members'))
      return
    }
    const session = this.#table.start(rawStream(stream), line, isOpener)
    stream.addEventListener('message', ({ data }) => session.receive(bytesOf(data)))
    stream.addEventListener('remoteCloseWrite', () => session.broken('the other side has closed the link'))
    stream.addEventListener('close', ({ error }) => session.broken(error?.message ?? 'the connection is lost'))
  }

  #lineOf(connection: Connection): Line | undefined {
    const known = this.#lines.get(connection)
    if (known !== undefined) return known
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined) return undefined
    const peer = connection.remotePeer.toString()
    const line = { peer, publicKey, address: withPeer(connection.remoteAddr.toString(), peer) }
    this.#lines.set(connection, line)
    this.#connections.set(line, connection)
    return line
  }

  #onLinkUp(link: Session): void {
    const { peer } = link.line
    for (const address of link.listening) this.#met(withPeer(address, peer))
    this.#acquaintances.linked(peer, performance.now())
    // Tells the other protocols that there is somebody to talk to.
    const connection = this.#connections.get(link.line)
    if (connection !== undefined) {
      this.#host
        ?.identify(connection)
        .catch((error: Error) => this.#options.log(`identify of ${link.peer.node}: ${error.message}`))
    }
    this.#handlers?.onLinkUp(link)
  }

  /** It may carry another link to the same node soon. */
  #closeWhenUnused(connection: Connection | undefined): void {
    if (connection === undefined) return
    const timer = setTimeout(() => {
      if (!this.#isUsed(connection)) hangUp(connection)
    }, lingerMs)
    timer.unref()
  }

  /** It carries a link, or what may become one, or somebody is just joining over it. */
  #isUsed(connection: Connection): boolean {
    const line = this.#lines.get(connection)
    if (line !== undefined && this.#table.isUsed(line)) return true
    return connection.streams.some(({ protocol }) => protocol === protocols.join)
  }

  // --- joining, bulk

  #onJoin(stream: Stream, connection: Connection): void {
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined || this.#joins >= joinsMax) {
      stream.abort(new Error('too many join at this moment; try again'))
      return
    }
    this.#joins++
    stream.addEventListener('close', () => {
      this.#joins--
      this.#closeWhenUnused(connection)
    })
    this.#options.onJoin(new StreamConversation(stream, publicKey, connection.remoteAddr.toString()))
  }

  #onBulk(stream: Stream, connection: Connection, purpose: BulkPurpose): void {
    const link = this.#table.linkOf(connection.remotePeer.toString())
    if (link === undefined) stream.abort(new Error('there is no link'))
    else this.#handlers?.onBulk(link.peer.node, this.#bulkOver(stream), purpose)
  }

  #bulkOver(stream: Stream): BulkStream {
    this.#bulk.add(stream)
    stream.addEventListener('close', () => this.#bulk.delete(stream))
    return new Libp2pBulkStream(stream)
  }
}

function hangUp(connection: Connection): void {
  if (connection.status === 'open') void connection.close().catch((error: Error) => connection.abort(error))
}

/** The machine of an address: who knocks again and again does so from another port each time. */
function hostOf(address: string): string {
  return address.split('/').slice(0, 3).join('/')
}
