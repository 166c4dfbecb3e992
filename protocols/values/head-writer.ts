import { tags } from './tags.ts'

const notLatin1 = /[^\u0000-\u00ff]/
/** Texts up to this length are written by a loop, which is faster than a call into the engine. */
const loopLengthMax = 24
/** What is kept between two values; a larger one gives its memory back. */
const keptBytes = 1024 * 1024

/** The growing head of a value. */
export class HeadWriter {
  #bytes: Buffer = Buffer.allocUnsafeSlow(4096)
  #at = 0

  get length(): number {
    return this.#at
  }

  reset(): void {
    this.#at = 0
    if (this.#bytes.length > keptBytes) this.#bytes = Buffer.allocUnsafeSlow(4096)
  }

  /** A copy of what was written. */
  copy(): Buffer {
    const copy = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(copy, 0, 0, this.#at)
    return copy
  }

  #reserve(count: number): Buffer {
    if (this.#at + count > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#at + count, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#at)
      this.#bytes = grown
    }
    return this.#bytes
  }

  byte(value: number): void {
    this.#reserve(1)[this.#at++] = value
  }

  int32(value: number): void {
    this.#reserve(4).writeInt32LE(value, this.#at)
    this.#at += 4
  }

  float64(value: number): void {
    this.#reserve(8).writeDoubleLE(value, this.#at)
    this.#at += 8
  }

  /** A whole number from 0, seven bits a byte. */
  count(value: number): void {
    const bytes = this.#reserve(8)
    while (value >= 0x80) {
      bytes[this.#at++] = (value % 0x80) | 0x80
      value = Math.floor(value / 0x80)
    }
    bytes[this.#at++] = value
  }

  /** Room for a number that is not known yet. Gives its place, for `setCount`. */
  laterCount(): number {
    const place = this.#at
    this.#reserve(8)
    this.#at += 8
    this.setCount(place, 0)
    return place
  }

  /** Writes the number there as `count` would, only not as short as can be. */
  setCount(place: number, value: number): void {
    for (let i = 0; i < 7; i++) {
      this.#bytes[place + i] = (value % 0x80) | 0x80
      value = Math.floor(value / 0x80)
    }
    this.#bytes[place + 7] = value
  }

  raw(value: Uint8Array): void {
    this.#reserve(value.length).set(value, this.#at)
    this.#at += value.length
  }

  /** A text with its tag. */
  text(value: string): void {
    const { length } = value
    const start = this.#at
    const bytes = this.#reserve(length * 2 + 10)
    if (length <= loopLengthMax) {
      bytes[this.#at++] = tags.latin1
      bytes[this.#at++] = length
      for (let i = 0; i < length; i++) {
        const code = value.charCodeAt(i)
        if (code > 0xff) {
          this.#at = start
          this.#utf16(value)
          return
        }
        bytes[this.#at++] = code
      }
      return
    }
    if (notLatin1.test(value)) {
      this.#utf16(value)
      return
    }
    bytes[this.#at++] = tags.latin1
    this.count(length)
    this.#at += this.#bytes.write(value, this.#at, 'latin1')
  }

  #utf16(value: string): void {
    this.byte(tags.utf16)
    this.count(value.length)
    this.#at += this.#reserve(value.length * 2).write(value, this.#at, 'utf16le')
  }
}
