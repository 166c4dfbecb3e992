/** Functions that ship functions: what was shipped to a worker goes on from there. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { basename } from 'node:path'
import * as acorn from 'acorn'
// @ts-expect-error it has no types
import common from './fixtures/common.cjs'
import { countCalls, describeFile, makeSecretReader, Vector } from './fixtures/library.ts'
import { ShipWorker } from './ship-worker.ts'

const first = new ShipWorker()
after(() => first.stop())

const settings = { level: 1, cache: new Map([['a', 1]]) }
const memo = new WeakMap<object, number>()
function remember(x: number): number {
  const key = {}
  memo.set(key, x)
  return memo.get(key) ?? 0
}
class Account {
  #balance = 0
  static opened = 0
  readonly owner: string
  constructor(owner: string) {
    this.owner = owner
    Account.opened++
  }
  add(n: number): this {
    this.#balance += n
    return this
  }
  get balance(): number {
    return this.#balance
  }
}

test('a function of a task, with what it closes over there', async () => {
  const outside = 10
  const fn = (x: number): Promise<unknown> => {
    const inside = x + outside
    settings.level++
    return process.shipOn((y: number) => [inside, outside, settings.level, settings.cache.get('a'), remember(y)], 5)
  }
  assert.deepEqual(await first.run(fn, 1), [11, 10, 2, 1, 5])
})

test('imports go on to the second and the third worker process', async () => {
  const fn = (): Promise<unknown> =>
    process.shipOn((text: string) => {
      const parsed = { a: acorn.parse(text, { ecmaVersion: 2022 }).body.length }
      return process.shipOn(async (n: number) => {
        const { fromB } = await import('./fixtures/cycle-b.ts')
        return [n, parsed.a, basename('/x/y'), common.help(n), describeFile()[0], fromB(n), typeof countCalls()]
      }, parsed.a + 1)
    }, 'one')
  assert.deepEqual(await first.run(fn), [2, 1, 'y', 'helped 2', 'library.ts', 'b(a2)', 'number'])
})

test('shipped on to a process that has nothing yet', async () => {
  const second = new ShipWorker()
  const third = new ShipWorker()
  try {
    const fn = (): Promise<unknown> =>
      process.shipOn(() =>
        process.shipOn(() => [acorn.parse('1', { ecmaVersion: 2022 }).end, new Vector(1, 2).add(Vector.unit).x]),
      )
    // Each hop runs on another process.
    assert.deepEqual(await first.runThrough([second, third], fn), [1, 2])
  } finally {
    await Promise.all([second.stop(), third.stop()])
  }
})

test('classes keep their identity', async () => {
  const fn = (): Promise<unknown> => {
    const account = { of: Account, made: 3 }
    return process.shipOn(() => {
      const mine = new account.of('me').add(2)
      return [mine instanceof Account, mine.balance, mine.owner, Account === account.of]
    })
  }
  assert.deepEqual(await first.run(fn), [true, 2, 'me', true])
})

test('a class made in a task', async () => {
  const fn = (): Promise<unknown> => {
    class Made {
      n = settings.cache.size
    }
    const one = new Made()
    return process.shipOn(() => [one instanceof Made, new Made().n])
  }
  assert.deepEqual(await first.run(fn), [true, 1])
})

test('a function that was shipped is shipped on as it is', async () => {
  const twice = (x: number): number => x * 2 + settings.cache.size
  const fn = (): Promise<unknown> => process.shipOn(twice, 4)
  assert.equal(await first.run(fn), 9)
})

test('functions of imported files, exported or not', async () => {
  const read = makeSecretReader()
  assert.deepEqual(await first.run(() => process.shipOn(describeFile)), describeFile())
  assert.equal(await first.run(() => process.shipOn(read)), 1)
})

test('a recursive function that ships itself', async () => {
  const fn = async function sum(n: number, total: number): Promise<unknown> {
    return n === 0 ? total : process.shipOn(sum, n - 1, total + n)
  }
  assert.equal(await first.run(fn, 5, 0), 15)
})

test('what cannot travel is refused on the worker, and named as the user wrote it', async () => {
  const fn = (): Promise<unknown> => {
    const pending = Promise.resolve(1)
    return process.shipOn(() => pending)
  }
  await assert.rejects(
    first.run(fn),
    /to a worker: it holds a Promise \(.*nested\.test\.ts:\d+:11\)\n {2}reached through: function anonymous -> pending\n/,
  )
})
