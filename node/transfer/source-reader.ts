import { ProtocolError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { withinTime } from '../bulk/within-time.ts'
import type { BulkStream } from '../network/network.ts'
import type { IncomingRoom } from '../store/transfer-store.ts'
import { chunkAt, ChunkSet } from './chunks.ts'
import type { Pull, PullSource } from './pull.ts'
import { readNear, type NearWay } from './near-reader.ts'
import {
  answerHeaderBytes,
  decodeAnswer,
  decodePlace,
  decodeRest,
  encodeRequest,
  placeBytes,
  sumOfChunk,
} from './value-frames.ts'

/** So much is read at a time, each within the time for progress. */
const sliceBytes = 1024 * 1024
/** Smaller values come as fast over the network. */
const nearBytesMin = 512 * 1024

export interface SourceReaderOptions {
  pull: Pull
  room: IncomingRoom
  source: PullSource
  stream: BulkStream
  stallMs: number
  /** Undefined when nothing is to be read from the memory of others. */
  near: NearWay | undefined
  /** While this goes on the room is not given to others. */
  use(work: () => Promise<void>): Promise<void>
  /** True when no more is to be written into the room. */
  isStopped(): boolean
  log(text: string): void
  now(): number
  /** Nodes that the source knows to have some of it. */
  onPeers(peers: readonly NodeId[]): void
  onBytes(bytes: number, way: 'network' | 'near'): void
  /** It goes on: bytes have come, or the source has more than before. */
  onNews(): void
  /** What others may be asked for is different now. */
  onChange(): void
}

/** Asks one source for chunks, and puts what comes into its place, until there is nothing more to ask of it for now. */
export class SourceReader {
  readonly #with: SourceReaderOptions

  constructor(options: SourceReaderOptions) {
    this.#with = options
  }

  /** Rejects when the source breaks off, stalls, or breaks the rules. All that was asked is answered otherwise. */
  async run(): Promise<void> {
    const { pull, source } = this.#with
    for (;;) {
      await this.#askAll()
      if (source.asked.size === 0 || pull.have.isFull) return
      await this.#takeAnswer()
    }
  }

  async #askAll(): Promise<void> {
    const { pull, source, stream, near, now } = this.#with
    for (let ask = pull.next(source, now()); ask !== undefined; ask = pull.next(source, now())) {
      const kind = ask.index < 0 ? 'have' : 'chunk'
      const index = Math.max(0, ask.index)
      const mark = near !== undefined && source.mayBeNear && pull.bytes >= nearBytesMin ? near.mark : ''
      const written = stream.write(encodeRequest({ kind, requestId: ask.requestId, name: pull.name, index, mark }))
      await this.#soon(written, 'takes no request')
    }
  }

  async #takeAnswer(): Promise<void> {
    const { pull, source, stream, now, onPeers, onBytes, onNews, onChange } = this.#with
    const header = Buffer.alloc(answerHeaderBytes)
    await this.#soon(stream.readInto(header), 'does not answer')
    const { status, requestId, length, sum, bytes, ...answer } = decodeAnswer(header)
    const rest = Buffer.alloc(answer.restBytes)
    if (rest.length > 0) await this.#soon(stream.readInto(rest), 'does not go on')
    const { have, peers } = decodeRest(rest, answer)
    const asked = source.asked.get(requestId)
    if (asked === undefined) throw this.#lie('answers what it was not asked')
    if (status === 'near') {
      if (bytes !== pull.bytes) throw this.#lie(`says that it has ${bytes} bytes, not ${pull.bytes}`)
      await this.#takeNear(requestId, length)
      return
    }
    if (status === 'data' || status === 'have') {
      if (bytes !== pull.bytes) throw this.#lie(`says that it has ${bytes} bytes, not ${pull.bytes}`)
      const told = have.length === 0 ? ChunkSet.full(pull.have.size) : new ChunkSet(pull.have.size, have)
      if (pull.told(source, told)) onNews()
    }
    if (status === 'data') {
      if (asked !== answer.index) throw this.#lie('sends another part than it was asked for')
      await this.#takeChunk(asked, length, sum)
      onBytes(length, 'network')
    } else if (length !== 0) throw this.#lie('sends bytes that it was not asked for')
    pull.answered(source, requestId, status, now())
    onPeers(peers)
    onChange()
  }

  async #takeChunk(index: number, length: number, sum: number): Promise<void> {
    const { pull, room, stream, onNews } = this.#with
    const { offset, length: expected } = chunkAt(pull.bytes, index)
    if (length !== expected) throw this.#lie(`sends ${length} bytes where a part has ${expected}`)
    const target = room.slice(offset, length)
    // All are asked for at once, so that they come right into their places.
    const slices: Promise<void>[] = []
    for (let at = 0; at < length; at += sliceBytes) {
      slices.push(stream.readInto(target.subarray(at, Math.min(length, at + sliceBytes))))
    }
    for (const slice of slices) slice.catch(() => {})
    for (const slice of slices) {
      await this.#soon(slice, 'does not go on')
      onNews()
    }
    if (sumOfChunk(pull.name, offset, target) !== sum)
      throw this.#lie('sends a part with another checksum than it says')
  }

  /** The source is on this machine and has said where all of the value lies. What cannot be read there it is asked for. */
  async #takeNear(requestId: number, length: number): Promise<void> {
    const { pull, room, source, stream, near, now, use, isStopped, onBytes, onNews, onChange, log } = this.#with
    if (near === undefined || !source.mayBeNear || length !== placeBytes) throw this.#lie('names a place unasked')
    const where = Buffer.alloc(placeBytes)
    await this.#soon(stream.readInto(where), 'does not go on')
    if (pull.told(source, ChunkSet.full(pull.have.size))) onNews()
    pull.answered(source, requestId, 'have', now())
    try {
      await use(async () => {
        const value = await near.open(decodePlace(where), pull.name, pull.bytes)
        try {
          const onPart = (bytes: number): void => {
            onBytes(bytes, 'near')
            onNews()
            onChange()
          }
          await readNear({ pull, room, source, value, isStopped, onPart })
        } finally {
          await value.close()
        }
      })
    } catch (error) {
      source.mayBeNear = false
      if (!isStopped()) log(`the value ${pull.name} comes over the network: ${(error as Error).message}`)
    }
    const done = encodeRequest({ kind: 'done', requestId: 0, name: pull.name, index: 0, mark: '' })
    await this.#soon(stream.write(done), 'takes no request')
  }

  #soon<T>(work: Promise<T>, what: string): Promise<T> {
    const { source, stallMs, pull } = this.#with
    return withinTime(work, stallMs, () => `node ${source.node} ${what} with ${pull.name} for ${stallMs} ms`)
  }

  #lie(what: string): ProtocolError {
    return new ProtocolError(`node ${this.#with.source.node} ${what}, of the value ${this.#with.pull.name}`)
  }
}
