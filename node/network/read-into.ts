import { UnreachableError } from '../../protocols/errors.ts'

/** Fills targets from a stream of chunks, one after the other, for streams that come in chunks of their own. */
export class ChunkFiller {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array | undefined
  #turn: Promise<void> = Promise.resolve()

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]()
  }

  fill(target: Uint8Array): Promise<void> {
    const turn = this.#turn.then(() => this.#fill(target))
    this.#turn = turn
    // Who asked is told; the next one finds out by itself.
    turn.catch(() => {})
    return turn
  }

  async #fill(target: Uint8Array): Promise<void> {
    let at = 0
    while (at < target.length) {
      const chunk = this.#rest ?? (await this.#next())
      const part = chunk.subarray(0, target.length - at)
      target.set(part, at)
      at += part.length
      this.#rest = part.length < chunk.length ? chunk.subarray(part.length) : undefined
    }
  }

  async #next(): Promise<Uint8Array> {
    for (;;) {
      const { done, value } = await this.#chunks.next()
      if (done === true) throw new UnreachableError('the stream has ended before all was there')
      if (value.length > 0) return value
    }
  }
}
