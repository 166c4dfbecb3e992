import { createHash } from 'node:crypto'
import { MembershipError, ProtocolError } from '../../protocols/errors.ts'
import { nodeIdBytes, type NodeId } from '../../protocols/ids.ts'
import {
  credentials as credentialsCodec,
  decode,
  encode,
  fixedBytes,
  mayAdmit,
  membershipVersion,
  meshIdBytes,
  publicKeyBytes,
  revocationList,
  revocationSignersMax,
  revocationsMax,
  type CertificateBody,
  type Credentials,
  type RevocationEntry,
} from '../../protocols/membership.ts'
import { hex, struct, u48 } from '../../protocols/schema.ts'
import { checkChain, checkTimes, meshIdOf } from './certificate.ts'
import { nodeIdOf } from './identity.ts'
import { isSignedBy, type KeyPair } from './key-pair.ts'

const label = 'shoal/revocation/1'
const day = 24 * 3_600_000
/** By then the certificates of the revoked have ended: they last 30 days. */
const keptMs = 60 * day
/** Those of the root outlast what a revoked admin may have signed until its certificate ended. */
const keptByRootMs = 120 * day
/** Room that admins leave for the root. */
const entriesByAdminsMax = revocationsMax - 1000

const statement = struct({
  meshId: fixedBytes(meshIdBytes),
  node: hex(nodeIdBytes),
  revokedAtMs: u48,
  signer: fixedBytes(publicKeyBytes),
})

/** An admin who has signed entries, and the credentials that showed then that it was one. */
interface Signer {
  /** The same for all entries that one admin has signed with the same credentials. */
  readonly name: string
  readonly credentials: Credentials
  readonly publicKey: Uint8Array
  /** The admin itself and those through whom it was admitted. */
  readonly nodes: readonly NodeId[]
}

interface Held {
  readonly revokedAtMs: number
  readonly signature: Uint8Array
}

/**
 * The nodes that no longer belong to a mesh, each signed by the root key or by an admin, so that any node may pass the
 * list on and nobody can add to it who may not.
 *
 * The rule: the root's holder may revoke everybody; an admin may revoke workers and submitters. So two admins cannot
 * throw each other out, and what a revoked admin has signed counts no more. What it had revoked before the root revoked
 * it, as far as the root's holder knew, stays revoked: the root signs that, too.
 */
export class Revocations {
  readonly #rootPublicKey: Uint8Array
  readonly #meshId: Uint8Array
  readonly #byRoot = new Map<NodeId, Held>()
  readonly #byAdmin = new Map<NodeId, Held & { readonly signer: Signer }>()
  #encoded: Uint8Array | undefined

  constructor(rootPublicKey: Uint8Array) {
    this.#rootPublicKey = rootPublicKey
    this.#meshId = meshIdOf(rootPublicKey)
  }

  /** True when a certificate counts no more. Those above it are to be asked for as well. */
  isRevoked({ subject, role }: CertificateBody): boolean {
    const node = nodeIdOf(subject)
    return this.#byRoot.has(node) || (!mayAdmit(role) && this.#byAdmin.has(node))
  }

  /** True when a node must not be admitted, whatever it was. */
  isNodeRevoked(node: NodeId): boolean {
    return this.#byRoot.has(node) || this.#byAdmin.has(node)
  }

  revokeByRoot(node: NodeId, root: KeyPair, nowMs: number): void {
    this.#prune(nowMs)
    const nodes = [node]
    for (const [other, { signer }] of this.#byAdmin) if (signer.nodes.includes(node)) nodes.push(other)
    for (const each of nodes) {
      if (this.#byRoot.has(each)) continue
      if (this.#byRoot.size >= revocationsMax) this.#full()
      this.#byRoot.set(each, this.#sign(each, root, nowMs))
    }
    this.#changed(nowMs)
  }

  revokeByAdmin(node: NodeId, key: KeyPair, credentials: Credentials, nowMs: number): void {
    this.#prune(nowMs)
    if (this.isNodeRevoked(node)) return
    const signer = this.#signerOf(credentials)
    if (signer.nodes.some((each) => this.#byRoot.has(each))) {
      throw new MembershipError('an admin that has been revoked cannot revoke others', { reason: 'revoked' })
    }
    if (!this.#hasRoom(signer, this.#signerNames())) this.#full()
    this.#byAdmin.set(node, { ...this.#sign(node, key, nowMs), signer })
    this.#encoded = undefined
  }

  /**
   * Takes over what another node's list has and this one has not. A list with anything that was not signed as it should
   * be is refused as a whole with a MembershipError, so that a liar costs one signature check.
   *
   * @returns true when something was new
   */
  merge(bytes: Uint8Array, nowMs: number): boolean {
    const { signers, entries } = decode(revocationList, bytes, 'revocations')
    const known = signers.map(() => undefined as Signer | undefined)
    const byRoot = new Map<NodeId, Held>()
    const byAdmin = new Map<NodeId, Held & { signer: Signer }>()
    for (const entry of entries) {
      if (entry.signer !== 0 || this.#byRoot.has(entry.node) || isOld(entry, keptByRootMs, nowMs)) continue
      this.#check(entry, this.#rootPublicKey)
      byRoot.set(entry.node, held(entry))
    }
    const isCut = (signer: Signer): boolean => signer.nodes.some((node) => this.#byRoot.has(node) || byRoot.has(node))
    for (const entry of entries) {
      const { node, signer: index } = entry
      if (index === 0 || this.isNodeRevoked(node) || byRoot.has(node) || isOld(entry, keptMs, nowMs)) continue
      const credentials = signers[index - 1]
      if (credentials === undefined) throw new ProtocolError('a revocation is by a signer that the list does not have')
      const signer = (known[index - 1] ??= this.#signerOf(credentials))
      if (isCut(signer) || byAdmin.has(node)) continue
      checkTimes(credentials, entry.revokedAtMs)
      this.#check(entry, signer.publicKey)
      byAdmin.set(node, { ...held(entry), signer })
    }
    let isNew = false
    for (const [node, entry] of byRoot) {
      if (this.#byRoot.size >= revocationsMax) break
      this.#byRoot.set(node, entry)
      isNew = true
    }
    const names = this.#signerNames()
    for (const [node, entry] of byAdmin) {
      if (!this.#hasRoom(entry.signer, names)) continue
      names.add(entry.signer.name)
      this.#byAdmin.set(node, entry)
      isNew = true
    }
    if (isNew) this.#changed(nowMs)
    return isNew
  }

  /** The list for other nodes and for the disk. */
  encode(): Uint8Array {
    if (this.#encoded !== undefined) return this.#encoded
    const entries: RevocationEntry[] = []
    const signers: Credentials[] = []
    const indexes = new Map<string, number>()
    for (const [node, { revokedAtMs, signature }] of this.#byRoot) {
      entries.push({ node, revokedAtMs, signer: 0, signature })
    }
    for (const [node, { revokedAtMs, signature, signer }] of this.#byAdmin) {
      const index = indexes.get(signer.name) ?? signers.push(signer.credentials)
      indexes.set(signer.name, index)
      entries.push({ node, revokedAtMs, signer: index, signature })
    }
    this.#encoded = encode(revocationList, { version: membershipVersion, signers, entries })
    return this.#encoded
  }

  /** Whose membership has been ended, and when. */
  all(): { node: NodeId; revokedAtMs: number }[] {
    const all = new Map<NodeId, Held>([...this.#byAdmin, ...this.#byRoot])
    return Array.from(all, ([node, { revokedAtMs }]) => ({ node, revokedAtMs }))
  }

  #sign(node: NodeId, key: KeyPair, nowMs: number): Held {
    const revokedAtMs = Math.floor(nowMs)
    return { revokedAtMs, signature: key.sign(label, this.#statement(node, revokedAtMs, key.publicKey)) }
  }

  #check({ node, revokedAtMs, signature }: RevocationEntry, signer: Uint8Array): void {
    if (isSignedBy(signer, label, this.#statement(node, revokedAtMs, signer), signature)) return
    throw new MembershipError(`the revocation of node ${node} is not signed by who should have`, { reason: 'forged' })
  }

  #statement(node: NodeId, revokedAtMs: number, signer: Uint8Array): Uint8Array {
    return encode(statement, { meshId: this.#meshId, node, revokedAtMs, signer })
  }

  #signerOf(credentials: Credentials): Signer {
    const { role, subject } = checkChain(credentials, this.#meshId)
    if (!mayAdmit(role)) {
      throw new MembershipError('only admins may revoke a membership', { reason: 'notAdmin' })
    }
    return {
      name: createHash('sha256').update(encode(credentialsCodec, credentials)).digest('hex'),
      credentials,
      publicKey: subject,
      nodes: credentials.chain.map(({ body }) => nodeIdOf(body.subject)),
    }
  }

  #hasRoom({ name }: Signer, names: ReadonlySet<string>): boolean {
    const byAdmin = this.#byAdmin.size
    if (byAdmin >= entriesByAdminsMax || byAdmin + this.#byRoot.size >= revocationsMax) return false
    return names.has(name) || names.size < revocationSignersMax
  }

  #signerNames(): Set<string> {
    return new Set(Array.from(this.#byAdmin.values(), ({ signer }) => signer.name))
  }

  /** The root's go before those of admins where there is no room for all. */
  #changed(nowMs: number): void {
    this.#encoded = undefined
    this.#prune(nowMs)
    for (const node of this.#byAdmin.keys()) {
      if (this.#byRoot.size + this.#byAdmin.size <= revocationsMax) return
      this.#byAdmin.delete(node)
    }
  }

  #prune(nowMs: number): void {
    for (const [node, entry] of this.#byRoot) if (isOld(entry, keptByRootMs, nowMs)) this.#byRoot.delete(node)
    for (const [node, entry] of this.#byAdmin) {
      const isCut = entry.signer.nodes.some((each) => this.#byRoot.has(each))
      if (isCut || this.#byRoot.has(node) || isOld(entry, keptMs, nowMs)) this.#byAdmin.delete(node)
    }
  }

  #full(): never {
    throw new MembershipError(
      `the mesh has ${this.#byRoot.size + this.#byAdmin.size} revocations and takes no more: the oldest end after ${keptMs / day} days`,
      { reason: 'tooManyRevocations' },
    )
  }
}

function held({ revokedAtMs, signature }: RevocationEntry): Held {
  return { revokedAtMs, signature }
}

function isOld({ revokedAtMs }: { revokedAtMs: number }, endMs: number, nowMs: number): boolean {
  return nowMs - revokedAtMs >= endMs
}
