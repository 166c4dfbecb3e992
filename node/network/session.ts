import type { ByteWriter } from '../../protocols/bytes.ts'
import { MembershipError, ProtocolError } from '../../protocols/errors.ts'
import { FrameReader, FrameWriter, type Frame } from '../../protocols/frame.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
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

/** What a session says of its own node. */
export interface SessionSelf {
  readonly node: NodeId
  readonly meshId: Uint8Array
  readonly name: string
  readonly version: string
  readonly protocolVersion: number
  addresses(): readonly string[]
}

export interface SessionOptions {
  self: SessionSelf
  gate: MembershipGate
  stream: RawStream
  /** The other's key, proven by the connection, and the address of it. */
  publicKey: Uint8Array
  remoteAddress: string
  /** This side has opened the stream. */
  isOpener: boolean
  bytesMaxOf(type: number): number
  keepAliveMs: number
  silentMsMax: number
  helloMs: number
  /** The other side has shown that it is a member. It has to find the same of this one before there is a link. */
  onChecked(session: Session): void
  onUp(session: Session): void
  onPeersKnown(session: Session, peers: NetworkFrameBody<'peersKnown'>): void
  onFrame(session: Session, frame: Frame): void
  /** Told once. `isUp`: it had been told to be up. */
  onDown(session: Session, reason: string, isUp: boolean): void
}

/**
 * One stream between two nodes: the hello, both sides' check of it, then frames, until one side goes silent or says
 * goodbye. It is a link once both have accepted each other.
 */
export class Session implements PeerLink {
  readonly #options: SessionOptions
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  #peer: PeerInfo | undefined
  #credentials: Uint8Array = new Uint8Array()
  #isAccepted = false
  #isUp = false
  #isEnded = false
  #lastSentMs = performance.now()
  #lastHeardMs = performance.now()
  readonly #helloTimer: NodeJS.Timeout
  readonly #beatTimer: NodeJS.Timeout

  constructor(options: SessionOptions) {
    this.#options = options
    const { stream, self, gate, keepAliveMs, helloMs } = options
    this.#reader = new FrameReader((type) => this.#bytesMaxOf(type))
    this.#writer = new FrameWriter({ write: (bytes) => this.#write(stream, bytes) })
    this.#helloTimer = setTimeout(() => this.close(`it has not said hello for ${helloMs} ms`), helloMs)
    this.#beatTimer = setInterval(() => this.#beat(), keepAliveMs / 2)
    this.#own('hello', {
      protocol: self.protocolVersion,
      version: self.version,
      meshId: self.meshId,
      name: self.name,
      credentials: gate.credentials(),
      addresses: self.addresses().slice(0, 16),
    })
  }

  get isOpener(): boolean {
    return this.#options.isOpener
  }

  get isUp(): boolean {
    return this.#isUp && !this.#isEnded
  }

  get peer(): PeerInfo {
    if (this.#peer === undefined) throw new Error('the other side has not said hello yet')
    return this.#peer
  }

  get unsentBytes(): number {
    return this.#options.stream.unsentBytes
  }

  frame(type: number, write: (writer: ByteWriter) => void): void {
    if (!this.#isEnded) this.#writer.frame(type, write)
  }

  forward(whole: Uint8Array, leaseId?: number): void {
    if (!this.#isEnded) this.#writer.forward(whole, leaseId)
  }

  flush(): void {
    this.#writer.flush()
  }

  /** Why the other side is no member any more; undefined when it is one. */
  whyNoMember(): string | undefined {
    const { gate, publicKey } = this.#options
    try {
      gate.check(this.#credentials, publicKey)
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }

  tellPeers(peers: NetworkFrameBody<'peersKnown'>): void {
    this.#own('peersKnown', peers)
  }

  /** Says goodbye and ends the stream. */
  close(reason: string): void {
    if (this.#isEnded) return
    this.#own('goodbye', { reason: reason.slice(0, 1024) })
    this.#writer.flush()
    this.#end(reason, false)
  }

  /** The stream has ended. */
  broken(reason: string): void {
    this.#end(reason, true)
  }

  receive(chunk: Buffer): void {
    if (this.#isEnded) return
    this.#lastHeardMs = performance.now()
    try {
      this.#reader.push(chunk, this.#onFrame)
    } catch (error) {
      if (!(error instanceof ProtocolError) && !(error instanceof MembershipError)) throw error
      this.close(error.message)
    }
  }

  readonly #onFrame = (frame: Frame): void => {
    if (this.#isEnded) return
    const name = networkFrameName(frame.type)
    if (name === undefined) this.#options.onFrame(this, frame)
    else this.#onOwn(name, frame)
  }

  #onOwn(name: NetworkFrameName, frame: Frame): void {
    switch (name) {
      case 'hello':
        return this.#onHello(frame)
      case 'accepted':
        this.#isAccepted = true
        return this.#upIfBoth()
      case 'goodbye':
        return this.#end(readNetworkFrame('goodbye', frame).reason, false)
      case 'keepAlive':
        return
      case 'peersKnown':
        return this.#options.onPeersKnown(this, readNetworkFrame('peersKnown', frame))
    }
  }

  #onHello(frame: Frame): void {
    const { self, gate, publicKey, remoteAddress } = this.#options
    if (this.#peer !== undefined) throw new ProtocolError('a node says hello twice')
    const protocol = frame.body.length < 4 ? -1 : frame.body.readUInt32LE(0)
    if (protocol !== self.protocolVersion) {
      throw new MembershipError(
        `nodes that speak protocols ${self.protocolVersion} (shoal ${self.version}) and ${protocol} cannot work together: use the same version of shoal on both`,
      )
    }
    const { version, meshId, name, credentials, addresses } = readNetworkFrame('hello', frame)
    if (Buffer.compare(meshId, self.meshId) !== 0) {
      throw new MembershipError('the two nodes belong to different meshes')
    }
    const { node, role } = gate.check(credentials, publicKey)
    this.#credentials = Uint8Array.from(credentials)
    this.#peer = { node, name, version, role, addresses: [...addresses, remoteAddress], publicKey }
    this.#options.onChecked(this)
    this.#own('accepted', {})
    this.#upIfBoth()
  }

  #upIfBoth(): void {
    if (this.#isUp || !this.#isAccepted || this.#peer === undefined) return
    clearTimeout(this.#helloTimer)
    this.#isUp = true
    this.#options.onUp(this)
  }

  #bytesMaxOf(type: number): number {
    const own = networkFrameBytesMax(type)
    if (own !== undefined) return own
    return this.#isUp ? this.#options.bytesMaxOf(type) : 0
  }

  #own<N extends NetworkFrameName>(name: N, body: NetworkFrameBody<N>): void {
    this.frame(networkFrames[name].type, (writer) => writeNetworkFrame(writer, name, body))
  }

  #write(stream: RawStream, bytes: Uint8Array): void {
    this.#lastSentMs = performance.now()
    stream.write(bytes)
    if (stream.unsentBytes > limits.unsentBytesMax) this.#end('it has stopped reading', true)
  }

  #beat(): void {
    const { keepAliveMs, silentMsMax } = this.#options
    const nowMs = performance.now()
    if (nowMs - this.#lastHeardMs > silentMsMax) this.close(`it has not answered for ${silentMsMax / 1000} s`)
    else if (this.#isUp && nowMs - this.#lastSentMs >= keepAliveMs / 2) this.#own('keepAlive', {})
  }

  #end(reason: string, isBroken: boolean): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#helloTimer)
    clearInterval(this.#beatTimer)
    this.#options.stream.end(isBroken)
    this.#options.onDown(this, reason, this.#isUp)
  }
}
