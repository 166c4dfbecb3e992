import { MembershipError, UnreachableError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { NetworkClock } from './network-clock.ts'
import { peersKnownParts } from './network-frames.ts'
import type { MembershipGate, PeerLink } from './network.ts'
import { Session, type Line, type RawStream, type SessionEnd, type SessionGround, type SessionSelf } from './session.ts'

export interface LinkTableOptions {
  self: SessionSelf
  gate: MembershipGate
  clock: NetworkClock
  bytesMaxOf(type: number): number
  /** Something is said at least so often. @default 2000 */
  keepAliveMs?: number | undefined
  /** A link on which nothing is heard for longer is down. @default 8000 */
  silentMsMax?: number | undefined
  unsentBytesMax?: number | undefined
  onLinkUp(link: Session): void
  onLinkDown(link: Session, reason: string): void
  onFrame(link: PeerLink, frame: Frame): void
  /** A member has told where some member is. */
  onAddress(address: string): void
  /** One side does not want the other. */
  onRefused(line: Line, reason: string): void
  /** No session is left on the line. */
  onLineFree(line: Line): void
}

interface Waiter {
  resolve(node: NodeId): void
  reject(error: Error): void
}

interface Known {
  readonly node: NodeId
  readonly credentials: Uint8Array
  readonly publicKey: Uint8Array
}

const keepAliveMs = 2000
const silentMsMax = 8000
const helloMs = 5000
/** So long the link that this node is about to open itself has precedence. */
const precedenceMs = 1000
/** Of two links that came up within that time, both sides keep the same one. */
const sameTimeMs = 1000
const newsMs = 50
const addressCheckBeats = 15
const knownMax = 2000

/**
 * The links of a node: which streams become links, that there is one for each other node, and who is known to be a
 * member. It knows nothing of how streams come about. Peers go by the names of their keys.
 */
export class LinkTable {
  readonly #options: LinkTableOptions
  readonly #ground: SessionGround
  readonly #sessions = new Map<string, Set<Session>>()
  readonly #links = new Map<NodeId, Session>()
  readonly #startedAtMs = new WeakMap<Session, number>()
  readonly #upAtMs = new WeakMap<Session, number>()
  /** Who has shown to be a member at some time. */
  readonly #known = new Map<string, Known>()
  /** Peers to whom this node is opening a link. */
  readonly #attempts = new Set<string>()
  /** Links opened by those peers, which wait for that. Each with what ends its wait. */
  readonly #held = new Map<Session, () => void>()
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #news = new Map<string, readonly string[]>()
  #stopNews: (() => void) | undefined
  #stopBeat: (() => void) | undefined
  #beats = 0
  #ownAddresses = ''

  constructor(options: LinkTableOptions) {
    this.#options = options
    this.#ground = {
      self: options.self,
      gate: options.gate,
      beatMs: (options.keepAliveMs ?? keepAliveMs) / 2,
      silentMsMax: options.silentMsMax ?? silentMsMax,
      helloMs,
      unsentBytesMax: options.unsentBytesMax ?? limits.unsentBytesMax,
      bytesMaxOf: options.bytesMaxOf,
      onChecked: (session) => this.#onChecked(session),
      onUp: (session) => this.#onUp(session),
      onPeersKnown: (_, nodes) => {
        for (const address of nodes.flat()) options.onAddress(address)
      },
      onFrame: options.onFrame,
      onEnd: (session, end) => this.#onEnd(session, end),
    }
  }

  links(): IteratorObject<Session> {
    return this.#links.values()
  }

  link(node: NodeId): Session | undefined {
    return this.#links.get(node)
  }

  linkOf(peer: string): Session | undefined {
    for (const session of this.#of(peer)) if (this.#isLink(session)) return session
    return undefined
  }

  /** It has shown on a stream that is still there that it is a member. */
  isMember(peer: string): boolean {
    return this.#of(peer)
      .values()
      .some((session) => session.isChecked)
  }

  /** The node of a peer that was found to be a member, whether or not there is a link to it now. */
  member(peer: string): NodeId | undefined {
    return this.#known.get(peer)?.node
  }

  /** There is a stream that is a link, or may become one. */
  isMeeting(peer: string): boolean {
    return this.#attempts.has(peer) || this.#of(peer).size > 0
  }

  isUsed(line: Line): boolean {
    return this.#of(line.peer)
      .values()
      .some((session) => session.line === line)
  }

  start(stream: RawStream, line: Line, isOpener: boolean): Session {
    const session = new Session(this.#ground, stream, line, isOpener)
    const { peer } = line
    this.#sessions.set(peer, (this.#sessions.get(peer) ?? new Set()).add(session))
    this.#startedAtMs.set(session, this.#options.clock.nowMs())
    this.#stopBeat ??= this.#options.clock.after(this.#ground.beatMs, this.#onBeat)
    return session
  }

  /**
   * Links up with a peer: by a stream that `open` begins, unless one is there already. Rejects with UnreachableError or
   * MembershipError.
   */
  async reach(peer: string, open: () => Promise<unknown>, signal: AbortSignal): Promise<NodeId> {
    const linked = this.linkOf(peer)
    if (linked !== undefined) return linked.peer.node
    const { promise, resolve, reject } = Promise.withResolvers<NodeId>()
    // It may be refused while the stream is still being opened.
    promise.catch(() => {})
    const waiter = { resolve, reject }
    const waiting = this.#waiting.get(peer) ?? new Set()
    this.#waiting.set(peer, waiting.add(waiter))
    const onLate = (): void => reject(new UnreachableError(`${peer} has not said hello in time`))
    signal.addEventListener('abort', onLate, { once: true })
    try {
      if (signal.aborted) onLate()
      else if (!this.isMeeting(peer)) await this.#open(peer, open)
      return await promise
    } finally {
      signal.removeEventListener('abort', onLate)
      waiting.delete(waiter)
      if (waiting.size === 0) this.#waiting.delete(peer)
    }
  }

  /** Checks again who may stay, when the rules or the time have changed. */
  recheck(): void {
    for (const [peer, { credentials, publicKey }] of this.#known) {
      try {
        this.#options.gate.check(credentials, publicKey)
      } catch (error) {
        this.#known.delete(peer)
        for (const session of [...this.#of(peer)]) session.refuse((error as Error).message)
      }
    }
  }

  /** Ends all. */
  close(reason: string): void {
    for (const session of this.#all()) session.close(reason)
    this.#stopBeat?.()
    this.#stopNews?.()
  }

  #of(peer: string): ReadonlySet<Session> {
    return this.#sessions.get(peer) ?? nobody
  }

  #all(): Session[] {
    return [...this.#sessions.values()].flatMap((sessions) => [...sessions])
  }

  #isLink(session: Session): boolean {
    return session.node !== undefined && this.#links.get(session.node) === session
  }

  async #open(peer: string, open: () => Promise<unknown>): Promise<void> {
    this.#attempts.add(peer)
    try {
      await open()
    } catch (error) {
      const { message } = error as Error
      this.#answer(peer, ({ reject }) =>
        reject(new UnreachableError(`${peer} takes no link: ${message}`, { cause: error })),
      )
    } finally {
      this.#attempts.delete(peer)
      // What the peer has opened itself is as good when this node's own stream has come to nothing.
      const isOpened = this.#of(peer)
        .values()
        .some((session) => session.isOpener)
      if (!isOpened) for (const session of this.#of(peer)) this.#letGo(session)
    }
  }

  readonly #onBeat = (): void => {
    const { clock, self } = this.#options
    this.#stopBeat = undefined
    for (const session of this.#all()) session.beat()
    if (++this.#beats % addressCheckBeats === 0) {
      const addresses = self.addresses()
      const before = this.#ownAddresses
      this.#ownAddresses = addresses.join(' ')
      if (before !== '' && before !== this.#ownAddresses) this.#tell(self.node, addresses)
    }
    if (this.#sessions.size > 0) this.#stopBeat ??= clock.after(this.#ground.beatMs, this.#onBeat)
  }

  #onChecked(session: Session): void {
    const { self, clock } = this.#options
    const { node, publicKey } = session.peer
    const { peer } = session.line
    const other = this.#links.get(node)
    if (node === self.node || (other !== undefined && other.line.peer !== peer)) {
      throw new MembershipError('another node has the same id')
    }
    this.#know(peer, { node, credentials: session.credentials, publicKey })
    // Two nodes often call each other at the same time: both wait for the call of the one with the smaller id.
    const mustWait = !session.isOpener && self.node < node && this.#isOpening(peer)
    if (mustWait)
      this.#held.set(
        session,
        clock.after(precedenceMs, () => this.#letGo(session)),
      )
    else session.accept()
  }

  /** This node has begun a link to the peer that is not up yet. */
  #isOpening(peer: string): boolean {
    return (
      this.#attempts.has(peer) ||
      this.#of(peer)
        .values()
        .some((session) => session.isOpener && !session.isUp)
    )
  }

  #know(peer: string, known: Known): void {
    this.#known.delete(peer)
    if (this.#known.size >= knownMax) {
      const unlinked = this.#known.entries().find(([, { node }]) => !this.#links.has(node))
      if (unlinked !== undefined) this.#known.delete(unlinked[0])
    }
    this.#known.set(peer, known)
  }

  #letGo(session: Session): void {
    const stop = this.#held.get(session)
    if (stop === undefined) return
    stop()
    this.#held.delete(session)
    session.accept()
  }

  #onUp(session: Session): void {
    const { self, clock, onLinkUp, onLinkDown } = this.#options
    const { node } = session.peer
    const { peer } = session.line
    const older = this.#links.get(node)
    if (older !== undefined && this.#isBetter(older, session)) {
      session.giveWay('there is a link already')
      return
    }
    this.#links.set(node, session)
    this.#upAtMs.set(session, clock.nowMs())
    if (older !== undefined) onLinkDown(older, 'a newer link takes its place')
    for (const other of [...this.#of(peer)]) if (other !== session) other.giveWay('there is another link')
    if (this.#ownAddresses === '') this.#ownAddresses = self.addresses().join(' ')
    onLinkUp(session)
    if (!session.isUp) return
    const others = this.#links.values().filter((link) => link !== session)
    for (const part of peersKnownParts(others.map((link) => link.listening))) session.tellPeers(part)
    this.#tell(node, session.listening)
    this.#answer(peer, ({ resolve }) => resolve(node))
  }

  /** Of two links that both sides have opened at the same time, the one stays that the smaller id has opened. */
  #isBetter(older: Session, session: Session): boolean {
    const { self } = this.#options
    const isBySmaller = (each: Session): boolean => each.isOpener === self.node < each.peer.node
    const upAtMs = this.#upAtMs.get(older) ?? 0
    const startedAtMs = this.#startedAtMs.get(session) ?? 0
    return startedAtMs - upAtMs < sameTimeMs && isBySmaller(older) && !isBySmaller(session)
  }

  /** All others are to know soon where a node is. */
  #tell(node: NodeId, addresses: readonly string[]): void {
    this.#news.set(node, addresses)
    this.#stopNews ??= this.#options.clock.after(newsMs, () => {
      this.#stopNews = undefined
      const news = [...this.#news]
      this.#news.clear()
      for (const link of this.#links.values()) {
        const forIt = news.filter(([of]) => of !== link.peer.node).map(([, where]) => where)
        for (const part of peersKnownParts(forIt)) link.tellPeers(part)
      }
    })
  }

  #onEnd(session: Session, { kind, reason }: SessionEnd): void {
    const { onLinkDown, onRefused, onLineFree } = this.#options
    const { line } = session
    const { peer } = line
    const wasLink = this.#isLink(session)
    this.#sessions.get(peer)?.delete(session)
    if (this.#of(peer).size === 0) this.#sessions.delete(peer)
    this.#held.get(session)?.()
    this.#held.delete(session)
    if (wasLink) {
      this.#links.delete(session.peer.node)
      onLinkDown(session, reason)
    }
    const linked = this.linkOf(peer)
    if (kind === 'refused') {
      onRefused(line, reason)
      this.#answer(peer, ({ reject }) => reject(new MembershipError(reason)))
    } else if (linked !== undefined) {
      this.#answer(peer, ({ resolve }) => resolve(linked.peer.node))
    } else if (!this.isMeeting(peer)) {
      this.#answer(peer, ({ reject }) => reject(new UnreachableError(`no link with ${line.address}: ${reason}`)))
    }
    if (!this.isUsed(line)) onLineFree(line)
  }

  #answer(peer: string, how: (waiter: Waiter) => void): void {
    for (const waiter of this.#waiting.get(peer) ?? []) how(waiter)
  }
}

const nobody: ReadonlySet<Session> = new Set()
