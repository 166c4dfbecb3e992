import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NotCloneableError, ProtocolError, TaskCancelledError } from '../../../protocols/errors.ts'
import {
  decodeValue,
  encodedByteLength,
  encodeValue,
  flattenValue,
  unflattenValue,
  type EncodedValue,
} from '../../../protocols/values/index.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const roundTrip = (value: unknown): unknown => decodeValue(encodeValue(value))
const throughBytes = (encoded: EncodedValue): EncodedValue => {
  const bytes = Buffer.concat(flattenValue(encoded))
  assert.equal(bytes.length, encodedByteLength(encoded))
  return unflattenValue(bytes)
}

describe('values come back the same', () => {
  const cases: [string, unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['booleans', [true, false]],
    ['numbers', [0, 1, 255, 256, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 0.1, -0, Number.NaN, Infinity, -Infinity]],
    ['bigints', [0n, 1n, -1n, 255n, 256n, 2n ** 200n, -(2n ** 64n)]],
    [
      'strings',
      ['', 'a', 'ü', 'long enough to leave the loop'.repeat(9), '漢字', '😀'.repeat(50), '\ud800 alone', '\0'],
    ],
    ['registered symbols', Symbol.for('shoal')],
    ['objects', { a: 1, 'not an identifier': { b: [] }, 7: 'seven' }],
    ['objects without a prototype', Object.assign(Object.create(null), { a: 1 })],
    ['arrays', [[], [[1], [2, [3]]]]],
    // oxlint-disable-next-line no-sparse-arrays
    ['arrays with holes', [1, , 3, , ,]],
    [
      'maps',
      new Map<unknown, unknown>([
        ['a', 1],
        [{ b: 2 }, new Map()],
      ]),
    ],
    ['sets', new Set<unknown>([1, 'a', { b: 2 }])],
    ['dates', [new Date(0), new Date(NaN), new Date('2026-01-01')]],
    ['regular expressions', [/a+b/giu, /\//y]],
    ['URLs', new URL('https://example.org/a?b=c#d')],
    ['boxed primitives', [Object(1), Object('text'), Object(true), Object(5n)]],
    ['array buffers', new Uint8Array([1, 2, 3]).buffer],
    ['node buffers', [Buffer.from('short'), Buffer.alloc(10_000, 'long')]],
    [
      'typed arrays',
      [
        new Int8Array([-1]),
        new Uint8Array([255]),
        new Uint8ClampedArray([7]),
        new Int16Array([-2, 2]),
        new Uint16Array([65_535]),
        new Int32Array([-3]),
        new Uint32Array([3]),
        new Float16Array([0.5]),
        new Float32Array([0.25]),
        new Float64Array([0.1, NaN]),
        new BigInt64Array([-(2n ** 63n)]),
        new BigUint64Array([2n ** 64n - 1n]),
        new DataView(new Uint8Array([1, 2, 3]).buffer, 1, 1),
        new Float64Array(0),
      ],
    ],
  ]
  for (const [name, value] of cases) {
    test(name, () => {
      assert.deepStrictEqual(roundTrip(value), value)
      assert.deepStrictEqual(decodeValue(throughBytes(encodeValue(value))), value)
    })
  }

  test('cycles and shared parts', () => {
    const shared = { list: [1] }
    const value: Record<string, unknown> = { a: shared, b: shared, map: new Map([[shared, shared]]) }
    value['self'] = value
    value['many'] = Array.from({ length: 50 }, () => shared)
    const back = roundTrip(value) as typeof value
    assert.equal(back['a'], back['b'])
    assert.equal(back['self'], back)
    const [[key, item]] = [...(back['map'] as Map<unknown, unknown>)] as [[unknown, unknown]]
    assert.equal(key, back['a'])
    assert.equal(item, key)
    assert.ok((back['many'] as unknown[]).every((each) => each === key))
  })

  test('views on one buffer share it afterwards', () => {
    for (const length of [16, 100_000]) {
      const buffer = new ArrayBuffer(length)
      const { bytes, floats, own } = roundTrip({
        bytes: new Uint8Array(buffer),
        floats: new Float64Array(buffer, 8, length / 8 - 1),
        own: buffer,
      }) as { bytes: Uint8Array; floats: Float64Array; own: ArrayBuffer }
      bytes.fill(1)
      assert.equal(new Uint8Array(floats.buffer, floats.byteOffset)[0], 1)
      assert.equal(own.byteLength, length)
    }
  })

  /** Views on one buffer, given by their kinds, offsets and numbers of items. */
  type ViewSpec = readonly [
    kind: new (buffer: ArrayBuffer, at: number, items: number) => Items,
    at: number,
    items: number,
  ]
  type Items = Uint8Array | Float32Array | Float64Array

  function viewsOn(length: number, specs: readonly ViewSpec[]): Items[] {
    const bytes = Uint8Array.from({ length }, (_, i) => i % 64)
    return specs.map(([Kind, at, items]) => new Kind(bytes.buffer, at, items))
  }

  const shared: [string, number, ViewSpec[]][] = [
    [
      'thirds of a small one',
      24,
      [
        [Float64Array, 0, 1],
        [Uint8Array, 8, 8],
        [Float32Array, 16, 2],
      ],
    ],
    [
      'thirds of a large one',
      300_000,
      [
        [Uint8Array, 0, 100_000],
        [Uint8Array, 100_000, 100_000],
        [Uint8Array, 200_000, 100_000],
      ],
    ],
    [
      'of several kinds, at odd places',
      80_000,
      [
        [Uint8Array, 30_003, 5000],
        [Float64Array, 30_008, 600],
        [Float32Array, 29_996, 700],
      ],
    ],
    [
      'a part, and then all',
      80_000,
      [
        [Float64Array, 8, 1000],
        [Uint8Array, 0, 80_000],
      ],
    ],
    [
      'all, and then a part',
      80_000,
      [
        [Uint8Array, 0, 80_000],
        [Float64Array, 8, 10],
      ],
    ],
    [
      'the last part first',
      10_000,
      [
        [Uint8Array, 8000, 1000],
        [Uint8Array, 7000, 600],
      ],
    ],
  ]
  for (const [what, length, specs] of shared) {
    test(`views share their buffer where each sees a part of it: ${what}`, () => {
      const views = viewsOn(length, specs)
      const back = roundTrip({ before: new Uint8Array(9000), views, after: [views] }) as {
        views: Items[]
        after: Items[][]
      }
      assert.deepEqual(back.views, views)
      assert.equal(back.after[0], back.views)
      const [first] = back.views as [Items]
      for (const [i, view] of back.views.entries()) {
        assert.equal(view.buffer, first.buffer)
        assert.equal(view.byteOffset - first.byteOffset, (specs[i]?.[1] ?? 0) - (specs[0]?.[1] ?? 0))
      }
    })
  }

  test('views that lie far from each other do not drag along what is between them', () => {
    const views = viewsOn(1_000_000, [
      [Uint8Array, 5, 1000],
      [Uint8Array, 900_000, 1000],
      [Uint8Array, 1000, 1000],
      [Uint8Array, 500_000, 10],
    ])
    const encoded = encodeValue(views)
    assert.ok(encodedByteLength(encoded) < 4000)
    const back = decodeValue(encoded) as Items[]
    assert.deepEqual(back, views)
    assert.equal(back[2]?.buffer, back[0]?.buffer)
  })

  test('views on places of one buffer that are far apart are each right, in any number', () => {
    const buffer = Float64Array.from({ length: 200_000 }, (_, i) => i)
    for (const starts of [
      [0, 200, 100_000],
      [100_000, 0, 200],
      [0, 100_000, 200, 100_200, 50_000, 400, 300],
    ]) {
      for (const lengths of [[200], [200, 60, 500]]) {
        const views = starts.map((start, i) => {
          const length = lengths[i % lengths.length] as number
          return buffer.subarray(start, start + length)
        })
        assert.deepEqual(roundTrip(views), views)
        assert.deepEqual(decodeValue(throughBytes(encodeValue(views))), views)
      }
    }
  })

  test('arrays keep what they have besides their items', () => {
    const match = /(?<word>b+)(c)?/d.exec('aabb') as RegExpExecArray
    // oxlint-disable-next-line no-sparse-arrays
    const holes = Object.assign([1, , 3], { unit: 'm', '4294967296': 'far' })
    const values = [
      match,
      [...'a1b2'.matchAll(/\d/g)],
      holes,
      Object.assign([], { only: 'fields' }),
      Object.assign([undefined], { '-1': 'before', '01': 'no item' }),
      Object.assign(
        Array.from({ length: 5000 }, (_, i) => i),
        { total: 9000 },
      ),
    ]
    const back = roundTrip(values) as typeof values
    assert.deepStrictEqual(back, values)
    assert.deepEqual([(back[0] as RegExpExecArray).index, (back[0] as RegExpExecArray).groups?.['word']], [2, 'bb'])
    const loop: unknown[] & { self?: unknown } = [1]
    loop.self = loop
    const loopBack = roundTrip(loop) as typeof loop
    assert.equal(loopBack.self, loopBack)
  })

  test('fields that somebody has given an error stay such', () => {
    const error = Object.assign(new Error('x'), { errors: ['a'], cause: 7 })
    assert.equal(JSON.stringify(roundTrip(error)), '{"errors":["a"],"cause":7}')
  })

  test('a small view on a large buffer does not drag the buffer along', () => {
    const view = new Uint8Array(new ArrayBuffer(1_000_000), 5, 10).fill(3)
    const encoded = encodeValue([view, view, { view }])
    assert.ok(encodedByteLength(encoded) < 1000)
    const [first, second] = decodeValue(encoded) as Uint8Array[]
    assert.deepEqual(first, view)
    assert.equal(first, second)
  })

  test('large typed arrays are neither copied on the way in nor on the way out', () => {
    const data = new Float64Array(10_000).fill(0.5)
    const encoded = encodeValue({ data })
    assert.equal(encoded.buffers[0]?.buffer, data.buffer)
    const flat = Buffer.concat(flattenValue(encoded))
    const { data: back } = decodeValue(unflattenValue(flat)) as { data: Float64Array }
    assert.equal(back.buffer, flat.buffer)
    assert.deepEqual(back, data)
  })

  for (const [kind, make] of [
    ['bytes', (bytes: Uint8Array) => bytes],
    ['node buffers', (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)],
  ] as const) {
    test(`buffers that lie at odd places are copied to where their kind may lie (${kind})`, () => {
      const value = { view: new Float64Array(1000).fill(1.5), whole: new Uint16Array(5000).fill(7).buffer }
      const encoded = encodeValue(value)
      for (let shift = 0; shift < 16; shift++) {
        const buffers = encoded.buffers.map((buffer) => {
          const shifted = new Uint8Array(buffer.length + 32)
          shifted.set(buffer, shift)
          return make(shifted.subarray(shift, shift + buffer.length))
        })
        const back = decodeValue({ ...encoded, buffers }) as typeof value
        assert.deepEqual(back, value)
        assert.equal(back.whole.byteLength, 10_000)
      }
    })
  }

  test('resizable buffers stay so', () => {
    const back = roundTrip(new ArrayBuffer(8, { maxByteLength: 64 })) as ArrayBuffer
    assert.deepEqual([back.resizable, back.byteLength, back.maxByteLength], [true, 8, 64])
  })

  test('errors keep class, message, stack, cause and fields', () => {
    const cause = new RangeError('inner')
    const error = Object.assign(new TypeError('outer', { cause }), { code: 'E_CODE', list: [1] })
    const back = roundTrip(error) as TypeError & { code: string; list: number[] }
    assert.ok(back instanceof TypeError && back.cause instanceof RangeError)
    assert.deepEqual([back.message, back.stack, back.code, back.list], ['outer', error.stack, 'E_CODE', [1]])
    assert.deepEqual(Object.keys(back), ['code', 'list'])
    const aggregate = roundTrip(new AggregateError([new Error('a'), 'b'], 'many')) as AggregateError
    assert.ok(aggregate instanceof AggregateError)
    assert.equal((aggregate.errors[0] as Error).message, 'a')
    const own = roundTrip(new TaskCancelledError('gone', { task: 'f' })) as TaskCancelledError
    assert.ok(own instanceof TaskCancelledError)
    assert.deepEqual(
      [own.code, own.retryable, own.details, own.name],
      ['TASK_CANCELLED', false, { task: 'f' }, 'TaskCancelledError'],
    )
  })

  test('an error of a class that nobody ships arrives as the nearest one known', () => {
    class ParseError extends SyntaxError {
      override name = 'ParseError'
      line = 7
    }
    const back = roundTrip(new ParseError('bad')) as ParseError
    assert.ok(back instanceof SyntaxError)
    assert.deepEqual([back.name, back.message, back.line], ['ParseError', 'bad', 7])
  })

  test('DOMExceptions, as signals abort with, are known', () => {
    const back = roundTrip({ reason: new DOMException('stop it', 'AbortError') }) as { reason: DOMException }
    assert.ok(back.reason instanceof DOMException)
    assert.deepEqual([back.reason.name, back.reason.message, back.reason.code], ['AbortError', 'stop it', 20])
  })

  test('buffers that were given away are refused, with their path', () => {
    for (const make of [
      () => new Float64Array(2000),
      () => Buffer.from(new ArrayBuffer(9)),
      () => new DataView(new ArrayBuffer(9)),
    ]) {
      const view = make()
      structuredClone(view, { transfer: [view.buffer] })
      const message = /cannot copy the value at \.list\[0\]: a buffer whose memory is gone/
      assert.throws(() => encodeValue({ list: [view] }), message)
      assert.throws(() => encodeValue({ list: [view.buffer] }), message)
    }
  })

  test('a key named __proto__ is a field like any other', () => {
    const value = JSON.parse('{"__proto__":{"polluted":true}}') as object
    const back = roundTrip(value) as Record<string, unknown>
    assert.deepEqual(Object.keys(back), ['__proto__'])
    assert.equal(back['polluted'], undefined)
    assert.equal(Object.getPrototypeOf(back), Object.prototype)
  })

  test('whatever structured clone can copy, alike', () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
      withBoxedValues: true,
      withUnicodeString: true,
    })
    fc.assert(
      fc.property(anything, (value) => {
        assert.deepStrictEqual(decodeValue(throughBytes(encodeValue(value))), structuredClone(value))
      }),
      { seed, numRuns: 500 },
    )
  })
})

describe('what cannot be copied is named', () => {
  const cases: [string, unknown, RegExp][] = [
    ['a promise', { pool: [Promise.resolve()] }, /^cannot copy the value at \.pool\[0\]: a Promise; await it first/],
    ['a function', { a: { 'b c': function f() {} } }, /at \.a\["b c"\]: the function f;/],
    ['a unique symbol', [Symbol('x')], /at \[0\]: Symbol\(x\): only symbols of Symbol\.for/],
    ['a WeakMap', new WeakMap(), /^cannot copy the value: a WeakMap, which means nothing/],
    ['a generator', (function* () {})(), /a running generator/],
    ['shared memory', [new SharedArrayBuffer(8)], /a SharedArrayBuffer/],
    ['a view on shared memory', new Uint8Array(new SharedArrayBuffer(8)), /a view on a SharedArrayBuffer/],
    ['an instance', new Map([['k', new (class Connection {})()]]), /at <value 0>: an instance of Connection;/],
    ['a key of a map', new Map([[Promise.resolve(), 1]]), /at <key 0>: a Promise/],
    ['a Blob', { body: new Blob(['a']) }, /at \.body: an instance of Blob;/],
    ['a File', new File(['a'], 'a.txt'), /an instance of File;/],
    ['a KeyObject', createSecretKey(Buffer.from('secret')), /an instance of SecretKeyObject;/],
    ['an item of a set', new Set([1, Promise.resolve()]), /at <item 1>: a Promise/],
  ]
  for (const [name, value, message] of cases) {
    test(name, () => {
      assert.throws(
        () => encodeValue(value),
        (error: Error) => {
          assert.ok(error instanceof NotCloneableError)
          assert.match(error.message, message)
          return true
        },
      )
    })
  }

  test('nesting without end', () => {
    let deep: unknown = 1
    for (let i = 0; i < 100_000; i++) deep = [deep]
    assert.throws(() => encodeValue(deep), /nested more than 1000 levels deep/)
    let fine: unknown = 1
    for (let i = 0; i < 990; i++) fine = { fine }
    let back = roundTrip(fine)
    for (let i = 0; i < 990; i++) back = (back as { fine: unknown }).fine
    assert.equal(back, 1)
  })

  test('an encoder works on after a failure, and inside of itself', () => {
    assert.throws(() => encodeValue([1, Promise.resolve()]))
    assert.deepEqual(roundTrip([1]), [1])
    const value = {
      before: { x: 1 },
      get nested() {
        return roundTrip({ y: 2 })
      },
      after: { z: 3 },
    }
    assert.deepEqual(roundTrip(value), { before: { x: 1 }, nested: { y: 2 }, after: { z: 3 } })
  })
})

describe('extensions', () => {
  class Fish {
    name: string
    friend: unknown
    constructor(name: string) {
      this.name = name
    }
  }
  const extend = (value: object) =>
    value instanceof Fish ? { tag: 'fish', data: ['data'], fields: { ...value } } : undefined
  const revive = (tag: string, data: unknown) => {
    assert.deepEqual([tag, data], ['fish', ['data']])
    return Object.create(Fish.prototype) as object
  }

  test('objects of other classes travel as the hooks say, cycles included', () => {
    const fish = new Fish('a')
    fish.friend = { of: fish }
    const [back, again] = decodeValue(encodeValue([fish, fish], { extend }), { revive }) as [Fish, Fish]
    assert.ok(back instanceof Fish)
    assert.equal(back, again)
    assert.equal((back.friend as { of: Fish }).of, back)
  })

  test('plain data never asks', () => {
    const asked: unknown[] = []
    encodeValue([{ a: new Map() }, new Date(), new Error('x')], { extend: (value) => void asked.push(value) })
    assert.deepEqual(asked, [])
  })

  test('what the hook refuses is told with the path', () => {
    const hooks = {
      extend: () => {
        throw new NotCloneableError('no fish')
      },
    }
    assert.throws(() => encodeValue({ bowl: [new Fish('a')] }, hooks), /no fish \(at \.bowl\[0\]\)/)
  })

  test('of a long path the two ends are told', () => {
    let nested: unknown = { end: Promise.resolve() }
    for (let i = 0; i < 500; i++) nested = [nested]
    const path = `.top${'[0]'.repeat(15)}…${'[0]'.repeat(7)}.end`
    assert.throws(
      () => encodeValue({ top: nested }),
      (error) => {
        assert.ok(error instanceof NotCloneableError)
        assert.ok(error.message.startsWith(`cannot copy the value at ${path}: a Promise`), error.message)
        return error.details['path'] === path
      },
    )
    const long = 'k'.repeat(100_000)
    assert.throws(() => encodeValue({ [long]: Promise.resolve() }), /at \.k{60}…: a Promise/)
  })
})

describe('bytes from elsewhere', () => {
  test('changed or random bytes decode or are a ProtocolError, and nothing else', () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    const random = seededRandom(seed)
    const sample = {
      text: 'text'.repeat(20),
      wide: '漢字',
      numbers: [1, -1, 0.5, 3n],
      map: new Map([[{ a: 1 }, new Set([new Date(0)])]]),
      error: new TypeError('x', { cause: /a/g }),
      views: [new Float64Array(4), new Uint8Array(9000), Buffer.alloc(5000), new ArrayBuffer(3)],
      // oxlint-disable-next-line no-sparse-arrays
      holes: [1, , 3],
    }
    const original = Buffer.concat(flattenValue(encodeValue(sample)))
    for (let round = 0; round < 5000; round++) {
      const bytes = round % 5 === 0 ? Buffer.alloc(64) : Buffer.from(original)
      const changes = round % 5 === 0 ? 64 : 1 + Math.floor(random() * 5)
      for (let i = 0; i < changes; i++)
        bytes[Math.floor(random() * Math.min(bytes.length, 700))] = Math.floor(random() * 256)
      const cut = random() < 0.2 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes
      try {
        const encoded = round % 2 === 0 ? unflattenValue(cut) : { ...unflattenValue(bytes), head: cut }
        decodeValue(encoded, { revive: () => ({}) })
      } catch (error) {
        assert.ok(error instanceof ProtocolError, `seed ${seed}, round ${round}: ${String((error as Error).stack)}`)
      }
    }
  })

  test('an unknown format is named', () => {
    assert.throws(() => decodeValue({ format: 9, head: Buffer.alloc(1), buffers: [] }), /format 9/)
  })
})
