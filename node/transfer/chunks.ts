/** A value goes in chunks of this size, or of larger ones when it would take too many. */
const chunkBytesMin = 2 * 1024 * 1024
const chunksMax = 2048

function chunkBytesOf(bytes: number): number {
  return Math.max(chunkBytesMin, Math.ceil(bytes / chunksMax))
}

/** An empty value is one empty chunk. */
export function chunkCountOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / chunkBytesOf(bytes)))
}

/** Where a chunk lies in its value. */
export function chunkAt(bytes: number, index: number): { offset: number; length: number } {
  const offset = index * chunkBytesOf(bytes)
  return { offset, length: Math.min(chunkBytesOf(bytes), bytes - offset) }
}

/** Which chunks of a value are there. */
export class ChunkSet {
  readonly size: number
  readonly #bits: Uint8Array
  #count = 0

  constructor(size: number, bits?: Uint8Array) {
    this.size = size
    this.#bits = new Uint8Array(Math.ceil(size / 8))
    if (bits !== undefined) for (let i = 0; i < size; i++) if (hasBit(bits, i)) this.add(i)
  }

  static full(size: number): ChunkSet {
    const set = new ChunkSet(size)
    for (let i = 0; i < size; i++) set.add(i)
    return set
  }

  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count === this.size
  }

  has(index: number): boolean {
    return hasBit(this.#bits, index)
  }

  add(index: number): void {
    if (index < 0 || index >= this.size || this.has(index)) return
    this.#bits[index >> 3] = (this.#bits[index >> 3] as number) | (1 << (index & 7))
    this.#count += 1
  }

  /** The lowest bit of the first byte is the first chunk. */
  toBytes(): Uint8Array {
    return Uint8Array.from(this.#bits)
  }
}

function hasBit(bits: Uint8Array, index: number): boolean {
  return (((bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1
}
