import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LinkedClients } from '../../../node/mesh/remote-clients.ts'
import type { PeerPost } from '../../../node/mesh/peer-post.ts'

const node = 'ab'.repeat(8)
const client = (n: number): string => node + n.toString(16).padStart(16, '0')

test('clients of a node are there while it is linked, and those that have ended are known to be gone, whatever comes late', () => {
  const clients = new LinkedClients({} as PeerPost)
  assert.equal(clients.get(client(1)), undefined)
  assert.ok(clients.isGone(client(1)))
  clients.linkUp(node)
  assert.equal(clients.get(client(1)), clients.get(client(1)))
  assert.equal(clients.get(client(2))?.id, client(2))
  clients.remove(client(1))
  clients.remove(client(3))
  clients.get(client(1))
  assert.deepEqual(
    [1, 2, 3].map((n) => clients.isGone(client(n))),
    [true, false, true],
  )
  clients.linkDown(node)
  assert.equal(clients.get(client(2)), undefined)
  assert.ok(clients.isGone(client(2)))
})
