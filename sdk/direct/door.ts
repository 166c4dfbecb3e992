import { createServer, type Server, type Socket } from 'node:net'

/** How long somebody may take to come, and to say who he is. */
const comeMs = 5000

export interface DoorEvents {
  /** It can be come to; or could not be opened, and is closed. */
  onOpen(isOpen: boolean): void
  /** Somebody has come. Nobody else is let in. */
  onSocket(socket: Socket): void
  /** Nobody is waited for any more. Told once. */
  onClosed(): void
}

/** A socket at which one visitor is waited for, for a while. */
export class Door {
  readonly #server: Server
  readonly #timer: NodeJS.Timeout
  readonly #events: DoorEvents
  #visitor: Socket | undefined
  #isClosed = false

  constructor(socketPath: string, events: DoorEvents) {
    this.#events = events
    this.#timer = setTimeout(() => this.close(), comeMs).unref()
    this.#server = createServer((socket) => {
      this.#server.close()
      this.#visitor = socket
      events.onSocket(socket)
    })
    this.#server.unref()
    this.#server.on('error', () => {
      events.onOpen(false)
      this.close()
    })
    this.#server.listen(socketPath, () => events.onOpen(true))
  }

  /** The visitor is the right one, and stays. */
  admit(): void {
    this.#visitor = undefined
    this.close()
  }

  /** Closes it, which deletes its file, and shows out who has not been admitted. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#server.close()
    this.#visitor?.destroy()
    this.#events.onClosed()
  }
}
