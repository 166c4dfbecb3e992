import { createHmac, timingSafeEqual } from 'node:crypto'

/** What both sides of a join know of it. A proof holds for this very conversation between these very keys. */
export interface JoinTranscript {
  readonly meshId: Uint8Array
  readonly admitterKey: Uint8Array
  readonly joinerKey: Uint8Array
  readonly admitterNonce: Uint8Array
  readonly joinerNonce: Uint8Array
  readonly tokenId: string
}

/**
 * Proves that one side knows the token's key. All parts have a fixed length but the last, so that no two transcripts read
 * the same.
 *
 * @param credentials those that the admitter gives to the joiner; none in the joiner's own proof
 */
export function joinProof(
  key: Uint8Array,
  side: 'joiner' | 'admitter',
  transcript: JoinTranscript,
  credentials: Uint8Array = new Uint8Array(),
): Uint8Array {
  const { meshId, admitterKey, joinerKey, admitterNonce, joinerNonce, tokenId } = transcript
  const hmac = createHmac('sha256', key).update(`shoal/join/1/${side}\0`)
  for (const part of [meshId, admitterKey, joinerKey, admitterNonce, joinerNonce]) hmac.update(part)
  return hmac.update(Buffer.from(tokenId, 'hex')).update(credentials).digest()
}

/** Compares in a time that tells nothing. Both must have the length of a proof. */
export function isSameProof(a: Uint8Array, b: Uint8Array): boolean {
  return timingSafeEqual(a, b)
}
