import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PeerPost } from '../../../node/mesh/peer-post.ts'
import { Questions } from '../../../node/mesh/questions.ts'

describe('questions to other nodes', () => {
  test('are answered by whom they were for, and end with the link, the signal, or when there is no link', async () => {
    const questions = new Questions(new PeerPost({ self: 'self', link: () => undefined, links: () => [] }))
    const ids: number[] = []
    const send = (_: PeerPost, askId: number): boolean => ids.push(askId) > 0
    const answered = questions.ask<string>('a', send)
    const cut = questions.ask('b', send)
    const controller = new AbortController()
    const given = questions.ask('c', send, { signal: controller.signal })
    const [first = 0] = ids
    questions.onAnswer('b', first, 'a lie')
    questions.onAnswer('a', first, 'so')
    assert.equal(await answered, 'so')
    questions.onLinkDown('b')
    await assert.rejects(cut, /the link to node b is down/)
    controller.abort(new Error('not needed'))
    await assert.rejects(given, /not needed/)
    await assert.rejects(questions.ask('d', send, { signal: controller.signal }), /not needed/)
    await assert.rejects(
      questions.ask('d', () => false),
      /there is no link to node d/,
    )
    assert.equal(ids.length, 3)
  })
})
