import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Ed25519PublicKey, PeerId, Stream } from '@libp2p/interface'
import { MembershipError, NodeUnavailableError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { Acquaintances, keyOf, type Acquaintance } from './acquaintances.ts'
import { protocols, startHost, startJoiner, type Host } from './libp2p-host.ts'
import { bytesOf, Libp2pBulkStream, rawStream, StreamConversation } from './libp2p-streams.ts'
import type { BulkStream, JoinConversation, MembershipGate, NetworkHandlers, PeerLink, PeerNetwork } from './network.ts'
import { RefusalLog } from './refusal-log.ts'
import { Session, type SessionSelf } from './session.ts'

export interface Libp2pNetworkOptions {
  /** The 32 bytes of this node's Ed25519 private key, and its public key. */
  seed: Uint8Array
  publicKey: Uint8Array
  gate: MembershipGate
  meshId: Uint8Array
  name: string
  version: string
  protocolVersion: number
  listen: { host: string; port: number }
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
}

const helloMs = 5000
const connectMs = 5000
const redialMs = 200
const lingerMs = 500
const lastWordsMs = 50
const joinsMax = 8
const membersMax = 2000
const gossipBytesMax = 64 * 1024
const gossipPerSecondMax = 20

/** The network of a mesh over libp2p: TCP, TLS with the nodes' own keys, yamux, gossipsub, mDNS, Kademlia. */
export class Libp2pNetwork implements PeerNetwork {
  readonly self: NodeId
  readonly #options: Libp2pNetworkOptions
  #host: Host | undefined
  #handlers: NetworkHandlers | undefined
  readonly #sessionSelf: SessionSelf
  readonly #sessions = new Set<Session>()
  readonly #links = new Map<NodeId, Session>()
  readonly #connections = new Map<Session, Connection>()
  /** Peers that have shown that they are members. */
  readonly #members = new Map<string, NodeId>()
  readonly #waiting = new Map<string, Set<{ resolve(node: NodeId): void; reject(error: Error): void }>>()
  readonly #gossipBudget = new Map<string, { tokens: number; atMs: number }>()
  readonly #acquaintances = new Acquaintances(Math.random)
  readonly #refusals: RefusalLog
  readonly #neighbours = new Set<string>()
  #joins = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: Libp2pNetworkOptions) {
    this.#options = options
    this.self = nodeIdOf(options.publicKey)
    this.#refusals = new RefusalLog(options.log)
    this.#sessionSelf = {
      node: this.self,
      meshId: options.meshId,
      name: options.name,
      version: options.version,
      protocolVersion: options.protocolVersion,
      addresses: () => this.addresses,
    }
  }

  get addresses(): readonly string[] {
    const found = this.#host?.libp2p.getMultiaddrs().map(String) ?? []
    return found.toSorted((a, b) => distance(a) - distance(b))
  }

  /** Some other member is known, whether or not there is a link to it. */
  get knowsOthers(): boolean {
    return !this.#acquaintances.isEmpty
  }

  /** Members that were found by multicast since the start. */
  get neighboursSeen(): number {
    return this.#neighbours.size
  }

  /** Kademlia's own part of libp2p, for looking things up. */
  get libp2p(): Host['libp2p'] | undefined {
    return this.#host?.libp2p
  }

  async open(handlers: NetworkHandlers): Promise<void> {
    this.#handlers = handlers
    const { seed, listen, mdns, meshId, remembered, fixed, onListening } = this.#options
    const tag = `_shoal-${Buffer.from(meshId).toString('hex', 0, 4)}._udp.local`
    const isMember = (peer: PeerId): boolean => this.#members.has(peer.toString())
    const host = await startHost({ seed, listen, mdnsTag: mdns ? tag : undefined, isMember })
    this.#host = host
    const { libp2p } = host
    libp2p.addEventListener('connection:open', ({ detail }) => this.#onConnection(detail))
    libp2p.addEventListener('peer:discovery', ({ detail }) => {
      this.#neighbours.add(detail.id.toString())
      for (const address of detail.multiaddrs) this.#met(withPeer(address.toString(), detail.id.toString()))
    })
    await libp2p.handle(protocols.peer, (stream, connection) => this.#startSession(stream, connection, false), {
      maxInboundStreams: 2,
    })
    await libp2p.handle(protocols.join, (stream, connection) => this.#onJoin(stream, connection), {
      maxInboundStreams: 1,
    })
    await libp2p.handle(protocols.bulk, (stream, connection) => this.#onBulk(stream, connection), {
      maxInboundStreams: 64,
    })
    try {
      await libp2p.start()
    } catch (cause) {
      throw new NodeUnavailableError(
        `this node cannot listen at ${listen.host}:${listen.port}: ${reasonOf(cause)}; choose another with --listen HOST:PORT`,
        { cause, retryable: false, details: { ...listen } },
      )
    }
    const port = /\/tcp\/(\d+)/.exec(this.addresses[0] ?? '')?.[1]
    if (port !== undefined) onListening(Number(port))
    this.#openGossip(host)
    for (const address of remembered) this.#met(address)
    for (const address of fixed) this.#met(address, true)
    this.#timer = setInterval(() => this.#redial(), redialMs)
  }

  links(): Iterable<PeerLink> {
    return this.#links.values()
  }

  link(node: NodeId): PeerLink | undefined {
    return this.#links.get(node)
  }

  async connect(
    address: string,
    { timeoutMs = connectMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NodeId> {
    const deadline = AbortSignal.timeout(timeoutMs)
    return this.#dial([address], signal === undefined ? deadline : AbortSignal.any([deadline, signal]))
  }

  publish(data: Uint8Array): void {
    if (data.length > gossipBytesMax) throw new RangeError(`gossip of ${data.length} bytes; at most ${gossipBytesMax}`)
    this.#host?.pubsub.publish(this.#topic, data).catch((error: Error) => this.#options.log(`gossip: ${error.message}`))
  }

  async openBulk(node: NodeId, { timeoutMs = connectMs } = {}): Promise<BulkStream> {
    const session = this.#links.get(node)
    const connection = session === undefined ? undefined : this.#connections.get(session)
    if (connection === undefined) throw new UnreachableError(`there is no link to node ${node}`)
    try {
      const stream = await connection.newStream(protocols.bulk, { signal: AbortSignal.timeout(timeoutMs) })
      return new Libp2pBulkStream(stream)
    } catch (cause) {
      throw new UnreachableError(`node ${node} takes no stream: ${reasonOf(cause)}`, { cause })
    }
  }

  /** Checks again who may stay, when the rules or the time have changed. */
  recheck(): void {
    for (const session of this.#links.values()) {
      const why = session.whyNoMember()
      if (why === undefined) continue
      this.#members.delete(this.#connections.get(session)?.remotePeer.toString() ?? '')
      session.close(why)
    }
  }

  /** Does not look for a node any more. */
  forget(publicKey: Uint8Array): void {
    void peerIdOf(publicKey).then((id) => this.#acquaintances.forget(id))
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    for (const session of this.#sessions) session.close('the node is stopping')
    // What was said last is to arrive.
    await delay(lastWordsMs)
    await this.#host?.libp2p.stop()
  }

  // --- whom it knows

  #met(address: string, isFixed = false): void {
    if (keyOf(address) === this.#host?.libp2p.peerId.toString()) return
    if (this.#acquaintances.met(address, performance.now(), isFixed)) this.#tellChanged()
  }

  #tellChanged(): void {
    this.#options.onPeersChanged(Array.from(this.#acquaintances.all(), ({ addresses }) => [...addresses]).flat())
  }

  #redial(): void {
    for (const known of this.#acquaintances.due(performance.now())) {
      if (this.#isLinkedTo(known.key) || this.#isMeeting(known.key)) continue
      known.isDialing = true
      this.#dial([...known.addresses], AbortSignal.timeout(connectMs)).then(
        () => {
          known.isDialing = false
        },
        (error: Error) => this.#onDialFailed(known, error),
      )
    }
  }

  #onDialFailed(known: Acquaintance, error: Error): void {
    known.isDialing = false
    if (this.#isLinkedTo(known.key)) return
    const isRefused = error instanceof MembershipError
    if (isRefused) this.#refusals.say(known.key, `${known.key}: ${error.message}`)
    this.#acquaintances.failed(known, performance.now(), isRefused)
  }

  #isLinkedTo(key: string): boolean {
    const node = this.#members.get(key)
    if (node !== undefined) return this.#links.has(node)
    // Known by its address alone.
    return [...this.#links.values()].some((link) => link.peer.addresses.some((address) => address.startsWith(key)))
  }

  /** The other one has called first. */
  #isMeeting(key: string): boolean {
    return [...this.#connections.values()].some(({ remotePeer }) => remotePeer.toString() === key)
  }

  async #dial(addresses: string[], signal: AbortSignal): Promise<NodeId> {
    const { libp2p } = this.#host ?? {}
    if (libp2p === undefined) throw new UnreachableError('the network is not open')
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
    const peer = connection.remotePeer.toString()
    const linked = this.#members.get(peer)
    if (linked !== undefined && this.#links.has(linked)) return linked
    const { promise, resolve, reject } = Promise.withResolvers<NodeId>()
    // It may be refused while the stream is still being opened.
    promise.catch(() => {})
    const waiter = { resolve, reject }
    const waiting = this.#waiting.get(peer) ?? new Set()
    this.#waiting.set(peer, waiting.add(waiter))
    const onLate = (): void => reject(new UnreachableError(`${peer} has not said hello in time`))
    signal.addEventListener('abort', onLate, { once: true })
    try {
      const stream = await connection.newStream(protocols.peer, { signal })
      this.#startSession(stream, connection, true)
      return await promise
    } catch (cause) {
      if (cause instanceof MembershipError || cause instanceof UnreachableError) throw cause
      throw new UnreachableError(`${peer} takes no link: ${reasonOf(cause)}`, { cause })
    } finally {
      signal.removeEventListener('abort', onLate)
      waiting.delete(waiter)
      if (waiting.size === 0) this.#waiting.delete(peer)
    }
  }

  // --- connections and links

  /** Who has come in and shown nothing after a while has to go. */
  #onConnection(connection: Connection): void {
    if (connection.direction !== 'inbound') return
    const timer = setTimeout(() => {
      const isMember = this.#members.has(connection.remotePeer.toString())
      const isBusy = connection.streams.some(
        ({ protocol }) => protocol === protocols.join || protocol === protocols.peer,
      )
      if (isMember || isBusy || connection.status !== 'open') return
      this.#refusals.say(
        connection.remoteAddr.toString(),
        `connection from ${String(connection.remoteAddr)} closed: it has shown no certificate`,
      )
      void connection.close().catch((error: Error) => connection.abort(error))
    }, helloMs)
    timer.unref()
  }

  #startSession(stream: Stream, connection: Connection, isOpener: boolean): void {
    const { gate, bytesMaxOf, keepAliveMs = 2000, silentMsMax = 8000 } = this.#options
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined || this.#isClosed) {
      stream.abort(new Error('only Ed25519 keys are members'))
      return
    }
    const session = new Session({
      self: this.#sessionSelf,
      gate,
      stream: rawStream(stream),
      publicKey,
      remoteAddress: withPeer(connection.remoteAddr.toString(), connection.remotePeer.toString()),
      isOpener,
      bytesMaxOf,
      keepAliveMs,
      silentMsMax,
      helloMs,
      onChecked: ({ peer }) => this.#onChecked(peer.node, connection.remotePeer.toString()),
      onUp: (up) => this.#onUp(up, connection),
      onPeersKnown: (_, peers) => {
        for (const address of peers.flat()) if (/^\/ip[46]\/.+\/p2p\/\w+$/.test(address)) this.#met(address)
      },
      onFrame: (from, frame) => this.#handlers?.onFrame(from, frame),
      onDown: (down, reason, isUp) => this.#onDown(down, connection, reason, isUp),
    })
    this.#sessions.add(session)
    this.#connections.set(session, connection)
    stream.addEventListener('message', ({ data }) => session.receive(bytesOf(data)))
    stream.addEventListener('remoteCloseWrite', () => session.broken('the other side has closed the link'))
    stream.addEventListener('close', ({ error }) => session.broken(error?.message ?? 'the connection is lost'))
  }

  #onChecked(node: NodeId, peer: string): void {
    const isTaken = [...this.#members].some(([id, member]) => member === node && id !== peer)
    if (node === this.self || isTaken) throw new MembershipError('another node has the same id')
    if (this.#members.size >= membersMax && !this.#members.has(peer)) {
      const unlinked = [...this.#members].find(([, member]) => !this.#links.has(member))
      if (unlinked !== undefined) this.#members.delete(unlinked[0])
    }
    this.#members.set(peer, node)
  }

  #onUp(session: Session, connection: Connection): void {
    const { node } = session.peer
    const peer = connection.remotePeer.toString()
    const older = this.#links.get(node)
    if (older !== undefined) {
      // Both have called each other: both sides keep the one that the smaller id has opened, or else the newer.
      const openedBySmaller = (each: Session): boolean => each.isOpener === this.self < node
      if (openedBySmaller(older) && !openedBySmaller(session)) {
        session.close('there is a link already')
        this.#answer(peer, (waiter) => waiter.resolve(node))
        return
      }
      this.#links.delete(node)
      this.#handlers?.onLinkDown(older, 'a newer link takes its place')
      older.close('a newer link takes its place')
    }
    this.#links.set(node, session)
    for (const address of session.peer.addresses.slice(0, -1)) this.#met(withPeer(address, peer))
    this.#acquaintances.linked(peer, performance.now())
    session.tellPeers(this.#addressesOfOthers(node))
    for (const other of this.#links.values()) {
      if (other !== session) other.tellPeers([session.peer.addresses.slice(0, -1)])
    }
    // Tells the other protocols that there is somebody to talk to.
    this.#host?.identify(connection).catch((error: Error) => this.#options.log(`identify of ${node}: ${error.message}`))
    this.#handlers?.onLinkUp(session)
    this.#answer(peer, (waiter) => waiter.resolve(node))
  }

  #onDown(session: Session, connection: Connection, reason: string, isUp: boolean): void {
    const peer = connection.remotePeer.toString()
    this.#sessions.delete(session)
    this.#connections.delete(session)
    if (!isUp) {
      this.#refusals.say(peer, `no link with ${peer} (${String(connection.remoteAddr)}): ${reason}`)
      this.#answer(peer, (waiter) => waiter.reject(new MembershipError(reason)))
      this.#closeWhenUnused(connection)
      return
    }
    const { node } = session.peer
    if (this.#links.get(node) !== session) return
    this.#links.delete(node)
    this.#handlers?.onLinkDown(session, reason)
    this.#closeWhenUnused(connection)
  }

  /** The connection may carry another link to the same node, or one that is just beginning. */
  #closeWhenUnused(connection: Connection): void {
    const timer = setTimeout(() => {
      const isUsed = [...this.#connections.values()].includes(connection)
      if (!isUsed && connection.status === 'open')
        void connection.close().catch((error: Error) => connection.abort(error))
    }, lingerMs)
    timer.unref()
  }

  #answer(peer: string, how: (waiter: { resolve(node: NodeId): void; reject(error: Error): void }) => void): void {
    for (const waiter of this.#waiting.get(peer) ?? []) how(waiter)
  }

  #addressesOfOthers(except: NodeId): string[][] {
    const others = [...this.#links.values()].filter(({ peer }) => peer.node !== except)
    return others.map(({ peer }) => peer.addresses.slice(0, -1))
  }

  // --- joining, bulk, gossip

  #onJoin(stream: Stream, connection: Connection): void {
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined || this.#joins >= joinsMax) {
      stream.abort(new Error('too many join at this moment; try again'))
      return
    }
    this.#joins++
    stream.addEventListener('close', () => this.#joins--)
    this.#options.onJoin(new StreamConversation(stream, publicKey, connection.remoteAddr.toString()))
  }

  #onBulk(stream: Stream, connection: Connection): void {
    const node = this.#members.get(connection.remotePeer.toString())
    if (node === undefined || !this.#links.has(node)) stream.abort(new Error('there is no link'))
    else this.#handlers?.onBulk(node, new Libp2pBulkStream(stream))
  }

  get #topic(): string {
    return `/shoal/${Buffer.from(this.#options.meshId).toString('hex', 0, 8)}/1`
  }

  #openGossip({ pubsub }: Host): void {
    const accept = 'accept' as never
    const reject = 'reject' as never
    pubsub.topicValidators.set(this.#topic, (_, message) => {
      const from = message.type === 'signed' ? message.from.toString() : ''
      const isFine = this.#members.has(from) && message.data.length <= gossipBytesMax && this.#maySay(from)
      return isFine ? accept : reject
    })
    pubsub.addEventListener('message', ({ detail }) => {
      if (detail.topic !== this.#topic || detail.type !== 'signed') return
      const node = this.#members.get(detail.from.toString())
      if (node !== undefined) this.#handlers?.onGossip(node, detail.data)
    })
    pubsub.subscribe(this.#topic)
  }

  #maySay(peer: string): boolean {
    const nowMs = performance.now()
    const budget = this.#gossipBudget.get(peer) ?? { tokens: gossipPerSecondMax, atMs: nowMs }
    budget.tokens = Math.min(gossipPerSecondMax, budget.tokens + ((nowMs - budget.atMs) / 1000) * gossipPerSecondMax)
    budget.atMs = nowMs
    this.#gossipBudget.set(peer, budget)
    if (budget.tokens < 1) return false
    budget.tokens -= 1
    return true
  }
}

/** Opens a conversation with a member that may let this machine in. The address names who is to answer. */
export async function dialToJoin(options: {
  seed: Uint8Array
  address: string
  timeoutMs: number
}): Promise<JoinConversation & AsyncDisposable> {
  const libp2p = await startJoiner(options.seed)
  const { multiaddr } = await import('@multiformats/multiaddr')
  try {
    const signal = AbortSignal.timeout(options.timeoutMs)
    const connection = await libp2p.dial(multiaddr(options.address), { signal })
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined) throw new Error('its key is not an Ed25519 key')
    const stream = await connection.newStream(protocols.join, { signal })
    const conversation = new StreamConversation(stream, publicKey, connection.remoteAddr.toString())
    return Object.assign(conversation, { [Symbol.asyncDispose]: async () => libp2p.stop() })
  } catch (cause) {
    await libp2p.stop()
    throw new UnreachableError(`nobody answers at ${options.address}: ${reasonOf(cause)}`, { cause })
  }
}

function nodeIdOf(publicKey: Uint8Array): NodeId {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 16)
}

/** The PeerId of a key, as text. */
async function peerIdOf(publicKey: Uint8Array): Promise<string> {
  const [{ publicKeyFromRaw }, { peerIdFromPublicKey }] = await Promise.all([
    import('@libp2p/crypto/keys'),
    import('@libp2p/peer-id'),
  ])
  return peerIdFromPublicKey(publicKeyFromRaw(publicKey) as Ed25519PublicKey).toString()
}

function keyOfPeer(peer: PeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}

function withPeer(address: string, peer: string): string {
  return address.includes('/p2p/') ? address : `${address}/p2p/${peer}`
}

/** The local network first, this machine itself last. */
function distance(address: string): number {
  if (/^\/ip4\/127\.|^\/ip6\/::1\//.test(address)) return 3
  if (address.startsWith('/ip6/')) return 2
  return /^\/ip4\/(10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(address) ? 0 : 1
}

function reasonOf(cause: unknown): string {
  const { message, errors } = cause as { message?: string; errors?: Error[] }
  return errors?.[0]?.message ?? message ?? String(cause)
}
