import { randomBytes } from 'node:crypto'
import path from 'node:path'
import type { Socket } from 'node:net'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import { socketPathBytesMax } from '../../protocols/places.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import { isPlain } from '../../protocols/wire-value.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { WakefulLoop } from '../runtime/wakeful-loop.ts'
import { within } from '../runtime/within.ts'
import { DirectLine } from './direct-line.ts'
import { Door } from './door.ts'

/** Lines of one worker, and callers that are on their way. */
const linesMax = 64
/** How long callers may take to hang up when the actor ends. */
const endMs = 1000

export interface DirectCallersHost {
  readonly connection: NodeConnection
  onPush(push: MessageBody<'actorPush'>): void
  onCancel(cancel: MessageBody<'actorCancel'>): void
}

/**
 * The worker that an actor is on: its lines to those processes of the same node that call it one call at a time. Each is
 * told, through the node, where to come and a key that only it knows.
 */
export class DirectCallers {
  readonly #host: DirectCallersHost
  readonly #lines = new Map<ClientId, DirectLine>()
  /** For those that were told where to come and have not said their key yet. */
  readonly #doors = new Map<ClientId, Door>()
  /** On a line the caller is the only other one who has to do with a call. */
  readonly #loop = new WakefulLoop(1)
  #isResting = false
  /** The last that has come was one call. Whoever sends many at a time is after throughput, and the cores are needed for that. */
  #isOneAtATime = false
  #isClosed = false

  constructor(host: DirectCallersHost) {
    this.#host = host
  }

  /** A process of the same node asks for a line. */
  onMeet({ from: caller }: MessageBody<'actorMeet'>): void {
    const { welcome } = this.#host.connection
    const socketPath = path.join(welcome.codeDirectory, `c-${randomBytes(8).toString('hex')}`)
    this.#doors.get(caller)?.close()
    const isFull = this.#lines.size + this.#doors.size >= linesMax
    if (this.#isClosed || isFull || Buffer.byteLength(socketPath) > socketPathBytesMax) {
      this.#answer(caller, '', '')
      return
    }
    const key = randomBytes(16).toString('hex')
    const door = new Door(socketPath, {
      onOpen: (isOpen) => this.#answer(caller, isOpen ? socketPath : '', isOpen ? key : ''),
      onSocket: (socket) => this.#receive(socket, caller, { door, key }),
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
  #receive(socket: Socket, caller: ClientId, { door, key }: { door: Door; key: string }): void {
    let isKnown = false
    const line = new DirectLine(socket, {
      onMessage: (name, frame) => {
        if (isKnown) {
          this.#onMessage(caller, line, name, frame)
          return
        }
        if (name !== 'actorHello' || decodeBody('actorHello', frame.body).key !== key) throw notExpected(name)
        isKnown = true
        door.admit()
        this.#lines.get(caller)?.destroy()
        this.#lines.set(caller, line)
        line.send('actorHello', { key })
      },
      onEnded: () => {
        door.close()
        if (this.#lines.get(caller) === line) this.#lines.delete(caller)
      },
    })
    socket.on('data', (chunk) => line.receive(chunk))
  }

  #onMessage(caller: ClientId, line: DirectLine, name: MessageName, frame: Frame): void {
    if (name === 'actorPush') {
      this.#wake()
      const push = fromCaller(caller, decodeBody('actorPush', frame.body))
      this.#isOneAtATime = push.calls.length === 1
      if (!push.calls.every(({ task }) => isPlainCall(task))) {
        throw new ProtocolError('a call with refs, or of a stream, does not go over a line')
      }
      this.#host.onPush(push)
    } else if (name === 'actorCancel') this.#host.onCancel(fromCaller(caller, decodeBody('actorCancel', frame.body)))
    // Everything before it has been taken in.
    else if (name === 'actorFence') line.send('actorFence', decodeBody('actorFence', frame.body))
    else throw notExpected(name)
    this.#host.connection.handled()
  }

  /** Sends results over the line to who has called. False when there is none, or it has ended over that. */
  send(to: ClientId, results: TaskResult[]): boolean {
    const line = this.#lines.get(to)
    if (line === undefined || !line.isOpen || this.#isClosed) return false
    line.send('actorDone', { to, from: this.#host.connection.welcome.clientId, results })
    line.flush()
    return line.isOpen
  }

  /** The actor has answered what it was asked, and waits for the next call. */
  rest(): void {
    if (this.#isResting || !this.#isOneAtATime) return
    this.#isResting = true
    this.#loop.begin()
  }

  #wake(): void {
    if (!this.#isResting) return
    this.#isResting = false
    this.#loop.end()
  }

  /** From now on everything goes through the node. Resolves when everybody has what was sent before. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const door of this.#doors.values()) door.close()
    await within(
      endMs,
      [...this.#lines.values()].map((line) => line.end()),
    )
  }
}

function isPlainCall({ returnCount, args, resolved }: TaskSpec): boolean {
  return returnCount > 0 && isPlain(args) && resolved.every(({ value }) => isPlain(value))
}

function fromCaller<T extends { from: ClientId }>(caller: ClientId, body: T): T {
  if (body.from !== caller) throw new ProtocolError('a message on a line names another sender than its caller')
  return body
}

function notExpected(name: string): ProtocolError {
  return new ProtocolError(`a ${name} message is not expected from a caller`)
}
