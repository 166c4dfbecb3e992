import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ObjectLostError, ProtocolError } from '../../../protocols/errors.ts'
import { Replicas } from '../../../node/store/replicas.ts'

const [self, other, third] = ['a', 'b', 'c'].map((letter) => letter.repeat(16)) as [string, string, string]
const gib = 1024 ** 3

/** One node's replicas; what it says to others, and what comes to it when the test says so. */
function node({ isClosed = false } = {}) {
  const said: unknown[] = []
  const here = new Set<string>()
  const coming = new Map<string, { resolve(): void; reject(error: unknown): void }>()
  const replicas = new Replicas({
    store: { has: (name) => here.has(name), keep: (name) => here.has(name) },
    transfers: {
      pull: (name) => new Promise((resolve, reject) => coming.set(name, { resolve, reject })),
      freed: (names) => {
        for (const name of names) coming.get(name)?.reject(new ObjectLostError('freed'))
      },
    },
    places: () => [other, third].map((each) => ({ node: each, freeBytes: gib, bytesMax: gib, isLasting: true })),
    ask: (to, { name, sources }) => said.push(['ask', to, name, sources]),
    answer: (to, body) => said.push(['answer', to, body]),
    free: (to, names) => said.push(['free', to, names]),
    isClosed: () => isClosed,
    log: () => {},
  })
  return { replicas, said, here, coming }
}

const owner = self + '0'.repeat(16)
const name = self + '1'.repeat(28)
const value = { name, bytes: 1_000_000, owner, object: '' }

describe('replicas at the node of their owner', () => {
  test('are asked for, and freed with the value', () => {
    const { replicas, said } = node()
    replicas.keep({ ...value, copies: 3 })
    replicas.onAnswer(other, { name, problem: '' })
    assert.deepEqual(replicas.holdersOf(name), [self, other])
    replicas.freed([name])
    assert.deepEqual(said, [
      ['ask', other, name, [self]],
      ['ask', third, name, [self]],
      ['free', other, [name]],
      ['free', third, [name]],
    ])
  })

  test('that come too late are freed, and what was never asked for is', () => {
    const { replicas, said } = node()
    replicas.onAnswer(other, { name, problem: '' })
    replicas.onAnswer(other, { name, problem: 'no room' })
    assert.deepEqual(said, [['free', other, [name]]])
  })
})

describe('a replica that another node asks for', () => {
  const owned = { ...value, owner: other + '0'.repeat(16), sources: [third] }

  test('comes here and is told to be here; what is here already is kept', async () => {
    const { replicas, said, here, coming } = node()
    replicas.onAsk(other, owned)
    replicas.onAsk(other, owned)
    assert.ok(replicas.isComingFor(other, name))
    assert.ok(!replicas.isComingFor(third, name))
    here.add(name)
    coming.get(name)?.resolve()
    await turn()
    assert.deepEqual(said, [['answer', other, { name, problem: '' }]])
    replicas.onAsk(other, owned)
    await turn()
    assert.equal(said.length, 2)
    assert.ok(!replicas.isComingFor(other, name))
  })

  test('that does not come, or is gone by then, is told to be none', async () => {
    const { replicas, said, coming } = node()
    replicas.onAsk(other, owned)
    coming.get(name)?.reject(new Error('no room'))
    await turn()
    replicas.onAsk(other, owned)
    coming.get(name)?.resolve()
    await turn()
    const problems = said.map((each) => (each as [string, string, { problem: string }])[2].problem)
    assert.deepEqual(problems, ['no room', 'it has come, and has had to go again'])
  })

  test('does not come to a node that is about to end, even if it is here', async () => {
    const { replicas, said, here, coming } = node({ isClosed: true })
    replicas.onAsk(other, owned)
    here.add(name)
    replicas.onAsk(other, owned)
    await turn()
    const answer = ['answer', other, { name, problem: 'the node takes nothing for others any more' }]
    assert.deepEqual(said, [answer, answer])
    assert.equal(coming.size, 0)
  })

  for (const [what, end] of [
    ['its owner', (replicas: Replicas) => replicas.ownerGone(owned.owner)],
    ['the node of its owner', (replicas: Replicas) => replicas.nodeGone(other)],
  ] as const) {
    test(`does not come any more when ${what} is gone`, async () => {
      const { replicas } = node()
      replicas.onAsk(other, owned)
      replicas.ownerGone(owner)
      replicas.nodeGone(third)
      await turn()
      assert.ok(replicas.isComingFor(other, name))
      end(replicas)
      await turn()
      assert.ok(!replicas.isComingFor(other, name))
    })
  }

  test('of what none of its clients owns breaks the protocol, as does nonsense', () => {
    const { replicas } = node()
    for (const wrong of [
      { ...owned, owner },
      { ...owned, name: '../x' },
      { ...owned, bytes: -1 },
      { ...owned, bytes: 0.5 },
    ]) {
      assert.throws(() => replicas.onAsk(other, wrong), ProtocolError)
    }
  })
})
