import { crc32 } from 'node:zlib'

export const sizeMin = 1024
export const sizeMax = 8 * 1024 * 1024

/** Bytes that differ from seed to seed, to the last one. */
export function payload(seed: number, bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  let state = (seed ^ 0x9e37_79b9) >>> 0 || 1
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, bytes)
}

/** What is known of a value apart from the value. */
export interface Sum {
  bytes: number
  crc: number
}

export function sumOf(data: Uint8Array): Sum {
  return { bytes: data.length, crc: crc32(data) }
}

/** Throws when the value is another one. */
export function verify(what: string, data: Uint8Array, { bytes, crc }: Sum): void {
  const found = sumOf(data)
  if (found.bytes === bytes && found.crc === crc) return
  throw new WrongValue(`${what}: ${found.bytes} bytes with sum ${found.crc} instead of ${bytes} with sum ${crc}`)
}

/** A value is not what was put. */
class WrongValue extends Error {
  override readonly name = 'WrongValue'
}
