import { InvalidArgumentError, MembershipError } from '../../protocols/errors.ts'
import { nodeIdBytes, type NodeId } from '../../protocols/ids.ts'
import { chainLengthMax, mayAdmit, type Credentials, type MemberRole } from '../../protocols/membership.ts'
import {
  areSame,
  checkChain,
  checkCredentials,
  clockSkewMsMax,
  decodeCredentials,
  issueCredentials,
  meshIdOf,
  meshNameOf,
  type Member,
} from './certificate.ts'
import type { Identity } from './identity.ts'
import type { KeyPair } from './key-pair.ts'
import { Revocations } from './revocations.ts'

/** What a member knows of its mesh and may do in it, apart from files and clocks. */
export class MeshState {
  readonly meshId: Uint8Array
  readonly rootPublicKey: Uint8Array
  /** This node, as its credentials say, whether or not they still count. */
  readonly self: Member
  readonly credentials: Uint8Array
  readonly revocations: Revocations
  /** On the node that founded the mesh only. */
  readonly root: KeyPair | undefined
  readonly #identity: Identity
  readonly #decoded: Credentials

  /**
   * Throws MembershipError or ProtocolError for credentials that are not this node's. Their times are not looked at, so
   * that a node whose membership has ended can say so.
   */
  constructor(
    credentials: Uint8Array,
    identity: Identity,
    { root, revocations }: { root?: KeyPair | undefined; revocations?: Revocations | undefined } = {},
  ) {
    const decoded = decodeCredentials(credentials)
    this.#identity = identity
    this.#decoded = decoded
    this.credentials = Uint8Array.from(credentials)
    this.rootPublicKey = decoded.rootPublicKey
    this.meshId = meshIdOf(decoded.rootPublicKey)
    const { subject, role, issuedAtMs, expiresAtMs } = checkChain(decoded, this.meshId)
    if (!areSame(subject, identity.publicKey)) {
      throw new MembershipError('the credentials are those of another node', { reason: 'otherKey' })
    }
    if (root !== undefined && !areSame(root.publicKey, this.rootPublicKey)) {
      throw new MembershipError('the root key is that of another mesh', { reason: 'otherMesh' })
    }
    this.self = { node: identity.node, role, issuedAtMs, expiresAtMs }
    this.root = root
    this.revocations = revocations ?? new Revocations(this.rootPublicKey)
  }

  get name(): string {
    return meshNameOf(this.meshId)
  }

  /** The same mesh with other credentials of this node. */
  with(credentials: Uint8Array): MeshState {
    return new MeshState(credentials, this.#identity, { root: this.root, revocations: this.revocations })
  }

  check(credentials: Uint8Array, publicKey: Uint8Array, nowMs: number): Member {
    const { meshId, revocations } = this
    return checkCredentials(credentials, publicKey, {
      meshId,
      nowMs,
      isRevoked: (certificate) => revocations.isRevoked(certificate),
    })
  }

  canAdmit(nowMs: number): boolean {
    return this.#whyNotAdmit(nowMs) === undefined
  }

  #whyNotAdmit(nowMs: number): string | undefined {
    const { role } = this.self
    if (!mayAdmit(role)) return `it is a ${role}`
    if (this.root === undefined && this.#decoded.chain.length >= chainLengthMax) {
      return 'it is too many admissions away from the founder'
    }
    try {
      this.check(this.credentials, this.#identity.publicKey, nowMs)
    } catch (error) {
      return (error as Error).message
    }
    return undefined
  }

  /** Throws MembershipError when this node may not do what an admin may. */
  mustAdmit(what: string, nowMs: number): void {
    const problem = this.#whyNotAdmit(nowMs)
    if (problem === undefined) return
    throw new MembershipError(`this node may not ${what}: ${problem}. Do it on another admin node`, {
      reason: 'cannotAdmit',
    })
  }

  /** With the root key at hand certificates come from it, so that they do not end with this node's own. */
  issue(publicKey: Uint8Array, role: MemberRole, nowMs: number, random: (count: number) => Uint8Array): Uint8Array {
    const { root, rootPublicKey } = this
    const issuer =
      root === undefined
        ? { key: this.#identity, rootPublicKey, chain: this.#decoded.chain }
        : { key: root, rootPublicKey, chain: [] }
    return issueCredentials(issuer, publicKey, role, nowMs, random)
  }

  revoke(node: NodeId, role: MemberRole | undefined, nowMs: number): void {
    if (node.length !== nodeIdBytes * 2 || !/^[0-9a-f]+$/.test(node)) {
      throw new InvalidArgumentError(`"${node.slice(0, 64)}" is not the id of a node: see \`shoal member list\``)
    }
    if (node === this.self.node) {
      throw new InvalidArgumentError('a node cannot revoke itself: `shoal leave` ends its membership')
    }
    this.mustAdmit('revoke a membership', nowMs)
    if (this.root !== undefined) return this.revocations.revokeByRoot(node, this.root, nowMs)
    if (role !== undefined && mayAdmit(role)) {
      throw new MembershipError(
        `node ${node} is an admin: only the node that founded mesh ${this.name} can revoke it`,
        { reason: 'notRoot' },
      )
    }
    this.revocations.revokeByAdmin(node, this.#identity, this.#decoded, nowMs)
  }

  renewalDue(nowMs: number): boolean {
    const { issuedAtMs, expiresAtMs } = this.self
    // Issued while the clock was ahead: nobody takes it until then, but who has the root key needs nobody for a new one.
    if (this.root !== undefined && issuedAtMs > nowMs + clockSkewMsMax) return true
    return expiresAtMs - nowMs < (expiresAtMs - issuedAtMs) / 3
  }

  /** Throws MembershipError unless the credentials are this node's, for the same role, and last longer. */
  checkRenewed(credentials: Uint8Array, nowMs: number): void {
    const { role, expiresAtMs } = this.check(credentials, this.#identity.publicKey, nowMs)
    if (role !== this.self.role) {
      throw new MembershipError(`a renewal would make this node a ${role}, and it is a ${this.self.role}`, {
        reason: 'otherRole',
      })
    }
    if (expiresAtMs <= this.self.expiresAtMs) {
      throw new MembershipError('the renewed membership lasts no longer than the present one: ask another admin', {
        reason: 'notLonger',
      })
    }
  }
}
