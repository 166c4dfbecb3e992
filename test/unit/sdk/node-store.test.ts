import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeDiedError } from '../../../protocols/errors.ts'
import type { MessageBody } from '../../../protocols/messages.ts'
import type { StoreLink } from '../../../sdk/store/object-store.ts'
import { NodeStore } from '../../../sdk/store/node-store.ts'

const whose = { owner: 'aa'.repeat(16), sequence: 1 }

/** The store of a node whose process has ended. */
function storeOfGone(): NodeStore {
  const clientId = whose.owner
  const welcome = {
    clientId,
    storeSegment: '/proc/0/fd/22',
    storeBytesMax: 2 ** 20,
    pinTable: 0,
  } as MessageBody<'welcome'>
  return new NodeStore({ welcome, socketPath: '', link: {} as StoreLink })
}

test('the first value that is read when the node is gone says that it is', async () => {
  const store = storeOfGone()
  await assert.rejects(
    store.read('aa', 300_000, whose, 'get'),
    ({ code, message }: NodeDiedError) => code === 'NODE_DIED' && /node is gone/.test(message),
  )
  const died = new NodeDiedError('the node (pid 7) is gone')
  store.disconnect(died)
  store.close()
  await assert.rejects(store.read('aa', 300_000, whose, 'get'), died)
})
