import assert from 'node:assert/strict'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import {
  DateDay,
  Dictionary,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableFromArrays,
  tableFromJSON,
  Utf8,
  vectorFromArray,
  type Vector,
  Field,
} from 'apache-arrow'
import { get, init, put, release, remote, shutdown } from '../../sdk/index.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const count = 100_000

function columns(): { x: Float64Array; y: Int32Array } {
  return {
    x: Float64Array.from({ length: count }, (_, i) => i / 2),
    y: Int32Array.from({ length: count }, (_, i) => -i),
  }
}

describe('values that come back as views', () => {
  let removeDirectory: () => void
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    await init({ embedded: true, numCpus: 1 })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })

  const identity = remote((value: unknown) => value)
  const patternOf = (length: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length }, (_, i) => (i * 7) & 255)
  const bytes = 1_000_000
  const pattern = patternOf(bytes)
  type Make = (from: Uint8Array<ArrayBuffer>) => ArrayBuffer | ArrayBufferView
  const kinds: Record<string, Make> = {
    Buffer: (from) => Buffer.from(from),
    DataView: (from) => new DataView(from.slice().buffer),
    ArrayBuffer: (from) => from.slice().buffer,
    ...Object.fromEntries(
      [
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
      ].map((Kind): [string, Make] => [Kind.name, (from) => new Kind(from.slice().buffer)]),
    ),
  }
  /** Within a message, beside it, copied from the store, and mapped. */
  const sizes = [8, 1600, 8008, 60_000, 150_000, 1_000_000]
  const bytesOf = (value: ArrayBuffer | ArrayBufferView): Uint8Array =>
    value instanceof ArrayBuffer
      ? new Uint8Array(value)
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)

  for (const [kind, make] of Object.entries(kinds)) {
    test(`${kind}, put, as an argument, as a result, and inside of objects`, async () => {
      for (const size of sizes) {
        const right = patternOf(size)
        const value = make(right)
        const ref = put(value)
        const deep = put({ text: 'abc', deep: [value] })
        const result = identity.remote(value)
        const read = async (): Promise<(ArrayBuffer | ArrayBufferView)[]> => [
          await get(ref),
          (await get(deep)).deep[0] as ArrayBufferView,
          (await get(result)) as ArrayBufferView,
          (await get(identity.remote(ref))) as ArrayBufferView,
        ]
        const [first, second] = [await read(), await read()]
        for (const each of [...first, ...second]) {
          assert.equal(each.constructor, value.constructor)
          // As small a buffer as the one that was sent.
          if (size > 4096 && !(each instanceof ArrayBuffer)) {
            assert.deepEqual([each.byteOffset, each.buffer.byteLength], [0, size], `${kind} of ${size} bytes`)
          }
          assert.equal(Buffer.compare(bytesOf(each), right), 0, `${kind} of ${size} bytes`)
        }
        // Each is its holder's own.
        for (const each of first) bytesOf(each).fill(99)
        for (const each of [...second, ...(await read())]) assert.equal(Buffer.compare(bytesOf(each), right), 0)
      }
    })
  }

  test('a table of Apache Arrow: a view, of the own class, from put and from a task', async () => {
    const table = tableFromArrays(columns())
    const makeThere = remote((length: number) =>
      tableFromArrays({
        x: Float64Array.from({ length }, (_, i) => i / 2),
        y: Int32Array.from({ length }, (_, i) => -i),
      }),
    )
    for (const got of [await get(put(table)), await get(makeThere.remote(count)), (await get(put({ table }))).table]) {
      assert.ok(got instanceof Table)
      assert.equal(got.numRows, count)
      assert.deepEqual(got.schema.names, ['x', 'y'])
      assert.deepEqual(got.getChild('x')?.toArray(), columns().x)
      assert.deepEqual(got.getChild('y')?.toArray(), columns().y)
      const values = got.getChild('x')?.data[0]?.values as Float64Array
      assert.ok(values.buffer.byteLength > 12 * count, 'the columns are views on all of it')
    }
  })

  test('release: what came from one value is empty, another get has it all the same', async () => {
    const ref = put({ deep: [pattern.slice(), Buffer.from(pattern)], name: 'x' })
    const [value, other] = [await get(ref), await get(ref)]
    assert.equal(release(value), true)
    assert.deepEqual(
      value.deep.map(({ length }) => length),
      [0, 0],
    )
    assert.equal(value.name, 'x')
    assert.equal(Buffer.compare(other.deep[0] as Uint8Array, pattern), 0)
    // Any of the buffers will do.
    assert.equal(release(other.deep[1]), true)
    assert.equal(other.deep[0]?.length, 0)
    assert.equal(release(other), false)
    const table = await get(put(tableFromArrays(columns())))
    assert.equal(release(table), true)
    assert.equal(table.numRows, count)
    const inTask = remote((given: Uint8Array) => [given.length, release(given), given.length, release(given)])
    assert.deepEqual(await get(inTask.remote(stored())), [bytes, true, 0, false])
    function stored(): Uint8Array {
      return put(pattern.slice()) as never as Uint8Array
    }
  })

  test('release of what has no shared memory does nothing', async () => {
    for (const value of [1, 'text', null, undefined, {}, new Uint8Array(8), await get(put(new Uint8Array(8)))]) {
      assert.equal(release(value), false)
    }
    const own = new Uint8Array(bytes)
    assert.equal(release(own), false)
    assert.equal(own.length, bytes)
    assert.throws(() => release(put(1)), { name: 'InvalidArgumentError', message: /dropping it/ })
  })

  test('tables go through tasks that import the package, and through those that do not', async () => {
    const table = tableFromArrays(columns())
    const sum = remote(
      (each: Table) => (each.getChild('x') as Vector).toArray().reduce((a: number, b: number) => a + b, 0) as number,
    )
    const addColumn = remote((each: Table) => each.assign(tableFromArrays({ z: new Uint8Array(each.numRows).fill(3) })))
    assert.equal(await get(sum.remote(table)), (count * (count - 1)) / 4)
    const same = (await get(identity.remote(table))) as Table
    assert.ok(same instanceof Table)
    assert.equal(same.numRows, count)
    const wider = await get(addColumn.remote(put(table) as never as Table))
    assert.deepEqual(wider.schema.names, ['x', 'y', 'z'])
    assert.equal(wider.getChild('z')?.get(7), 3)
    assert.equal(await get(sum.remote(wider)), (count * (count - 1)) / 4)
  })

  test('texts, nulls, dictionaries, days, several batches, no rows', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({ name: i % 3 === 0 ? null : `name ${i}`, n: i }))
    const json = tableFromJSON(rows)
    const dictionary = new Table({
      word: vectorFromArray(['a', 'b', 'a', null], new Dictionary(new Utf8(), new Int32())),
    })
    const days = new Table({ day: vectorFromArray([new Date(0), new Date(86_400_000)], new DateDay()) })
    const batches = json.concat(tableFromJSON(rows.slice(0, 10)))
    const schema = new Schema([new Field('n', new Int32(), true)])
    const empty = new Table(schema, [new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: 0 }))])
    for (const table of [json, dictionary, days, batches, empty]) {
      const back = (await get(identity.remote(table))) as Table
      assert.equal(String(back.schema), String(table.schema))
      assert.deepEqual(
        back.toArray().map((row: { toJSON(): unknown }) => row.toJSON()),
        table.toArray().map((row: { toJSON(): unknown }) => row.toJSON()),
      )
    }
  })
})

test('a program that leaves its node keeps nothing of its store, unless it looks at it', async () => {
  const removeDirectory = freshRuntimeDirectory()
  /** The stores that are open here, by number. */
  const open = (): number[] =>
    readdirSync('/proc/self/fd').flatMap((each) => {
      const file = `/proc/self/fd/${each}`
      // The one that lists them is closed by now.
      const stats = statSync(file, { throwIfNoEntry: false })
      return stats !== undefined && readlinkSync(file).includes('shoal-store') ? [stats.ino] : []
    })
  // Views of other tests may not have been collected yet.
  const others = new Set(open())
  const stores = (): number[] => open().filter((each) => !others.has(each))
  try {
    for (let i = 0; i < 2; i++) {
      await init({ embedded: true, numCpus: 0 })
      const ref = put(new Float64Array(count))
      release(await get(ref))
      assert.equal(stores().length, 1)
      await shutdown()
      assert.deepEqual(stores(), [])
      await assert.rejects(get(ref), { code: 'NOT_INITIALIZED' })
    }
    await init({ embedded: true, numCpus: 0 })
    const view = await get(put(new Float64Array(count).fill(3)))
    await shutdown()
    assert.ok(view.every((value) => value === 3))
    release(view)
    assert.deepEqual(stores(), [])
  } finally {
    removeDirectory()
  }
})
