import { createHash } from 'node:crypto'

/**
 * Where keys and nodes lie in the space of the Kademlia DHT: the very places that kad-dht gives them, so that its lookups
 * ask the nodes at which we leave records.
 */

const sha256 = (bytes: Uint8Array | string): Buffer => createHash('sha256').update(bytes).digest()

/** What the DHT knows a key by. */
export function digestOf(key: string): Buffer {
  return sha256(key)
}

const multihashOfSha256 = Buffer.from([0x12, 0x20])
/** A libp2p peer id of an Ed25519 key is the key itself, behind this. */
const peerIdOfEd25519 = Buffer.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20])

/** The first 48 bits of a place: enough to tell which of some thousand nodes is nearest. */
export type Place = readonly [high: number, low: number]

export function placeOfKey(digest: Uint8Array): Place {
  return placeOf(sha256(Buffer.concat([multihashOfSha256, digest])))
}

export function placeOfNode(publicKey: Uint8Array): Place {
  return placeOf(sha256(Buffer.concat([peerIdOfEd25519, publicKey])))
}

function placeOf(hash: Buffer): Place {
  return [hash.readUIntBE(0, 3), hash.readUIntBE(3, 3)]
}

/** How far two places are from each other, by the metric of Kademlia. */
export function distance([high, low]: Place, [otherHigh, otherLow]: Place): number {
  return (high ^ otherHigh) * 2 ** 24 + (low ^ otherLow)
}
