import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { get, init, parallelMapIterable, put, Queue, remote, shutdown, type ObjectRef } from '../../sdk/index.ts'
import { randomValue } from '../support/random-value.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'
import { seededRandom } from '../support/seeded-random.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
const valuesPerWay = 20

/** Writes over all buffers in a value, so that who shares them would see it. */
function scribble(value: unknown, seen = new Set<unknown>()): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return
  seen.add(value)
  if (ArrayBuffer.isView(value)) new Uint8Array(value.buffer, value.byteOffset, value.byteLength).fill(0xaa)
  else if (value instanceof ArrayBuffer) new Uint8Array(value).fill(0xaa)
  else if (value instanceof Map || value instanceof Set) for (const each of value.values()) scribble(each, seen)
  else for (const each of Object.values(value)) scribble(each, seen)
}

const identity = (value: unknown): unknown => value
class Keeper {
  #value: unknown
  constructor(value?: unknown) {
    this.#value = value
  }
  echo(value: unknown): unknown {
    return value
  }
  set(value: unknown): void {
    this.#value = value
  }
  get(): unknown {
    return this.#value
  }
}

class Graph extends Map<string, { of?: Graph }> {
  unit = 'm'
  override set(): this {
    throw new Error('a copy is made without the code of the class')
  }
  get names(): string {
    return [...this.keys()].join()
  }
  static of(names: string[]): Graph {
    const made = new Graph()
    for (const name of names) Map.prototype.set.call(made, name, { of: made })
    return made
  }
}
class Bag extends Set<unknown> {
  total(): number {
    return [...this].reduce((sum: number, each) => sum + Number(each), 0)
  }
}
class Row extends Array<number> {
  unit = 'km'
  sum(): number {
    return this.reduce((all, each) => all + each, 0)
  }
}
class Failures extends AggregateError {
  where = 'here'
}
class Looped extends Error {
  part = { of: this }
}
class Doubling {
  constructor() {
    Object.defineProperty(this, 'v', { value: 1, writable: true, enumerable: true, configurable: true })
  }
  set v(to: number) {
    throw new Error(`a setter ran, with ${to}`)
  }
}
class Lazy {
  side = 3
  get area(): number {
    const value = this.side ** 2
    Object.defineProperty(this, 'area', { value, enumerable: true })
    return value
  }
}

const instances: Record<string, { make(): object; look(value: unknown): unknown }> = {
  'of a subclass of Map, in a cycle': {
    make: () => Graph.of(['a', 'b']),
    look: (value) => value instanceof Graph && [value.names, value.unit, value.get('b')?.of === value],
  },
  'of a subclass of Set': {
    make: () => new Bag([1, 2, 3]),
    look: (value) => value instanceof Bag && [value.size, value.total()],
  },
  'of a subclass of Array': {
    make: () => Row.from([1, 2, 3]),
    look: (value) => value instanceof Row && [value.length, value.sum(), value.unit, value.slice(1) instanceof Row],
  },
  'of a subclass of AggregateError': {
    make: () => new Failures([new TypeError('a'), 'b'], 'many', { cause: 'bad luck' }),
    look: (value) =>
      value instanceof Failures && [value.message, value.where, value.cause, String(value.errors), Object.keys(value)],
  },
  'of an error that its own cause leads back to': {
    make: () => {
      const error = new Looped('loop')
      error.cause = { error }
      return error
    },
    look: (value) =>
      value instanceof Looped && [(value.cause as { error: unknown }).error === value, value.part.of === value],
  },
  'with a field over a setter of the class': {
    make: () => new Doubling(),
    look: (value) => value instanceof Doubling && [Object.hasOwn(value, 'v'), value.v],
  },
  'with a field over a getter of the class': {
    make: () => {
      const lazy = new Lazy()
      assert.equal(lazy.area, 9)
      lazy.side = 1
      return lazy
    },
    look: (value) => value instanceof Lazy && [Object.hasOwn(value, 'area'), value.area],
  },
}

async function twice(ref: ObjectRef): Promise<[unknown, unknown]> {
  const first = await get(ref)
  return [first, await get(ref)]
}

async function all<T>(items: AsyncIterable<T>, read: (item: T) => unknown): Promise<[unknown, unknown]> {
  const values: unknown[] = []
  for await (const item of items) values.push(await read(item))
  return values as [unknown, unknown]
}

/** What the values go through; the second node is another one. */
function makeTools(home: LocalNode, other: LocalNode) {
  const here = remote(identity, { schedulingStrategy: { nodeId: home.nodeId } })
  const there = remote(identity, { schedulingStrategy: { nodeId: other.nodeId } })
  return {
    here,
    there,
    chained: remote(async (value: unknown) => get(here.remote(await get(there.remote(value))))),
    stream: remote(async function* both(value: unknown) {
      yield value
      yield value
    }),
    throwing: remote((value: unknown) => {
      throw Object.assign(new TypeError('with a value'), { value })
    }),
    keeper: remote(Keeper).remote(),
    queue: new Queue<unknown>(),
  }
}

/** Ways that a value can go between processes: what arrives, and what arrives the next time. */
type Way = (tools: ReturnType<typeof makeTools>, value: unknown) => Promise<[unknown, unknown]>
const ways: Record<string, Way> = {
  put: (_, value) => twice(put(value)),
  'put, inside of another': async (_, value) => twice((await get(put([put(value)])))[0] as ObjectRef),
  'task on this node': ({ here }, value) => twice(here.remote(value)),
  'task on this node, by ref': ({ here }, value) => twice(here.remote(put(value))),
  'task on another node': ({ there }, value) => twice(there.remote(value)),
  'task on another node, by ref': ({ there }, value) => twice(there.remote(put(value))),
  'task of a task, there and back': ({ chained }, value) => twice(chained.remote(value)),
  'result given to another task': ({ here, there }, value) => twice(there.remote(here.remote(value))),
  'what a function closes over': (_, value) => twice(remote(() => value).remote()),
  stream: ({ stream }, value) => all(stream.remote(value), (ref) => get(ref)),
  'error of a task': async ({ throwing }, value) => {
    const ref = throwing.remote(value)
    const read = async (): Promise<unknown> => {
      const error: unknown = await get(ref).then(identity, identity)
      assert.ok(error instanceof TypeError && 'value' in error, String(error))
      return error.value
    }
    return [await read(), await read()]
  },
  'call of an actor': ({ keeper }, value) => twice(keeper.echo.remote(value)),
  'state of an actor': async ({ keeper }, value) => {
    await get(keeper.set.remote(value))
    return [await get(keeper.get.remote()), await get(keeper.get.remote())]
  },
  'argument of a constructor': async (_, value) => {
    const made = remote(Keeper).remote(value)
    return [await get(made.get.remote()), await get(made.get.remote())]
  },
  queue: async ({ queue }, value) => {
    await queue.put(value)
    await queue.put(value)
    return [await queue.get(), await queue.get()]
  },
  'items of parallelMap': (_, value) =>
    all(
      parallelMapIterable([[value], [value]], ([item]) => [item]),
      ([item]) => item,
    ),
}

describe(`any value arrives as it is (seed ${seed})`, { timeout: 180_000 }, () => {
  let mesh: LocalMesh
  let tools: ReturnType<typeof makeTools>
  let restore: () => void

  before(async () => {
    restore = freshRuntimeDirectory()
    mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    process.env['SHOAL_RUNTIME_DIR'] = home.runtimeDirectory
    await init({ logToDriver: false })
    tools = makeTools(home, other)
  })
  after(async () => {
    await shutdown()
    await mesh[Symbol.asyncDispose]()
    restore()
  })

  for (const [name, way] of Object.entries(ways)) {
    test(name, async () => {
      const [random, again] = [seededRandom(seed), seededRandom(seed)]
      for (let i = 0; i < valuesPerWay; i++) {
        const [value, right] = [randomValue(random), randomValue(again)]
        const [first, second] = await way(tools, value)
        assert.deepStrictEqual(first, right)
        scribble(first)
        assert.deepStrictEqual(second, right)
        assert.deepStrictEqual(value, right)
      }
    })
  }

  for (const [name, { make, look }] of Object.entries(instances)) {
    test(`an instance ${name}`, async () => {
      const right = look(make())
      assert.ok(Array.isArray(right))
      const lookThere = remote(look)
      assert.deepEqual(look(await get(put(make()))), right)
      assert.deepEqual(await get(lookThere.remote(make())), right)
      assert.deepEqual(look(await get(tools.there.remote(make()))), right)
      assert.deepEqual(look(await get(remote(make).remote())), right)
      assert.deepEqual(look(await get(tools.keeper.echo.remote(make()))), right)
    })
  }
})
