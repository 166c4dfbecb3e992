import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ReplicaBook,
  type ReplicaAsk,
  type ReplicaPlace,
  type ReplicatedValue,
} from '../../../node/store/replica-book.ts'

const gib = 1024 ** 3
const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(16)) as [string, string, string, string]
const owner = '1'.repeat(32)
let lastNumber = 0

function place(node: string, freeBytes: number, isLasting = true): ReplicaPlace {
  return { node, freeBytes, bytesMax: 4 * gib, isLasting }
}

function value(copies: number, bytes = 1_000_000): ReplicatedValue {
  return { name: a + (++lastNumber).toString(16).padStart(28, '0'), bytes, owner, object: '', copies }
}

/** The nodes that are asked, and from whom they are to take it. */
function askedOf(asks: readonly ReplicaAsk[]): Record<string, readonly string[]> {
  return Object.fromEntries(asks.map(({ node, sources }) => [node, sources]))
}

describe('which nodes have replicas', () => {
  test('those with the most room, besides the one that made the value, and those that may leave last', () => {
    const book = new ReplicaBook(() => [place(a, 4 * gib), place(b, gib), place(c, 2 * gib), place(d, 3 * gib, false)])
    assert.deepEqual(askedOf(book.keep(value(1))), {})
    assert.deepEqual(askedOf(book.keep(value(2))), { [c]: [a] })
    assert.deepEqual(askedOf(book.keep(value(3))), { [c]: [a], [b]: [a] })
    assert.deepEqual(askedOf(book.keep(value(4))), { [c]: [a], [b]: [a], [d]: [a] })
    assert.deepEqual(askedOf(book.keep(value(2, 5 * gib))), {}, 'it fits nowhere')
  })

  test('many at once are spread by what is under way already', () => {
    const book = new ReplicaBook(() => [place(b, 2 * gib), place(c, 2 * gib)])
    const nodes = Array.from({ length: 10 }, () => book.keep(value(2, gib / 10))[0]?.node)
    assert.equal(nodes.filter((node) => node === b).length, 5)
  })

  test('as many as there are, and more when another comes', () => {
    const places = [place(a, gib), place(b, gib)]
    const book = new ReplicaBook(() => places)
    const kept = value(5)
    assert.deepEqual(askedOf(book.keep(kept)), { [b]: [a] })
    assert.deepEqual(book.answered(b, kept.name, true), { asks: [], isWanted: true })
    places.push(place(c, gib))
    assert.deepEqual(askedOf(book.nodeUp(c)), { [c]: [a, b] })
    assert.deepEqual(askedOf(book.nodeUp(c)), {})
  })

  test('another one, when one cannot; nobody is asked twice unless it was away', () => {
    const book = new ReplicaBook(() => [place(b, 2 * gib), place(c, gib)])
    const kept = value(2)
    book.keep(kept)
    assert.deepEqual(askedOf(book.answered(b, kept.name, false).asks), { [c]: [a] })
    assert.deepEqual(askedOf(book.answered(c, kept.name, false).asks), {})
    assert.deepEqual(askedOf(book.nodeUp(d)), {})
    assert.deepEqual(askedOf(book.nodeUp(b)), { [b]: [a] })
  })

  test('another one, when one is gone: a replica, one to be, or the node that made it', () => {
    const places = [place(a, gib), place(b, 4 * gib), place(c, 3 * gib), place(d, 2 * gib)]
    const book = new ReplicaBook(() => places)
    const gone = (node: string) => {
      places.splice(
        places.findIndex((each) => each.node === node),
        1,
      )
      return askedOf(book.nodeGone(node))
    }
    const kept = value(2)
    book.keep(kept)
    assert.deepEqual(gone(b), { [c]: [a] })
    book.answered(c, kept.name, true)
    assert.deepEqual(book.holdersOf(kept.name), [a, c])
    assert.deepEqual(gone(a), { [d]: [c] })
    assert.deepEqual(gone(c), {}, 'nobody is left to have it from')
    // It had all of it by then.
    assert.equal(book.answered(d, kept.name, true).isWanted, true)
    assert.deepEqual(book.holdersOf(kept.name), [d])
    places.push(place(b, gib))
    assert.deepEqual(askedOf(book.nodeUp(b)), { [b]: [d] })
  })

  test('all of them are told when it is needed no more, and one that comes too late', () => {
    const book = new ReplicaBook(() => [place(b, 2 * gib), place(c, gib)])
    const kept = value(3)
    book.keep(kept)
    book.answered(b, kept.name, true)
    assert.deepEqual(
      [...book.take([kept.name, 'ff'])],
      [
        [b, [kept.name]],
        [c, [kept.name]],
      ],
    )
    assert.deepEqual(book.answered(c, kept.name, true), { asks: [], isWanted: false })
    assert.deepEqual(askedOf(book.nodeGone(b)), {})
    assert.equal(book.count, 0)
  })

  test('what an owner had is forgotten with it', () => {
    const book = new ReplicaBook(() => [place(b, gib)])
    const kept = value(2)
    book.keep(kept)
    const other = { ...value(2), owner: '2'.repeat(32) }
    book.keep(other)
    book.ownerGone(owner)
    assert.equal(book.count, 1)
    assert.deepEqual([...book.take([kept.name])], [])
    assert.deepEqual(book.holdersOf(other.name), [a])
  })

  test('one that was cut off and comes back with its replica is taken back, if one is missing', () => {
    const places = [place(b, gib)]
    const book = new ReplicaBook(() => places)
    const kept = value(2)
    book.keep(kept)
    places.length = 0
    book.nodeGone(b)
    assert.equal(book.answered(b, kept.name, true).isWanted, true)
    assert.equal(book.answered(c, kept.name, true).isWanted, false)
  })
})

describe('a node that is about to leave', () => {
  test('what only it has goes to another, and is kept there from then on', () => {
    const places = [place(b, gib), place(c, 2 * gib)]
    const book = new ReplicaBook(() => places)
    const only = value(1)
    const { standing, asks } = book.evacuate(only, a)
    assert.equal(standing, 'coming')
    assert.deepEqual(askedOf(asks), { [c]: [a] })
    assert.deepEqual(book.evacuate(only, a), { standing: 'coming', asks: [] })
    assert.deepEqual(book.answered(c, only.name, true), { asks: [], isWanted: true })
    assert.equal(book.evacuate(only, a).standing, 'kept')
    assert.deepEqual(askedOf(book.nodeGone(a)), {})
    assert.deepEqual(book.holdersOf(only.name), [c])
    assert.deepEqual(book.take([only.name]), new Map([[c, [only.name]]]))
  })

  test('what is to be on two is to be on two others', () => {
    const book = new ReplicaBook(() => [place(b, 4 * gib), place(c, 2 * gib), place(d, gib)])
    const kept = value(2)
    book.keep(kept)
    book.answered(b, kept.name, true)
    const { standing, asks } = book.evacuate({ ...kept, copies: 1 }, b)
    assert.equal(standing, 'kept', 'the one that made it has it')
    assert.deepEqual(askedOf(asks), { [c]: [a, b] })
    assert.deepEqual(askedOf(book.evacuate({ ...kept, copies: 1 }, a).asks), { [d]: [a, b] })
  })

  test('what it took elsewhere before its owner said on how many it is to be is on so many in the end', () => {
    const book = new ReplicaBook(() => [place(b, 4 * gib), place(c, 2 * gib), place(d, gib)])
    const kept = value(3)
    assert.deepEqual(askedOf(book.evacuate({ ...kept, copies: 1 }, a).asks), { [b]: [a] })
    assert.deepEqual(book.answered(b, kept.name, true), { asks: [], isWanted: true })
    assert.deepEqual(askedOf(book.keep({ ...kept, copies: 2 })), { [c]: [a, b] })
    assert.deepEqual(askedOf(book.keep(kept)), { [d]: [a, b] })
    assert.deepEqual([book.keep(kept), book.keep({ ...kept, copies: 2 })], [[], []])
    for (const node of [c, d]) assert.equal(book.answered(node, kept.name, true).isWanted, true)
    assert.deepEqual(askedOf(book.nodeGone(a)), {})
    assert.deepEqual(book.holdersOf(kept.name), [b, c, d])
  })

  test('without a place it is nowhere, until there is one', () => {
    const places = [place(b, gib)]
    const book = new ReplicaBook(() => places)
    const only = value(1)
    book.evacuate(only, a)
    assert.deepEqual(book.answered(b, only.name, false).asks, [])
    // It is asked once more: it may have room by now.
    const again = book.evacuate(only, a)
    assert.deepEqual([again.standing, askedOf(again.asks)], ['coming', { [b]: [a] }])
    book.answered(b, only.name, false)
    places.length = 0
    assert.equal(book.evacuate(only, a).standing, 'nowhere')
  })
})
