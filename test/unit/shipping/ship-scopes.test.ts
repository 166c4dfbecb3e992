/** Which variables functions are given: where V8 and the text do not have the same scopes, unset ones, and globals. */
import { earlyGlobals } from './fixtures/early-globals.ts'
import assert from 'node:assert/strict'
import { EventEmitter as Emitter } from 'node:events'
import { after, describe, test } from 'node:test'
// @ts-expect-error it has no types
import common from './fixtures/common.cjs'
import { makeScorer } from './fixtures/library.ts'
import { testShipCases } from './ship-case.ts'
import { ShipWorker } from './ship-worker.ts'

let evaluations = 0
function evaluate<T>(value: T): T {
  evaluations++
  return value
}
const unset = evaluate(process.env['SHOAL_TEST_UNSET'])
const readLater = (): unknown => setLater
const early = captureEarly()
const setLater = evaluate('later')

/** A function that is captured while a variable of its file has no value yet. */
function captureEarly(): Promise<unknown> {
  return worker().run(readLater)
}
function worker(): ShipWorker {
  return (started ??= new ShipWorker())
}
var started: ShipWorker | undefined // oxlint-disable-line no-var

function withDefaults(a: number, { k, scale = 2 }: { k: number; scale?: number } = { k: 3 }) {
  const sum = a + k
  let product = a * k
  product *= scale
  return () => [a, k, scale, sum, product]
}
function withRest(first: number, ...rest: number[]) {
  var all = [first, ...rest] // oxlint-disable-line no-var
  function read(): unknown {
    return [all, first, rest]
  }
  return read
}
const asArrow = async ([a, b]: [number, number]) => {
  const sum = a + b
  await Promise.resolve()
  return (x: number) => [a, b, sum, x]
}
function* generating({ a }: { a: number }) {
  const twice = a * 2
  yield () => [a, twice]
}
class Service {
  readonly made: () => unknown
  assigned: (() => unknown) | undefined
  constructor({ start = 2 } = {}) {
    const next = start + 1
    this.made = () => [start, next]
  }
  multiply(n: number, { by } = { by: 4 }) {
    const product = n * by
    return () => [n, by, product]
  }
  static of([a]: number[]) {
    const copy = a
    return () => [a, copy]
  }
  set value({ v }: { v: number }) {
    const next = v + 1
    this.assigned = () => [v, next]
  }
}
function makeClass(a = 1) {
  const next = a + 1
  class Local {
    read(): unknown {
      return [a, next]
    }
  }
  return Local
}
function nesting({ a }: { a: number }, ...[b]: number[]) {
  const c = 3
  return ({ d } = { d: 4 }) => {
    const e = 5
    return (f = 6) => {
      const g = 7
      return () => [a, b, c, d, e, f, g]
    }
  }
}
function sharing(a: number, increment = () => a++) {
  const one = 1
  return { increment, read: () => a + one }
}
function hiding(a = 1, increment = () => a++) {
  var a: number = 10 + a // oxlint-disable-line
  return { increment, read: () => a }
}
function shippingOn({ a }: { a: number }) {
  const b = a + 1
  return ({ c } = { c: 3 }) => {
    const d = a + b + c
    return process.shipOn(({ e = 9 }: { e?: number } = {}) => {
      const f = e + d
      return [() => [a, b, c, d, e, f]].map((read) => read())
    })
  }
}

describe('parameters that V8 keeps apart', () => {
  testShipCases({
    'destructured, with defaults': () => ({ fn: withDefaults(1, { k: 2 }) }),
    'rest parameters': () => ({ fn: withRest(5, 1, 2) }),
    'of an arrow function': async () => ({ fn: await asArrow([1, 2]), args: [9] }),
    'of a generator': () => ({ fn: generating({ a: 4 }).next().value as () => unknown }),
    'of a method': () => ({ fn: new Service().multiply(2) }),
    'of a static method': () => ({ fn: Service.of([1]) }),
    'of a setter': () => {
      const service = new Service()
      service.value = { v: 3 }
      return { fn: service.assigned as () => unknown }
    },
    'of a constructor': () => ({ fn: new Service().made }),
    'of a function that makes a class': () => {
      const Local = makeClass(5)
      return { fn: () => new Local().read() }
    },
    'of functions in functions': () => ({ fn: nesting({ a: 1 }, 2)()() }),
    'of an imported module': () => ({ fn: makeScorer(5, { bias: 3 }), args: [2] }),
    'of a CommonJS module': () => {
      const add = common.makeAdder({ a: 1 }, 7) as () => unknown
      return { fn: () => add() }
    },
    'two closures share a parameter': () => {
      const { increment, read } = sharing(1)
      return { fn: () => [increment(), increment(), read()], expected: [1, 2, 4] }
    },
    'a variable of the body with the name of a parameter': () => {
      const { increment, read } = hiding()
      return { fn: () => [increment(), increment(), read()], expected: [1, 2, 11] }
    },
    'of functions that are shipped on': () => ({ fn: shippingOn({ a: 1 }), expected: [[1, 2, 3, 6, 9, 15]] }),
  })
})

describe('variables without a value', () => {
  after(() => worker().stop())

  test('a constant that is undefined is not evaluated again', async () => {
    assert.deepEqual(await worker().run(() => [unset, evaluations]), [undefined, evaluations])
  })

  test('a top-level constant that is not set yet is evaluated on the worker', async () => {
    assert.equal(await early, 'later')
    assert.equal(await worker().run(readLater), 'later')
  })

  test('a local variable that is not set yet', async () => {
    const one = 1
    const readOne = (): number => one
    const result = await worker().run(() => [readOne(), one])
    const readResult = (): unknown => result
    assert.deepEqual(readResult(), [1, 1])
  })
})

describe('globals', () => {
  testShipCases({
    'set before the SDK was loaded': () => ({
      fn: () => [earlyConfig.x, earlyRead(), earlyGetter],
      expected: [earlyGlobals.earlyConfig.x, earlyGlobals.earlyRead(), 'got'],
    }),
    'of this platform, and of JavaScript': () => {
      const { max } = Math
      return {
        fn: () => [
          fetch.name,
          typeof crypto,
          navigator.hardwareConcurrency > 0,
          Iterator.name,
          max(1, 2),
          typeof gcOfV8,
        ],
      }
    },
    'exports of built-in modules': () => {
      Object.defineProperty(globalThis, 'EventEmitter', { value: Emitter, configurable: true })
      return { fn: () => typeof EventEmitter }
    },
    'built-in classes that other versions of Node may lack': () => {
      const value: unknown = (async () => {}).constructor
      Object.defineProperty(globalThis, 'AsyncFunction', { value, configurable: true })
      return { fn: () => typeof AsyncFunction, expected: 'undefined' }
    },
  })
})
declare const gcOfV8: unknown
declare const EventEmitter: unknown
declare const AsyncFunction: unknown
