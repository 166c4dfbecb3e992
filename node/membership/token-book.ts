import { InvalidArgumentError, MembershipError } from '../../protocols/errors.ts'
import { nodeIdBytes, type NodeId } from '../../protocols/ids.ts'
import { decode, encode, fixedBytes, memberRole, type MemberRole } from '../../protocols/membership.ts'
import { bool, hex, list, struct, u32, u48, type CodecType } from '../../protocols/schema.ts'
import { tokenIdBytes, type JoinToken } from './join-token.ts'

const tokensMax = 1000
const usesMax = 1000
const ttlMsMax = 365 * 24 * 3_600_000
/** How long a joiner that got no answer may try again without another use. */
const retryMs = 60_000
const redemptionsKeptMax = 64
/** Tokens that are of no more use are kept for a while, to tell a joiner why. */
const endedKeptMs = 24 * 3_600_000

const record = struct({
  id: hex(tokenIdBytes),
  key: fixedBytes(32),
  role: memberRole,
  createdAtMs: u48,
  expiresAtMs: u48,
  uses: u32,
  usesLeft: u32,
  isRevoked: bool,
  by: hex(nodeIdBytes),
  redemptions: list(struct({ node: hex(nodeIdBytes), atMs: u48 }), redemptionsKeptMax),
})
const records = list(record, tokensMax)
type TokenRecord = CodecType<typeof record>

/** What people see of a token after it was made. */
export interface TokenInfo {
  readonly id: string
  readonly role: MemberRole
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly uses: number
  readonly usesLeft: number
  /** The node that made it. */
  readonly by: NodeId
}

export type TokenRefusal = 'unknown' | 'expired' | 'usedUp' | 'revoked'

/** The tokens that a node has made and how often each may still be used. It holds no secrets of tokens, but their keys. */
export class TokenBook {
  readonly #records = new Map<string, TokenRecord>()

  /** @param bytes what `encode` gave */
  constructor(bytes?: Uint8Array) {
    if (bytes === undefined) return
    for (const token of decode(records, bytes, 'tokens')) this.#records.set(token.id, token)
  }

  create(
    token: JoinToken,
    { role, ttlMs, uses, by }: { role: MemberRole; ttlMs: number; uses: number; by: NodeId },
    nowMs: number,
  ): TokenInfo {
    if (!Number.isInteger(ttlMs) || ttlMs < 1 || ttlMs > ttlMsMax) {
      throw new InvalidArgumentError(`ttlMs must be a whole number from 1 to ${ttlMsMax}, not ${ttlMs}`)
    }
    if (!Number.isInteger(uses) || uses < 1 || uses > usesMax) {
      throw new InvalidArgumentError(`uses must be a whole number from 1 to ${usesMax}, not ${uses}`)
    }
    this.#makeRoom(nowMs)
    const createdAtMs = Math.floor(nowMs)
    const created: TokenRecord = {
      id: token.id,
      key: token.key,
      role,
      createdAtMs,
      expiresAtMs: createdAtMs + ttlMs,
      uses,
      usesLeft: uses,
      isRevoked: false,
      by,
      redemptions: [],
    }
    this.#records.set(created.id, created)
    return infoOf(created)
  }

  /** Those that have neither ended nor been revoked, the oldest first. */
  list(nowMs: number): TokenInfo[] {
    return Array.from(this.#records.values())
      .filter((token) => !token.isRevoked && nowMs < token.expiresAtMs)
      .map(infoOf)
  }

  revoke(id: string): void {
    const token = this.#records.get(id)
    if (token === undefined) {
      throw new InvalidArgumentError(`there is no token ${id} on this node: see \`shoal token list\``)
    }
    token.isRevoked = true
  }

  /**
   * Takes one use for a joiner that proves the token. The same joiner may come again within a minute for the same use.
   *
   * @param isProven tells whether the joiner's proof was made with the key. Only who has the token hears why it is refused.
   */
  redeem(
    id: string,
    node: NodeId,
    isProven: (key: Uint8Array) => boolean,
    nowMs: number,
  ): { role: MemberRole } | { refusal: TokenRefusal } {
    const token = this.#records.get(id)
    if (token === undefined || !isProven(token.key)) return { refusal: 'unknown' }
    if (token.isRevoked) return { refusal: 'revoked' }
    token.redemptions = token.redemptions.filter(({ atMs }) => Math.abs(nowMs - atMs) < retryMs)
    if (token.redemptions.some((redemption) => redemption.node === node)) return { role: token.role }
    if (nowMs >= token.expiresAtMs) return { refusal: 'expired' }
    if (token.usesLeft === 0) return { refusal: 'usedUp' }
    token.usesLeft--
    if (token.redemptions.length === redemptionsKeptMax) token.redemptions.shift()
    token.redemptions.push({ node, atMs: Math.floor(nowMs) })
    return { role: token.role }
  }

  encode(): Uint8Array {
    return encode(records, Array.from(this.#records.values()))
  }

  /** What is of no more use goes, the oldest first, if need be before its time. */
  #makeRoom(nowMs: number): void {
    for (const { id, expiresAtMs } of this.#records.values()) {
      if (nowMs - expiresAtMs >= endedKeptMs) this.#records.delete(id)
    }
    if (this.#records.size < tokensMax) return
    for (const token of this.#records.values()) {
      if (!token.isRevoked && token.usesLeft > 0 && nowMs < token.expiresAtMs) continue
      this.#records.delete(token.id)
      return
    }
    throw new MembershipError(`there are ${tokensMax} open tokens: revoke some with \`shoal token revoke ID\``, {
      reason: 'tooManyTokens',
    })
  }
}

function infoOf({ id, role, createdAtMs, expiresAtMs, uses, usesLeft, by }: TokenRecord): TokenInfo {
  return { id, role, createdAtMs, expiresAtMs, uses, usesLeft, by }
}
