import { closeSync, readSync, writeSync } from 'node:fs'
import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { NodeDiedError, ObjectStoreFullError, ProtocolError } from '../../protocols/errors.ts'
import type { ClientId } from '../../protocols/ids.ts'
import {
  decodeBody,
  encodeBody,
  messageBytesMax,
  messages,
  protocolVersion,
  type MessageBody,
  type MessageName,
} from '../../protocols/messages.ts'
import type { SystemMemory } from '../system/linux-memory.ts'
import type { WritePlace } from './object-store.ts'

/** The node answers earlier: this is for one that does not answer at all. */
const answerMs = 60_000
const headerBytes = 5

/**
 * A second connection to the node, on which this program waits for room in the store: `put` gives its ref at once, without
 * a turn of the event loop.
 */
export class StoreChannel {
  readonly #descriptor: number
  #lastRequestId = 0
  #isClosed = false

  /** Throws NodeDiedError when there is no node. */
  constructor(memory: SystemMemory, socketPath: string, clientId: ClientId) {
    try {
      this.#descriptor = memory.connect(socketPath, answerMs)
    } catch (error) {
      throw new NodeDiedError(`the node does not give room for values: ${(error as Error).message}`)
    }
    this.#send('storeAttach', { protocol: protocolVersion, clientId })
  }

  /** Room for a value. Waits for it. Throws ObjectStoreFullError, and NodeDiedError. */
  allocate(value: { name: string; bytes: number; owner: ClientId }): WritePlace {
    const requestId = (this.#lastRequestId = (this.#lastRequestId + 1) % 0xffff_ffff)
    this.#send('storeAllocate', { ...value, requestId })
    const answer = this.#receive()
    if (answer.requestId !== requestId) throw this.#broken('its answer is to another question')
    const { kind, offset, generation, file, message, details } = answer
    if (kind === 'refused') throw new ObjectStoreFullError(message, details as Record<string, unknown>)
    return kind === 'file' ? { in: 'file', file } : { in: 'memory', offset, generation }
  }

  /** After an error it is of no use any more; there may be another one. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#descriptor)
    this.#isClosed = true
  }

  #send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    const writer = new ByteWriter(256)
    writer.u32(0)
    writer.u8(messages[name].code)
    encodeBody(writer, name, body)
    writer.setU32(0, writer.length - 4)
    const bytes = writer.take()
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#descriptor, bytes, at)
    } catch (error) {
      throw this.#broken((error as Error).message)
    }
  }

  #receive(): MessageBody<'storePlaced'> {
    const header = this.#exactly(headerBytes)
    const length = new ByteReader(header).u32() - 1
    const code = header[4] as number
    if (code === messages.refused.code) {
      throw this.#broken(decodeBody('refused', this.#exactly(Math.min(length, messageBytesMax(code)))).message)
    }
    if (code !== messages.storePlaced.code || length < 0 || length > messageBytesMax(code)) {
      throw this.#broken('its answer is none')
    }
    try {
      return decodeBody('storePlaced', this.#exactly(length))
    } catch (error) {
      throw error instanceof ProtocolError ? this.#broken(error.message) : error
    }
  }

  #exactly(count: number): Buffer {
    const target = Buffer.alloc(count)
    for (let at = 0; at < count;) {
      let bytesRead
      try {
        bytesRead = readSync(this.#descriptor, target, at, count - at, null)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EINTR') continue
        throw this.#broken(`it did not answer: ${(error as Error).message}`)
      }
      if (bytesRead === 0) throw this.#broken('it has closed the connection')
      at += bytesRead
    }
    return target
  }

  #broken(reason: string): NodeDiedError {
    this.close()
    return new NodeDiedError(`the node does not give room for values: ${reason}`)
  }
}
