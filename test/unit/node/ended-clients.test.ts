import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EndedClients } from '../../../node/mesh/ended-clients.ts'

test('a node hears, when it is back, of the clients that have ended meanwhile, and of no others', () => {
  const ended = new EndedClients()
  ended.add('before')
  assert.deepEqual(ended.linkUp('a'), [])
  ended.linkDown('a')
  ended.add('1')
  ended.linkDown('b')
  ended.add('2')
  assert.deepEqual(ended.linkUp('a'), ['1', '2'])
  assert.deepEqual(ended.linkUp('a'), [])
  assert.deepEqual(ended.linkUp('b'), ['2'])
  ended.linkDown('b')
  assert.deepEqual(ended.linkUp('b'), [])
})

test('of very many it hears of the last ones', () => {
  const ended = new EndedClients()
  ended.linkDown('a')
  for (let i = 1; i <= 10_005; i++) ended.add(String(i))
  const missed = ended.linkUp('a')
  assert.equal(missed.length, 10_000)
  assert.equal(missed.at(0), '6')
  assert.equal(missed.at(-1), '10005')
})
