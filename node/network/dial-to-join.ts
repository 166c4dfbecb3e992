import { UnreachableError } from '../../protocols/errors.ts'
import { protocols, startJoiner, stopLibp2p } from './libp2p-host.ts'
import { StreamConversation } from './libp2p-streams.ts'
import type { JoinConversation } from './network.ts'
import { keyOfPeer, reasonOf } from './peers.ts'

/** Opens a conversation with a member that may let this machine in. The address names who is to answer. */
export async function dialToJoin(options: {
  seed: Uint8Array
  address: string
  timeoutMs: number
}): Promise<JoinConversation & AsyncDisposable> {
  const libp2p = await startJoiner(options.seed)
  const { multiaddr } = await import('@multiformats/multiaddr')
  try {
    const signal = AbortSignal.timeout(options.timeoutMs)
    const connection = await libp2p.dial(multiaddr(options.address), { signal })
    const publicKey = keyOfPeer(connection.remotePeer)
    if (publicKey === undefined) throw new Error('its key is not an Ed25519 key')
    const stream = await connection.newStream(protocols.join, { signal })
    const conversation = new StreamConversation(stream, publicKey, connection.remoteAddr.toString())
    return Object.assign(conversation, { [Symbol.asyncDispose]: () => stopLibp2p(libp2p) })
  } catch (cause) {
    await stopLibp2p(libp2p)
    throw new UnreachableError(`nobody answers at ${options.address}: ${reasonOf(cause)}`, { cause })
  }
}
