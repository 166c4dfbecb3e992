import { UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { LinkTable } from '../../node/network/link-table.ts'
import type { NetworkClock } from '../../node/network/network-clock.ts'
import type {
  BulkPurpose,
  BulkStream,
  MembershipGate,
  NetworkHandlers,
  PeerLink,
  PeerNetwork,
} from '../../node/network/network.ts'
import { ChunkFiller } from '../../node/network/read-into.ts'
import type { Line, RawStream, Session } from '../../node/network/session.ts'

export interface MemoryHubOptions {
  clock: NetworkClock
  /** From 0 to 1, the same for the same seed. */
  random: () => number
  /** How long what is said takes: from, to. @default [0, 1] */
  delayMs?: readonly [number, number]
  /** The share of gossip that is lost. A link loses nothing before its end. @default 0 */
  lossShare?: number
}

/** What all memory networks hang on: it delays, loses and cuts as it is told, the same for the same seed. */
export class MemoryHub {
  readonly clock: NetworkClock
  readonly #random: () => number
  readonly #delayMs: readonly [number, number]
  lossShare: number
  readonly #networks = new Map<string, MemoryNetwork>()
  /** Ways on which nothing goes on, and what waits there, as in the buffers of a network. */
  readonly #cuts = new Map<string, (() => void)[]>()
  /** When the last on its way from one to another arrives: none overtakes another. */
  readonly #lastAtMs = new Map<string, number>()

  constructor({ clock, random, delayMs = [0, 1], lossShare = 0 }: MemoryHubOptions) {
    this.clock = clock
    this.#random = random
    this.#delayMs = delayMs
    this.lossShare = lossShare
  }

  add(network: MemoryNetwork): void {
    this.#networks.set(network.address, network)
  }

  remove(network: MemoryNetwork): void {
    this.#networks.delete(network.address)
  }

  at(address: string): MemoryNetwork | undefined {
    return this.#networks.get(address)
  }

  others(than: MemoryNetwork): MemoryNetwork[] {
    return [...this.#networks.values()].filter((network) => network !== than)
  }

  /** Nothing that one side says reaches the other any more, until {@link MemoryHub.heal}. */
  partition(side: readonly NodeId[], other: readonly NodeId[]): void {
    for (const a of side) {
      for (const b of other) {
        this.#cuts.set(`${a}>${b}`, [])
        this.#cuts.set(`${b}>${a}`, [])
      }
    }
  }

  heal(): void {
    const waiting = [...this.#cuts.values()].flat()
    this.#cuts.clear()
    for (const arrive of waiting) arrive()
  }

  /** Does something at another node, after a while. */
  carry(from: NodeId, to: NodeId, arrive: () => void): void {
    const [least, most] = this.#delayMs
    const way = `${from}>${to}`
    const nowMs = this.clock.nowMs()
    const atMs = Math.max(nowMs + least + this.#random() * (most - least), this.#lastAtMs.get(way) ?? 0)
    this.#lastAtMs.set(way, atMs)
    this.clock.after(atMs - nowMs, () => {
      const held = this.#cuts.get(way)
      if (held === undefined) arrive()
      else held.push(arrive)
    })
  }

  /** As `carry`, for what may be lost. */
  toss(from: NodeId, to: NodeId, arrive: () => void): void {
    if (this.lossShare > 0 && this.#random() < this.lossShare) return
    if (!this.#cuts.has(`${from}>${to}`)) this.carry(from, to, arrive)
  }
}

export interface MemoryNetworkOptions {
  self: NodeId
  publicKey: Uint8Array
  gate: MembershipGate
  meshId: Uint8Array
  name: string
  version: string
  protocolVersion: number
  bytesMaxOf(type: number): number
  keepAliveMs?: number
  silentMsMax?: number
  unsentBytesMax?: number
}

const connectMs = 5000
const gossipBytesMax = 64 * 1024

/** A network inside one process, for simulations: the very links of the real one, hello and all, over a {@link MemoryHub}. */
export class MemoryNetwork implements PeerNetwork {
  readonly self: NodeId
  readonly address: string
  readonly publicKey: Uint8Array
  readonly #hub: MemoryHub
  readonly #table: LinkTable
  readonly #streams = new Set<MemoryStream>()
  #handlers: NetworkHandlers | undefined
  #isClosed = false

  constructor(hub: MemoryHub, options: MemoryNetworkOptions) {
    const { self, publicKey, gate, bytesMaxOf, keepAliveMs, silentMsMax, unsentBytesMax } = options
    this.#hub = hub
    this.self = self
    this.publicKey = publicKey
    this.address = `/memory/${self}`
    this.#table = new LinkTable({
      self: { ...options, node: self, addresses: () => this.addresses },
      gate,
      clock: hub.clock,
      bytesMaxOf,
      keepAliveMs,
      silentMsMax,
      unsentBytesMax,
      onLinkUp: (link) => this.#handlers?.onLinkUp(link),
      onLinkDown: (link, reason) => this.#handlers?.onLinkDown(link, reason),
      onFrame: (link, frame) => this.#handlers?.onFrame(link, frame),
      onAddress: (address) => this.#onAddress(address),
      onRefused: () => {},
      onLineFree: () => {},
    })
  }

  get addresses(): readonly string[] {
    return [this.address]
  }

  open(handlers: NetworkHandlers): Promise<void> {
    this.#handlers = handlers
    this.#hub.add(this)
    return Promise.resolve()
  }

  async connect(
    address: string,
    { timeoutMs = connectMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NodeId> {
    const deadline = new AbortController()
    const stop = this.#hub.clock.after(timeoutMs, () => deadline.abort())
    const ends = signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal])
    try {
      return await this.#table.reach(address, () => this.#dial(address, ends), ends)
    } finally {
      stop()
    }
  }

  /** There and back before the stream is open, as with sockets. */
  #dial(address: string, signal: AbortSignal): Promise<void> {
    const other = this.#hub.at(address)
    if (other === undefined) return Promise.reject(new UnreachableError(`nobody answers at ${address}`))
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new UnreachableError(`${address} does not answer`)), { once: true })
      this.#hub.carry(this.self, other.self, () => {
        this.#hub.carry(other.self, this.self, () => {
          if (signal.aborted || this.#isClosed || other.#isClosed) return
          const [mine, theirs] = streamPair(this.#hub, this, other)
          other.#start(theirs, this, false)
          this.#start(mine, other, true)
          resolve()
        })
      })
    })
  }

  #start(stream: MemoryStream, other: MemoryNetwork, isOpener: boolean): Session {
    const line: Line = { peer: other.address, publicKey: other.publicKey, address: other.address }
    const session = this.#table.start(stream, line, isOpener)
    stream.onBytes = (bytes) => session.receive(bytes)
    stream.onEnd = () => session.broken('the connection is lost')
    return session
  }

  #onAddress(address: string): void {
    if (address === this.address || this.#isClosed || this.#table.isMeeting(address)) return
    this.connect(address).catch(() => {})
  }

  links(): Iterable<PeerLink> {
    return this.#table.links()
  }

  link(node: NodeId): PeerLink | undefined {
    return this.#table.link(node)
  }

  publish(data: Uint8Array): void {
    if (data.length > gossipBytesMax) throw new RangeError(`gossip of ${data.length} bytes; at most ${gossipBytesMax}`)
    const copy = Uint8Array.from(data)
    for (const other of this.#hub.others(this)) {
      this.#hub.toss(this.self, other.self, () => {
        if (other.#table.member(this.address) !== undefined) other.#handlers?.onGossip(this.self, copy)
      })
    }
  }

  openBulk(node: NodeId, { purpose = 'exchange' }: { purpose?: BulkPurpose } = {}): Promise<BulkStream> {
    const other = this.#hub.at(`/memory/${node}`)
    if (other === undefined || this.#table.link(node) === undefined) {
      return Promise.reject(new UnreachableError(`there is no link to node ${node}`))
    }
    const [mine, theirs] = streamPair(this.#hub, this, other)
    const stream = new MemoryBulkStream(theirs)
    this.#hub.carry(this.self, node, () => other.#handlers?.onBulk(this.self, stream, purpose))
    return Promise.resolve(new MemoryBulkStream(mine))
  }

  recheck(): void {
    this.#table.recheck()
  }

  close(): Promise<void> {
    this.#table.close('the node is stopping')
    this.#leave()
    return Promise.resolve()
  }

  /** Ends at once, as a process that is killed: nothing is said, the others see that the connections break. */
  kill(): void {
    this.#handlers = undefined
    this.#leave()
  }

  #leave(): void {
    this.#isClosed = true
    this.#hub.remove(this)
    for (const stream of this.#streams) stream.end(true)
  }

  /** @internal */
  holds(stream: MemoryStream): void {
    this.#streams.add(stream)
  }

  /** @internal */
  drops(stream: MemoryStream): void {
    this.#streams.delete(stream)
  }
}

/** One end of a stream through the hub. */
class MemoryStream implements RawStream {
  onBytes: (bytes: Buffer) => void = () => {}
  onEnd: (isBroken: boolean) => void = () => {}
  other: MemoryStream | undefined
  reader: MemoryBulkStream | undefined
  unsentBytes = 0
  readonly #carry: (arrive: () => void) => void
  readonly #onEnded: () => void
  #isEnded = false

  constructor(carry: (arrive: () => void) => void, onEnded: () => void) {
    this.#carry = carry
    this.#onEnded = onEnded
  }

  write(bytes: Uint8Array): void {
    if (this.#isEnded) return
    const copy = Buffer.from(bytes)
    this.unsentBytes += copy.length
    this.#carry(() => {
      this.unsentBytes -= copy.length
      this.other?.onBytes(copy)
    })
  }

  end(isBroken: boolean): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#onEnded()
    this.#carry(() => this.other?.onEnd(isBroken))
  }
}

function streamPair(hub: MemoryHub, a: MemoryNetwork, b: MemoryNetwork): [MemoryStream, MemoryStream] {
  const mine: MemoryStream = new MemoryStream(
    (arrive) => hub.carry(a.self, b.self, arrive),
    () => a.drops(mine),
  )
  const theirs: MemoryStream = new MemoryStream(
    (arrive) => hub.carry(b.self, a.self, arrive),
    () => b.drops(theirs),
  )
  mine.other = theirs
  theirs.other = mine
  a.holds(mine)
  b.holds(theirs)
  return [mine, theirs]
}

const aheadBytesMax = 1024 * 1024

/** A bulk stream through the hub: the writer waits when the reader is a mebibyte behind. */
class MemoryBulkStream implements BulkStream {
  readonly #stream: MemoryStream
  readonly #chunks: Buffer[] = []
  #filler: ChunkFiller | undefined
  #isEnded = false
  #broken: Error | undefined
  #aheadBytes = 0
  #changed = Promise.withResolvers<void>()

  constructor(stream: MemoryStream) {
    this.#stream = stream
    stream.reader = this
    stream.onBytes = (bytes) => {
      this.#chunks.push(bytes)
      this.#tell()
    }
    stream.onEnd = (isBroken) => {
      if (isBroken) this.#broken ??= new UnreachableError('the stream was broken off')
      this.#isEnded = true
      this.#tell()
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken
    this.#aheadBytes += bytes.length
    this.#stream.write(bytes)
    while (this.#aheadBytes > aheadBytesMax && this.#broken === undefined) await this.#changed.promise
    if (this.#broken !== undefined) throw this.#broken
  }

  end(): Promise<void> {
    this.#stream.end(false)
    return Promise.resolve()
  }

  abort(reason: string): void {
    this.#broken ??= new UnreachableError(reason)
    this.#stream.end(true)
    this.#tell()
  }

  get source(): AsyncIterable<Uint8Array> {
    return this.#read()
  }

  readInto(target: Uint8Array): Promise<void> {
    return (this.#filler ??= new ChunkFiller(this.source)).fill(target)
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        yield chunk
        const writer = this.#stream.other?.reader
        if (writer !== undefined) writer.taken(chunk.length)
      } else if (this.#isEnded) {
        return
      } else {
        await this.#changed.promise
      }
    }
  }

  /** The reader has taken some of what was written here. */
  taken(bytes: number): void {
    this.#aheadBytes -= bytes
    this.#tell()
  }

  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}
