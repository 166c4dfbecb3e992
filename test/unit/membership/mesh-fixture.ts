import assert from 'node:assert/strict'
import { MembershipError } from '../../../protocols/errors.ts'
import { decodeCredentials, issueCredentials, type Issuer } from '../../../node/membership/certificate.ts'
import { Identity } from '../../../node/membership/identity.ts'
import { KeyPair } from '../../../node/membership/key-pair.ts'
import type { MemberRole } from '../../../protocols/membership.ts'
import { seededBytes } from './seeded-bytes.ts'

export const startMs = Date.parse('2026-11-23T12:00:00Z')
export const minuteMs = 60_000
export const dayMs = 24 * 3_600_000

/** A mesh on paper: a root key, and whoever is admitted. */
export class MeshFixture {
  readonly random: (count: number) => Uint8Array
  readonly root: KeyPair

  constructor(seed = 1) {
    this.random = seededBytes(seed)
    this.root = new KeyPair(this.random(32))
  }

  get rootIssuer(): Issuer {
    return { key: this.root, rootPublicKey: this.root.publicKey, chain: [] }
  }

  identity(): Identity {
    return new Identity(this.random(32))
  }

  admit(role: MemberRole, by: Issuer = this.rootIssuer, nowMs = startMs): FixtureMember {
    const identity = this.identity()
    const credentials = issueCredentials(by, identity.publicKey, role, nowMs, this.random)
    const { rootPublicKey, chain } = decodeCredentials(credentials)
    return { identity, credentials, issuer: { key: identity, rootPublicKey, chain } }
  }
}

export interface FixtureMember {
  readonly identity: Identity
  readonly credentials: Uint8Array
  /** The member as one that admits others. */
  readonly issuer: Issuer
}

/** Matches a MembershipError with a reason. */
export function refusal(reason: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof MembershipError, `${String(error)} is no MembershipError`)
    assert.equal(error.details['reason'], reason, error.message)
    return true
  }
}
