/** Memory that is free, in one piece. */
interface Piece {
  readonly start: number
  readonly bytes: number
}

/** What has pages is known chunk by chunk. */
const chunkBytes = 2 * 1024 * 1024
/** So much is given back at a time: that takes about a millisecond. */
const sliceBytesMax = 4 * 1024 * 1024
/** Besides what was in use at once lately, so much keeps its pages, or this share of a small store. */
const warmBytesMax = 64 * 1024 * 1024
const warmShare = 1 / 8

/**
 * Which free memory of the store the system is to have back: pages of what has not been needed for a while. Whoever writes
 * there again waits for new pages, so what was in use at the same time lately stays, and a little more.
 */
export class IdleMemory {
  /** 1 for a chunk that may have pages. */
  readonly #hasPages: Uint8Array
  #chunkCount = 0
  readonly #warmBytes: number
  readonly #idleMs: number
  /** What was in use at once at most: in the time before this one, and in this one. Each is `idleMs` long, or longer. */
  #highBefore = Number.POSITIVE_INFINITY
  #high = 0
  #turnedMs: number | undefined

  /** @param idleMs what has not been needed for so long, or up to twice as long, is idle */
  constructor(bytes: number, idleMs: number) {
    this.#hasPages = new Uint8Array(Math.ceil(bytes / chunkBytes))
    this.#warmBytes = Math.min(warmBytesMax, bytes * warmShare)
    this.#idleMs = idleMs
  }

  /** True when there may be something to give back, now or later. */
  get isLarge(): boolean {
    return this.#chunkCount * chunkBytes > this.#warmBytes
  }

  /** Memory has been given to somebody; `usedBytes` are in use now. */
  taken({ start, bytes }: Piece, usedBytes: number): void {
    this.#high = Math.max(this.#high, usedBytes)
    for (let chunk = Math.floor(start / chunkBytes); chunk * chunkBytes < start + bytes; chunk++) {
      this.#chunkCount += 1 - (this.#hasPages[chunk] as number)
      this.#hasPages[chunk] = 1
    }
  }

  /** The next piece to give back, of those that are free: it has no pages from now on. Undefined when there is none for now. */
  next(free: Iterable<Piece>, usedBytes: number, nowMs: number): Piece | undefined {
    this.#turnedMs ??= nowMs
    if (nowMs - this.#turnedMs >= this.#idleMs) {
      this.#turnedMs = nowMs
      this.#highBefore = this.#high
      this.#high = usedBytes
    }
    const keptBytes = Math.max(this.#high, this.#highBefore) + this.#warmBytes
    const idleChunks = Math.floor((this.#chunkCount * chunkBytes - keptBytes) / chunkBytes)
    if (!(idleChunks > 0)) return undefined
    const largest = this.#largest(free)
    return largest && this.#slice(largest, Math.min(idleChunks, sliceBytesMax / chunkBytes))
  }

  /** The chunks of the piece that has the most with pages. */
  #largest(free: Iterable<Piece>): { first: number; end: number } | undefined {
    let largest: { first: number; end: number } | undefined
    let most = 0
    for (const { start, bytes } of free) {
      const first = Math.ceil(start / chunkBytes)
      const end = Math.floor((start + bytes) / chunkBytes)
      let count = 0
      for (let chunk = first; chunk < end; chunk++) count += this.#hasPages[chunk] as number
      if (count > most) [largest, most] = [{ first, end }, count]
    }
    return largest
  }

  /** Takes the pages from some chunks that lie side by side, the last ones: memory is dealt out from the start. */
  #slice({ first, end }: { first: number; end: number }, chunksMax: number): Piece {
    while (this.#hasPages[end - 1] === 0) end -= 1
    let from = end
    while (from > first && end - from < chunksMax && this.#hasPages[from - 1] === 1) {
      from -= 1
      this.#hasPages[from] = 0
    }
    this.#chunkCount -= end - from
    return { start: from * chunkBytes, bytes: (end - from) * chunkBytes }
  }
}
