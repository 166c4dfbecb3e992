import { ByteReader, type ByteWriter } from '../../protocols/bytes.ts'
import { MembershipError, ProtocolError } from '../../protocols/errors.ts'
import { FrameReader, FrameWriter, type Frame } from '../../protocols/frame.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { MembershipGate, PeerInfo, PeerLink } from './network.ts'
import {
  networkFrameBytesMax,
  networkFrameName,
  networkFrames,
  readNetworkFrame,
  writeNetworkFrame,
  type NetworkFrameBody,
  type NetworkFrameName,
} from './network-frames.ts'

/** A byte stream both ways between two nodes, of whatever network. */
export interface RawStream {
  write(bytes: Uint8Array): void
  /** Bytes that wait for the other side to take them. */
  readonly unsentBytes: number
  /** Ends it after what was written; `isBroken`: at once. */
  end(isBroken: boolean): void
}

/** The connection that a session's stream is a part of. */
export interface Line {
  /** The other's key by name, and its 32 bytes, proven by the connection. */
  readonly peer: string
  readonly publicKey: Uint8Array
  /** Address of the other end. */
  readonly address: string
}

/** What a session says of its own node. */
export interface SessionSelf {
  readonly node: NodeId
  readonly meshId: Uint8Array
  readonly name: string
  readonly version: string
  readonly protocolVersion: number
  addresses(): readonly string[]
}

/** Why a session has ended. `refused`: one side does not want the other. `double`: there is another link. */
export interface SessionEnd {
  readonly kind: NetworkFrameBody<'goodbye'>['kind'] | 'lost'
  readonly reason: string
}

/** What all sessions of a network have in common. */
export interface SessionGround {
  readonly self: SessionSelf
  readonly gate: MembershipGate
  /** How often {@link Session.beat} is called. */
  readonly beatMs: number
  readonly silentMsMax: number
  readonly helloMs: number
  readonly unsentBytesMax: number
  bytesMaxOf(type: number): number
  /** The other side has shown that it is a member. `accept()` says so to it. Throws MembershipError to refuse it. */
  onChecked(session: Session): void
  onUp(session: Session): void
  onPeersKnown(session: Session, nodes: NetworkFrameBody<'peersKnown'>): void
  onFrame(session: Session, frame: Frame): void
  /** Told once. */
  onEnd(session: Session, end: SessionEnd): void
}

const addressesMax = 16
const nameCharsMax = 64
const reasonCharsMax = 1000

/**
 * One stream between two nodes: the hello, both sides' check of it, then frames, until one side goes silent or says
 * goodbye. It is a link once both have accepted each other.
 */
export class Session implements PeerLink {
  readonly line: Line
  /** This side has opened the stream. */
  readonly isOpener: boolean
  readonly #ground: SessionGround
  readonly #stream: RawStream
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  #phase: 'greeting' | 'checked' | 'up' | 'ended' = 'greeting'
  #peer: PeerInfo | undefined
  #credentials: Uint8Array = new Uint8Array()
  #hasAccepted = false
  #isAccepted = false
  #beats = 0
  /** Beats since the last bytes from the other side, and since the last to it. */
  #silentBeats = 0
  #quietBeats = 0

  constructor(ground: SessionGround, stream: RawStream, line: Line, isOpener: boolean) {
    this.#ground = ground
    this.#stream = stream
    this.line = line
    this.isOpener = isOpener
    this.#reader = new FrameReader((type) => this.#bytesMaxOf(type))
    this.#writer = new FrameWriter({ write: (bytes) => this.#write(bytes) })
    const { self, gate } = ground
    this.#own('hello', {
      protocol: self.protocolVersion,
      version: self.version,
      meshId: self.meshId,
      name: self.name.slice(0, nameCharsMax),
      credentials: gate.credentials(),
      addresses: self.addresses().slice(0, addressesMax),
    })
  }

  get isUp(): boolean {
    return this.#phase === 'up'
  }

  /** The other side has shown that it is a member. */
  get isChecked(): boolean {
    return this.#phase === 'checked' || this.#phase === 'up'
  }

  get peer(): PeerInfo {
    if (this.#peer === undefined) throw new Error('the other side has not said hello yet')
    return this.#peer
  }

  /** The other side's node, once that has shown that it is a member. */
  get node(): NodeId | undefined {
    return this.#peer?.node
  }

  /** Where the other side says that it listens. */
  get listening(): readonly string[] {
    return this.peer.addresses.slice(0, -1)
  }

  get credentials(): Uint8Array {
    return this.#credentials
  }

  get unsentBytes(): number {
    return this.#stream.unsentBytes
  }

  frame(type: number, write: (writer: ByteWriter) => void): void {
    if (this.#phase !== 'ended') this.#writer.frame(type, write)
  }

  forward(whole: Uint8Array, leaseId?: number): void {
    if (this.#phase !== 'ended') this.#writer.forward(whole, leaseId)
  }

  flush(): void {
    if (this.#phase !== 'ended') this.#writer.flush()
  }

  /** Says goodbye and ends the stream. */
  close(reason: string): void {
    this.#leave({ kind: 'closed', reason })
  }

  /** As `close`; the other side is told that it is not wanted. */
  refuse(reason: string): void {
    this.#leave({ kind: 'refused', reason })
  }

  /** As `close`; the other side is told that there is another link. */
  giveWay(reason: string): void {
    this.#leave({ kind: 'double', reason })
  }

  /** The stream has ended. */
  broken(reason: string): void {
    this.#end({ kind: 'lost', reason }, true)
  }

  /** Lets the other side know that this one wants the link. */
  accept(): void {
    if (this.#phase !== 'checked' || this.#hasAccepted) return
    this.#hasAccepted = true
    this.#own('accepted', {})
    this.#upIfBoth()
  }

  tellPeers(nodes: NetworkFrameBody<'peersKnown'>): void {
    this.#own('peersKnown', nodes)
  }

  receive(chunk: Buffer): void {
    if (this.#phase === 'ended') return
    this.#silentBeats = 0
    try {
      this.#reader.push(chunk, this.#onFrame)
    } catch (error) {
      if (!(error instanceof ProtocolError) && !(error instanceof MembershipError)) throw error
      this.refuse(error.message)
    }
  }

  /**
   * To be called in an even rhythm. Silence is counted in beats: when this process itself was held up, the time that it
   * did not listen is not held against the other side.
   */
  beat(): void {
    const { beatMs, silentMsMax, helloMs } = this.#ground
    if (this.#phase === 'ended') return
    this.#beats++
    this.#silentBeats++
    this.#quietBeats++
    if (this.#phase !== 'up') {
      if (this.#beats * beatMs > helloMs) this.#leave({ kind: 'lost', reason: `no hello within ${helloMs / 1000} s` })
    } else if (this.#silentBeats * beatMs > silentMsMax) {
      this.#leave({ kind: 'lost', reason: `it has not answered for ${silentMsMax / 1000} s` })
    } else if (this.#quietBeats > 1) {
      this.#own('keepAlive', {})
    }
  }

  readonly #onFrame = (frame: Frame): void => {
    if (this.#phase === 'ended') return
    const name = networkFrameName(frame.type)
    if (name === undefined) this.#ground.onFrame(this, frame)
    else this.#onOwn(name, frame)
  }

  #onOwn(name: NetworkFrameName, frame: Frame): void {
    switch (name) {
      case 'hello':
        return this.#onHello(frame)
      case 'accepted':
        this.#isAccepted = true
        return this.#upIfBoth()
      case 'goodbye': {
        const { kind, reason } = readNetworkFrame('goodbye', frame)
        return this.#end({ kind, reason: printable(reason) }, false)
      }
      case 'keepAlive':
        return
      case 'peersKnown':
        return this.#ground.onPeersKnown(this, readNetworkFrame('peersKnown', frame))
    }
  }

  #onHello(frame: Frame): void {
    const { self, gate } = this.#ground
    const { publicKey, address } = this.line
    checkVersions(self, frame)
    const { version, meshId, name, credentials, addresses } = readNetworkFrame('hello', frame)
    if (Buffer.compare(meshId, self.meshId) !== 0) {
      throw new MembershipError('the two nodes belong to different meshes')
    }
    const { node, role } = check(gate, credentials, publicKey)
    this.#credentials = Uint8Array.from(credentials)
    this.#peer = {
      node,
      name: printable(name),
      version: printable(version),
      role,
      addresses: [...addresses, address],
      publicKey,
    }
    this.#phase = 'checked'
    this.#ground.onChecked(this)
  }

  #upIfBoth(): void {
    if (this.#phase !== 'checked' || !this.#isAccepted || !this.#hasAccepted) return
    this.#phase = 'up'
    this.#ground.onUp(this)
  }

  /** What may come depends on what has come: a stranger cannot make a node take in more than a hello. */
  #bytesMaxOf(type: number): number {
    const isUp = this.#phase === 'up'
    switch (networkFrameName(type)) {
      case undefined:
        return isUp ? this.#ground.bytesMaxOf(type) : 0
      case 'hello':
        return this.#phase === 'greeting' ? (networkFrameBytesMax(type) ?? 0) : 0
      case 'accepted':
        return this.#phase === 'checked' ? (networkFrameBytesMax(type) ?? 0) : 0
      case 'goodbye':
        return networkFrameBytesMax(type) ?? 0
      case 'keepAlive':
      case 'peersKnown':
        return isUp ? (networkFrameBytesMax(type) ?? 0) : 0
    }
  }

  #own<N extends NetworkFrameName>(name: N, body: NetworkFrameBody<N>): void {
    this.frame(networkFrames[name].type, (writer) => writeNetworkFrame(writer, name, body))
  }

  #write(bytes: Uint8Array): void {
    const { unsentBytesMax } = this.#ground
    if (this.#phase === 'ended') return
    this.#quietBeats = 0
    this.#stream.write(bytes)
    if (this.#stream.unsentBytes > unsentBytesMax) {
      this.#end({ kind: 'lost', reason: `it does not read: more than ${unsentBytesMax} bytes wait for it` }, true)
    }
  }

  #leave(end: SessionEnd): void {
    if (this.#phase === 'ended') return
    const kind = end.kind === 'lost' ? 'closed' : end.kind
    this.#own('goodbye', { kind, reason: end.reason.slice(0, reasonCharsMax) })
    this.#writer.flush()
    this.#end(end, false)
  }

  #end(end: SessionEnd, isBroken: boolean): void {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.#stream.end(isBroken)
    this.#ground.onEnd(this, end)
  }
}

/** Throws MembershipError when the other side speaks another protocol. Its hello may then be of any form after that. */
function checkVersions(self: SessionSelf, { body }: Frame): void {
  const reader = new ByteReader(body)
  const protocol = reader.u32()
  if (protocol === self.protocolVersion) return
  const version = printable(reader.string(64))
  throw new MembershipError(
    `shoal ${self.version} (protocol ${self.protocolVersion}) and shoal ${version} (protocol ${protocol}) cannot work together: use the same version on both machines`,
  )
}

/** Whatever is wrong with the credentials, it is a refusal. */
function check(
  gate: MembershipGate,
  credentials: Uint8Array,
  publicKey: Uint8Array,
): ReturnType<MembershipGate['check']> {
  try {
    return gate.check(credentials, publicKey)
  } catch (error) {
    if (error instanceof MembershipError) throw error
    throw new MembershipError(`its credentials cannot be read: ${(error as Error).message}`)
  }
}

/** Text of another machine goes to logs and terminals: nothing in it may steer them. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Cf}/gu, '?')
}
