const kinds = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
]
/** Within a message, beside it, on both sides of what goes into a store, and what is mapped there. */
const byteLengths = [0, 1, 7, 100, 511, 512, 513, 1000, 4000, 8008, 30_001, 90_000, 102_400, 102_401, 150_000, 300_000]
const texts = ['', 'a', 'straße', '漢字', 'long '.repeat(300), '\u0000', '😀']

/** Any value that can be copied, with typed arrays and buffers of all sizes. The same for the same numbers. */
export function randomValue(random: () => number, depth = 3): unknown {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const inner = (): unknown => randomValue(random, depth - 1)
  const many = (): number[] => Array.from({ length: Math.floor(random() * 4) }, (_, i) => i)
  const bytes = (): Uint8Array<ArrayBuffer> => {
    const length = pick(byteLengths)
    const start = Math.floor(random() * 256)
    return Uint8Array.from({ length }, (_, i) => (start + i * 7) & 255)
  }
  const leaves: (() => unknown)[] = [
    () =>
      pick([null, undefined, true, false, 0, -0, 1, 255, 256, -1, 2 ** 31, 0.1, Number.NaN, -Infinity, 2n ** 70n, -5n]),
    () => pick(texts),
    () => new Date(Math.floor(random() * 1e12)),
    () => Buffer.from(bytes()),
    () => bytes().buffer,
    () => new DataView(bytes().buffer),
    () => {
      const Kind = pick(kinds)
      const { buffer } = bytes()
      return new Kind(buffer, 0, Math.floor(buffer.byteLength / Kind.BYTES_PER_ELEMENT))
    },
    () => bytes().subarray(Math.floor(random() * 5)),
  ]
  const branches: (() => unknown)[] = [
    () => many().map(inner),
    () => Object.fromEntries(many().map((i) => [`${pick(texts)}${i}`, inner()])),
    () => new Map(many().map((i) => [i, inner()])),
    () => new Set(many().map(inner)),
    () => Object.assign(new RangeError(pick(texts)), { details: inner() }),
    () => {
      const shared = inner()
      return [shared, { shared }]
    },
  ]
  return pick(depth === 0 || random() < 0.5 ? leaves : branches)()
}
