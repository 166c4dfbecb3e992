import { createHash } from 'node:crypto'
import { MembershipError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import {
  certificateBody,
  credentials as credentialsCodec,
  chainLengthMax,
  decode,
  encode,
  mayAdmit,
  membershipVersion,
  type CertificateBody,
  type Certificate,
  type Credentials,
  type MemberRole,
} from '../../protocols/membership.ts'
import { nodeIdOf } from './identity.ts'
import { isSignedBy, type KeyPair } from './key-pair.ts'

const label = 'shoal/certificate/1'
export const certificateLifeMs = 30 * 24 * 3_600_000
/** How far the clocks of two nodes may be apart. */
export const clockSkewMsMax = 5 * 60_000
const serialBytes = 16

/** Who gives out a certificate: the root key with no chain, or an admin with its own. */
export interface Issuer {
  readonly key: KeyPair
  readonly rootPublicKey: Uint8Array
  readonly chain: readonly Certificate[]
}

/** A member, as its credentials say. */
export interface Member {
  readonly node: NodeId
  readonly role: MemberRole
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

export function meshIdOf(rootPublicKey: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash('sha256').update(rootPublicKey).digest())
}

/** How people see the mesh: the beginning of its id. */
export function meshNameOf(meshId: Uint8Array): string {
  return Buffer.from(meshId).toString('hex', 0, 4)
}

/** Makes a node a member: its certificate and all those above. It ends with the issuer's own at the latest. */
export function issueCredentials(
  issuer: Issuer,
  subject: Uint8Array,
  role: MemberRole,
  nowMs: number,
  random: (count: number) => Uint8Array,
): Uint8Array {
  const { key, rootPublicKey, chain } = issuer
  if (chain.length >= chainLengthMax) {
    throw new MembershipError(
      `this node cannot admit others: it is ${chain.length} admissions away from the mesh's founder. Ask an admin that is nearer`,
      { reason: 'chainTooLong' },
    )
  }
  const issuedAtMs = Math.floor(nowMs)
  const body: CertificateBody = {
    version: membershipVersion,
    meshId: meshIdOf(rootPublicKey),
    subject,
    role,
    issuedAtMs,
    expiresAtMs: Math.min(issuedAtMs + certificateLifeMs, chain.at(-1)?.body.expiresAtMs ?? Infinity),
    serial: random(serialBytes),
    issuer: key.publicKey,
  }
  const signature = key.sign(label, encode(certificateBody, body))
  return encode(credentialsCodec, {
    version: membershipVersion,
    rootPublicKey,
    chain: [...chain, { body, signature }],
  })
}

export function decodeCredentials(bytes: Uint8Array): Credentials {
  return decode(credentialsCodec, bytes, 'credentials')
}

/**
 * Checks all but the time: that the mesh's root has signed the first certificate, that every other is signed by the one
 * above, that those above are admins, and that no certificate goes beyond the one that it comes from.
 *
 * @returns the certificate of the member itself
 */
export function checkChain(credentials: Credentials, meshId: Uint8Array): CertificateBody {
  const { rootPublicKey, chain } = credentials
  const actual = meshIdOf(rootPublicKey)
  if (!areSame(actual, meshId)) {
    refuse('otherMesh', `it is a member of mesh ${meshNameOf(actual)}, not of ${meshNameOf(meshId)}`)
  }
  let issuerKey = rootPublicKey
  let above: CertificateBody | undefined
  for (const { body, signature } of chain) {
    if (!areSame(body.meshId, meshId)) refuse('otherMesh', 'one of its certificates is of another mesh')
    if (above !== undefined && !mayAdmit(above.role)) refuse('notAdmin', 'who has admitted it is not an admin')
    if (!areSame(body.issuer, issuerKey) || !isSignedBy(issuerKey, label, encode(certificateBody, body), signature)) {
      refuse('forged', 'one of its certificates is not signed by who should have issued it')
    }
    const endMsMax = Math.min(body.issuedAtMs + certificateLifeMs, above?.expiresAtMs ?? Infinity)
    if (body.expiresAtMs > endMsMax) refuse('tooLong', 'one of its certificates lasts longer than it may')
    above = body
    issuerKey = body.subject
  }
  if (above === undefined) refuse('forged', 'it has shown no certificate')
  return above
}

/** Checks that every certificate was valid at a time. */
export function checkTimes(credentials: Credentials, atMs: number): void {
  for (const { body } of credentials.chain) {
    const { issuedAtMs, expiresAtMs } = body
    if (issuedAtMs > atMs + clockSkewMsMax) {
      refuse(
        'notYetValid',
        `its membership begins at ${time(issuedAtMs)} and it is ${time(atMs)} here: set the clocks of both machines, or, if a clock was ahead when it joined, let it leave with \`shoal leave\` and join again`,
      )
    }
    if (atMs >= expiresAtMs) {
      refuse('expired', `its membership ended at ${time(expiresAtMs)}: let it join again with \`shoal join <token>\``)
    }
  }
}

/** Who shows these credentials and holds the key; throws MembershipError when it does not belong to the mesh now. */
export function checkCredentials(
  bytes: Uint8Array,
  publicKey: Uint8Array,
  mesh: { meshId: Uint8Array; nowMs: number; isRevoked(certificate: CertificateBody): boolean },
): Member {
  const credentials = decodeCredentials(bytes)
  const { subject, role, issuedAtMs, expiresAtMs } = checkChain(credentials, mesh.meshId)
  if (!areSame(subject, publicKey)) refuse('otherKey', 'the credentials are those of another node')
  checkTimes(credentials, mesh.nowMs)
  for (const { body } of credentials.chain) {
    if (!mesh.isRevoked(body)) continue
    if (body.subject === subject) refuse('revoked', 'its membership has been revoked')
    refuse('revoked', `node ${nodeIdOf(body.subject)}, which has admitted it, has been revoked: let it join again`)
  }
  return { node: nodeIdOf(subject), role, issuedAtMs, expiresAtMs }
}

export function areSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function refuse(reason: string, message: string): never {
  throw new MembershipError(message, { reason })
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}
