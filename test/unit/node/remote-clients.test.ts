import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LinkedClients } from '../../../node/mesh/remote-clients.ts'
import type { PeerPost } from '../../../node/mesh/peer-post.ts'

const node = 'ab'.repeat(8)
const client = (n: number): string => node + n.toString(16).padStart(16, '0')

test('clients of a node are there while it is linked, and those that have ended are not, whatever comes late', () => {
  const clients = new LinkedClients({} as PeerPost)
  assert.equal(clients.get(client(1)), undefined)
  clients.linkUp(node)
  assert.equal(clients.get(client(1)), clients.get(client(1)))
  assert.equal(clients.get(client(2))?.id, client(2))
  clients.remove(client(1))
  clients.remove(client(3))
  assert.deepEqual([clients.get(client(1)), clients.get(client(3))], [undefined, undefined])
  assert.deepEqual(clients.linkDown(node), [client(2)])
  assert.equal(clients.get(client(2)), undefined)
  clients.linkUp(node)
  assert.deepEqual([clients.get(client(1)), clients.get(client(2))?.id], [undefined, client(2)])
})
