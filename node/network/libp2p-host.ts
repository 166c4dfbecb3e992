import type { Connection, Libp2p, PeerId, PrivateKey, Stream } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import type { GossipSub } from '@chainsafe/libp2p-gossipsub'
import { joiningWrites } from './joined-writes.ts'

export const protocols = {
  peer: '/shoal/peer/1',
  join: '/shoal/join/1',
  bulk: '/shoal/bulk/1',
  /** Values, when there is no direct connection. */
  values: '/shoal/values/1',
  /** Asks for what it takes to connect directly. */
  ticket: '/shoal/ticket/1',
  kad: '/shoal/kad/1',
  identify: '/ipfs/id/1.0.0',
  identifyPush: '/ipfs/id/push/1.0.0',
  ping: '/ipfs/ping/1.0.0',
} as const

export interface HostOptions {
  /** The 32 bytes of an Ed25519 private key. */
  seed: Uint8Array
  listen: { host: string; port: number }
  mdnsTag: string | undefined
  isMember(peer: PeerId): boolean
}

export interface Host {
  readonly libp2p: Libp2p
  readonly pubsub: GossipSub
  readonly dht: Pick<KadDHT, 'findProviders'>
  identify(connection: Connection): Promise<unknown>
}

const connectionsMax = 1000
const connectionsPendingMax = 64
const connectionsPerSecondMax = 50
const gossipBytesMax = 128 * 1024
/** The other side of a stream may be so far ahead of its reader. libp2p ends streams that have more than 4 MiB unread. */
const windowBytesMax = 2 * 1024 * 1024

/**
 * The libp2p of a member. Loaded only when a node needs a network, since it takes a third of a second and 50 MB. All
 * protocols but those that let somebody in are closed to peers that have not shown that they are members.
 */
export async function startHost(options: HostOptions): Promise<Host> {
  const [
    { createLibp2p },
    { tcp },
    { tls },
    { yamux },
    { gossipsub, StrictSign },
    { identify },
    { kadDHT, passthroughMapper },
    { ping },
    { mdns },
  ] = await Promise.all([
    import('libp2p'),
    import('@libp2p/tcp'),
    import('@libp2p/tls'),
    import('@chainsafe/libp2p-yamux'),
    import('@chainsafe/libp2p-gossipsub'),
    import('@libp2p/identify'),
    import('@libp2p/kad-dht'),
    import('@libp2p/ping'),
    import('@libp2p/mdns'),
  ])
  const { listen, mdnsTag, isMember } = options
  const privateKey = await privateKeyOf(options.seed)
  const libp2p = await createLibp2p({
    start: false,
    privateKey,
    addresses: { listen: [`/${listen.host.includes(':') ? 'ip6' : 'ip4'}/${listen.host}/tcp/${listen.port}`] },
    transports: [tcp()],
    connectionEncrypters: [joiningWrites(tls())],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: windowBytesMax } })],
    connectionManager: {
      maxConnections: connectionsMax,
      maxIncomingPendingConnections: connectionsPendingMax,
      inboundConnectionThreshold: connectionsPerSecondMax,
      // Links are kept up by the network above, which knows whom it wants.
      reconnectRetries: 0,
    },
    connectionMonitor: { enabled: false },
    peerDiscovery: mdnsTag === undefined ? [] : [mdns({ serviceTag: mdnsTag, interval: 10_000 })],
    services: {
      identify: identify({ runOnConnectionOpen: false }),
      ping: ping(),
      dht: kadDHT({
        protocol: protocols.kad,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        allowQueryWithZeroPeers: true,
        querySelfInterval: 3_600_000,
        initialQuerySelfInterval: 3_600_000,
      }),
      pubsub: gossipsub({
        allowPublishToZeroTopicPeers: true,
        emitSelf: false,
        globalSignaturePolicy: StrictSign,
        fallbackToFloodsub: false,
        maxInboundDataLength: gossipBytesMax,
        doPX: false,
        heartbeatInterval: 3000,
      }),
    },
  })
  closeToStrangers(libp2p, isMember)
  const { pubsub, dht, identify: identifyService } = libp2p.services
  return { libp2p, pubsub, dht, identify: (connection) => identifyService.identify(connection) }
}

/**
 * Puts a guard before the handlers of all protocols, those that come with libp2p's services included. It stands where they
 * register, since the middleware that libp2p has for this (3.3) adds the handler of every stream to all later ones.
 */
function closeToStrangers(libp2p: Libp2p, isMember: (peer: PeerId) => boolean): void {
  const { registrar } = (libp2p as unknown as { components: { registrar: Pick<Libp2p, 'handle'> } }).components
  const handle = registrar.handle.bind(registrar)
  registrar.handle = (names, handler, options) => {
    const isOpen = [names].flat().every((name) => name === protocols.peer || name === protocols.join)
    const guarded = (stream: Stream, connection: Connection): void | Promise<void> => {
      if (isOpen || isMember(connection.remotePeer)) return handler(stream, connection)
      stream.abort(new Error('for members only'))
    }
    return handle(names, guarded, options)
  }
}

const stopMs = 1000

/** Ends all connections in good order, but does not wait for others that do not answer. */
export async function stopLibp2p(libp2p: Libp2p): Promise<void> {
  const stopped = libp2p.stop()
  const timer = setTimeout(() => {
    for (const connection of libp2p.getConnections()) connection.abort(new Error('it does not answer'))
  }, stopMs)
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const lastTimer = setTimeout(resolve, 2 * stopMs)
  await Promise.race([stopped, late])
  clearTimeout(timer)
  clearTimeout(lastTimer)
}

/** The least that it takes to ask a member to be let in. */
export async function startJoiner(seed: Uint8Array): Promise<Libp2p> {
  const [{ createLibp2p }, { tcp }, { tls }, { yamux }] = await Promise.all([
    import('libp2p'),
    import('@libp2p/tcp'),
    import('@libp2p/tls'),
    import('@chainsafe/libp2p-yamux'),
  ])
  return createLibp2p({
    privateKey: await privateKeyOf(seed),
    transports: [tcp()],
    connectionEncrypters: [joiningWrites(tls())],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
}

async function privateKeyOf(seed: Uint8Array): Promise<PrivateKey> {
  const { generateKeyPairFromSeed } = await import('@libp2p/crypto/keys')
  return generateKeyPairFromSeed('Ed25519', seed)
}
