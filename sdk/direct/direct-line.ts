import type { Socket } from 'node:net'
import { MessageChannel } from '../../protocols/channel.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import { WriteGuard } from '../../protocols/write-guard.ts'

/** What one end of a line is told. */
export interface LineEvents {
  onMessage(name: MessageName, frame: Frame): void
  /** The line has ended, after everything that came has been handed over. */
  onEnded(): void
}

/** One end of a connection between two processes of one node, without the node between them. It keeps no process alive. */
export class DirectLine {
  readonly #socket: Socket
  readonly #guard: WriteGuard
  readonly #channel: MessageChannel
  readonly #events: LineEvents
  #isOpen = true

  constructor(socket: Socket, events: LineEvents) {
    this.#socket = socket
    this.#events = events
    this.#channel = new MessageChannel({ write: (bytes) => this.#write(bytes) })
    this.#guard = new WriteGuard(socket)
    socket.unref()
    // The close event that follows tells all there is to tell.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#isOpen = false
      this.#channel.close()
      events.onEnded()
    })
  }

  /** False when the line has ended, or the other end has said that it will, or takes nothing any more. */
  get isOpen(): boolean {
    return this.#isOpen && this.#socket.writable && !this.#guard.isBroken
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#channel.send(name, body)
  }

  flush(): void {
    this.#channel.flush()
  }

  /** Takes bytes of the other end. What is not as the protocol has it ends the line. */
  receive(chunk: Buffer): void {
    if (!this.#isOpen) return
    try {
      this.#channel.receive(chunk, this.#onFrame)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.destroy()
    }
  }

  readonly #onFrame = (name: MessageName, frame: Frame): void => {
    if (this.#isOpen) this.#events.onMessage(name, frame)
  }

  /** Ends the line after what was sent, and resolves when the other end has all of it. What that says until then is still taken. */
  end(): Promise<void> {
    this.#channel.flush()
    const { promise, resolve } = Promise.withResolvers<void>()
    if (this.#socket.closed) resolve()
    this.#socket.once('close', () => resolve())
    this.#socket.end()
    return promise
  }

  destroy(): void {
    this.#isOpen = false
    this.#socket.destroy()
  }

  #write(bytes: Uint8Array): void {
    if (!this.#socket.writable) return
    this.#socket.write(bytes)
    // The other end has stopped reading.
    if (this.#socket.writableLength > limits.unsentBytesMax) this.destroy()
  }
}
