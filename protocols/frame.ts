import { ByteWriter } from './bytes.ts'
import { ProtocolError } from './errors.ts'
import { limits } from './limits.ts'

/**
 * A frame is a 4-byte length, a 1-byte message type and the message. The length counts the type and the message.
 */
export interface Frame {
  type: number
  /** The message without its header: a view, valid for as long as it is referenced. */
  body: Buffer
  /** The whole frame with its header, to pass on as it is. */
  whole: Buffer
}

const frameHeaderBytes = 5

/** Cuts a byte stream into frames. Frames that lie whole in one chunk are views on it. */
export class FrameReader {
  #chunks: Buffer[] = []
  #buffered = 0
  readonly #bytesMaxOf: (type: number) => number

  /** @param bytesMaxOf the largest body allowed for a message type; 0 for an unknown type. */
  constructor(bytesMaxOf: (type: number) => number) {
    this.#bytesMaxOf = bytesMaxOf
  }

  /** Bytes of a frame that has not fully arrived. */
  get bufferedBytes(): number {
    return this.#buffered
  }

  /** Takes a chunk and calls `onFrame` for every frame that is now complete. Throws ProtocolError on a bad header. */
  push(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    if (this.#buffered < frameHeaderBytes) return
    if (this.#chunks.length > 1) {
      const first = this.#chunks[0] as Buffer
      if (first.length >= frameHeaderBytes && this.#buffered < 4 + this.#checkedLength(first)) return
      this.#chunks = [Buffer.concat(this.#chunks, this.#buffered)]
    }
    const bytes = this.#chunks[0] as Buffer
    let at = 0
    while (bytes.length - at >= frameHeaderBytes) {
      const end = at + 4 + this.#checkedLength(bytes, at)
      if (end > bytes.length) break
      const whole = bytes.subarray(at, end)
      at = end
      onFrame({ type: whole[4] as number, body: whole.subarray(frameHeaderBytes), whole })
    }
    this.#buffered = bytes.length - at
    this.#chunks = this.#buffered === 0 ? [] : [bytes.subarray(at)]
  }

  #checkedLength(bytes: Buffer, at = 0): number {
    const length = bytes.readUInt32LE(at)
    const type = bytes[at + 4] as number
    const bytesMax = this.#bytesMaxOf(type)
    if (bytesMax === 0) throw new ProtocolError(`unknown message type ${type}`)
    if (length < 1 || length - 1 > bytesMax) {
      throw new ProtocolError(`a message of type ${type} has ${length} bytes; at most ${bytesMax} are allowed`)
    }
    return length
  }
}

/** Where a {@link FrameWriter} sends its bytes: a socket, or a test's list. */
export interface ByteSink {
  write(bytes: Uint8Array): void
}

/**
 * Collects the frames of one loop turn and writes them at once: one write per turn carries several times more small
 * messages than one write each.
 */
export class FrameWriter {
  readonly #sink: ByteSink
  readonly #writer = new ByteWriter(4096)
  #scheduled = false
  #closed = false

  constructor(sink: ByteSink) {
    this.#sink = sink
  }

  /** Appends a frame; `write` fills in its body. When that throws, nothing of the frame is left. */
  frame(type: number, write: (writer: ByteWriter) => void): void {
    if (this.#closed) return
    const writer = this.#writer
    const start = writer.length
    writer.u32(0)
    writer.u8(type)
    try {
      write(writer)
    } catch (error) {
      writer.length = start
      throw error
    }
    writer.setU32(start, writer.length - start - 4)
    this.#afterAppend()
  }

  /**
   * Appends a frame that was received elsewhere. `leaseId`, if given, takes the place of the 4 bytes that its body begins
   * with; the frame itself stays as it is.
   */
  forward(whole: Uint8Array, leaseId?: number): void {
    if (this.#closed) return
    const start = this.#writer.length
    this.#writer.raw(whole)
    if (leaseId !== undefined) this.#writer.setU32(start + frameHeaderBytes, leaseId)
    this.#afterAppend()
  }

  #afterAppend(): void {
    if (this.#writer.length > limits.frameBytesMax / 16) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      queueMicrotask(this.#onTurnEnd)
    }
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false
    this.flush()
  }

  /** Writes now what has been collected. */
  flush(): void {
    if (this.#writer.length > 0 && !this.#closed) this.#sink.write(this.#writer.take())
  }

  close(): void {
    this.flush()
    this.#closed = true
  }
}
