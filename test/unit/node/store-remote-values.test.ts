import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { BulkExchange } from '../../../node/bulk/bulk-exchange.ts'
import { RemoteValues } from '../../../node/store/remote-values.ts'
import { StoredFiles } from '../../../node/store/stored-files.ts'
import {
  InvalidArgumentError,
  ObjectLostError,
  ObjectStoreFullError,
  UnreachableError,
} from '../../../protocols/errors.ts'
import { BulkLab } from '../../support/bulk-pair.ts'
import { temporaryDirectory, until } from '../../support/daemon-process.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const [A, B, C] = ['aa'.repeat(8), 'bb'.repeat(8), 'cc'.repeat(8)] as const
const nodes = [A, B, C]

interface SetUpOptions {
  bytesMax?: number
  copiesMax?: number
  stallMs?: number
}

/** A node as far as values go. Messages between nodes are delivered at once, unless a node is away. */
class TestNode {
  readonly id: string
  readonly directory: string
  readonly files: StoredFiles
  readonly values: RemoteValues
  readonly sent: [string, string[]][] = []
  readonly logged: string[] = []
  nowMs = 0
  #written = 0

  constructor(mesh: TestMesh, id: string, options: SetUpOptions) {
    this.id = id
    this.directory = path.join(mesh.directory, id)
    mkdirSync(this.directory)
    const log = (text: string): void => void this.logged.push(text)
    this.files = new StoredFiles({
      directory: this.directory,
      bytesMax: options.bytesMax ?? 1e9,
      now: () => this.nowMs,
      onPressure: () => {},
      log: (text) => assert.fail(text),
    })
    const { stallMs = 10_000 } = options
    const bulk = new BulkExchange({ network: mesh.lab.networkOf(id), log, stallMs })
    mesh.lab.join(id, bulk)
    this.values = new RemoteValues({
      self: id,
      files: this.files,
      bulk,
      send: (node, names) => {
        this.sent.push([node, names])
        mesh.nodes.get(node)?.values.freedElsewhere(id, names)
      },
      log,
      ...(options.copiesMax === undefined ? {} : { copiesMax: options.copiesMax }),
    })
  }

  /** A client of this node writes a value for an owner, by default itself. */
  write(content: Uint8Array, owner = `${this.id}${'01'.repeat(8)}`): string {
    const name = `${this.id}${'01'.repeat(8)}${(this.#written++).toString(16).padStart(12, '0')}`
    writeFileSync(path.join(this.directory, name), content)
    this.files.stored(name, content.length, owner)
    return name
  }

  has(name: string): boolean {
    return existsSync(path.join(this.directory, name))
  }

  get names(): string[] {
    return readdirSync(this.directory)
  }
}

class TestMesh {
  readonly directory = temporaryDirectory()
  readonly lab = new BulkLab()
  readonly nodes = new Map<string, TestNode>()

  add(id: string, options: SetUpOptions = {}): TestNode {
    const node = new TestNode(this, id, options)
    this.nodes.set(id, node)
    return node
  }

  /** Links to a node go down. */
  cut(id: string): void {
    const gone = this.nodes.get(id) ?? assert.fail(id)
    this.nodes.delete(id)
    this.lab.leave(id)
    for (const stream of this.lab.streams) stream.abort('the link is down')
    for (const other of this.nodes.values()) {
      other.values.nodeGone(id)
      gone.values.nodeGone(other.id)
    }
  }
}

function setUp(options: SetUpOptions = {}) {
  const mesh = new TestMesh()
  return { mesh, a: mesh.add(A, options), b: mesh.add(B, options), c: mesh.add(C, options) }
}

const patterned = (count: number): Buffer => Buffer.alloc(count, Buffer.from([1, 2, 3, 4, 5, 6, 7]))

describe('values of other nodes', () => {
  test('a value comes as it is, and counts here', async () => {
    const { a, b } = setUp()
    for (const size of [0, 1, 300_000, 20_000_000]) {
      const content = patterned(size)
      const name = a.write(content)
      await b.values.fetch(name, size)
      assert.ok(readFileSync(path.join(b.directory, name)).equals(content))
      await b.values.fetch(name, size)
    }
    assert.deepEqual([b.files.usedBytes, b.files.count], [20_300_001, 4])
    assert.equal(b.names.length, 4)
  })

  test('however many ask at a time, it comes once', async () => {
    const { mesh, a, b } = setUp()
    const names = Array.from({ length: 50 }, (_, n) => a.write(patterned(n * 1000)))
    await Promise.all(Array.from({ length: 10 }, () => names.map((name, n) => b.values.fetch(name, n * 1000))).flat())
    assert.equal(mesh.lab.streams.length, 50)
    assert.deepEqual(b.names.toSorted(), names)
    assert.equal(b.files.usedBytes, a.files.usedBytes)
  })

  test('a value of this node is here, or lost', async () => {
    const { a, mesh } = setUp()
    const name = a.write(patterned(10))
    await a.values.fetch(name, 10)
    await assert.rejects(a.values.fetch(name, 11), ObjectLostError)
    await assert.rejects(a.values.fetch(`${A}${'00'.repeat(14)}`, 10), ObjectLostError)
    assert.equal(mesh.lab.streams.length, 0)
  })

  test('a value is given before its writer has told of it', async () => {
    const { a, b } = setUp()
    const name = `${A}${'02'.repeat(14)}`
    writeFileSync(path.join(a.directory, name), 'early')
    await b.values.fetch(name, 5)
    assert.equal(readFileSync(path.join(b.directory, name), 'utf8'), 'early')
    a.files.freed([name])
    await until('both are gone', () => a.names.length + b.names.length === 0)
  })

  test('what cannot be had leaves nothing behind', async () => {
    const { mesh, a, b } = setUp({ bytesMax: 1000 })
    const name = a.write(patterned(500))
    await assert.rejects(b.values.fetch(name, 499), ObjectLostError)
    await assert.rejects(b.values.fetch(name, 501), ObjectLostError)
    await assert.rejects(b.values.fetch(`${A}${'02'.repeat(14)}`, 10), ObjectLostError)
    await assert.rejects(b.values.fetch(name, 1001), ObjectStoreFullError)
    await assert.rejects(b.values.fetch(`${'dd'.repeat(8)}${'02'.repeat(14)}`, 10), UnreachableError)
    for (const bad of ['', '../../etc/passwd', `${A}/x`, A.toUpperCase(), 'a'.repeat(65)]) {
      await assert.rejects(b.values.fetch(bad, 10), InvalidArgumentError)
    }
    for (const bytes of [-1, 0.5, Number.NaN, Infinity]) {
      await assert.rejects(b.values.fetch(name, bytes), InvalidArgumentError)
    }
    assert.deepEqual([b.names, b.files.usedBytes, b.files.count], [[], 0, 0])
    await b.values.fetch(name, 500)
    mesh.lab.streams.length = 0
    await assert.rejects(b.values.fetch(name, 499), ObjectLostError)
    assert.equal(mesh.lab.streams.length, 0)
  })

  test('room is kept for what is on its way, and given back', async () => {
    const { a, b } = setUp({ bytesMax: 1000 })
    const names = Array.from({ length: 4 }, () => a.write(patterned(250)))
    const own = b.write(patterned(100))
    const outcomes = await Promise.allSettled(names.map((name) => b.values.fetch(name, 250)))
    assert.deepEqual(
      outcomes.map((each) => (each.status === 'fulfilled' ? 'here' : (each.reason as object).constructor)),
      ['here', 'here', 'here', ObjectStoreFullError],
    )
    assert.equal(b.files.usedBytes, 850)
    b.files.freed([own])
    await b.values.fetch(names[3] as string, 250)
    assert.equal(b.files.usedBytes, 1000)
  })

  test('copies that nobody asked for in a while make room', async () => {
    const { a, b } = setUp({ bytesMax: 1000 })
    const names = Array.from({ length: 8 }, () => a.write(patterned(100)))
    const [first, second, third] = names as [string, string, string]
    for (const name of names) await b.values.fetch(name, 100)
    b.nowMs = 5000
    await b.values.fetch(first, 100)
    const own = b.write(patterned(100))
    await until('the second has gone', () => !b.has(second))
    assert.deepEqual([b.has(first), b.has(third), b.has(own)], [true, true, true])
    await b.values.fetch(second, 100)
    await until('the third has gone', () => !b.has(third))
    assert.ok(b.has(second))
    assert.equal(b.files.usedBytes, 800)
    a.files.freed(names)
    await until('only its own is left', () => b.names.join() === own)
  })

  test('a value that its own client frees goes everywhere', async () => {
    const { a, b, c } = setUp()
    const [freed, kept] = [a.write(patterned(10)), a.write(patterned(10))]
    for (const node of [b, c]) for (const name of [freed, kept]) await node.values.fetch(name, 10)
    a.values.freed([freed, '../x'])
    await until('it is gone', () => [a, b, c].every((node) => node.names.join() === kept))
    assert.deepEqual(
      [a, b, c].map((node) => node.files.usedBytes),
      [10, 10, 10],
    )
  })

  test('a value that its owner on another node frees goes everywhere', async () => {
    const { a, b, c } = setUp()
    const owner = `${B}${'01'.repeat(8)}`
    const name = a.write(patterned(10), owner)
    for (const node of [b, c]) await node.values.fetch(name, 10)
    b.values.freed([name])
    await until('it is gone', () => [a, b, c].every((node) => node.names.length === 0))
    assert.deepEqual(b.sent, [[A, [name]]])
  })

  test('nodes have no say in values that are neither their own nor those of the receiver', async () => {
    const { a, b, c } = setUp()
    const name = a.write(patterned(10))
    await b.values.fetch(name, 10)
    const own = b.write(patterned(10))
    b.values.freedElsewhere(C, [name, '../x', ''])
    b.values.freedElsewhere(C, [own])
    await until('its own has gone', () => b.names.length === 1)
    assert.ok(b.has(name))
    assert.equal(c.names.length, 0)
  })

  test('an owner that goes takes its values on all nodes with it', async () => {
    const { a, b, c } = setUp()
    const owner = `${B}${'05'.repeat(8)}`
    const name = a.write(patterned(10), owner)
    await c.values.fetch(name, 10)
    for (const node of [a, b, c]) node.values.ownerGone(owner)
    await until('it is gone', () => [a, b, c].every((node) => node.names.length === 0))
  })

  test('a node that goes takes with it its values, and those that its clients owned', async () => {
    const { mesh, a, b, c } = setUp()
    const ofB = b.write(patterned(10))
    const ownedByB = a.write(patterned(10), `${B}${'05'.repeat(8)}`)
    const ofA = a.write(patterned(10))
    for (const name of [ofB, ownedByB, ofA]) await c.values.fetch(name, 10)
    await b.values.fetch(ofA, 10)
    mesh.cut(B)
    await until('they are gone', () => a.names.join() === ofA && c.names.join() === ofA && b.names.join() === ofB)
    await assert.rejects(c.values.fetch(ofB, 10), UnreachableError)
    a.sent.length = 0
    a.values.freed([ofA])
    assert.deepEqual(a.sent, [[C, [ofA]]])
    await until('that is gone, too', () => c.names.length === 0)
  })

  test('a value that is freed while it comes does not stay', async () => {
    const { mesh, a, b } = setUp()
    for (const free of [
      (name: string) => a.values.freed([name]),
      (name: string) => b.values.freed([name]),
      () => mesh.lab.streams.at(-1)?.abort('the cable was pulled'),
    ]) {
      const name = a.write(patterned(3_000_000))
      const resume = mesh.lab.holdNext(3)
      const fetching = b.values.fetch(name, 3_000_000)
      await until('it is on its way', () => b.names.length === 1)
      assert.ok((b.names[0] as string).startsWith('.'))
      assert.equal(b.files.usedBytes, 3_000_000)
      free(name)
      await assert.rejects(fetching, (error) => error instanceof ObjectLostError || error instanceof UnreachableError)
      assert.notEqual(mesh.lab.streams.at(-1)?.abortReason, undefined)
      resume()
      await until('nothing is left', () => b.names.length === 0 && b.files.usedBytes === 0)
    }
  })

  test('a value of a node that was away for a moment can come again at once', async () => {
    const { mesh, a, b } = setUp()
    const name = a.write(patterned(3_000_000))
    const resume = mesh.lab.holdNext(3)
    const first = b.values.fetch(name, 3_000_000)
    await until('it is on its way', () => b.names.length === 1)
    b.values.nodeGone(A)
    const second = b.values.fetch(name, 3_000_000)
    await assert.rejects(first, UnreachableError)
    await second
    resume()
    await until('it is there once', () => b.names.join() === name)
    assert.equal(b.files.usedBytes, 3_000_000)
  })

  test('a value whose old copy is still to be deleted is not deleted with it', async () => {
    const { a, b } = setUp()
    const name = a.write(patterned(10))
    // What is freed first is deleted last.
    b.files.freed([name, ...Array.from({ length: 5000 }, (_, n) => `${A}${n.toString(16).padStart(28, '0')}`)])
    await b.values.fetch(name, 10)
    await b.files.deleted(name)
    assert.ok(b.has(name))
  })

  test('a value that was dropped here can come again at once', async () => {
    const { a, b } = setUp()
    const names = Array.from({ length: 30 }, () => a.write(patterned(10)))
    for (let round = 0; round < 20; round++) {
      await Promise.all(names.map((name) => b.values.fetch(name, 10)))
      assert.equal(b.names.length, 30)
      b.values.freedElsewhere(A, names)
    }
    await until('they are gone', () => b.names.length === 0)
  })

  test('copies over the bound are called back, the oldest first', async () => {
    const { a, b, c } = setUp({ copiesMax: 3 })
    const names = [a.write(patterned(10)), a.write(patterned(10))] as const
    for (const name of names) for (const node of [b, c]) await node.values.fetch(name, 10)
    await until('the first copy of all has gone', () => b.names.join() === names[1])
    assert.deepEqual(c.names.toSorted(), [...names])
  })

  test('many names go in several messages', () => {
    const { b } = setUp()
    const names = Array.from({ length: 25_000 }, (_, n) => `${A}${n.toString(16).padStart(28, '0')}`)
    b.values.freed(names)
    assert.deepEqual(
      b.sent.map(([to, some]) => [to, some.length]),
      [
        [A, 10_000],
        [A, 10_000],
        [A, 5000],
      ],
    )
    assert.deepEqual(
      b.sent.flatMap(([, some]) => some),
      names,
    )
  })

  test('whatever happens in whatever order, what is left is what is known', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    const random = seededRandom(seed)
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
    const { mesh, ...all } = setUp({ bytesMax: 5_000_000 })
    const machines = Object.values(all)
    const live = new Map<string, { bytes: number; owner: string }>()
    const fetching: Promise<unknown>[] = []
    for (let step = 0; step < 400; step++) {
      const what = random()
      if (what < 0.25 || live.size === 0) {
        const bytes = Math.floor(random() ** 4 * 400_000)
        const owner = `${pick(nodes)}${'07'.repeat(8)}`
        live.set(pick(machines).write(patterned(bytes), owner), { bytes, owner })
      } else if (what < 0.8) {
        const [name, { bytes }] = pick([...live])
        fetching.push(
          pick(machines)
            .values.fetch(name, bytes)
            .catch((error: unknown) => error),
        )
      } else if (what < 0.9) {
        const [name, { owner }] = pick([...live])
        live.delete(name)
        mesh.nodes.get(owner.slice(0, 16))?.values.freed([name])
      } else if (what < 0.93) mesh.lab.streams.at(-1)?.abort('chance')
      else await new Promise(setImmediate)
    }
    for (const outcome of await Promise.all(fetching)) {
      const isExpected = [ObjectLostError, UnreachableError, ObjectStoreFullError].some(
        (type) => outcome instanceof type,
      )
      assert.ok(outcome === undefined || isExpected, `seed ${seed}: ${String(outcome)}`)
    }
    const isSettled = (): boolean =>
      machines.every(({ names, files }) => names.every((name) => files.bytesOf(name) !== undefined))
    await until(`the folders hold what is known (seed ${seed})`, isSettled)
    for (const node of machines) {
      const { id, names, files } = node
      const bytes = names.reduce((sum, name) => sum + (files.bytesOf(name) ?? 0), 0)
      assert.deepEqual([files.usedBytes, files.count], [bytes, names.length], `seed ${seed}: node ${id}`)
      for (const name of names) assert.ok(live.has(name), `seed ${seed}: ${name} is left on node ${id}`)
      for (const name of live.keys()) {
        if (name.startsWith(id)) assert.ok(node.has(name), `seed ${seed}: ${name} is lost`)
      }
    }
    for (const [name, { owner }] of live) mesh.nodes.get(owner.slice(0, 16))?.values.freed([name])
    await until(`all is gone (seed ${seed})`, () => machines.every(({ names }) => names.length === 0))
    assert.deepEqual(
      machines.map(({ files }) => files.usedBytes),
      [0, 0, 0],
    )
  })
})
