import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import { Identity } from '../../../node/membership/identity.ts'
import { Libp2pNetwork } from '../../../node/network/libp2p-network.ts'
import { NodeUnavailableError } from '../../../protocols/errors.ts'
import { NetworkRecord, PaperMembership } from '../../support/network-peer.ts'

/** A port that somebody else listens at. */
async function takenPort(t: TestContext): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function networkAt(t: TestContext, listen: { port: number; isHabit: boolean }, ports: number[] = []): Libp2pNetwork {
  const { seed, publicKey } = new Identity(randomBytes(32))
  const network = new Libp2pNetwork({
    seed,
    publicKey,
    gate: new PaperMembership().gate(),
    meshId: Buffer.alloc(32, 7),
    name: 'desk',
    version: '0.1.0',
    protocolVersion: 1,
    listen: { host: '127.0.0.1', ...listen },
    mdns: false,
    remembered: [],
    fixed: [],
    onJoin: () => {},
    onPeersChanged: () => {},
    onListening: (port) => ports.push(port),
    bytesMaxOf: () => 0,
    log: () => {},
  })
  t.after(() => network.close())
  return network
}

describe('a port that is taken', () => {
  test('when it is only the one that the node had last, the node takes another', async (t) => {
    const port = await takenPort(t)
    const ports: number[] = []
    const network = networkAt(t, { port, isHabit: true }, ports)
    await network.open(new NetworkRecord())
    assert.equal(ports.length, 1)
    assert.notEqual(ports[0], port)
    assert.match(network.addresses[0] ?? '', new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/${ports[0]}/`))
  })

  test('when it was asked for, the node does not start', async (t) => {
    const port = await takenPort(t)
    await assert.rejects(
      networkAt(t, { port, isHabit: false }).open(new NetworkRecord()),
      (error) => error instanceof NodeUnavailableError && error.message.includes(`cannot listen at 127.0.0.1:${port}`),
    )
  })
})
