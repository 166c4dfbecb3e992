import { UnreachableError } from '../../protocols/errors.ts'
import type { BulkExchange } from '../../node/bulk/bulk-exchange.ts'
import type { BulkStream } from '../../node/network/network.ts'
import { ChunkFiller } from '../../node/network/read-into.ts'

const roomBytes = 64 * 1024

/** One direction of a stream in memory, with backpressure. Chunks are passed on as they are, never copied. */
class Pipe {
  #chunks: Uint8Array[] = []
  #bytes = 0
  #isEnded = false
  #error: Error | undefined
  #changed = Promise.withResolvers<void>()
  readonly #cut: (bytes: Uint8Array) => Uint8Array[]

  constructor(cut: (bytes: Uint8Array) => Uint8Array[]) {
    this.#cut = cut
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    if (this.#isEnded) throw new Error('written after the end')
    this.#chunks.push(...this.#cut(bytes))
    this.#bytes += bytes.length
    this.#tell()
    while (this.#bytes > roomBytes && this.#error === undefined) await this.#changed.promise
    if (this.#error !== undefined) throw this.#error
  }

  end(): void {
    this.#isEnded = true
    this.#tell()
  }

  breakOff(error: Error): void {
    this.#error ??= error
    this.#chunks = []
    this.#tell()
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.length
        this.#tell()
        yield chunk
      } else if (this.#isEnded) return
      else await this.#changed.promise
    }
  }

  #tell(): void {
    const { resolve } = this.#changed
    this.#changed = Promise.withResolvers()
    resolve()
  }
}

/** One end of a stream in memory. */
export class MemoryStream implements BulkStream {
  readonly #in: Pipe
  readonly #out: Pipe
  readonly source: AsyncIterable<Uint8Array>
  /** Why it was aborted, by either side. */
  abortReason: string | undefined
  other: MemoryStream | undefined
  #filler: ChunkFiller | undefined
  #writes = 0
  #heldAt = 0
  #held: Promise<void> | undefined

  constructor(incoming: Pipe, outgoing: Pipe) {
    this.#in = incoming
    this.#out = outgoing
    this.source = incoming.read()
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (++this.#writes === this.#heldAt) await this.#held
    await this.#out.write(bytes)
  }

  readInto(target: Uint8Array): Promise<void> {
    return (this.#filler ??= new ChunkFiller(this.source)).fill(target)
  }

  /** Lets the so-maniest write wait. */
  hold(writeNumber: number, until: Promise<void>): void {
    this.#heldAt = writeNumber
    this.#held = until
  }

  end(): Promise<void> {
    this.#out.end()
    return Promise.resolve()
  }

  abort(reason: string): void {
    if (this.abortReason !== undefined) return
    this.abortReason = reason
    this.#in.breakOff(new Error(`aborted: ${reason}`))
    this.#out.breakOff(new Error(`aborted: ${reason}`))
    this.other?.abort(reason)
  }
}

/** Two ends of one stream. @param cut how what is written is cut into what the other side reads. */
export function bulkPair(cut: (bytes: Uint8Array) => Uint8Array[] = (bytes) => [bytes]): [MemoryStream, MemoryStream] {
  const [to, back] = [new Pipe(cut), new Pipe(cut)]
  const [a, b] = [new MemoryStream(back, to), new MemoryStream(to, back)]
  a.other = b
  b.other = a
  return [a, b]
}

/** Nodes that open bulk streams to each other, in memory. */
export class BulkLab {
  readonly #exchanges = new Map<string, BulkExchange>()
  /** All streams that were opened, the opener's end. */
  readonly streams: MemoryStream[] = []
  #heldAt = 0
  #held: Promise<void> | undefined

  /** What a node opens streams with. */
  networkOf(self: string) {
    return {
      openBulk: (node: string): Promise<BulkStream> => {
        const exchange = this.#exchanges.get(node)
        if (exchange === undefined) return Promise.reject(new UnreachableError(`there is no link to node ${node}`))
        const [mine, theirs] = bulkPair()
        this.streams.push(mine)
        if (this.#held !== undefined) theirs.hold(this.#heldAt, this.#held)
        this.#held = undefined
        exchange.serve(self, theirs)
        return Promise.resolve(mine)
      },
    }
  }

  /** Who serves the next stream gets stuck in a write, the so-maniest, until the function that this gives is called. */
  holdNext(writeNumber: number): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#heldAt = writeNumber
    this.#held = promise
    return resolve
  }

  join(node: string, exchange: BulkExchange): void {
    this.#exchanges.set(node, exchange)
  }

  leave(node: string): void {
    this.#exchanges.delete(node)
  }
}
