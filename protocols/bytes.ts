import { InvalidArgumentError, ProtocolError } from './errors.ts'

/** What a writer takes for messages to come: for so many as large as the last one. */
const aheadCount = 16
const aheadBytesMin = 1024
const aheadBytesMax = 65_536
const nothing = Buffer.alloc(0)

/** A buffer that grows as it is written to. All numbers are little-endian. */
export class ByteWriter {
  #bytes: Buffer
  length = 0
  /** What it takes at least when it needs more. */
  #aheadBytes = aheadBytesMin

  constructor(capacity = 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity)
  }

  #reserve(count: number): Buffer {
    const needed = this.length + count
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2, this.#aheadBytes))
      this.#bytes.copy(grown, 0, 0, this.length)
      this.#bytes = grown
    }
    return this.#bytes
  }

  u8(value: number): void {
    this.#reserve(1)[this.length++] = value
  }

  u16(value: number): void {
    this.#reserve(2).writeUInt16LE(value, this.length)
    this.length += 2
  }

  u32(value: number): void {
    this.#reserve(4).writeUInt32LE(value, this.length)
    this.length += 4
  }

  /** An integer up to 2^48 - 1. */
  u48(value: number): void {
    this.#reserve(6).writeUIntLE(value, this.length, 6)
    this.length += 6
  }

  f64(value: number): void {
    this.#reserve(8).writeDoubleLE(value, this.length)
    this.length += 8
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length).set(bytes, this.length)
    this.length += bytes.length
  }

  bytes(bytes: Uint8Array): void {
    this.u32(bytes.length)
    this.raw(bytes)
  }

  string(text: string): void {
    // Three bytes per UTF-16 unit is the most that UTF-8 takes.
    const buffer = this.#reserve(4 + text.length * 3)
    const written = buffer.write(text, this.length + 4, 'utf8')
    buffer.writeUInt32LE(written, this.length)
    this.length += 4 + written
  }

  /** Throws InvalidArgumentError for a text that is not so many bytes in hex. */
  hex(text: string, byteCount: number): void {
    const written = this.#reserve(byteCount).write(text, this.length, byteCount, 'hex')
    if (written !== byteCount || text.length !== byteCount * 2) {
      throw new InvalidArgumentError(`"${text.slice(0, 64)}" is not an id: expected ${byteCount * 2} digits of hex`)
    }
    this.length += byteCount
  }

  /** Overwrites four bytes at `offset`, for lengths that are known afterwards. */
  setU32(offset: number, value: number): void {
    this.#bytes.writeUInt32LE(value, offset)
  }

  /** The bytes written so far, and a fresh start: the writer never touches them again. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.length)
    // What is left of the memory is for the next ones: to take memory for each small message costs more than to write it.
    // But a writer that once carried a large burst must not hold that much for ever.
    const isLarge = this.#bytes.buffer.byteLength > aheadBytesMax
    this.#bytes = isLarge ? nothing : this.#bytes.subarray(this.length)
    this.#aheadBytes = Math.min(Math.max(this.length * aheadCount, aheadBytesMin), aheadBytesMax)
    this.length = 0
    return taken
  }
}

/** Reads what a {@link ByteWriter} wrote. Every read is checked against the end; a short input is a ProtocolError. */
export class ByteReader {
  readonly #bytes: Buffer
  position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.#bytes.length - this.position
  }

  #advance(count: number): number {
    const at = this.position
    if (count > this.#bytes.length - at) throw new ProtocolError('a message ends before its last field')
    this.position = at + count
    return at
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#advance(2))
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4))
  }

  u48(): number {
    return this.#bytes.readUIntLE(this.#advance(6), 6)
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#advance(8))
  }

  /** A view on the input, not a copy. */
  raw(count: number): Buffer {
    const at = this.#advance(count)
    return this.#bytes.subarray(at, at + count)
  }

  bytes(): Buffer {
    return this.raw(this.u32())
  }

  string(bytesMax: number): string {
    const length = this.u32()
    if (length > bytesMax) throw new ProtocolError(`a text of ${length} bytes is over the limit of ${bytesMax}`)
    const at = this.#advance(length)
    return this.#bytes.toString('utf8', at, at + length)
  }

  hex(byteCount: number): string {
    const at = this.#advance(byteCount)
    return this.#bytes.toString('hex', at, at + byteCount)
  }
}
