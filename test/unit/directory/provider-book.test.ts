import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { digestOf, distance, placeOfKey, placeOfNode, type Place } from '../../../node/directory/kad-space.ts'
import { ProviderBook, type ProvideBatch } from '../../../node/directory/provider-book.ts'

const places = new Map<string, Place>()

function placeOf(node: string): Place {
  const place = places.get(node) ?? placeOfNode(createHash('sha256').update(node).digest())
  places.set(node, place)
  return place
}

const keys = Array.from({ length: 60 }, (_, i) => i.toString(16).padStart(44, '0'))
const others = Array.from({ length: 30 }, (_, i) => `node${i}`)

function book(more: { perStepMax?: number } = {}): ProviderBook {
  return new ProviderBook({ self: 'self', place: placeOf('self'), copies: 3, refreshMs: 1000, ...more })
}

/** What nodes know after these batches. */
class Told {
  readonly known = new Map<string, Set<string>>()

  take(batches: readonly ProvideBatch[]): void {
    for (const { to, adds, removes } of batches) {
      const known = this.known.get(to) ?? new Set()
      this.known.set(to, known)
      for (const key of removes) known.delete(key)
      for (const key of adds) known.add(key)
    }
  }

  takeAll(from: ProviderBook, nowMs = 0): void {
    while (from.hasWork) this.take(from.step(nowMs))
  }

  holders(key: string): string[] {
    return [...this.known].filter(([, known]) => known.has(key)).map(([node]) => node)
  }
}

function nearestBySorting(key: string, nodes: readonly string[], count: number): string[] {
  const at = placeOfKey(digestOf(key))
  return nodes.toSorted((a, b) => distance(at, placeOf(a)) - distance(at, placeOf(b))).slice(0, count)
}

describe('which nodes are told of a key', () => {
  test('the nearest ones are found in their order, however many there are', () => {
    const made = book()
    const members = ['self']
    for (const other of others) {
      made.memberUp(other, placeOf(other))
      members.push(other)
      for (const count of [1, 3, 20]) {
        for (const key of keys.slice(0, 20)) {
          assert.deepEqual(made.nearest(placeOfKey(digestOf(key)), count), nearestBySorting(key, members, count))
        }
      }
    }
  })

  test('the three nearest, at any time: as nodes come and go, and keys are withdrawn', () => {
    const made = book()
    const told = new Told()
    const members = new Set(['self'])
    const check = (provided: readonly string[]): void => {
      told.takeAll(made)
      for (const key of provided) {
        assert.deepEqual(told.holders(key).toSorted(), nearestBySorting(key, [...members], 3).toSorted())
      }
    }
    made.provide(keys)
    check(keys)
    for (const other of others) {
      members.add(other)
      made.memberUp(other, placeOf(other))
      check(keys)
    }
    for (const other of others.slice(0, 20)) {
      members.delete(other)
      made.memberDown(other)
      // What a node knew that is gone does not count.
      told.known.delete(other)
      check(keys)
    }
    made.withdraw(keys.slice(0, 40))
    check(keys.slice(40))
    for (const key of keys.slice(0, 40)) assert.deepEqual(told.holders(key), [])
  })

  test('in few messages, each of a bounded size', () => {
    const made = book({ perStepMax: 10_000 })
    for (const other of others.slice(0, 2)) made.memberUp(other, placeOf(other))
    made.provide(Array.from({ length: 5000 }, (_, i) => i.toString(16).padStart(44, '0')))
    const sizes = []
    while (made.hasWork) for (const { to, adds } of made.step(0)) if (to === 'node0') sizes.push(adds.length)
    assert.deepEqual(sizes, [2000, 2000, 1000])
  })

  test('what was not told yet needs not be taken back; what is told is told again in time', () => {
    const made = book()
    made.provide(keys)
    made.withdraw(keys)
    assert.deepEqual(made.step(0), [])
    made.provide(keys.slice(0, 1))
    assert.deepEqual(made.step(0), [{ to: 'self', adds: keys.slice(0, 1), removes: [] }])
    made.refresh(999)
    assert.equal(made.hasWork, false)
    made.refresh(1000)
    assert.deepEqual(made.step(1000), [{ to: 'self', adds: keys.slice(0, 1), removes: [] }])
  })

  test('what two values are known by is taken back with the last of them', () => {
    const made = book()
    const told = new Told()
    const [object, old, young] = keys as [string, string, string]
    made.provide([old, object])
    made.provide([young, object])
    made.withdraw([old, object])
    told.takeAll(made)
    assert.deepEqual(
      [object, old, young].map((key) => told.holders(key).length),
      [1, 0, 1],
    )
    made.withdraw([young, object])
    told.takeAll(made)
    assert.deepEqual(
      [object, young].map((key) => told.holders(key).length),
      [0, 0],
    )
    assert.equal(made.keyCount, 0)
  })

  test('what is about to be told again is taken back from all that know it', () => {
    for (const stepsBefore of [0, 1]) {
      const made = book()
      const told = new Told()
      const many = Array.from({ length: 3000 }, (_, i) => i.toString(16).padStart(44, '0'))
      for (const other of others.slice(0, 2)) made.memberUp(other, placeOf(other))
      made.provide(many)
      told.takeAll(made)
      made.refresh(1000)
      // Not all of them are sent in one step.
      for (let i = 0; i < stepsBefore; i++) told.take(made.step(1000))
      made.withdraw(many)
      told.takeAll(made, 1000)
      assert.deepEqual(
        [...told.known.values()].map(({ size }) => size),
        [0, 0, 0],
      )
    }
  })

  test('who is no more among the nearest when they are told again knows nothing of it', () => {
    const made = book()
    const told = new Told()
    const members = ['self', ...others.slice(0, 10)]
    for (const other of others.slice(0, 5)) made.memberUp(other, placeOf(other))
    made.provide(keys)
    told.takeAll(made)
    made.refresh(1000)
    for (const other of others.slice(5, 10)) made.memberUp(other, placeOf(other))
    told.takeAll(made, 1000)
    for (const key of keys) {
      assert.deepEqual(told.holders(key).toSorted(), nearestBySorting(key, members, 3).toSorted())
    }
  })

  test('to tell one that has come does not put off what the others are to be told again', () => {
    const made = book()
    made.provide(keys)
    made.step(0)
    made.memberUp('node0', placeOf('node0'))
    assert.deepEqual(made.step(900), [{ to: 'node0', adds: keys, removes: [] }])
    made.refresh(1000)
    assert.deepEqual(
      made.step(1000).map(({ to, adds }) => [to, adds.length]),
      [
        ['self', keys.length],
        ['node0', keys.length],
      ],
    )
  })
})
