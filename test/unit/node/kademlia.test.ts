import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Identity } from '../../../node/membership/identity.ts'
import { Libp2pNetwork } from '../../../node/network/libp2p-network.ts'
import { NetworkRecord, PaperMembership } from '../../support/network-peer.ts'

const digest = Buffer.alloc(32, 5)

test('a lookup in the DHT of libp2p finds what another node knows, and ends with the first that knows it', async () => {
  await using parts = new AsyncDisposableStack()
  const membership = new PaperMembership()
  const open = async (name: string): Promise<Libp2pNetwork> => {
    const { seed, publicKey } = new Identity(randomBytes(32))
    const network = new Libp2pNetwork({
      seed,
      publicKey,
      gate: membership.gate(),
      meshId: Buffer.alloc(32, 7),
      name,
      version: '0.1.0',
      protocolVersion: 1,
      listen: { host: '127.0.0.1', port: 0 },
      mdns: false,
      remembered: [],
      fixed: [],
      onJoin: () => {},
      onPeersChanged: () => {},
      onListening: () => {},
      bytesMaxOf: () => 0,
      log: () => {},
    })
    parts.defer(() => network.close())
    await network.open(new NetworkRecord())
    return network
  }
  const [asker, knower, holder] = [await open('asker'), await open('knower'), await open('holder')]
  await asker.connect(knower.addresses[0] ?? '')
  await holder.connect(knower.addresses[0] ?? '')
  knower.kademlia.onLookup((asked) => (Buffer.from(asked).equals(digest) ? [holder.self] : []))

  const find = async (key: Uint8Array): Promise<readonly string[]> => {
    for await (const nodes of asker.kademlia.findProviders(key, AbortSignal.timeout(5000))) {
      if (nodes.length > 0) return nodes
    }
    return []
  }
  let found: readonly string[] = []
  // It takes a moment until they know what each other speaks.
  for (let tries = 0; tries < 200 && found.length === 0; tries++) {
    found = await find(digest)
    if (found.length === 0) await delay(25)
  }
  assert.deepEqual(found, [holder.self])
  assert.deepEqual(await find(Buffer.alloc(32, 6)), [])
})
