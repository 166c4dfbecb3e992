import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteReader, ByteWriter } from '../../../protocols/bytes.ts'
import { InvalidArgumentError, ProtocolError } from '../../../protocols/errors.ts'
import { decodeBody, encodeBody } from '../../../protocols/messages.ts'
import { peerMessages } from '../../../protocols/peer-messages.ts'
import { bundleSpec, checkBundles, formatBundle } from '../../../protocols/placement-groups.ts'
import { json } from '../../../protocols/schema.ts'
import { schedulingStrategy } from '../../../protocols/scheduling.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const group = `${'ab'.repeat(16)}000000000007`

function written(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter(64)
  write(writer)
  return Buffer.from(writer.take())
}

describe('bundles', () => {
  test('are resources by name, and labels', () => {
    assert.deepEqual(
      checkBundles([
        { CPU: 2, camera: 1 },
        { GPU: 0.5, labels: { zone: 'lab1' } },
      ]),
      [
        { resources: { CPU: 2, camera: 1 }, labels: {} },
        { resources: { GPU: 0.5 }, labels: { zone: { in: ['lab1'] } } },
      ],
    )
  })

  test('may ask for what has a name that every object has', () => {
    const [bundle] = checkBundles([{ constructor: 1 } as never])
    assert.deepEqual(bundle?.resources, { constructor: 1 })
  })

  test('that cannot be are refused by their numbers', () => {
    for (const [bundles, message] of [
      [[], /at least one bundle/],
      [{ CPU: 1 }, /a list of at least one bundle/],
      [[{ CPU: 1 }, 3], /^bundle 1: expected resources by name/],
      [[{ CPU: 0 }], /^bundle 0 asks for nothing/],
      [[{ CPU: 1 }, { CPU: Number.NaN }], /^bundle 1: CPU is NaN/],
      [[{ gpu: 1 }], /^bundle 0: 'gpu' is written GPU/],
      [[{ CPU: 1, labels: { '': 'x' } }], /^bundle 0: labels: '' is not a name/],
      [[{ CPU: '1' }], /^bundle 0: CPU is 1; expected/],
      [Array.from({ length: 1001 }, () => ({ CPU: 1 })), /at most 1000/],
      [
        Array.from({ length: 1000 }, () => ({
          CPU: 1,
          labels: { zone: { in: Array.from({ length: 30 }, () => 'x'.repeat(60)) } },
        })),
        /bytes; at most/,
      ],
    ] as const) {
      assert.throws(
        () => checkBundles(bundles),
        (error: unknown) => error instanceof InvalidArgumentError && message.test(error.message),
        String(message),
      )
    }
  })

  test('read like this', () => {
    const [bundle] = checkBundles([{ CPU: 1, memory: 2 ** 30, labels: { zone: 'a' } }])
    assert.equal(bundle && formatBundle(bundle), 'CPU 1, memory 1 GiB on nodes with zone=a')
  })
})

describe('messages about groups', () => {
  test('come back as they were sent', () => {
    const bundles = checkBundles([{ CPU: 2 }, { GPU: 1, labels: { zone: { notIn: ['a'] } } }])
    const body = { group, job: 'ab'.repeat(16), name: 'n', strategy: 'STRICT_SPREAD', bundles } as const
    const bytes = written((writer) => encodeBody(writer, 'groupCreate', { ...body, bundles }))
    assert.deepEqual(decodeBody('groupCreate', bytes), body)
    const strategy = { kind: 'group', group, bundle: 'any' } as const
    const read = schedulingStrategy.read(
      new ByteReader(written((writer) => schedulingStrategy.write(writer, strategy))),
    )
    assert.deepEqual(read, strategy)
  })

  test('with what cannot be are refused', () => {
    for (const value of [null, [], [{ CPU: -1 }, {}], [{}, {}], [{ CPU: 1 }, { zone: 3 }], [{ CPU: 1 }], ['x', {}]]) {
      const bytes = written((writer) => json.write(writer, value))
      assert.throws(() => bundleSpec.read(new ByteReader(bytes)), ProtocolError, JSON.stringify(value))
    }
    for (const strategy of [
      { kind: 'group', group: 'x', bundle: 1 },
      { kind: 'group', group, bundle: -1 },
      { kind: 'group', group, bundle: 1.5 },
      { kind: 'group', group },
    ]) {
      const bytes = written((writer) => json.write(writer, strategy))
      assert.throws(() => schedulingStrategy.read(new ByteReader(bytes)), ProtocolError, JSON.stringify(strategy))
    }
  })

  test('that are damaged are refused, or read as something else that can be', () => {
    const random = seededRandom(3)
    const sound = written((writer) =>
      peerMessages.bundleReserve.body.write(writer, {
        group,
        tryNumber: 1,
        bundles: [{ index: 0, resources: { CPU: 1, camera: 2 } }],
      }),
    )
    for (let run = 0; run < 3000; run++) {
      const bytes = Buffer.from(sound.subarray(0, random() < 0.3 ? Math.floor(random() * sound.length) : sound.length))
      for (let flips = 0; flips < 3 && bytes.length > 0; flips++) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      }
      try {
        for (const { resources } of peerMessages.bundleReserve.body.read(new ByteReader(bytes)).bundles) {
          assert.ok(Object.values(resources).every((amount) => amount > 0))
        }
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error))
      }
    }
  })
})
