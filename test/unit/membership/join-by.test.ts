import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { UnreachableError } from '../../../protocols/errors.ts'
import { joinBy } from '../../../node/mesh/join-by.ts'
import type { Membership } from '../../../node/membership/membership.ts'
import { StreamConversation } from '../../../node/network/libp2p-streams.ts'
import { conversationPair } from './conversation-pair.ts'
import { MemberFolders } from './member-folders.ts'

const address = '/ip4/192.0.2.1/tcp/7461'

/** A way to `admitter`, which is busy for so many conversations. */
function wayTo(admitter: Membership, joiner: Membership, busyCount: number) {
  let dials = 0
  return {
    get dials() {
      return dials
    },
    dial() {
      const ends = conversationPair(joiner.identity.publicKey, admitter.identity.publicKey)
      if (++dials <= busyCount) ends.admitter.close()
      else void admitter.admit(ends.admitter)
      return Promise.resolve(Object.assign(ends.joiner, { [Symbol.asyncDispose]: () => Promise.resolve() }))
    },
  }
}

describe('a join by a token', () => {
  test('comes again when the other side lets in too many others', async () => {
    await using folders = await MemberFolders.make()
    const [founder, joiner] = [await folders.founder(), await folders.open()]
    const { text } = await founder.createToken({ addresses: [address] })
    const way = wayTo(founder, joiner, 3)
    let nowMs = 0
    const pause = (ms: number): Promise<void> => {
      nowMs += ms
      return Promise.resolve()
    }
    assert.deepEqual(await joinBy(joiner, text, { log() {}, dial: way.dial, pause, nowMs: () => nowMs }), [address])
    assert.equal(way.dials, 4)
    assert.equal(joiner.meshName, founder.meshName)
  })

  test('gives up after a while, and at once when nobody is there', async () => {
    await using folders = await MemberFolders.make()
    const [founder, joiner] = [await folders.founder(), await folders.open()]
    const { text } = await founder.createToken({ addresses: [address] })
    const way = wayTo(founder, joiner, Infinity)
    let nowMs = 0
    const pause = (ms: number): Promise<void> => {
      nowMs += ms
      return Promise.resolve()
    }
    const clock = { log() {}, pause, nowMs: () => nowMs }
    await assert.rejects(joinBy(joiner, text, { ...clock, dial: way.dial }), {
      name: 'UnreachableError',
      message: /try again/,
    })
    assert.ok(way.dials > 3 && way.dials < 100 && nowMs <= 12_000)
    let tries = 0
    const dial = (): Promise<never> => {
      tries++
      return Promise.reject(new UnreachableError('nobody answers'))
    }
    await assert.rejects(joinBy(joiner, text, { ...clock, dial }), /does a firewall stand between/)
    assert.equal(tries, 1)
  })

  test('what is said to one that has gone is not an error of its own', async () => {
    const stream = Object.assign(new EventTarget(), {
      send() {
        throw new Error('Cannot write to a stream that is reset')
      },
    })
    const conversation = new StreamConversation(stream as never, new Uint8Array(32), address)
    conversation.send(Buffer.from('hello'))
    await assert.rejects(conversation.receive(), { name: 'UnreachableError', message: /has ended the conversation/ })
  })
})
