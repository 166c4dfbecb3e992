import type { TLSSocket } from 'node:tls'
import { UnreachableError } from '../../protocols/errors.ts'
import type { BulkStream } from './network.ts'

/** What has come and was not asked for yet may be so much; then the other side has to wait. */
const waitingBytesMax = 256 * 1024

/** Where the bytes of a socket go: the options with which it is opened. */
export interface DirectReader {
  readonly onread: { buffer: () => Uint8Array; callback: (bytes: number, buffer: Uint8Array) => boolean }
}

interface Wanted {
  target: Uint8Array
  filled: number
  resolve(): void
  reject(error: unknown): void
}

/**
 * A TLS connection of its own for what is large. What is asked for by `readInto` is decrypted right into its place, as long
 * as it is asked for before it comes.
 */
export class DirectStream implements BulkStream, DirectReader {
  #socket: TLSSocket | undefined
  readonly #spare = Buffer.allocUnsafeSlow(waitingBytesMax)
  /** What lies in the spare buffer and was not taken: from, to. */
  #waitingFrom = 0
  #waitingTo = 0
  readonly #wanted: Wanted[] = []
  #isPaused = false
  #isEnded = false
  #broken: Error | undefined
  #wake: () => void = () => {}
  onClosed: () => void = () => {}
  readonly onread = {
    buffer: (): Uint8Array => this.#nextBuffer(),
    callback: (bytes: number, buffer: Uint8Array): boolean => this.#onBytes(bytes, buffer),
  }

  /** The connection is there. `isReading`: it was opened with `onread`. */
  attach(socket: TLSSocket, isReading: boolean): void {
    this.#socket = socket
    socket.setNoDelay(true)
    if (!isReading) socket.on('data', (chunk: Buffer) => this.#onChunk(chunk))
    socket.on('end', () => this.#onEnd())
    socket.on('error', (error) => this.#onBroken(error))
    socket.on('close', () => {
      if (!this.#isEnded) this.#onBroken(new Error('the connection is lost'))
      this.onClosed()
    })
  }

  // --- writing

  async write(bytes: Uint8Array): Promise<void> {
    const socket = this.#socket
    if (this.#broken !== undefined || socket === undefined || !socket.writable) throw this.#brokenOff()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    socket.write(bytes, (error) => {
      if (error === undefined || error === null) resolve()
      else reject(this.#brokenOff(error))
    })
    await promise
  }

  async end(): Promise<void> {
    this.#socket?.end()
  }

  abort(reason: string): void {
    this.#broken ??= new Error(reason)
    this.#socket?.destroy()
    this.#failWanted()
  }

  // --- reading

  readInto(target: Uint8Array): Promise<void> {
    const taken = this.#takeWaiting(target)
    if (taken === target.length) return Promise.resolve()
    if (this.#broken !== undefined || this.#isEnded) return Promise.reject(this.#brokenOff())
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#wanted.push({ target, filled: taken, resolve, reject })
    this.#resume()
    return promise
  }

  get source(): AsyncIterable<Uint8Array> {
    return this.#chunks()
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = Buffer.allocUnsafe(this.#waitingTo - this.#waitingFrom)
      if (chunk.length > 0) {
        this.#takeWaiting(chunk)
        yield chunk
      } else if (this.#broken !== undefined) throw this.#brokenOff()
      else if (this.#isEnded) return
      else {
        this.#resume()
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  #takeWaiting(target: Uint8Array): number {
    // Those who asked before come first.
    if (this.#wanted.length > 0) return 0
    const count = Math.min(target.length, this.#waitingTo - this.#waitingFrom)
    target.set(this.#spare.subarray(this.#waitingFrom, this.#waitingFrom + count))
    this.#waitingFrom += count
    if (this.#waitingFrom === this.#waitingTo) this.#waitingFrom = this.#waitingTo = 0
    return count
  }

  #nextBuffer(): Uint8Array {
    const wanted = this.#wanted[0]
    if (wanted !== undefined) return wanted.target.subarray(wanted.filled)
    // While it is full the socket is paused, but the system asks for a place all the same.
    return this.#waitingTo < waitingBytesMax ? this.#spare.subarray(this.#waitingTo) : Buffer.allocUnsafe(1024)
  }

  /** False: no more for now. */
  #onBytes(count: number, buffer: Uint8Array): boolean {
    const wanted = this.#wanted[0]
    if (wanted !== undefined && buffer.buffer === wanted.target.buffer && isNextOf(wanted, buffer)) {
      this.#filled(wanted, count)
    } else this.#deliver(buffer.subarray(0, count))
    return this.#mayGoOn()
  }

  #onChunk(chunk: Uint8Array): void {
    this.#deliver(chunk)
    if (!this.#mayGoOn()) this.#socket?.pause()
  }

  #mayGoOn(): boolean {
    this.#wake()
    this.#isPaused = this.#wanted.length === 0 && this.#waitingTo > waitingBytesMax / 2
    return !this.#isPaused
  }

  #filled(wanted: Wanted, count: number): void {
    wanted.filled += count
    if (wanted.filled < wanted.target.length) return
    this.#wanted.shift()
    wanted.resolve()
  }

  /** Bytes that did not come into their place: to those who want them, the rest is kept. */
  #deliver(chunk: Uint8Array): void {
    let rest = chunk
    for (let wanted = this.#wanted[0]; wanted !== undefined && rest.length > 0; wanted = this.#wanted[0]) {
      const part = rest.subarray(0, wanted.target.length - wanted.filled)
      wanted.target.set(part, wanted.filled)
      rest = rest.subarray(part.length)
      this.#filled(wanted, part.length)
    }
    if (rest.length === 0) return
    if (this.#waitingTo + rest.length > waitingBytesMax) {
      this.#spare.copyWithin(0, this.#waitingFrom, this.#waitingTo)
      this.#waitingTo -= this.#waitingFrom
      this.#waitingFrom = 0
    }
    if (this.#waitingTo + rest.length > waitingBytesMax) {
      this.abort('more has come than can be kept')
      return
    }
    // It may be the spare buffer's own end, where it lies already.
    if (rest.buffer !== this.#spare.buffer || rest.byteOffset !== this.#spare.byteOffset + this.#waitingTo) {
      this.#spare.set(rest, this.#waitingTo)
    }
    this.#waitingTo += rest.length
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#socket?.resume()
  }

  #onEnd(): void {
    this.#isEnded = true
    this.#failWanted()
    this.#wake()
  }

  #onBroken(error: Error): void {
    this.#broken ??= error
    this.#failWanted()
    this.#wake()
  }

  #failWanted(): void {
    for (const { reject } of this.#wanted.splice(0)) reject(this.#brokenOff())
    this.#wake()
  }

  #brokenOff(cause: unknown = this.#broken): UnreachableError {
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    return new UnreachableError(`the stream was broken off${why}`, { cause })
  }
}

function isNextOf({ target, filled }: Wanted, buffer: Uint8Array): boolean {
  return buffer.byteOffset === target.byteOffset + filled
}
