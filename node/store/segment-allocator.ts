/** Free pieces of about one size are kept together: so many bits of a size below its highest one tell them apart. */
const fineBits = 3

interface Piece {
  start: number
  bytes: number
}

/**
 * Deals out room in a run of memory. A piece that has been used before comes before one that has not, since its pages are
 * there already; of those that would do, one of about the right size. All sizes are multiples of a page.
 */
export class SegmentAllocator {
  readonly #start: number
  readonly #end: number
  /** From here on nothing has been in use yet. */
  #top: number
  readonly #freeByStart = new Map<number, Piece>()
  readonly #freeByEnd = new Map<number, Piece>()
  readonly #bins: (Set<Piece> | undefined)[] = []
  #freeBytes = 0

  constructor(start: number, end: number) {
    this.#start = start
    this.#top = start
    this.#end = end
  }

  /** What is given out. */
  get usedBytes(): number {
    return this.#top - this.#start - this.#freeBytes
  }

  /** What could be given out, were it in one piece. */
  get freeBytes(): number {
    return this.#freeBytes + this.#end - this.#top
  }

  /** The end of what has ever been in use. */
  get top(): number {
    return this.#top
  }

  /** Where so many bytes lie from now on; undefined when no piece is large enough. */
  allocate(bytes: number): number | undefined {
    const piece = this.#find(bytes)
    if (piece !== undefined) {
      this.#remove(piece)
      if (piece.bytes > bytes) this.#add({ start: piece.start + bytes, bytes: piece.bytes - bytes })
      return piece.start
    }
    // What is free right before the untouched part goes together with it.
    const last = this.#freeByEnd.get(this.#top)
    const start = last?.start ?? this.#top
    if (start + bytes > this.#end) return undefined
    if (last !== undefined) this.#remove(last)
    this.#top = Math.max(this.#top, start + bytes)
    return start
  }

  free(start: number, bytes: number): void {
    let piece: Piece = { start, bytes }
    const before = this.#freeByEnd.get(start)
    if (before !== undefined) {
      this.#remove(before)
      piece = { start: before.start, bytes: before.bytes + bytes }
    }
    const after = this.#freeByStart.get(start + bytes)
    if (after !== undefined) {
      this.#remove(after)
      piece = { start: piece.start, bytes: piece.bytes + after.bytes }
    }
    this.#add(piece)
  }

  /** The free pieces that have been in use. */
  *freePieces(): Generator<Readonly<Piece>> {
    yield* this.#freeByStart.values()
  }

  #find(bytes: number): Piece | undefined {
    // A piece in the bin of this very size may be too small, and one that is large enough is the best.
    const own = this.#bins[binOf(bytes)]
    if (own !== undefined) for (const piece of own) if (piece.bytes >= bytes) return piece
    for (let bin = binOf(bytes) + 1; bin < this.#bins.length; bin++) {
      for (const piece of this.#bins[bin] ?? []) return piece
    }
    return undefined
  }

  #add(piece: Piece): void {
    this.#freeByStart.set(piece.start, piece)
    this.#freeByEnd.set(piece.start + piece.bytes, piece)
    const bin = binOf(piece.bytes)
    const pieces = this.#bins[bin]
    if (pieces === undefined) this.#bins[bin] = new Set([piece])
    else pieces.add(piece)
    this.#freeBytes += piece.bytes
  }

  #remove(piece: Piece): void {
    this.#freeByStart.delete(piece.start)
    this.#freeByEnd.delete(piece.start + piece.bytes)
    this.#bins[binOf(piece.bytes)]?.delete(piece)
    this.#freeBytes -= piece.bytes
  }
}

/** Grows with the size, by eight steps for each doubling. */
function binOf(bytes: number): number {
  const exponent = Math.floor(Math.log2(bytes))
  return exponent * 2 ** fineBits + Math.floor((bytes / 2 ** exponent - 1) * 2 ** fineBits)
}
