/** What functions are made of: syntax, scopes, classes, top-level declarations. */
import { describe } from 'node:test'
import { exec } from 'node:child_process'
import { promisify } from 'node:util'
import { testShipCases } from './ship-case.ts'

const factor = 3
let counter = 7
const settings = { depth: 2, names: ['a', 'b'], nested: { on: true } }
const Color = { Red: 0, Green: 1, 0: 'Red', 1: 'Green' } as const
const run = promisify(exec)
const seen = new WeakMap<object, string>()
const { length: wordLength, ...restOfWord } = { length: 4, other: 5 }
const awaited = await Promise.resolve({ ready: 'yes' })
const double = (x: number): number => x * 2
var legacy = 'var'

function addFactor(x: number): number {
  return x + factor
}
function isEven(n: number): boolean {
  return n === 0 || isOdd(n - 1)
}
function isOdd(n: number): boolean {
  return n !== 0 && isEven(n - 1)
}
function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2)
}
fibonacci.calls = 12

class Shape {
  static made = 0
  static registry = new Map<string, number>()
  readonly name: string
  constructor(name: string) {
    this.name = name
    Shape.made++
  }
  get label(): string {
    return `<${this.name}>`
  }
  set label(value: string) {
    Object.assign(this, { name: value })
  }
  static create(name: string): Shape {
    return new this(name)
  }
  area(): number {
    return 0
  }
}
class Square extends Shape {
  readonly #side: number
  static #count = 0
  static {
    Square.#count = 40
  }
  constructor(side: number) {
    super('square')
    this.#side = side
  }
  override area(): number {
    Square.#count++
    return this.#side ** 2 + super.area()
  }
  static count(): number {
    return Square.#count
  }
  static isSquare(value: object): boolean {
    return #side in value
  }
}
class Settings {
  static level = 1
  static readonly cache = new WeakMap()
  static of: string[] = []
}
Settings.of.push('added')
const Anonymous = class {
  value = factor
}
function OldStyle(this: { x: number }, x: number): void {
  this.x = x
}
OldStyle.prototype.twice = function (this: { x: number }): number {
  return this.x * 2
}
const tag = (parts: TemplateStringsArray, ...values: unknown[]): string => parts.raw.join('|') + values.join(',')
const methods = {
  base: 10,
  add(x: number): number {
    return this.base + x
  },
  get tenfold(): number {
    return this.base * 10
  },
  async *stream(n: number): AsyncGenerator<number> {
    for (let i = 0; i < n; i++) yield i
  },
  [Symbol.iterator]: function* (): Generator<number> {
    yield 1
    yield 2
  },
}
function makeCounter(): { increment: () => number; read: () => number } {
  let count = 0
  return { increment: () => ++count, read: () => count }
}
counter += 1

describe('functions', () => {
  testShipCases({
    'an arrow function': () => ({ fn: (x: number) => x + 1, args: [1] }),
    'a function expression': () => ({
      fn: function named(x: number) {
        return `${named.name} ${x}`
      },
      args: [1],
    }),
    'a top-level function': () => ({ fn: addFactor, args: [4] }),
    'an async function': () => ({ fn: async (x: number) => (await Promise.resolve(x)) * factor, args: [5] }),
    'a generator': () => ({
      fn: function* (n: number) {
        for (let i = 0; i < n; i++) yield i * factor
      },
      args: [3],
    }),
    'an async generator': () => ({
      fn: async function* (n: number) {
        for (let i = 0; i < n; i++) yield await Promise.resolve(i)
      },
      args: [3],
    }),
    'default parameters that refer to others': () => ({
      fn: (a: number, b = a * factor, c = () => a + b) => c(),
      args: [2],
    }),
    'destructuring in parameters': () => ({
      fn: ({ a, b: { c = factor } = {} }: { a: number; b?: { c?: number } }, ...[d]: number[]) => [a, c, d],
      args: [{ a: 1 }, 5],
    }),
    'a rest parameter and arguments of its own': () => ({
      fn: function (...rest: number[]) {
        return [arguments.length, rest.length]
      },
      args: [1, 2, 3],
    }),
    'a tagged template': () => ({ fn: (x: number) => tag`a${x}\n${factor}b`, args: [1] }),
    'self recursion': () => ({ fn: fibonacci, args: [10] }),
    'its own name is what the loader gave out': () => ({
      fn: function own(n: number) {
        return (own as unknown as { remote(n: number): unknown }).remote(n)
      },
      args: [1],
      expected: ['remote', 1],
    }),
    'mutual recursion': () => ({ fn: isEven, args: [10] }),
    'a method of an object': () => ({ fn: () => methods.add(5) + methods.tenfold }),
    'methods that generate': () => ({ fn: () => methods.stream(3) }),
    'a method with a computed name': () => ({ fn: () => [...methods] }),
    'a method alone': () => ({ fn: settingsReader.read }),
    'a getter of a captured object': () => {
      const local = {
        base: 4,
        get squared() {
          return this.base ** 2
        },
        set both(x: number) {
          this.base = x
        },
      }
      return {
        fn: () => {
          local.both = 5
          return local.squared
        },
        expected: 25,
      }
    },
    'a bound function': () => ({ fn: methods.add.bind({ ...methods, base: 100 }, 1) }),
    'a bound function inside': () => {
      const bound = addFactor.bind(null, 8)
      return { fn: () => bound() }
    },
    'labels, switches and loops': () => ({
      fn: (n: number) => {
        let out = ''
        outer: for (let i = 0; i < n; i++) {
          switch (i % factor) {
            case 0:
              addFactor(1)
              continue outer
            case 1:
              out += i
              break
            default:
              if (i > 6) break outer
              else addFactor(2)
          }
        }
        return out
      },
      args: [12],
    }),
    'optional chaining and nullish values': () => ({
      fn: (x?: { y?: { z: () => number } }) => x?.y?.z?.() ?? settings.nested?.on,
      args: [undefined],
    }),
    'regular expressions and bigints': () => ({
      fn: (text: string) => [/(?<year>\d+)/u.exec(text)?.groups?.['year'], 2n ** 70n],
      args: ['in 2024'],
    }),
    'a function with properties': () => ({ fn: () => [fibonacci.calls, fibonacci(5)] }),
    'calls without a semicolon before them': () => ({ fn: withoutSemicolons }),
    'explicit resource management': () => ({
      fn: () => {
        const log: string[] = []
        {
          using _ = { [Symbol.dispose]: () => log.push('disposed') }
          log.push('used')
        }
        return log
      },
    }),
  })
})

const settingsReader = {
  read() {
    return settings.depth
  },
}
// oxfmt-ignore
function withoutSemicolons(): unknown {
  let list = [1]
  const pick = (x: number) => x
  let a = pick
  addFactor(1)
  a(2)
  return [list, run.name.length > 0]
}

describe('top-level names', () => {
  testShipCases({
    constants: () => ({ fn: () => [factor, settings, double(4)] }),
    'the present value of a let': () => ({ fn: () => counter }),
    'a var': () => ({ fn: () => legacy }),
    'an object like an enum': () => ({ fn: (c: number) => [Color.Green, Color[c as 0]], args: [0] }),
    'what was awaited': () => ({ fn: () => awaited.ready }),
    'names out of a pattern': () => ({ fn: () => [wordLength, restOfWord] }),
    'a WeakMap is made again': () => ({
      fn: () => {
        const key = {}
        seen.set(key, 'here')
        return seen.get(key)
      },
    }),
    'promisify(exec) is made again': () => ({ fn: async () => (await run('echo hi')).stdout.trim() }),
    'a let that the function changes': () => ({
      fn: () => {
        counter += 100
        return counter
      },
      expected: 108,
    }),
  })
})

describe('classes', () => {
  testShipCases({
    'a class with a getter and statics': () => ({
      fn: () => {
        const shape = Shape.create('circle')
        shape.label = 'ring'
        return [shape.label, Shape.registry.size, typeof Shape.made]
      },
    }),
    'inheritance, private and static private fields': () => ({
      fn: () => {
        const square = new Square(4)
        return [
          square.area(),
          Square.count() > 40,
          Square.isSquare(square),
          Square.isSquare({}),
          square instanceof Shape,
        ]
      },
    }),
    'a static field as it is now': () => {
      Settings.level = 55
      return { fn: () => [Settings.level, Settings.cache instanceof WeakMap, Settings.of] }
    },
    'a class expression': () => ({ fn: () => [new Anonymous().value, Anonymous.name] }),
    'a function as a class': () => ({
      fn: () => new (OldStyle as unknown as new (x: number) => { twice(): number })(21).twice(),
    }),
    'a class inside of a function': () => {
      const step = 2
      class Local {
        #n = 0
        next(): number {
          return (this.#n += step)
        }
        static make = (): Local => new Local()
      }
      return {
        fn: () => {
          const local = Local.make()
          local.next()
          return [local.next(), Local.name]
        },
      }
    },
    'a class that extends a local class': () => {
      const mixin = (Base: new () => object, n: number) =>
        class extends Base {
          n = n
        }
      const One = mixin(Object, 1)
      const Two = mixin(Array, 2)
      return { fn: () => [new One().n, new Two().n, Array.isArray(new Two())] }
    },
    'an instance': () => {
      const shape = new Shape('star')
      return { fn: () => [shape.label, shape instanceof Shape, shape.area()] }
    },
    'an instance that a class makes': () => ({ fn: () => methodsOf(new Square(2)).join() }),
    'errors of a class of the user': () => ({
      fn: () => {
        try {
          throw new WrongInput('bad', 5)
        } catch (error) {
          return error instanceof WrongInput && error instanceof TypeError ? [error.name, error.code, error.message] : 0
        }
      },
    }),
    'an iterable class with symbols': () => {
      class Range {
        static [Symbol.hasInstance](value: unknown): boolean {
          return value === 'range'
        }
        *[Symbol.iterator](): Generator<number> {
          yield* [1, 2, 3]
        }
        get [Symbol.toStringTag](): string {
          return 'Range'
        }
      }
      return { fn: () => [[...new Range()], String(new Range()), ('range' as unknown) instanceof Range] }
    },
    'a subclass of EventTarget with accessors': () => ({
      fn: () => {
        const bus = new Bus()
        bus.addEventListener('x', () => bus.hits++)
        bus.dispatchEvent(new Event('x'))
        return bus.hits
      },
    }),
  })
})

class Bus extends EventTarget {
  #hits = 0
  get hits(): number {
    return this.#hits
  }
  set hits(value: number) {
    this.#hits = value
  }
}
class WrongInput extends TypeError {
  override name = 'WrongInput'
  readonly code: number
  constructor(message: string, code: number) {
    super(message)
    this.code = code
  }
}
function methodsOf(value: object): string[] {
  return Object.getOwnPropertyNames(Object.getPrototypeOf(value))
}

describe('scopes', () => {
  testShipCases({
    'locals of the function around': () => {
      const a = 1
      let b = 2
      b++
      return { fn: (c: number) => a + b + c, args: [10] }
    },
    'two closures that share a local': () => {
      const { increment, read } = makeCounter()
      increment()
      return {
        fn: () => {
          increment()
          return [read(), increment(), read()]
        },
        expected: [2, 3, 3],
      }
    },
    'two runs of one function do not share locals': () => {
      const one = makeCounter()
      const two = makeCounter()
      return {
        fn: () => {
          one.increment()
          one.increment()
          two.increment()
          return [one.read(), two.read()]
        },
        expected: [2, 1],
      }
    },
    'a closure of one run, and an object with those of another': () => {
      const { increment } = makeCounter()
      const other = makeCounter()
      return {
        fn: () => [increment(), other.read(), other.increment(), increment(), other.read()],
        expected: [1, 0, 1, 2, 1],
      }
    },
    'closures from a loop': () => {
      let total = 0
      const adders: ((x: number) => number)[] = []
      for (let i = 0; i < 3; i++) adders.push((x) => (total += x * i))
      return { fn: () => [adders.map((add) => add(2)), total], expected: [[0, 2, 6], 6] }
    },
    'a function of a function of a function': () => {
      const one = 1
      const outer = (two: number) => {
        const inner = (three: number) => () => one + two + three + factor
        return inner(3)
      }
      return { fn: outer(2) }
    },
    'a local function that calls itself': () => {
      const countdown = (n: number): number[] => (n === 0 ? [] : [n, ...countdown(n - 1)])
      return { fn: countdown, args: [3] }
    },
    'local functions that call each other': () => {
      const ping = (n: number): string => (n === 0 ? 'ping' : pong(n - 1))
      const pong = (n: number): string => (n === 0 ? 'pong' : ping(n - 1))
      return { fn: () => ping(3) }
    },
    'a shadowed name': () => {
      const factor = 'local'
      return { fn: (x: string) => [factor, x, ((factor) => factor)(1)], args: ['x'] }
    },
    'a captured parameter and a caught error': () => {
      try {
        throw new RangeError('caught')
      } catch (error) {
        return { fn: () => (error as Error).message }
      }
    },
    'shorthand properties and assignments of captured names': () => {
      let first = 1
      const second = 2
      return {
        fn: () => {
          ;({ first } = { first: 10 })
          ;[first = 0] = [first + 1]
          return { first, second, factor }
        },
        expected: { first: 11, second: 2, factor: 3 },
      }
    },
    'a destructured await of an import': async () => {
      const { basename } = await import('node:path')
      return { fn: (p: string) => basename(p), args: ['/a/b'] }
    },
    'globals that the program added': () => {
      Object.assign(globalThis, { addedGlobal: { deep: [1, 2] } })
      return { fn: () => (globalThis as { addedGlobal?: unknown }).addedGlobal ?? addedGlobal.deep, expected: [1, 2] }
    },
  })
})
declare const addedGlobal: { deep: number[] }
