import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { advert, type Advert } from '../../../protocols/advert.ts'
import { ByteReader, ByteWriter } from '../../../protocols/bytes.ts'
import { ProtocolError } from '../../../protocols/errors.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { makeAdvert } from './make-advert.ts'

function encode(value: Advert): Buffer {
  const writer = new ByteWriter()
  advert.write(writer, value)
  return writer.take()
}

function decode(bytes: Uint8Array): Advert {
  const reader = new ByteReader(bytes)
  const value = advert.read(reader)
  assert.equal(reader.remaining, 0)
  return value
}

const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const amount = fc.double({ noNaN: true, noDefaultInfinity: true })
const amountOrNone = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true })
const name = fc.string({ minLength: 1, maxLength: 63 })
const text = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 64 })
const adverts: fc.Arbitrary<Advert> = fc.record({
  node: fc.stringMatching(/^[0-9a-f]{16}$/),
  version: u48,
  name,
  shoalVersion: name,
  role: fc.constantFrom('worker', 'submitter', 'admin'),
  startedAtMs: u48,
  addresses: fc.array(name, { maxLength: 16 }),
  total: fc.dictionary(name, amountOrNone, { maxKeys: 20 }),
  available: fc.dictionary(name, amount, { maxKeys: 20 }),
  gpus: fc.array(
    fc.record(
      { name, type: name, memoryBytes: fc.integer({ min: 1 }), free: fc.constantFrom(0, 0.25, 0.9999) },
      { requiredKeys: [] },
    ),
    { maxLength: 8 },
  ),
  labels: fc.dictionary(name, text, { maxKeys: 20 }),
  load: amountOrNone,
  workers: u32,
  leases: u32,
  queued: u32,
  store: fc.record({ usedBytes: whole, bytesMax: whole }),
  isOpen: fc.boolean(),
})

/** Objects of the codec have ordinary prototypes; fast-check's may have none. */
function plain(value: Advert): unknown {
  return structuredClone(value)
}

describe('the codec of adverts', () => {
  test('what was written is read again', () => {
    fc.assert(
      fc.property(adverts, (value) => {
        assert.deepEqual(plain(decode(encode(value))), plain(value))
      }),
      { numRuns: 200 },
    )
  })

  test('garbage is a ProtocolError or an advert that can be written again, never anything else', () => {
    const seed = Date.now() >>> 0
    const random = seededRandom(seed)
    const good = encode(makeAdvert())
    let refused = 0
    for (let run = 0; run < 5_000; run++) {
      const bytes = Buffer.from(good.subarray(0, random() < 0.3 ? Math.floor(random() * good.length) : good.length))
      for (let flips = Math.ceil(random() * 4); flips > 0 && bytes.length > 0; flips--) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      }
      try {
        const value = advert.read(new ByteReader(bytes))
        assert.deepEqual(decode(encode(value)), value, `seed ${seed}`)
      } catch (error) {
        assert.ok(error instanceof ProtocolError, `seed ${seed}: ${String(error)}`)
        refused++
      }
    }
    assert.ok(refused > 1_000, `seed ${seed}: only ${refused} were refused`)
  })

  const wrong: [string, Partial<Advert>][] = [
    ['a total below nothing', { total: { CPU: -1 } }],
    ['an endless total', { total: { CPU: Number.POSITIVE_INFINITY } }],
    ['available that is not a number', { available: { CPU: Number.NaN } }],
    ['a load below nothing', { load: -0.1 }],
    ['half a byte in the store', { store: { usedBytes: 0.5, bytesMax: 1 } }],
    ['too many addresses', { addresses: Array.from({ length: 17 }, () => '/ip4/10.0.0.1/tcp/1') }],
    ['an address too long', { addresses: ['a'.repeat(257)] }],
    ['too many resources', { total: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`r${i}`, 1])) }],
    ['the name of a resource too long', { total: { ['r'.repeat(65)]: 1 } }],
    ['more than all of a GPU that is free', { gpus: [{ free: 1.5 }] }],
    ['less than nothing of it', { gpus: [{ free: -0.5 }] }],
    ['too many GPUs', { gpus: Array.from({ length: 65 }, () => ({})) }],
    ['too many labels', { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, ''])) }],
    ['a label too long', { labels: { zone: 'z'.repeat(65) } }],
    ['a name too long', { name: 'n'.repeat(257) }],
  ]
  for (const [what, changes] of wrong) {
    test(`refused: ${what}`, () => {
      const bytes = encode(makeAdvert(changes))
      assert.throws(() => advert.read(new ByteReader(bytes)), ProtocolError)
    })
  }

  test('the largest one fits into a message of 64 KiB', () => {
    const wide = (length: number): Record<string, number> =>
      Object.fromEntries(Array.from({ length }, (_, i) => [String(i).padStart(64, 'r'), i]))
    const value = makeAdvert({
      name: 'n'.repeat(256),
      shoalVersion: 'v'.repeat(64),
      addresses: Array.from({ length: 16 }, () => 'a'.repeat(256)),
      total: wide(256),
      available: wide(256),
      gpus: Array.from({ length: 64 }, () => ({
        name: 'g'.repeat(96),
        type: 't'.repeat(48),
        memoryBytes: 1,
        free: 0.5,
      })),
      labels: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [String(i).padStart(64, 'l'), 'v'.repeat(64)])),
    })
    const bytes = encode(value)
    assert.deepEqual(decode(bytes), value)
    assert.ok(bytes.length < 64 * 1024, `${bytes.length} bytes`)
  })
})
