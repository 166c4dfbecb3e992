import type { Socket } from 'node:net'
import { MessageChannel } from '../../protocols/channel.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import { WriteGuard } from '../../protocols/write-guard.ts'
import type { LeaseEnd } from './lease-end.ts'

export interface ClientEvents {
  onFrame(client: Client, name: MessageName, frame: Frame): void
  /** Told once, when the last frame has been handed over. */
  onClosed(client: Client): void
  log(text: string): void
}

/** One connection to the node's socket: a driver, a worker or the command line. */
export class Client implements LeaseEnd {
  readonly socket: Socket
  readonly #events: ClientEvents
  /** What a worker said before it died is heard, such as its results. */
  readonly #guard: WriteGuard
  readonly #channel: MessageChannel
  #closed = false

  /** '' until it has said hello. */
  id: ClientId = ''
  idBytes: Buffer = Buffer.alloc(0)
  role: MessageBody<'hello'>['role'] = 'command'
  pid = 0
  program = ''
  wantsLogs = false
  /** What it said of its tasks last. */
  tasks = { running: 0, queued: 0 }
  /** Of a worker; else 0. */
  workerId = 0
  /** This is the second connection of a client, on which it waits for room in the object store. */
  channelOf: Client | undefined
  /** Its second connection. */
  storeChannel: Client | undefined
  /** Its table of pins in shared memory. */
  pinTable: number | undefined
  /** It has asked where a value lies, or is to be written. */
  usesStore = false

  constructor(socket: Socket, events: ClientEvents) {
    this.socket = socket
    this.#events = events
    this.#channel = new MessageChannel({ write: (bytes) => this.#write(bytes) })
    this.#guard = new WriteGuard(socket)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    // The close event that follows tells all there is to tell.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#channel.close()
      events.onClosed(this)
    })
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Bytes that wait for the other side to read. */
  get unsentBytes(): number {
    return this.socket.writableLength
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    if (!this.#closed) this.#channel.send(name, body)
  }

  forward(frame: Frame, leaseId?: number): void {
    if (!this.#closed) this.#channel.forward(frame, leaseId)
  }

  /** Ends the connection when what was sent before is written. Nothing more is taken from the other side. */
  end(): void {
    if (this.#closed) return
    this.#channel.flush()
    this.#closed = true
    this.socket.end()
    this.socket.destroySoon()
  }

  /** Ends the connection of a client that breaks the rules, and tells it why. */
  refuse(code: string, message: string): void {
    this.send('refused', { code, message: message.slice(0, 4096) })
    this.end()
  }

  /** {@link refuse}, for what no correct client does: the log is to have it. */
  fail(message: string): void {
    if (this.#closed) return
    this.#events.log(`connection of ${this.describe()} closed: ${message}`)
    this.refuse('PROTOCOL', message)
  }

  describe(): string {
    return this.id === '' ? 'an unknown client' : `${this.role} ${this.id} (pid ${this.pid})`
  }

  #write(bytes: Uint8Array): void {
    if (this.socket.destroyed || this.#guard.isBroken) return
    this.socket.write(bytes)
    if (this.socket.writableLength > limits.unsentBytesMax) {
      this.#events.log(`connection of ${this.describe()} closed: it has stopped reading`)
      this.#closed = true
      this.socket.destroy()
    }
  }

  #receive(chunk: Buffer): void {
    try {
      if (!this.#closed) this.#channel.receive(chunk, this.#onFrame)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.fail(error.message)
    }
  }

  readonly #onFrame = (name: MessageName, frame: Frame): void => {
    // A chunk may hold more frames after the one for which the client was shown the door.
    if (!this.#closed) this.#events.onFrame(this, name, frame)
  }
}
