import { UnreachableError } from '../../protocols/errors.ts'

/** Reads a stream of bytes in pieces of a chosen size, or as they come. */
export class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>
  #rest: Uint8Array | undefined

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]()
  }

  /** The next bytes as they come, at least one; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const rest = this.#rest
    this.#rest = undefined
    if (rest !== undefined) return rest
    for (;;) {
      const { done, value } = await this.#iterator.next()
      if (done === true) return undefined
      if (value.length > 0) return value
    }
  }

  /** Reads no further. */
  async leave(): Promise<void> {
    await this.#iterator.return?.()
  }

  /** So many bytes. Rejects with UnreachableError when the stream ends before. */
  async exactly(count: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(count)
    let at = 0
    while (at < count) {
      const bytes = await this.next()
      if (bytes === undefined) throw new UnreachableError('the other side ended the stream in the middle of a message')
      const taken = bytes.subarray(0, count - at)
      target.set(taken, at)
      at += taken.length
      if (taken.length < bytes.length) this.#rest = bytes.subarray(taken.length)
    }
    return target
  }
}
