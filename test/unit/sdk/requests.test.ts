import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GetTimeoutError, NodeDiedError, NotInitializedError } from '../../../protocols/errors.ts'
import { Requests } from '../../../sdk/runtime/requests.ts'

test('when the node is gone, what waits fails, and so does what is asked later', async () => {
  const requests = new Requests()
  const died = new NodeDiedError('the node is gone')
  const waiting = assert.rejects(
    requests.ask(undefined, () => undefined),
    died,
  )
  requests.failAll(died)
  await waiting
  // What ends it for good afterwards does not hide why it ended.
  requests.failAll(new NotInitializedError())
  const sent: number[] = []
  await assert.rejects(
    requests.ask(undefined, (id) => sent.push(id)),
    died,
  )
  const { signal } = new AbortController()
  const send = (id: number): void => void sent.push(id)
  await assert.rejects(requests.askUntil(signal, { send, cancel: send }), died)
  assert.deepEqual(sent, [])
})

test('who has taken a question back is told what has kept it, if the node says so at once, and not more', async () => {
  const requests = new Requests()
  const reason = new GetTimeoutError('too late')
  const taken: number[] = []
  for (const answers of [true, false]) {
    const abort = new AbortController()
    const asked = requests.askUntil<string>(abort.signal, {
      send: () => {},
      cancel: (id) => {
        taken.push(id)
        if (answers) requests.answer(id, 'no room')
      },
    })
    abort.abort(reason)
    if (answers) assert.equal(await asked, 'no room')
    else await assert.rejects(asked, reason)
  }
  assert.equal(taken.length, 2)
})
