import { ByteReader, ByteWriter } from './bytes.ts'
import { ProtocolError } from './errors.ts'
import { nodeIdBytes, type NodeId } from './ids.ts'
import { hex, list, oneOf, struct, u48, type Codec } from './schema.ts'

/** `worker`: runs tasks only. `submitter`: submits tasks, offers nothing. `admin`: both, and may admit others. */
export type MemberRole = 'worker' | 'submitter' | 'admin'

/** True for members whose programs may have tasks run on other nodes. */
export function maySubmit(role: MemberRole): boolean {
  return role !== 'worker'
}

/** True for members that run tasks of other nodes. */
export function mayOffer(role: MemberRole): boolean {
  return role !== 'submitter'
}

/** True for members that may let others in, renew their membership and revoke it. */
export function mayAdmit(role: MemberRole): boolean {
  return role === 'admin'
}

export const publicKeyBytes = 32
const signatureBytes = 64
/** A mesh is named by the SHA-256 of its root public key. */
export const meshIdBytes = 32
const serialBytes = 16

/** Certificates from the root's to the member's own. */
export const chainLengthMax = 4
export const revocationsMax = 10_000
export const revocationSignersMax = 256

/** What a mesh says of one of its members. */
export interface CertificateBody {
  readonly version: number
  readonly meshId: Uint8Array
  /** The member's public key. */
  readonly subject: Uint8Array
  readonly role: MemberRole
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** Random, so that no two certificates are the same. */
  readonly serial: Uint8Array
  /** The root's public key, or that of the admin who has issued it. */
  readonly issuer: Uint8Array
}

export interface Certificate {
  readonly body: CertificateBody
  readonly signature: Uint8Array
}

/** What proves a membership: the root public key, and certificates from the one that it has signed to the member's own. */
export interface Credentials {
  readonly version: number
  readonly rootPublicKey: Uint8Array
  readonly chain: Certificate[]
}

/** One line of the list of revocations. */
export interface RevocationEntry {
  readonly node: NodeId
  readonly revokedAtMs: number
  /** 0: the root key; n: the n-th of the list's signers. */
  readonly signer: number
  readonly signature: Uint8Array
}

export interface RevocationListContent {
  readonly version: number
  /** Credentials of the admins who have signed entries. */
  readonly signers: Credentials[]
  readonly entries: RevocationEntry[]
}

/** The version of all formats of this file: one byte, which comes first. */
export const membershipVersion = 1

const u16: Codec<number> = { write: (writer, value) => writer.u16(value), read: (reader) => reader.u16() }

const version: Codec<number> = {
  write: (writer, value) => writer.u8(value),
  read(reader) {
    const value = reader.u8()
    if (value === membershipVersion) return value
    throw new ProtocolError(
      `a membership format of version ${value} is not known: use the same version of shoal on all nodes`,
    )
  },
}

export const memberRole: Codec<MemberRole> = oneOf('worker', 'submitter', 'admin')

/** Bytes of a fixed number. What is read is a copy, which does not keep the whole message alive. */
export function fixedBytes(count: number): Codec<Uint8Array> {
  return {
    write(writer, value) {
      if (value.length !== count) throw new Error(`${value.length} bytes where ${count} are due`)
      writer.raw(value)
    },
    read: (reader) => Uint8Array.from(reader.raw(count)),
  }
}

export const certificateBody: Codec<CertificateBody> = struct({
  version,
  meshId: fixedBytes(meshIdBytes),
  subject: fixedBytes(publicKeyBytes),
  role: memberRole,
  issuedAtMs: u48,
  expiresAtMs: u48,
  serial: fixedBytes(serialBytes),
  issuer: fixedBytes(publicKeyBytes),
})

const certificate: Codec<Certificate> = struct({ body: certificateBody, signature: fixedBytes(signatureBytes) })

export const credentials: Codec<Credentials> = struct({
  version,
  rootPublicKey: fixedBytes(publicKeyBytes),
  chain: list(certificate, chainLengthMax),
})

const revocationEntry: Codec<RevocationEntry> = struct({
  node: hex(nodeIdBytes),
  revokedAtMs: u48,
  signer: u16,
  signature: fixedBytes(signatureBytes),
})

export const revocationList: Codec<RevocationListContent> = struct({
  version,
  signers: list(credentials, revocationSignersMax),
  entries: list(revocationEntry, revocationsMax),
})

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new ByteWriter(1024)
  codec.write(writer, value)
  return writer.take()
}

/** Reads a value that is all there is. Throws ProtocolError for anything else. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array, what: string): T {
  const reader = new ByteReader(bytes)
  const value = codec.read(reader)
  if (reader.remaining !== 0) throw new ProtocolError(`${what} are followed by ${reader.remaining} bytes too many`)
  return value
}
