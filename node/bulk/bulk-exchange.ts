import { ObjectLostError, ProtocolError, ShoalError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { BulkStream, PeerNetwork } from '../network/network.ts'
import {
  answerTextCharsMax,
  bulkAnswer,
  bulkRequest,
  encodeMessage,
  readMessage,
  signOfLife,
  type BulkAnswer,
  type BulkKind,
  type BulkRequest,
} from './bulk-messages.ts'
import { ByteSource } from './byte-source.ts'
import { asShoalError, IncomingBytes } from './incoming-bytes.ts'
import { Slots } from './slots.ts'
import { withinTime } from './within-time.ts'

const atOnceMax = 16
const waitingMax = 10_000

export interface BulkExchangeOptions {
  network: Pick<PeerNetwork, 'openBulk'>
  log(text: string): void
  /** A transfer without progress for so long is given up. @default 10_000 */
  stallMs?: number
}

/** What a node has of what it was asked for. Nothing may be held open before the first chunk is asked for. */
export interface BulkContent {
  size: number
  chunks: AsyncIterable<Uint8Array>
}

export type BulkHandler = (from: NodeId, name: string) => Promise<BulkContent>

export interface FetchedBulk {
  size: number
  /** To be read to the end, or left by `break`, or cancelled: until then it takes up one of the few places. */
  bytes: AsyncIterable<Uint8Array>
  cancel(reason: string): void
}

/**
 * Large things from node to node, by request and answer, each on a stream of its own.
 *
 * @example
 * bulk.onRequest('blob', async (from, hash) => ({ size: 3, chunks: chunksOf(hash) }))
 * const { size, bytes } = await bulk.fetch(node, { kind: 'blob', name: hash, bytesMax: 1e6 })
 */
export class BulkExchange {
  readonly #network: Pick<PeerNetwork, 'openBulk'>
  readonly #log: (text: string) => void
  readonly #stallMs: number
  readonly #handlers = new Map<BulkKind, BulkHandler>()
  readonly #fetching = new Slots(atOnceMax, waitingMax)
  readonly #serving = new Slots(atOnceMax, waitingMax)
  #streamsServed = 0

  constructor({ network, log, stallMs = 10_000 }: BulkExchangeOptions) {
    this.#network = network
    this.#log = log
    this.#stallMs = stallMs
  }

  /** Who answers requests of a kind. A handler that rejects with ObjectLostError says that it does not have it. */
  onRequest(kind: BulkKind, handler: BulkHandler): void {
    this.#handlers.set(kind, handler)
  }

  /**
   * Asks a node for something and gives it as it comes.
   *
   * Rejects with ObjectLostError when the node does not have it, UnreachableError when it does not answer, cannot give it
   * or is asked for too much at once.
   */
  async fetch(node: NodeId, request: BulkRequest): Promise<FetchedBulk> {
    await this.#fetching.take()
    let stream: BulkStream | undefined
    try {
      stream = await this.#network.openBulk(node, { timeoutMs: this.#stallMs })
      return await this.#ask(node, request, stream)
    } catch (error) {
      stream?.abort((error as Error).message)
      this.#fetching.release()
      throw asShoalError(error, node)
    }
  }

  async #ask(node: NodeId, request: BulkRequest, stream: BulkStream): Promise<FetchedBulk> {
    const { kind, name, bytesMax } = request
    const source = new ByteSource(stream.source)
    await this.#progress(stream.write(encodeMessage(bulkRequest, request)), node)
    await this.#progress(stream.end(), node)
    let answer: BulkAnswer | undefined
    while (answer === undefined) answer = await this.#progress(readMessage(source, bulkAnswer), node)
    const { status, size, text } = answer
    if (status === 'lost') throw new ObjectLostError(`node ${node} does not have ${name}: ${text}`, { name, node })
    if (status === 'failed') throw new UnreachableError(`node ${node} cannot give the ${kind} ${name}: ${text}`)
    if (size > bytesMax) throw new ProtocolError(`node ${node} offers ${size} bytes for ${name}, more than ${bytesMax}`)
    const onEnd = (): void => this.#fetching.release()
    const bytes = new IncomingBytes({ node, name, size, stream, source, stallMs: this.#stallMs, onEnd })
    return { size, bytes, cancel: (reason) => bytes.cancel(reason) }
  }

  /** Answers what comes on a stream that another node has opened. */
  serve(from: NodeId, stream: BulkStream): void {
    if (this.#streamsServed >= atOnceMax + waitingMax) {
      stream.abort('too many requests wait for an answer')
      return
    }
    this.#streamsServed++
    const served = this.#serve(from, stream).catch((error: unknown) => {
      const { message } = error as Error
      stream.abort(message)
      if (error instanceof ProtocolError) this.#log(`a transfer to node ${from} was ended: ${message}`)
    })
    void served.finally(() => this.#streamsServed--)
  }

  async #serve(from: NodeId, stream: BulkStream): Promise<void> {
    const source = new ByteSource(stream.source)
    const request = await this.#progress(readMessage(source, bulkRequest), from)
    if (request === undefined) throw new ProtocolError('a bulk stream begins without a request')
    void expectEnd(source, stream)
    const turn = this.#serving.take()
    try {
      await this.#showingLife(stream, from, turn)
      await this.#answer(from, request, stream)
    } finally {
      // The turn of one who has gone while it waited still comes.
      const release = (): void => this.#serving.release()
      void turn.then(release, () => {})
    }
    await this.#progress(stream.end(), from)
  }

  async #answer(node: NodeId, { kind, name, bytesMax }: BulkRequest, stream: BulkStream): Promise<void> {
    let isAnswered = false
    const answer = (status: BulkAnswer['status'], size: number, text: string): Promise<void> => {
      isAnswered = true
      const shortText = text.slice(0, answerTextCharsMax)
      return this.#progress(stream.write(encodeMessage(bulkAnswer, { status, size, text: shortText })), node)
    }
    try {
      const handler = this.#handlers.get(kind)
      if (handler === undefined) throw new ObjectLostError('it gives nothing of this kind')
      const { size, chunks } = await this.#showingLife(stream, node, handler(node, name))
      if (size > bytesMax) throw new ObjectLostError(`it has ${size} bytes, and at most ${bytesMax} were asked for`)
      let left = size
      for await (const chunk of chunks) {
        // Not before: that it is there is certain when it has been opened.
        if (!isAnswered) await answer('ok', size, '')
        left -= chunk.length
        if (left < 0) break
        await this.#progress(stream.write(chunk), node)
      }
      if (left !== 0) throw new ObjectLostError(`it has changed while it was sent, from ${size} bytes to others`)
      if (!isAnswered) await answer('ok', 0, '')
    } catch (error) {
      if (isAnswered) throw error
      const { message } = error as Error
      if (!(error instanceof ShoalError)) this.#log(`node ${node} could not be given the ${kind} ${name}: ${message}`)
      await answer(error instanceof ObjectLostError ? 'lost' : 'failed', 0, message)
    }
  }

  #progress<T>(work: Promise<T>, node: NodeId): Promise<T> {
    const stallMs = this.#stallMs
    return withinTime(work, stallMs, () => `a transfer with node ${node} made no progress for ${stallMs} ms`)
  }

  /** Has the asker know that it has not been forgotten while there is nothing to send. Rejects when it has gone. */
  async #showingLife<T>(stream: BulkStream, asker: NodeId, work: Promise<T>): Promise<T> {
    const gone = Promise.withResolvers<never>()
    let sign: Promise<void> | undefined
    const timer = setInterval(() => {
      sign ??= stream.write(signOfLife).then(() => (sign = undefined), gone.reject)
    }, this.#stallMs / 3)
    try {
      return await Promise.race([work, gone.promise])
    } finally {
      clearInterval(timer)
      if (sign !== undefined) await this.#progress(sign, asker)
    }
  }
}

/** Nothing may follow a request but the end. */
async function expectEnd(source: ByteSource, stream: BulkStream): Promise<void> {
  try {
    if ((await source.next()) !== undefined) stream.abort('there are bytes after the request')
  } catch {
    // It is broken: writing to it shows that.
  }
}
