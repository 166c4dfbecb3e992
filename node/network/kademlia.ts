import type { AbortOptions, PeerId } from '@libp2p/interface'
import type { NodeId } from '../../protocols/ids.ts'
import type { Kademlia } from '../directory/object-directory.ts'
import { nodeIdOf } from '../membership/identity.ts'
import type { Host } from './libp2p-host.ts'
import { keyOfPeer } from './peers.ts'

/** As far as the DHT looks at it, a CID: the multihash of a digest. */
interface Cid {
  readonly multihash: { readonly bytes: Uint8Array; readonly digest: Uint8Array }
}

/** The part of kad-dht that keeps the records of others. */
interface Providers {
  addProvider(cid: Cid, provider: PeerId): Promise<void>
  getProviders(cid: Cid): Promise<PeerId[]>
}

const multihashOfSha256 = Buffer.from([0x12, 0x20])

export interface KademliaPortOptions {
  /** The peers behind nodes that a link leads to, and behind this node. */
  peerOf(node: NodeId): PeerId | undefined
}

/**
 * The Kademlia DHT of libp2p, with our own records in the place of its own: those come in batches and lie in memory, where a
 * record each and a store of records would be far too dear. Its lookups stay as they are, at both ends.
 */
export class KademliaPort implements Kademlia {
  readonly #options: KademliaPortOptions
  #dht: Host['dht'] | undefined
  #providers: (digest: Uint8Array) => readonly NodeId[] = () => []

  constructor(options: KademliaPortOptions) {
    this.#options = options
  }

  /** The DHT is there. */
  open({ dht }: Host): void {
    this.#dht = dht
    const { providers } = dht as unknown as { providers: Providers }
    providers.addProvider = () => Promise.resolve()
    providers.getProviders = ({ multihash }) => {
      const peers = this.#providers(multihash.digest).map((node) => this.#options.peerOf(node))
      return Promise.resolve(peers.filter((peer) => peer !== undefined))
    }
  }

  onLookup(providers: (digest: Uint8Array) => readonly NodeId[]): void {
    this.#providers = providers
  }

  async *findProviders(digest: Uint8Array, signal: AbortSignal): AsyncGenerator<readonly NodeId[]> {
    const cid: Cid = { multihash: { bytes: Buffer.concat([multihashOfSha256, digest]), digest } }
    const find = this.#dht?.findProviders.bind(this.#dht) as
      | ((cid: Cid, options: AbortOptions) => AsyncIterable<{ name: string; providers?: { id: PeerId }[] }>)
      | undefined
    if (find === undefined) return
    for await (const { name, providers = [] } of find(cid, { signal })) {
      if (name !== 'PROVIDER') continue
      yield providers.flatMap(({ id }) => {
        const publicKey = keyOfPeer(id)
        return publicKey === undefined ? [] : [nodeIdOf(publicKey)]
      })
    }
  }
}
