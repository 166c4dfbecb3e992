/** Classes are the same class on both sides. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { NotCloneableError } from '../../../protocols/errors.ts'
import { classById, classId, classOfInstance } from '../../../sdk/shipping/index.ts'
import { EventEmitter } from 'node:events'
import { Command } from 'commander'
import { LibraryError, makeHidden, Vector } from './fixtures/library.ts'
import { ShipWorker } from './ship-worker.ts'

const worker = new ShipWorker()
after(() => worker.stop())

class Local {
  x = 1
}
class Derived extends Local {
  y = 2
}
class Locked {
  #key = 1
  get key(): number {
    return this.#key
  }
}
class Failure extends Error {
  override name = 'Failure'
}
const Expression = class {}
let Replaced: new () => object = class {}
const mixin = (Base: new () => object): new () => object => class extends Base {}
const group = { Member: class {} }
class Outer {
  static Inner = class {}
  own = class {}
}
const looped: (new () => object)[] = []
for (const step of [1, 2]) {
  looped.push(
    class {
      step = step
    },
  )
}

describe('identity', () => {
  test('a class of the main file', async () => {
    const id = await worker.run(() => process.classIdOnWorker(new Derived().constructor))
    assert.equal(id, classId(Derived))
    assert.equal(classById(id as string), Derived)
  })

  test('a class expression and an error', async () => {
    const ids = await worker.run(() => [Expression, Failure].map((cls) => process.classIdOnWorker(cls)))
    assert.deepEqual(
      (ids as string[]).map((id) => classById(id)),
      [Expression, Failure],
    )
  })

  test('classes of imported files, also those that only the file knows', async () => {
    const ids = (await worker.run(() =>
      [Vector, LibraryError, makeHidden().constructor].map((cls) => process.classIdOnWorker(cls)),
    )) as string[]
    assert.deepEqual(
      ids.map((id) => classById(id)),
      [Vector, LibraryError, makeHidden().constructor],
    )
  })

  test('a class shipped alone is the one that functions use', async () => {
    await worker.run(Local as never)
    await worker.run(Vector as never)
    const ids = [classId(Local), classId(Vector)]
    assert.deepEqual(
      await worker.run(
        (...given: string[]) => [
          process.classByIdOnWorker(given[0] ?? '') === Local,
          process.classByIdOnWorker(given[1] ?? '') === Vector,
        ],
        ...ids,
      ),
      [true, true],
    )
  })

  test('two functions that use a class use one', async () => {
    const first = await worker.run(() => {
      Object.assign(Local, { mark: 'seen' })
      return process.classIdOnWorker(Local)
    })
    const second = await worker.run(() => [process.classIdOnWorker(Local), (Local as { mark?: string }).mark])
    assert.deepEqual(second, [first, 'seen'])
  })

  test('classes made by one expression are different', () => {
    const make = (): new () => object => class Made {}
    const [one, two] = [make(), make()]
    assert.notEqual(classId(one), classId(two))
    assert.equal(classById(classId(two) ?? ''), two)
  })

  test('a class made in a function has an id that no other process has', async () => {
    const make = (tag: string): new () => object =>
      class Made {
        tag = tag
      }
    const idsOf = (): string[] => ['a', 'b'].map((tag) => process.idOfAnyOnWorker(make(tag)))
    const other = new ShipWorker()
    try {
      const there = [...((await worker.run(idsOf)) as string[]), ...((await other.run(idsOf)) as string[])]
      const ids = new Set([...there, classId(make('a')), classId(make('b'))])
      assert.equal(ids.size, 6)
      assert.deepEqual(
        there.map((id) => classById(id)),
        Array.from({ length: 4 }),
      )
    } finally {
      await other.stop()
    }
  })

  test('an id is not used again when its class is gone', () => {
    const make = (): new () => object => class Made {}
    const ids = new Set(Array.from({ length: 20 }, () => classId(make())))
    // Some may have been collected meanwhile: that must not matter.
    assert.equal(ids.size, 20)
  })

  test('a class that is made once at the top level has one id in every process, also without a name there', async () => {
    const there = await worker.run(() => [group.Member, Outer.Inner].map((cls) => process.idOfAnyOnWorker(cls)))
    assert.deepEqual(there, [classId(group.Member), classId(Outer.Inner)])
  })

  test('classes made in a loop or for each instance are different', () => {
    const ids = new Set([...looped, new Outer().own, new Outer().own].map((cls) => classId(cls)))
    assert.equal(ids.size, 4)
  })

  test('a top-level class is not mistaken for what its variable holds now', async () => {
    const ids = (await worker.run(() => [
      process.idOfAnyOnWorker(Replaced),
      process.idOfAnyOnWorker(Local),
    ])) as string[]
    assert.deepEqual(
      ids.map((id) => classById(id)),
      [Replaced, Local],
    )
    Replaced = mixin(Replaced)
    assert.notEqual(classId(Replaced), ids[0])
    assert.equal(await worker.run(() => process.idOfAnyOnWorker(Replaced)), classId(Replaced))
  })
})

describe('classOfInstance', () => {
  test('gives the class of a user', () => {
    assert.equal(classOfInstance(new Derived()), Derived)
    assert.equal(classOfInstance(new Failure('x')), Failure)
    assert.equal(classOfInstance(makeHidden()), makeHidden().constructor)
  })

  test('gives nothing for other objects', () => {
    const others = [
      {},
      [],
      new Map(),
      new Error('x'),
      Object.create(null) as object,
      new Command(),
      new EventEmitter(),
      new Uint8Array(1),
    ]
    for (const value of others) assert.equal(classOfInstance(value), undefined)
    assert.equal(classId(Map), undefined)
    assert.equal(classId(Command), undefined)
  })

  test('refuses private fields', () => {
    assert.throws(
      () => classOfInstance(new Locked()),
      (error) => {
        assert.ok(error instanceof NotCloneableError)
        assert.match(
          error.message,
          /^cannot copy an instance of Locked, a class with private #fields.*\n {2}fix: create it inside/,
        )
        return true
      },
    )
  })

  test('refuses what extends something else', () => {
    class Bus extends EventEmitter {}
    assert.throws(
      () => classOfInstance(new Bus()),
      /cannot copy an instance of Bus, which extends EventEmitter \(built-in\)/,
    )
  })
})
