import { readSync, writeSync } from 'node:fs'
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
/** For larger values the question takes no time to speak of. */
const aheadBytesMax = 8 * 1024 * 1024
/** The next value may be a little larger. What it does not need is given back when it has been written. */
const aheadFactor = 1.1
const aheadIdleMs = 50

/** A value that there is to be room for. */
export interface RoomAsked {
  name: string
  bytes: number
  owner: ClientId
}

/**
 * A second connection to the node, on which this program waits for room in the store: `put` gives its ref at once, without
 * a turn of the event loop.
 */
export class StoreChannel {
  readonly #memory: SystemMemory
  readonly #descriptor: number
  #lastRequestId = 0
  #isClosed = false
  /** Room for a value that may come next: a question whose answer has not been read. */
  #ahead: { value: RoomAsked; requestId: number; isAbandoned: boolean } | undefined
  #usedAhead = false
  #timer: NodeJS.Timeout | undefined

  /** Throws NodeDiedError when there is no node. */
  constructor(memory: SystemMemory, socketPath: string, clientId: ClientId) {
    this.#memory = memory
    try {
      this.#descriptor = memory.connect(socketPath, answerMs)
    } catch (error) {
      throw new NodeDiedError(`the node does not give room for values: ${(error as Error).message}`)
    }
    this.#send('storeAttach', { protocol: protocolVersion, clientId })
  }

  /** Room for a value. Waits for it. Throws ObjectStoreFullError, and NodeDiedError. */
  allocate(value: RoomAsked): WritePlace {
    const here = this.#takeAhead(value)
    const place = here ?? this.#placeOf(this.#receive(this.#ask(value, false)))
    if (value.bytes <= aheadBytesMax) this.#askAhead(value)
    return place
  }

  #ask(value: RoomAsked, isAhead: boolean): number {
    const requestId = (this.#lastRequestId = (this.#lastRequestId + 1) % 0xffff_ffff)
    this.#send('storeAllocate', { ...value, requestId, isAhead })
    return requestId
  }

  #placeOf({ kind, offset, generation, file, message, details }: MessageBody<'storePlaced'>): WritePlace {
    if (kind === 'refused') throw new ObjectStoreFullError(message, details as Record<string, unknown>)
    return kind === 'file' ? { in: 'file', file } : { in: 'memory', offset, generation }
  }

  /** Values often come in numbers, of about one size: while this one is written, the node finds room for the next one. */
  #askAhead({ name, bytes, owner }: RoomAsked): void {
    const value = { name: nextName(name), bytes: Math.ceil(bytes * aheadFactor), owner }
    this.#ahead = { value, requestId: this.#ask(value, true), isAbandoned: false }
    this.#usedAhead = true
    this.#timer ??= setInterval(() => this.#abandonIdle(), aheadIdleMs).unref()
  }

  /** The room that was asked for before, if it will do for this value. */
  #takeAhead({ name, bytes, owner }: RoomAsked): WritePlace | undefined {
    const ahead = this.#ahead
    if (ahead === undefined) return undefined
    this.#ahead = undefined
    const answer = this.#receive(ahead.requestId)
    if (answer.kind === 'refused' || ahead.isAbandoned) return undefined
    const { value } = ahead
    if (value.name === name && value.owner === owner && bytes <= value.bytes) return this.#placeOf(answer)
    this.#send('storeAbandon', { name: value.name })
    return undefined
  }

  /** Room that has not been needed for a while is given back. The answer about it is read when there is another question. */
  #abandonIdle(): void {
    if (this.#usedAhead) {
      this.#usedAhead = false
      return
    }
    clearInterval(this.#timer)
    this.#timer = undefined
    if (this.#ahead === undefined || this.#ahead.isAbandoned || this.#isClosed) return
    this.#ahead.isAbandoned = true
    try {
      this.#send('storeAbandon', { name: this.#ahead.value.name })
    } catch {
      // The node is gone, which whoever needs it will be told.
    }
  }

  /** After an error it is of no use any more; there may be another one. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  close(): void {
    if (!this.#isClosed) this.#memory.disconnect(this.#descriptor)
    this.#isClosed = true
    this.#ahead = undefined
    clearInterval(this.#timer)
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

  #receive(requestId: number): MessageBody<'storePlaced'> {
    const answer = this.#receiveAny()
    if (answer.requestId !== requestId) throw this.#broken('its answer is to another question')
    return answer
  }

  #receiveAny(): MessageBody<'storePlaced'> {
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

/** Values are named by who writes them and a number of 12 hex digits. */
function nextName(name: string): string {
  return name.slice(0, -12) + (Number.parseInt(name.slice(-12), 16) + 1).toString(16).padStart(12, '0')
}
