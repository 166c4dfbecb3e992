import type { Ed25519PublicKey, PeerId } from '@libp2p/interface'

/** The PeerId of a key, as text. */
export async function peerIdOf(publicKey: Uint8Array): Promise<string> {
  const [{ publicKeyFromRaw }, { peerIdFromPublicKey }] = await Promise.all([
    import('@libp2p/crypto/keys'),
    import('@libp2p/peer-id'),
  ])
  return peerIdFromPublicKey(publicKeyFromRaw(publicKey) as Ed25519PublicKey).toString()
}

/** The 32 bytes of a peer's key; undefined when it is not of the kind that nodes have. */
export function keyOfPeer(peer: PeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}

/** An address that names who is to answer there. */
export function withPeer(address: string, peer: string): string {
  return address.includes('/p2p/') ? address : `${address}/p2p/${peer}`
}

/** Addresses in the order in which others should try them: the local network first, this machine itself last. */
export function nearestFirst(addresses: readonly string[]): string[] {
  return addresses.toSorted((a, b) => distance(a) - distance(b))
}

function distance(address: string): number {
  if (/^\/ip4\/127\.|^\/ip6\/::1\//.test(address)) return 3
  if (address.startsWith('/ip6/')) return 2
  return /^\/ip4\/(10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(address) ? 0 : 1
}

/** What libp2p says went wrong: of several attempts, the first. */
export function reasonOf(cause: unknown): string {
  const { message, errors } = cause as { message?: string; errors?: Error[] }
  return errors?.[0]?.message ?? message ?? String(cause)
}
