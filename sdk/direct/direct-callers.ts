import { randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { ProtocolError } from '../../protocols/errors.ts'
import type { ClientId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody } from '../../protocols/messages.ts'
import { socketPathBytesMax } from '../../protocols/places.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { DirectLine } from './direct-line.ts'

/** Lines of one worker. */
const linesMax = 64
/** How long a caller may take to come to where it was told to. */
const comeMs = 5000
/** How long callers may take to hang up when the actor ends. */
const endMs = 1000

export interface DirectCallersHost {
  readonly connection: NodeConnection
  onPush(push: MessageBody<'actorPush'>): void
  onCancel(cancel: MessageBody<'actorCancel'>): void
  /** A message has been handled. */
  afterMessage(): void
}

/**
 * The worker that an actor is on: its lines to those processes of the same node that call it one call at a time. Each is
 * told, through the node, where to come and a key that only it knows.
 */
export class DirectCallers {
  readonly #host: DirectCallersHost
  readonly #lines = new Map<ClientId, DirectLine>()
  readonly #doors = new Map<ClientId, Door>()
  #isClosed = false

  constructor(host: DirectCallersHost) {
    this.#host = host
  }

  /** A process of the same node asks for a line. */
  onMeet({ from: caller }: MessageBody<'actorMeet'>): void {
    const { welcome } = this.#host.connection
    const socketPath = path.join(welcome.codeDirectory, `c-${randomBytes(8).toString('hex')}`)
    const isFull = this.#lines.size + this.#doors.size >= linesMax
    if (this.#isClosed || isFull || Buffer.byteLength(socketPath) > socketPathBytesMax) {
      this.#answer(caller, '', '')
      return
    }
    this.#doors.get(caller)?.close()
    const key = randomBytes(16).toString('hex')
    const door = new Door({
      socketPath,
      onOpen: (isOpen) => this.#answer(caller, isOpen ? socketPath : '', isOpen ? key : ''),
      onSocket: (socket) => this.#admit(socket, caller, key),
      onClosed: () => {
        if (this.#doors.get(caller) === door) this.#doors.delete(caller)
      },
    })
    this.#doors.set(caller, door)
  }

  #answer(to: ClientId, socketPath: string, key: string): void {
    const { connection } = this.#host
    connection.send('actorMet', { to, from: connection.welcome.clientId, socketPath, key })
    connection.flush()
  }

  /** Somebody has come: the caller, if it knows the key. */
  #admit(socket: Socket, caller: ClientId, key: string): void {
    let isKnown = false
    const line = new DirectLine(socket, {
      onMessage: (name, frame) => {
        if (!isKnown) {
          if (name !== 'actorHello' || decodeBody('actorHello', frame.body).key !== key) throw notExpected(name)
          isKnown = true
          this.#lines.get(caller)?.destroy()
          this.#lines.set(caller, line)
        } else if (name === 'actorPush') this.#host.onPush(fromCaller(caller, decodeBody('actorPush', frame.body)))
        else if (name === 'actorCancel') this.#host.onCancel(fromCaller(caller, decodeBody('actorCancel', frame.body)))
        else throw notExpected(name)
        this.#host.afterMessage()
      },
      onEnded: () => {
        if (this.#lines.get(caller) === line) this.#lines.delete(caller)
      },
    })
    socket.on('data', (chunk) => line.receive(chunk))
  }

  /** Sends results over the line to who has called. False when there is none. */
  send(to: ClientId, results: TaskResult[]): boolean {
    const line = this.#lines.get(to)
    if (line === undefined || !line.isOpen || this.#isClosed) return false
    line.send('actorDone', { to, from: this.#host.connection.welcome.clientId, results })
    line.flush()
    return true
  }

  /** From now on everything goes through the node. Resolves when everybody has what was sent before. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const door of this.#doors.values()) door.close()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, endMs)
    await Promise.race([Promise.all([...this.#lines.values()].map((line) => line.end())), late])
    clearTimeout(timer)
  }
}

interface DoorOptions {
  readonly socketPath: string
  onOpen(isOpen: boolean): void
  onSocket(socket: Socket): void
  /** Nobody is let in any more. */
  onClosed(): void
}

/** A socket on which one caller is waited for, for a while. */
class Door {
  readonly #server: Server
  readonly #timer: NodeJS.Timeout
  readonly #onClosed: () => void

  constructor({ socketPath, onOpen, onSocket, onClosed }: DoorOptions) {
    this.#onClosed = onClosed
    this.#timer = setTimeout(() => this.close(), comeMs).unref()
    this.#server = createServer((socket) => {
      this.close()
      onSocket(socket)
    })
    this.#server.unref()
    this.#server.on('error', () => {
      onOpen(false)
      this.close()
    })
    this.#server.listen(socketPath, () => onOpen(true))
  }

  /** Closes it, which deletes its file. */
  close(): void {
    clearTimeout(this.#timer)
    this.#server.close()
    this.#onClosed()
  }
}

function fromCaller<T extends { from: ClientId }>(caller: ClientId, body: T): T {
  if (body.from !== caller) throw new ProtocolError('a message on a line names another sender than its caller')
  return body
}

function notExpected(name: string): ProtocolError {
  return new ProtocolError(`a ${name} message is not expected from a caller`)
}
