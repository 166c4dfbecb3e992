import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Acquaintances, keyOf, type Acquaintance } from '../../../node/network/acquaintances.ts'

const a = '/ip4/10.0.0.1/tcp/1/p2p/PeerA'
const b = '/ip4/10.0.0.2/tcp/1/p2p/PeerB'
const dayMs = 24 * 3_600_000

function due(known: Acquaintances, nowMs: number): string[] {
  return [...known.due(nowMs)].map(({ key }) => key)
}

function only(known: Acquaintances): Acquaintance {
  const [first] = known.all()
  assert.ok(first !== undefined)
  return first
}

describe('acquaintances', () => {
  test('who is met is to be dialled at once; the same again is no news', () => {
    const known = new Acquaintances(() => 0.5)
    assert.equal(known.met(a, 0), true)
    assert.equal(known.met(a, 10), false)
    assert.equal(known.met('/ip4/10.0.0.9/tcp/1/p2p/PeerA', 20), true)
    known.met(b, 20)
    assert.deepEqual(due(known, 20), ['PeerA', 'PeerB'])
    assert.equal([...known.all()].find(({ key }) => key === 'PeerA')?.addresses.size, 2)
  })

  test('each failure makes the wait longer, up to some seconds; a new address ends it', () => {
    const known = new Acquaintances(() => 0.5)
    known.met(a, 0)
    let nowMs = 0
    const waits = Array.from({ length: 8 }, () => {
      const one = only(known)
      known.failed(one, nowMs)
      const waitMs = one.nextTryAtMs - nowMs
      assert.deepEqual(due(known, one.nextTryAtMs - 1), [])
      nowMs = one.nextTryAtMs
      assert.deepEqual(due(known, nowMs), ['PeerA'])
      return waitMs
    })
    assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000])
    known.failed(only(known), nowMs)
    known.met('/ip4/10.0.0.9/tcp/1/p2p/PeerA', nowMs)
    assert.deepEqual(due(known, nowMs), ['PeerA'])
  })

  test('who is being dialled is not dialled again', () => {
    const known = new Acquaintances(() => 0.5)
    known.met(a, 0)
    only(known).isDialing = true
    assert.deepEqual(due(known, 1000), [])
  })

  test('a link ends the failures', () => {
    const known = new Acquaintances(() => 0.5)
    known.met(a, 0)
    known.failed(only(known), 0, true)
    assert.equal(known.hasFailed, true)
    known.linked('PeerA', 100)
    assert.equal(known.hasFailed, false)
    assert.deepEqual(due(known, 100), ['PeerA'])
  })

  test('who was not seen for a week is forgotten, but not whom the user has named', () => {
    const known = new Acquaintances(() => 0.5)
    known.met(a, 0)
    known.met(b, 0, true)
    assert.deepEqual(due(known, 8 * dayMs), ['PeerB'])
    assert.deepEqual(
      [...known.all()].map(({ key }) => key),
      ['PeerB'],
    )
  })

  test('they are bounded, and the one seen least lately gives way', () => {
    const known = new Acquaintances(() => 0.5)
    known.met(b, 0, true)
    for (let i = 0; i < 1500; i++) known.met(`/ip4/10.0.0.1/tcp/1/p2p/Peer${i}`, i)
    const keys = [...known.all()].map(({ key }) => key)
    assert.equal(keys.length, 1000)
    assert.ok(keys.includes('PeerB') && keys.includes('Peer1499') && !keys.includes('Peer0'))
    for (let i = 0; i < 40; i++) known.met(`/ip4/10.0.0.1/tcp/${i}/p2p/Peer1499`, 2000)
    assert.equal([...known.all()].find(({ key }) => key === 'Peer1499')?.addresses.size, 16)
  })

  test('one that is known by an address alone goes by that', () => {
    assert.equal(keyOf('/ip4/10.0.0.1/tcp/7461'), '/ip4/10.0.0.1/tcp/7461')
    assert.equal(keyOf(a), 'PeerA')
  })
})
