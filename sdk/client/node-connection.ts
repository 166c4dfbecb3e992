import { createConnection, type Socket } from 'node:net'
import { MessageChannel, dispatch } from '../../protocols/channel.ts'
import { NodeDiedError, NodeUnavailableError, ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import {
  decodeBody,
  protocolVersion,
  type MessageBody,
  type MessageHandlers,
  type MessageName,
} from '../../protocols/messages.ts'
import { shoalVersion } from '../../protocols/version.ts'

export interface ConnectOptions {
  socketPath: string
  role: 'driver' | 'worker' | 'command'
  /** Workers say which one they are. */
  workerId?: number
  wantsLogs?: boolean
  /** How long the node may take to answer. @default 5000 */
  timeoutMs?: number
}

export interface ConnectionEvents {
  /** The node is gone. */
  onClosed(error: NodeDiedError): void
  /** A message has been handled. */
  afterMessage?(): void
}

/** What is read at a time. */
const readBytes = 64 * 1024
/** How long the node may take to take leave. */
const closeTimeoutMs = 1000

/** This process's line to its node. */
export class NodeConnection {
  readonly welcome: MessageBody<'welcome'>
  readonly socketPath: string
  readonly #socket: Socket
  readonly #channel: MessageChannel
  #handlers: MessageHandlers = {}
  #events: ConnectionEvents | undefined
  #early: [MessageName, Frame][] | undefined = []
  #holders = 0
  #isClosing = false

  private constructor(socketPath: string, socket: Socket, channel: MessageChannel, welcome: MessageBody<'welcome'>) {
    this.socketPath = socketPath
    this.#socket = socket
    this.#channel = channel
    this.welcome = welcome
    socket.on('close', () => this.#closed('the connection to the node was lost'))
  }

  /**
   * Connects and says hello. Rejects with NodeUnavailableError when nobody listens there, the node does not answer in
   * time, or refuses (another version).
   */
  static connect(options: ConnectOptions): Promise<NodeConnection> {
    const { socketPath, timeoutMs = 5000 } = options
    const { promise, resolve, reject } = Promise.withResolvers<NodeConnection>()
    // One place for all that comes: the usual way makes a buffer of that size, and a turn of a stream, for every read.
    const place = Buffer.allocUnsafeSlow(readBytes)
    const socket = createConnection({
      path: socketPath,
      onread: {
        buffer: place,
        callback: (count) => {
          receive(Buffer.from(place.subarray(0, count)))
          return true
        },
      },
    })
    const channel = new MessageChannel({ write: (bytes) => void socket.write(bytes) })
    let connection: NodeConnection | undefined
    const fail = (message: string, cause?: unknown): void => {
      reject(new NodeUnavailableError(message, { cause, details: { socketPath } }))
      socket.destroy()
    }
    const timer = setTimeout(() => fail(`the node at ${socketPath} did not answer within ${timeoutMs} ms`), timeoutMs)
    const settled = (): void => clearTimeout(timer)
    promise.then(settled, settled)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? 'no node runs there' : error.message
      fail(`cannot reach a node at ${socketPath}: ${reason}`, error)
    })
    socket.on('close', () => fail(`the node at ${socketPath} closed the connection`))
    const receive = (chunk: Buffer): void => {
      try {
        channel.receive(chunk, (name, frame) => {
          if (connection !== undefined) connection.#onFrame(name, frame)
          else if (name === 'refused') fail(decodeBody('refused', frame.body).message)
          else if (name === 'welcome') {
            connection = new NodeConnection(socketPath, socket, channel, decodeBody('welcome', frame.body))
            resolve(connection)
          } else throw new ProtocolError(`the node sent ${name} before its welcome`)
        })
      } catch (error) {
        if (connection === undefined) fail((error as Error).message, error)
        else connection.#closed((error as Error).message)
      }
    }
    channel.send('hello', {
      protocol: protocolVersion,
      version: shoalVersion,
      role: options.role,
      pid: process.pid,
      workerId: options.workerId ?? 0,
      program: process.argv[1] ?? '',
      wantsLogs: options.wantsLogs ?? false,
    })
    return promise
  }

  /** Says who takes the messages, and what to do when the node is gone. Messages that came before are handed over now. */
  start(handlers: MessageHandlers, events: ConnectionEvents): void {
    this.#handlers = handlers
    this.#events = events
    const early = this.#early ?? []
    this.#early = undefined
    for (const [name, frame] of early) this.#onFrame(name, frame)
  }

  #onFrame(name: MessageName, frame: Frame): void {
    if (this.#early !== undefined) {
      this.#early.push([name, frame])
      return
    }
    // The node gives its reason before it ends a connection.
    if (name === 'refused') this.#closed(decodeBody('refused', frame.body).message)
    else dispatch(this.#handlers, name, frame)
    this.handled()
  }

  /** A message has been handled: one of the node, or one that came without it. */
  handled(): void {
    this.#events?.afterMessage?.()
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    if (!this.#isClosing) this.#channel.send(name, body)
  }

  /** Writes out at once what was sent, for code that will not return to the event loop soon. */
  flush(): void {
    this.#channel.flush()
  }

  /** Resolves when what was flushed is out of this process. Undefined when it is already. */
  written(): Promise<void> | undefined {
    if (this.#socket.writableLength === 0) return undefined
    return new Promise((resolve) => this.#socket.write('', () => resolve()))
  }

  /** Lets this process end although the connection is open, unless somebody holds it. */
  unref(): void {
    if (this.#holders === 0) this.#socket.unref()
  }

  /** Keeps the process alive, since somebody waits for an answer, until what is returned is called. */
  hold(): () => void {
    if (this.#holders++ === 0) this.#socket.ref()
    return this.#release
  }

  readonly #release = (): void => {
    if (--this.#holders === 0) this.#socket.unref()
  }

  #closed(reason: string): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#channel.close()
    this.#socket.destroy()
    this.#events?.onClosed(new NodeDiedError(`the node (pid ${this.welcome.nodePid}) is gone: ${reason}`))
  }

  /** Ends the connection; what was sent before still goes out. */
  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#channel.close()
    this.#isClosing = true
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#socket.ref()
    this.#socket.once('close', () => resolve())
    this.#socket.end()
    this.#socket.resume()
    // A node that does not answer must not keep this program from ending.
    const timer = setTimeout(() => this.#socket.destroy(), closeTimeoutMs)
    await promise
    clearTimeout(timer)
  }
}
