import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ChunkSource } from '../../../sdk/pools/chunk-source.ts'
import { ItemRun, valuesOf, type StartedItem } from '../../../sdk/pools/item-run.ts'
import { ItemSource } from '../../../sdk/pools/item-source.ts'

/** Work whose end the test says. */
class Workshop {
  readonly started: number[] = []
  readonly cancelled: number[] = []
  readonly #ends = new Map<number, PromiseWithResolvers<number>>()

  readonly start = (item: number): StartedItem<number> => {
    this.started.push(item)
    const end = Promise.withResolvers<number>()
    this.#ends.set(item, end)
    return { result: end.promise, cancel: () => this.cancelled.push(item) }
  }

  finish(...items: number[]): void {
    for (const item of items) this.#ends.get(item)?.resolve(item * 10)
  }

  fail(item: number): void {
    this.#ends.get(item)?.reject(new RangeError(`item ${item}`))
  }
}

interface Limits {
  concurrency?: number
  aheadMax?: number
  isOrdered?: boolean
  signal?: AbortSignal
}

function runOf(items: Iterable<number> | AsyncIterable<number>, workshop: Workshop, limits: Limits = {}) {
  return new ItemRun<number, number>({
    source: new ItemSource(items, 'a test'),
    start: workshop.start,
    concurrency: Infinity,
    aheadMax: Infinity,
    isOrdered: true,
    ...limits,
  })
}

const turn = (): Promise<void> => new Promise(setImmediate)

describe('ItemRun', () => {
  test('gives outcomes in the order of the items, whichever is there first', async () => {
    const workshop = new Workshop()
    const run = runOf([1, 2, 3], workshop)
    const first = run.next()
    workshop.finish(3, 2, 1)
    assert.deepEqual(await first, { index: 0, value: 10 })
    assert.deepEqual(await run.next(), { index: 1, value: 20 })
    assert.deepEqual(await run.next(), { index: 2, value: 30 })
    assert.equal(await run.next(), undefined)
  })

  test('unordered: as they are there', async () => {
    const workshop = new Workshop()
    const run = runOf([1, 2, 3], workshop, { isOrdered: false })
    const first = run.next()
    workshop.finish(2)
    assert.deepEqual(await first, { index: 1, value: 20 })
    workshop.finish(3, 1)
    assert.deepEqual([(await run.next())?.index, (await run.next())?.index], [2, 0])
    assert.equal(await run.next(), undefined)
  })

  test('nothing happens before the first next()', () => {
    const workshop = new Workshop()
    runOf([1], workshop)
    assert.deepEqual(workshop.started, [])
  })

  test('works on no more at a time than its concurrency, and goes on between calls of next()', async () => {
    const workshop = new Workshop()
    const run = runOf([1, 2, 3, 4], workshop, { concurrency: 2 })
    const first = run.next()
    assert.deepEqual(workshop.started, [1, 2])
    workshop.finish(2)
    await turn()
    assert.deepEqual(workshop.started, [1, 2, 3])
    workshop.finish(1)
    await first
    assert.deepEqual(workshop.started, [1, 2, 3, 4])
  })

  test('reads no further than so many items ahead of the consumer', async () => {
    const workshop = new Workshop()
    let read = 0
    const source = async function* (): AsyncGenerator<number> {
      for (;;) yield ++read
    }
    const run = runOf(source(), workshop, { aheadMax: 3 })
    const first = run.next()
    await turn()
    assert.equal(read, 3)
    workshop.finish(2, 3)
    await turn()
    assert.equal(read, 3)
    workshop.finish(1)
    await first
    await turn()
    assert.equal(read, 4)
  })

  test('an error is one of the outcomes, also one that is thrown at once', async () => {
    const workshop = new Workshop()
    const run = new ItemRun<number, number>({
      source: new ItemSource([1, 2], 'a test'),
      start: (item) => {
        if (item === 2) throw new TypeError('at once')
        return workshop.start(item)
      },
      concurrency: 1,
      aheadMax: Infinity,
      isOrdered: true,
    })
    const first = run.next()
    workshop.fail(1)
    assert.equal(((await first) as { error: Error }).error.message, 'item 1')
    assert.equal(((await run.next()) as { error: Error }).error.message, 'at once')
    assert.equal(await run.next(), undefined)
  })

  test('an error of the source comes after what was read', async () => {
    const workshop = new Workshop()
    const run = runOf(
      (function* () {
        yield 1
        throw new RangeError('no more')
      })(),
      workshop,
    )
    const first = run.next()
    workshop.finish(1)
    assert.deepEqual(await first, { index: 0, value: 10 })
    await assert.rejects(run.next(), /no more/)
  })

  test('stop() cancels what is worked on, and closes the source', async () => {
    const workshop = new Workshop()
    let isClosed = false
    const run = runOf(
      (function* () {
        try {
          for (let i = 1; ; i++) yield i
        } finally {
          isClosed = true
        }
      })(),
      workshop,
      { aheadMax: 3 },
    )
    const first = run.next()
    workshop.finish(1)
    await first
    await run.stop()
    assert.deepEqual(workshop.cancelled, [2, 3, 4])
    assert.ok(isClosed)
    assert.equal(await run.next(), undefined)
  })

  test('an abort ends a next() that waits, with its reason', async () => {
    const controller = new AbortController()
    const run = runOf([1], new Workshop(), { signal: controller.signal })
    const first = run.next()
    controller.abort(new Error('enough'))
    await assert.rejects(first, /enough/)
  })

  test('promises among the items are awaited', async () => {
    const workshop = new Workshop()
    const source = new ItemSource<number>([Promise.resolve(1), 2], 'a test')
    const run = new ItemRun({
      source,
      start: workshop.start,
      concurrency: 9,
      aheadMax: 9,
      isOrdered: true,
    })
    const first = run.next()
    await turn()
    workshop.finish(1, 2)
    assert.deepEqual([(await first)?.index, (await run.next())?.index], [0, 1])
  })

  test('leaving a loop over the values stops it; an error ends it', async () => {
    const workshop = new Workshop()
    const left = valuesOf(runOf([1, 2], workshop), ({ error }) => error)
    const first = left.next()
    workshop.finish(1)
    assert.equal((await first).value, 10)
    await left.return(undefined)
    assert.deepEqual(workshop.cancelled, [2])

    const other = new Workshop()
    const failing = valuesOf(runOf([1, 2], other), ({ index, error }) => new Error(`${index}: ${String(error)}`))
    const step = failing.next()
    other.fail(1)
    await assert.rejects(step, /0: RangeError: item 1/)
    assert.deepEqual(other.cancelled, [2])
    assert.equal((await failing.next()).done, true)
  })

  test('what is no iterable is refused', () => {
    assert.throws(() => new ItemSource(7 as never, 'map()'), /map\(\) takes an iterable .* got 7/)
    assert.throws(() => new ItemSource('abc' as never, 'map()'), /got "abc"/)
  })
})

describe('ChunkSource', () => {
  const chunksOf = async (items: Iterable<number> | AsyncIterable<number>, size: number): Promise<unknown[]> => {
    const source = new ChunkSource(new ItemSource(items, 'a test'), size, (item, index) => [item, index])
    const chunks: unknown[] = []
    for (;;) {
      const { done, value } = await source.next()
      if (done === true) return chunks
      chunks.push(value)
    }
  }

  test('takes so many at a time, the last one with what is left', async () => {
    const expected = [
      {
        from: 0,
        calls: [
          [5, 0],
          [6, 1],
        ],
      },
      { from: 2, calls: [[7, 2]] },
    ]
    assert.deepEqual(await chunksOf([5, 6, 7], 2), expected)
    const later = async function* (): AsyncGenerator<number> {
      yield* [5, 6, 7]
    }
    assert.deepEqual(await chunksOf(later(), 2), expected)
    assert.deepEqual(await chunksOf([], 2), [])
  })
})
