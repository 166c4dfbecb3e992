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
})
