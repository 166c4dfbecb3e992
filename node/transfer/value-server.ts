import { ObjectLostError, ProtocolError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { withinTime } from '../bulk/within-time.ts'
import type { BulkStream } from '../network/network.ts'
import type { MemoryPlace, TransferStore } from '../store/transfer-store.ts'
import { Askers } from './askers.ts'
import { chunkAt, chunkCountOf, type ChunkSet } from './chunks.ts'
import { HeldValue } from './held-value.ts'
import {
  decodeRequest,
  encodeAnswer,
  encodePlace,
  peersMax,
  requestBytes,
  sumOfChunk,
  type ValueAnswer,
  type ValueRequest,
} from './value-frames.ts'

/** A value that is on its way here, as far as it is there. */
export interface PartialValue {
  readonly bytes: number
  readonly have: ChunkSet
  /** Does something with a part of its memory, which stays as it is meanwhile. */
  use(offset: number, length: number, work: (part: Uint8Array) => Promise<void>): Promise<void>
  /** Fulfilled when there is more of it. */
  more(): Promise<void>
}

export interface ValueServerOptions {
  store: Pick<TransferStore, 'open' | 'has'>
  /** Of this machine: who shows it reads values from memory; '' when nobody is to. */
  mark: string
  partial(name: string): PartialValue | undefined
  /** A node has asked for a value, and will have a copy of it. */
  onAsked(node: NodeId, name: string): void
  /** Nodes that are known to have a value. */
  holders(name: string): readonly NodeId[]
  stallMs: number
  now(): number
  log(text: string): void
}

const writeBytes = 1024 * 1024
/** A question what there is of new is answered after this time, if there is nothing. */
const haveMs = 300
/** It is answered at most so often on one stream: what comes meanwhile is told at once. */
const haveRestMs = 50
const streamsMax = 1000
/** Whoever reads from memory here has so much time for it before the memory may be used for something else. */
const heldMs = 60_000

/** Gives values to other nodes, chunk by chunk, also those that are only partly here. */
export class ValueServer {
  readonly #with: ValueServerOptions
  readonly #askers: Askers
  /** When it was said last on a stream what there is of new. */
  readonly #toldAtMs = new WeakMap<BulkStream, number>()
  #streams = 0
  bytesOut = 0

  constructor(options: ValueServerOptions) {
    this.#with = options
    this.#askers = new Askers(() => options.now())
  }

  /** Answers on a stream that another node has opened, until that ends it. */
  async serve(from: NodeId, stream: BulkStream): Promise<void> {
    if (this.#streams >= streamsMax) {
      stream.abort('too many streams are open')
      return
    }
    this.#streams += 1
    const held = new HeldValue()
    try {
      const request = Buffer.alloc(requestBytes)
      for (;;) {
        // A stream stays as long as the other side keeps it.
        await stream.readInto(request)
        held.release()
        const asked = decodeRequest(request)
        if (asked.kind !== 'done') await this.#answer(from, stream, asked, held)
      }
    } catch (error) {
      if (error instanceof ProtocolError) this.#with.log(`values are not given to node ${from}: ${error.message}`)
      stream.abort((error as Error).message)
    } finally {
      held.release()
      this.#streams -= 1
    }
  }

  nodeGone(node: NodeId): void {
    this.#askers.nodeGone(node)
  }

  async #answer(from: NodeId, stream: BulkStream, request: ValueRequest, held: HeldValue): Promise<void> {
    const { store, partial, onAsked, holders } = this.#with
    const { name } = request
    // Before anything else: if it is freed from now on, the asker has to know.
    onAsked(from, name)
    const known = new Set([...holders(name), ...this.#askers.others(name, from)])
    const peers = [...known].filter((node) => node !== from).slice(0, peersMax)
    this.#askers.add(name, from)
    if (store.has(name)) {
      if (await this.#giveWhole(stream, request, peers, held)) return
    } else {
      const value = partial(name)
      if (value !== undefined) return this.#givePart(stream, request, value, peers)
    }
    await this.#say(stream, request, { status: 'lost', peers })
  }

  async #giveWhole(stream: BulkStream, request: ValueRequest, peers: NodeId[], held: HeldValue): Promise<boolean> {
    const { name, index, mark } = request
    let value
    try {
      value = await this.#with.store.open(name)
    } catch (error) {
      // Whatever else is wrong may pass: the value is here.
      const status = error instanceof ObjectLostError ? 'lost' : 'busy'
      await this.#say(stream, request, { status, peers })
      return true
    }
    if (value === undefined) return false
    if (value.place !== undefined && mark !== '' && mark === this.#with.mark) {
      held.hold(value, heldMs)
      await this.#sayWhere(stream, request, value.bytes, value.place, peers)
      return true
    }
    try {
      const { bytes } = value
      if (request.kind === 'have') {
        await this.#say(stream, request, { status: 'have', bytes, peers })
        return true
      }
      assertIndex(index, bytes)
      const { offset, length } = chunkAt(bytes, index)
      await this.#giveChunk(stream, request, { bytes, peers }, offset, await value.read(offset, length))
      return true
    } finally {
      value.close()
    }
  }

  async #givePart(stream: BulkStream, request: ValueRequest, value: PartialValue, peers: NodeId[]): Promise<void> {
    const { bytes, have } = value
    assertIndex(request.index, bytes)
    if (request.kind === 'have') {
      const { now } = this.#with
      const { promise: late, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, haveMs)
      await Promise.race([value.more(), late])
      clearTimeout(timer)
      const restMs = (this.#toldAtMs.get(stream) ?? -Infinity) + haveRestMs - now()
      if (restMs > 0) await new Promise((rested) => setTimeout(rested, restMs))
      this.#toldAtMs.set(stream, now())
    } else if (have.has(request.index)) {
      const { offset, length } = chunkAt(bytes, request.index)
      const what = { bytes, peers, have: have.toBytes() }
      return value.use(offset, length, (chunk) => this.#giveChunk(stream, request, what, offset, chunk))
    }
    await this.#say(stream, request, {
      status: 'have',
      bytes,
      peers,
      have: have.isFull ? new Uint8Array() : have.toBytes(),
    })
  }

  async #giveChunk(
    stream: BulkStream,
    request: ValueRequest,
    what: Partial<ValueAnswer>,
    offset: number,
    chunk: Uint8Array,
  ): Promise<void> {
    const { name, index } = request
    const sum = sumOfChunk(name, offset, chunk)
    await this.#say(stream, request, { ...what, status: 'data', index, length: chunk.length, sum })
    for (let at = 0; at < chunk.length; at += writeBytes) {
      await this.#soon(stream.write(chunk.subarray(at, at + writeBytes)), name)
    }
    this.bytesOut += chunk.length
  }

  async #sayWhere(
    stream: BulkStream,
    request: ValueRequest,
    bytes: number,
    place: MemoryPlace,
    peers: NodeId[],
  ): Promise<void> {
    const where = encodePlace(place)
    await this.#say(stream, request, { status: 'near', index: request.index, length: where.length, bytes, peers })
    await this.#soon(stream.write(where), request.name)
  }

  async #say(stream: BulkStream, { name, requestId }: ValueRequest, answer: Partial<ValueAnswer>): Promise<void> {
    const nothing = { index: 0, length: 0, sum: 0, bytes: 0, have: new Uint8Array(), peers: [] }
    await this.#soon(stream.write(encodeAnswer({ ...nothing, requestId, status: 'lost', ...answer })), name)
  }

  #soon<T>(work: Promise<T>, name: string): Promise<T> {
    const { stallMs } = this.#with
    return withinTime(work, stallMs, () => `the other side has taken nothing of ${name} for ${stallMs} ms`)
  }
}

function assertIndex(index: number, bytes: number): void {
  if (index >= chunkCountOf(bytes)) throw new ProtocolError(`a request asks for part ${index} of ${bytes} bytes`)
}
