import { randomBytes } from 'node:crypto'
import { Libp2pNetwork } from '../../node/network/libp2p-network.ts'
import { realClock } from '../../node/network/network-clock.ts'
import type { PeerNetwork } from '../../node/network/network.ts'
import { Identity } from '../../node/membership/identity.ts'
import { MemoryHub, MemoryNetwork } from '../support/memory-network.ts'
import { StallingProxy } from '../support/stalling-proxy.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { frameBytesMax, frameType, testNetwork, type PeerOptions } from './network-suite.ts'

function bytesMaxOf(type: number): number {
  return type === frameType ? frameBytesMax : 0
}

testNetwork('libp2p', () => {
  const proxies = new AsyncDisposableStack()
  const opened: StallingProxy[] = []
  return {
    create(options: PeerOptions): PeerNetwork {
      const { seed, publicKey } = new Identity(randomBytes(32))
      return new Libp2pNetwork({
        ...options,
        seed,
        publicKey,
        listen: { host: '127.0.0.1', port: 0 },
        mdns: false,
        remembered: [],
        fixed: [],
        onJoin: () => {},
        onPeersChanged: () => {},
        onListening: () => {},
        bytesMaxOf,
        log: () => {},
      })
    },
    async closable({ addresses }) {
      const [, port, peer] = /tcp\/(\d+)(\/p2p\/.*)/.exec(addresses[0] ?? '') ?? []
      const proxy = proxies.use(await StallingProxy.open(Number(port)))
      opened.push(proxy)
      return `/ip4/127.0.0.1/tcp/${proxy.port}${peer}`
    },
    silence() {
      for (const proxy of opened) proxy.stall()
    },
    [Symbol.asyncDispose]: () => proxies.disposeAsync(),
  }
})

testNetwork('memory', () => {
  const hub = new MemoryHub({ clock: realClock, random: seededRandom(3) })
  return {
    create(options: PeerOptions): PeerNetwork {
      const { node, publicKey } = new Identity(randomBytes(32))
      return new MemoryNetwork(hub, { ...options, self: node, publicKey, bytesMaxOf })
    },
    closable: ({ addresses }) => Promise.resolve(addresses[0] ?? ''),
    silence: (a, b) => hub.partition([a.self], [b.self]),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
})
