/** What functions close over. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { EOL, hostname } from 'node:os'
import { buildFunction, captureFunction } from '../../../sdk/shipping/index.ts'
import { testShipCases } from './ship-case.ts'
import { hooks, ShipWorker, TestHandle } from './ship-worker.ts'

class Point {
  x: number
  y: number
  constructor(x: number, y: number) {
    this.x = x
    this.y = y
  }
  length(): number {
    return Math.hypot(this.x, this.y)
  }
}
class Stack extends Array<number> {
  top(): number | undefined {
    return this.at(-1)
  }
}
class Table extends Map<string, Point> {
  longest(): number {
    return Math.max(...[...this.values()].map((point) => point.length()))
  }
}

class EverySecond extends Array<number> {
  override forEach(each: (item: number, i: number, all: number[]) => void): void {
    super.forEach((item, i) => {
      if (i % 2 === 1) each(item, i, this)
    })
  }
  override *[Symbol.iterator](): ArrayIterator<number> {
    for (let i = 1; i < this.length; i += 2) yield this[i] ?? 0
  }
}

const origin = new Point(3, 4)
const registry = { points: [origin], first: origin, make: (x: number) => new Point(x, x) }

describe('values', () => {
  testShipCases({
    'primitives of all kinds': () => {
      const values = [undefined, null, true, -0, NaN, -Infinity, 12345678901234567890n, 'ünï\u0000', '\ud800']
      return { fn: () => [values, Object.is(values[3], -0)] }
    },
    'Map, Set and Date': () => {
      const map = new Map<unknown, unknown>([
        ['k', { v: 1 }],
        [{ o: 1 }, new Set([1, 'two'])],
      ])
      const date = new Date(86_400_000)
      return { fn: () => [map.get('k'), [...map.keys()], [...map.values()], date.toISOString()] }
    },
    'typed arrays that share memory': () => {
      const bytes = new Uint8Array([1, 2, 3, 4])
      const words = new Uint16Array(bytes.buffer)
      return {
        fn: () => {
          bytes[0] = 255
          return [words[0], bytes.buffer === words.buffer]
        },
        expected: [767, true],
      }
    },
    'buffers and parts of them': () => {
      const buffer = Buffer.from('hello world')
      const part = new Uint8Array(new Uint8Array([0, 1, 2, 3]).buffer, 1, 2)
      const view = new DataView(new ArrayBuffer(8))
      view.setFloat64(0, Math.PI)
      const wide = new BigInt64Array([1n, -1n])
      return {
        fn: () => [buffer.toString('utf8'), [...part], view.getFloat64(0), wide, part.byteOffset],
        expected: ['hello world', [1, 2], Math.PI, wide, 1],
      }
    },
    'views of parts of one buffer': () => {
      const buffer = new ArrayBuffer(64)
      const head = new Uint32Array(buffer, 0, 2)
      const data = new Uint8Array(buffer, 8)
      return {
        fn: () => {
          data[0] = 9
          head[0] = 7
          return [new Uint32Array(buffer)[0], new Uint8Array(buffer)[8], head.buffer === data.buffer, data.byteOffset]
        },
        expected: [7, 9, true, 8],
      }
    },
    'overlapping views of a large buffer, and one far away': () => {
      const all = Float64Array.from({ length: 100_000 }, (_, i) => i)
      const one = all.subarray(1000, 1200)
      const other = new DataView(all.buffer, 8 * 1100 + 4, 2000)
      const far = all.subarray(90_000, 90_010)
      return {
        fn: () => {
          one[101] = 5
          return [
            other.getFloat64(4, true),
            one[0],
            far[9],
            far.length,
            one.buffer === other.buffer,
            one.buffer === far.buffer,
            one.buffer.byteLength < 4000,
          ]
        },
        expected: [5, 1000, 90_009, 10, true, false, true],
      }
    },
    'a view that was captured before its buffer': () => {
      const holder = {
        view: new Uint8Array(new ArrayBuffer(5000), 10, 5),
        buffer: undefined as ArrayBuffer | undefined,
      }
      holder.buffer = holder.view.buffer
      return {
        fn: () => {
          holder.view[0] = 3
          return [
            holder.buffer === holder.view.buffer,
            holder.buffer?.byteLength,
            new Uint8Array(holder.buffer ?? [])[10],
          ]
        },
        expected: [true, 5000, 3],
      }
    },
    'resizable buffers': () => {
      const growing = new Float64Array(new ArrayBuffer(16, { maxByteLength: 32 }))
      const fixed = new Uint16Array(growing.buffer, 2, 3)
      const full = new ArrayBuffer(4, { maxByteLength: 4 })
      const fullViews = [new Uint8Array(full), new Uint8Array(full, 0, 4), new DataView(full, 1)] as const
      return {
        fn: () => {
          growing.buffer.resize(32)
          full.resize(3)
          return [growing.length, fixed.length, fixed.byteOffset, ...fullViews.map((view) => view.byteLength)]
        },
        expected: [4, 3, 2, 3, 0, 2],
      }
    },
    'expressions and URLs': () => {
      const expression = /a+/gi
      expression.lastIndex = 2
      const url = new URL('https://example.org/a?b=c')
      const search = new URLSearchParams('x=1&x=2')
      return {
        fn: () => [expression.exec('aabaa')?.index, url.host, search.getAll('x')],
        expected: [3, 'example.org', ['1', '2']],
      }
    },
    cycles: () => {
      interface Node {
        next?: Node
        list: unknown[]
      }
      const a: Node = { list: [] }
      a.next = { next: a, list: [a] }
      a.list.push(a.list, new Map([['a', a]]))
      return {
        fn: () => [
          a.next?.next === a,
          a.next?.list[0] === a,
          a.list[0] === a.list,
          (a.list[1] as Map<string, Node>).get('a') === a,
        ],
      }
    },
    'shared values stay shared': () => {
      const shared = { n: 1 }
      const both = [shared, { shared }]
      return { fn: () => both[0] === (both[1] as { shared: object }).shared && both[0] === shared }
    },
    'instances and what they share': () => ({
      fn: () => [
        registry.first === registry.points[0],
        registry.first.length(),
        registry.make(1) instanceof Point,
        origin === registry.first,
      ],
    }),
    'subclasses of Array and Map': () => {
      const stack = Stack.from([1, 2, 3]) as Stack
      const table = new Table([['a', new Point(3, 4)]])
      return {
        fn: () => [
          stack.top(),
          stack instanceof Stack,
          stack.length,
          table.longest(),
          table.size,
          table instanceof Table,
        ],
      }
    },
    'a subclass of Array that goes over its items in its own way': () => {
      const every = EverySecond.from([1, 2, 3, 4]) as EverySecond
      return { fn: () => [every.length, every[1], every.at(-1)], expected: [4, 2, 4] }
    },
    'few items in a long array, and what else an array has': () => {
      const long: unknown[] = [1]
      long[4_000_000_000] = { last: true }
      const tagged = Object.assign([1, 2], { [Symbol.for('tag')]: 'a tag' })
      return {
        fn: () => [long.length, long[4_000_000_000], Object.keys(long), tagged[Symbol.for('tag') as never]],
        expected: [4_000_000_001, { last: true }, ['0', '4000000000'], 'a tag'],
      }
    },
    errors: () => {
      const error = Object.assign(new RangeError('far', { cause: { why: 'because' } }), { code: 'E_FAR' })
      const several = new AggregateError([error], 'all')
      return {
        fn: () => [
          error.message,
          error instanceof RangeError,
          error.code,
          error.cause,
          several.errors[0] === error,
          typeof error.stack,
        ],
      }
    },
    'null prototypes, sparse arrays and frozen objects': () => {
      const bare = Object.assign(Object.create(null) as { a?: number }, { a: 1 })
      const sparse = [1, , 3] // oxlint-disable-line no-sparse-arrays
      const frozen = Object.freeze({ list: Object.freeze([1, { deep: 1 }]) })
      return {
        fn: () => [
          Object.getPrototypeOf(bare) === null && bare.a,
          1 in sparse,
          sparse.length,
          Object.isFrozen(frozen) && Object.isFrozen(frozen.list),
        ],
      }
    },
    symbols: () => {
      const key = Symbol.for('shoal.test')
      const holder = { [key]: 'by symbol', [Symbol.toPrimitive]: () => 42, plain: Symbol.iterator }
      return {
        fn: () => [holder[key], Number(holder), holder.plain === Symbol.iterator, key === Symbol.for('shoal.test')],
      }
    },
    'hidden, read-only and odd properties': () => {
      const object = Object.defineProperties(
        { 'a b': 1, __proto__: null, '0': 'zero' },
        { hidden: { value: 5 } },
      ) as Record<string, unknown>
      return {
        fn: () => [Object.keys(object), object['hidden'], Object.getOwnPropertyDescriptor(object, 'hidden')?.writable],
      }
    },
    'an object whose prototype is an object': () => {
      const base = { greet(this: { name: string }) { return `hi ${this.name}` } } // oxfmt-ignore
      const derived = Object.create(base, { name: { value: 'you' } }) as { greet(): string }
      return { fn: () => derived.greet() }
    },
    'globals and built-in functions held in variables': () => {
      const { max, PI } = Math
      const { stringify } = JSON
      const parts = { Date, log: console.log, env: process.env, keys: Object.keys, hostname, Buffer }
      return {
        fn: () => [
          max(1, 2),
          PI,
          stringify([1]),
          typeof parts.Date.now(),
          parts.keys({ a: 1 }),
          parts.log === console.log,
          parts.env === process.env,
          parts.hostname(),
          parts.Buffer === Buffer,
        ],
      }
    },
    'how the process was started': () => {
      const { argv, execArgv, versions, release, env, cwd } = process
      return {
        fn: () => [argv, execArgv, versions.node, release.name, env === process.env, cwd === process.cwd],
        expected: [argv, execArgv, versions.node, 'node', true, true],
      }
    },
    'functions in collections': () => {
      const table = new Map([
        ['add', (a: number, b: number) => a + b],
        ['twice', (a: number) => a * 2],
      ])
      return { fn: () => [table.get('add')?.(1, 2), table.get('twice')?.(4, 0)] }
    },
    'a long list': () => {
      interface Link {
        next: Link | undefined
      }
      let list: Link | undefined
      for (let i = 0; i < 20_000; i++) list = { next: list }
      return {
        fn: () => {
          let n = 0
          for (let at = list; at !== undefined; at = at.next) n++
          return n
        },
      }
    },
    'a large array of numbers': () => {
      const numbers = Array.from({ length: 50_000 }, (_, i) => i / 2)
      return { fn: () => numbers.reduce((a, b) => a + b, 0) }
    },
    'constants of a built-in module': () => ({ fn: () => EOL }),
  })
})

describe('moments and handles', () => {
  const worker = new ShipWorker()
  after(() => worker.stop())

  test('values are those of the moment of capture', async () => {
    const list = [1]
    const bytes = new Uint8Array([1])
    const captured = captureFunction(() => [list, bytes], { hooks })
    list.push(2)
    bytes[0] = 9
    assert.deepEqual(await worker.send(await buildFunction(captured), []), [[1], new Uint8Array([1])])
  })

  test('handles travel as they are', async () => {
    const handle = new TestHandle(7)
    const later = { deep: [handle] }
    const shipped = await buildFunction(captureFunction(() => [handle, later.deep[0]], { hooks }))
    assert.deepEqual(shipped.handles, [handle])
    assert.ok(shipped.manifest.nodes.some((node) => node.type === 'handle' && node.value === handle))
  })

  test('a top-level handle is a handle, whatever its declaration says', async () => {
    const shipped = await buildFunction(captureFunction(() => topHandle, { hooks }))
    assert.deepEqual(shipped.handles, [topHandle])
  })

  test('more than 10 MiB is warned about', () => {
    const large = new Uint8Array(11 * 2 ** 20)
    const captured = captureFunction(() => large.length, { name: 'big', hooks })
    assert.equal(captured.warnings.length, 1)
    assert.match(captured.warnings[0] ?? '', /`big` captures 11 MiB of values/)
  })

  test('tells what kind of function it is', async () => {
    const kinds = [() => 0, async () => 0, function* () {}, async function* () {}, Point, (() => 0).bind(null)]
    const captured = kinds.map((fn) => captureFunction(fn, { hooks }).kind)
    assert.deepEqual(captured, ['sync', 'async', 'generator', 'asyncGenerator', 'class', 'sync'])
  })
})
const topHandle = new TestHandle(1)
