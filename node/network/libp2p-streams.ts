import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { UnreachableError } from '../../protocols/errors.ts'
import { FrameReader, FrameWriter } from '../../protocols/frame.ts'
import type { BulkStream, JoinConversation } from './network.ts'
import { ChunkFiller } from './read-into.ts'
import type { RawStream } from './session.ts'

type Data = Uint8Array | { subarray(): Uint8Array }

/** The bytes of a stream's message event: one view if they lie together. */
export function bytesOf(data: Data): Buffer {
  const bytes = data instanceof Uint8Array ? data : data.subarray()
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** What a stream of yamux has besides. */
interface YamuxWindow {
  recvWindow: number
  recvWindowCapacity: number
  sendWindowUpdate(): void
}

/**
 * yamux (8.0) answers every message with a frame that opens the window again by as much. For small messages that is as dear
 * as the message itself, so it waits until half of the window is used up.
 */
function openWindowSparingly(stream: Stream): void {
  const window = stream as Partial<YamuxWindow> & Stream
  const open = window.sendWindowUpdate?.bind(stream)
  if (open === undefined) return
  window.sendWindowUpdate = () => {
    const { recvWindow = 0, recvWindowCapacity = 0 } = window
    if (recvWindowCapacity < recvWindow / 2) open()
  }
}

/** A libp2p stream as a session takes it. */
export function rawStream(stream: Stream): RawStream {
  openWindowSparingly(stream)
  return {
    write(bytes) {
      if (stream.writeStatus === 'writable') stream.send(bytes)
    },
    get unsentBytes() {
      return stream.writeBufferLength
    },
    end(isBroken) {
      if (isBroken) stream.abort(new Error('the link is broken'))
      else stream.close().catch((error: Error) => stream.abort(error))
    },
  }
}

const messageBytesMax = 16 * 1024
const messageType = 1
const messagesWaitingMax = 16
const receiveMs = 10_000
const lingerMs = 1000

/** The conversation of one that wants to join, over a stream of its own. */
export class StreamConversation implements JoinConversation {
  readonly publicKey: Uint8Array
  readonly address: string
  readonly #stream: Stream
  readonly #writer: FrameWriter
  readonly #messages: Uint8Array[] = []
  #waiting: { resolve(message: Uint8Array): void; reject(error: Error): void } | undefined
  #ended: Error | undefined

  constructor(stream: Stream, publicKey: Uint8Array, address: string) {
    this.#stream = stream
    this.publicKey = publicKey
    this.address = address
    this.#writer = new FrameWriter({ write: (bytes) => void stream.send(bytes) })
    const reader = new FrameReader((type) => (type === messageType ? messageBytesMax : 0))
    stream.addEventListener('message', ({ data }) => {
      try {
        reader.push(bytesOf(data), ({ body }) => this.#take(body))
      } catch (error) {
        this.#end(error as Error)
        this.close()
      }
    })
    stream.addEventListener('close', () => this.#end(new UnreachableError('the other side has ended the conversation')))
    stream.addEventListener('remoteCloseWrite', () =>
      this.#end(new UnreachableError('the other side has ended the conversation')),
    )
  }

  send(message: Uint8Array): void {
    if (this.#ended !== undefined) return
    try {
      this.#writer.frame(messageType, (writer) => writer.raw(message))
      this.#writer.flush()
    } catch (cause) {
      // What it has said before it went is still to be heard.
      this.#end(
        new UnreachableError(`the other side has ended the conversation: ${(cause as Error).message}`, { cause }),
      )
    }
  }

  async receive(): Promise<Uint8Array> {
    const next = this.#messages.shift()
    if (next !== undefined) return next
    if (this.#ended !== undefined) throw this.#ended
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    this.#waiting = { resolve, reject }
    const timer = setTimeout(
      () => reject(new UnreachableError(`the other side has said nothing for ${receiveMs} ms`)),
      receiveMs,
    )
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting = undefined
    }
  }

  close(): void {
    this.#stream.close().catch((error: Error) => this.#stream.abort(error))
    // The other side may take what was said last, but not stay for ever.
    setTimeout(() => this.#stream.abort(new Error('the conversation is over')), lingerMs).unref()
  }

  #take(message: Uint8Array): void {
    if (this.#waiting !== undefined) this.#waiting.resolve(message)
    else if (this.#messages.length < messagesWaitingMax) this.#messages.push(message)
    else this.#end(new UnreachableError('the other side says more than it may'))
  }

  #end(error: Error): void {
    this.#ended ??= error
    this.#waiting?.reject(error)
  }
}

const chunkBytesMax = 64 * 1024
/** A writer waits while so much waits to be sent. */
const unsentBytesMax = 256 * 1024
/** A stream takes no more from the other side while so much waits to be read. */
const waitingBytesMax = 1024 * 1024

/** A libp2p stream for bulk. */
export class Libp2pBulkStream implements BulkStream {
  readonly #stream: Stream
  #filler: ChunkFiller | undefined

  constructor(stream: Stream) {
    this.#stream = stream
    // Until somebody reads.
    stream.pause()
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += chunkBytesMax) {
      this.#assertWritable()
      this.#stream.send(bytes.subarray(at, at + chunkBytesMax))
      while (this.#stream.writeBufferLength > unsentBytesMax) {
        await this.#drained()
        this.#assertWritable()
      }
    }
  }

  #assertWritable(): void {
    if (this.#stream.writeStatus !== 'writable') throw new UnreachableError('the other side has closed the stream')
  }

  /** That of libp2p (3.3) resolves at once after the first time. */
  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#stream.removeEventListener('drain', done)
        this.#stream.removeEventListener('close', done)
        // It goes on sending only after this event.
        setImmediate(resolve)
      }
      this.#stream.addEventListener('drain', done)
      this.#stream.addEventListener('close', done)
    })
  }

  async end(): Promise<void> {
    await this.#stream.close()
  }

  get source(): AsyncIterable<Uint8Array> {
    return read(this.#stream)
  }

  readInto(target: Uint8Array): Promise<void> {
    return (this.#filler ??= new ChunkFiller(this.source)).fill(target)
  }

  abort(reason: string): void {
    this.#stream.abort(new Error(reason))
  }
}

/** libp2p's own iterator takes in whatever comes; this one stops the other side when nobody takes it out. */
async function* read(stream: Stream): AsyncGenerator<Uint8Array> {
  const chunks: Buffer[] = []
  let waitingBytes = 0
  let isEnded = false
  let broken: Error | undefined
  let wake = (): void => {}
  let isResuming = false
  const pauseIfFull = (): void => {
    if (waitingBytes > waitingBytesMax && stream.readStatus === 'readable') stream.pause()
  }
  // Not with a signal: Node (24) would keep the stream of a reader who is left behind in the middle, and its connection.
  const listeners: [name: 'message' | 'end' | 'close', listener: (event: Event) => void][] = []
  const onEvent = (name: 'message' | 'end' | 'close', handle: (event: Event) => void): void => {
    const listener = (event: Event): void => {
      handle(event)
      wake()
    }
    listeners.push([name, listener])
    stream.addEventListener(name, listener)
  }
  onEvent('message', (event) => {
    const bytes = bytesOf((event as StreamMessageEvent).data)
    chunks.push(bytes)
    waitingBytes += bytes.length
    if (!isResuming) pauseIfFull()
  })
  onEvent('end', () => (isEnded = true))
  onEvent('close', (event) => {
    const { error } = event as StreamCloseEvent
    if (error === undefined) isEnded = true
    else broken ??= new UnreachableError(`the stream was broken off: ${error.message}`, { cause: error })
  })
  try {
    for (;;) {
      if (stream.readStatus === 'paused' && waitingBytes <= waitingBytesMax / 2) {
        // What has come meanwhile is handed over at once. A pause in the midst of that would be undone at its end.
        isResuming = true
        stream.resume()
        isResuming = false
        pauseIfFull()
      }
      const chunk = chunks.shift()
      if (chunk !== undefined) {
        waitingBytes -= chunk.length
        yield chunk
      } else if (broken !== undefined || stream.status === 'aborted' || stream.status === 'reset') {
        throw broken ?? new UnreachableError('the stream was broken off')
      } else if (isEnded || stream.readStatus === 'closed') {
        return
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    for (const [name, listener] of listeners) stream.removeEventListener(name, listener)
  }
}
