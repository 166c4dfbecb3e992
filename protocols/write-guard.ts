import type { Socket } from 'node:net'

/** How long the rest of what has come may take to be read. It is in the kernel already. */
const restMs = 5000

/**
 * Has a socket that cannot be written to any more be read to its end: what the other side said before it died would be lost
 * otherwise, since a socket is closed at the first error. What is written from then on is dropped.
 */
export class WriteGuard {
  readonly #socket: Socket
  #isBroken = false

  constructor(socket: Socket) {
    this.#socket = socket
    // The methods of a stream that write, of which a socket has both.
    const { _write: write, _writev: writeMany } = socket
    const guarded: Pick<Socket, '_write' | '_writev'> = {
      _write: (chunk, encoding, done) => {
        if (this.#isBroken) done()
        else write.call(socket, chunk, encoding, (error) => this.#written(error, done))
      },
      _writev: (chunks, done) => {
        if (this.#isBroken) done()
        else writeMany?.call(socket, chunks, (error) => this.#written(error, done))
      },
    }
    Object.assign(socket, guarded)
  }

  /** Nothing that is written arrives any more. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  #written(error: Error | null | undefined, done: (error?: Error | null) => void): void {
    const socket = this.#socket
    if (error === null || error === undefined || socket.destroyed || socket.readableEnded) {
      done(error)
      return
    }
    if (!this.#isBroken) {
      this.#isBroken = true
      // The end of what is read closes it.
      const timer = setTimeout(() => socket.destroy(error), restMs).unref()
      socket.once('close', () => clearTimeout(timer))
    }
    done()
  }
}
