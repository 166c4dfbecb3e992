import { once } from 'node:events'
import net, { type Socket } from 'node:net'

const lastWritesMs = 300

/**
 * Listens on the node's socket. It listens early, so that a second start finds it, and keeps who comes until the rest of
 * the node stands: see `open`.
 */
export class SocketServer {
  readonly #server = net.createServer((socket) => this.#take(socket))
  readonly #sockets = new Set<Socket>()
  #early: Socket[] = []
  #onConnection: ((socket: Socket) => void) | undefined

  async listen(socketPath: string): Promise<void> {
    // Between bind and chmod the socket would be open to others, so the mask is set before.
    const mask = process.umask(0o177)
    try {
      this.#server.listen(socketPath)
    } finally {
      process.umask(mask)
    }
    await once(this.#server, 'listening')
  }

  /** From now on connections are handed over, beginning with those that came before. */
  open(onConnection: (socket: Socket) => void): void {
    this.#onConnection = onConnection
    for (const socket of this.#early) if (!socket.destroyed) onConnection(socket)
    this.#early = []
  }

  /** Stops listening, which deletes the socket's file, and ends every connection after what was written to it. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroySoon()
    // Who does not read any more is not waited for.
    const patience = setTimeout(() => this.#destroyAll(), lastWritesMs)
    await closed
    clearTimeout(patience)
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (this.#onConnection !== undefined) this.#onConnection(socket)
    else {
      socket.once('error', () => {})
      this.#early.push(socket)
    }
  }
}
