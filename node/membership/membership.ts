import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { MembershipError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import type { JoinConversation, MembershipGate } from '../network/network.ts'
import { admit, type AdmitOutcome } from './admit.ts'
import { checkCredentials, decodeCredentials, issueCredentials, meshIdOf, meshNameOf } from './certificate.ts'
import { Identity } from './identity.ts'
import { JoinAttempts } from './join-attempts.ts'
import { addressesMax, formatToken, JoinToken, secretBytesMin } from './join-token.ts'
import { KeyPair, seedBytes } from './key-pair.ts'
import { MeshState } from './mesh-state.ts'
import { StateFiles } from './state-files.ts'
import { TokenBook, type TokenInfo } from './token-book.ts'

const hourMs = 3_600_000

export interface MembershipOptions {
  /** The time of day: certificates and tokens end by it. */
  nowMs?: () => number
  random?: (count: number) => Uint8Array
  /** A file could not be written, and nobody waits for it. */
  onSaveFailed?: (error: Error) => void
}

export interface TokenOptions {
  /** `worker` unless given. */
  role?: MemberRole
  /** An hour unless given. */
  ttlMs?: number
  /** How many nodes may join with it; one unless given. */
  uses?: number
  /** Where joiners find this node, the best first: a token has room for the first 16. */
  addresses?: readonly string[]
}

/**
 * Who this node is, which mesh it belongs to, and whom else it takes for a member. Everything outlives the node in a
 * folder. Before the node has founded or joined a mesh it has an identity only: `isMember` tells.
 *
 * @example
 * const membership = await Membership.open(stateDirectory)
 * if (!membership.isMember) await membership.found(Date.now())
 * const { text } = await membership.createToken({ role: 'worker', addresses })
 */
export class Membership implements MembershipGate {
  readonly #files: StateFiles
  readonly #nowMs: () => number
  readonly #random: (count: number) => Uint8Array
  readonly #onSaveFailed: (error: Error) => void
  readonly #attempts = new JoinAttempts()
  #identity: Identity
  #state: MeshState | undefined
  #tokens = new TokenBook()

  private constructor(files: StateFiles, identity: Identity, options: MembershipOptions) {
    this.#files = files
    this.#identity = identity
    this.#nowMs = options.nowMs ?? Date.now
    this.#random = options.random ?? randomBytes
    this.#onSaveFailed = options.onSaveFailed ?? (() => {})
  }

  /** Reads the state folder, and makes an identity if there is none. Rejects with NodeUnavailableError. */
  static async open(stateDirectory: string, options: MembershipOptions = {}): Promise<Membership> {
    const files = new StateFiles(stateDirectory)
    await files.open()
    const seed = await files.read('identity.key')
    const identity = files.parsed(
      'identity.key',
      () => new Identity(seed ?? (options.random ?? randomBytes)(seedBytes)),
    )
    if (seed === undefined) await files.write('identity.key', identity.seed)
    const membership = new Membership(files, identity, options)
    await membership.#load()
    return membership
  }

  async #load(): Promise<void> {
    const files = this.#files
    const identity = this.#identity
    const nowMs = this.#nowMs()
    const seed = await files.read('root.key')
    const root = files.parsed('root.key', () => (seed === undefined ? undefined : new KeyPair(seed)))
    // Who has the root key can always let itself in.
    const credentials = (await files.read('credentials')) ?? (root && this.#ownByRoot(root, nowMs))
    if (credentials === undefined) return
    const state = files.parsed('credentials', () => new MeshState(credentials, identity, { root }))
    const revocations = await files.read('revocations')
    if (revocations !== undefined) files.parsed('revocations', () => state.revocations.merge(revocations, nowMs))
    const tokens = await files.read('tokens')
    this.#tokens = files.parsed('tokens', () => new TokenBook(tokens))
    this.#state = state
    if (root !== undefined && this.renewalDue(nowMs)) await this.renewOwn(nowMs)
  }

  // --- who this node is

  /** The node's key pair; a new one after `leave`. */
  get identity(): Identity {
    return this.#identity
  }

  get nodeId(): NodeId {
    return this.#identity.node
  }

  get isMember(): boolean {
    return this.#state !== undefined
  }

  /** True on the node that founded the mesh. */
  get holdsRoot(): boolean {
    return this.#state?.root !== undefined
  }

  get role(): MemberRole {
    return this.#member.self.role
  }

  get meshId(): Uint8Array {
    return this.#member.meshId
  }

  /** The mesh's id as people see it: its first 8 digits. */
  get meshName(): string {
    return this.#member.name
  }

  /** When this node's membership ends unless it is renewed. */
  get expiresAtMs(): number {
    return this.#member.self.expiresAtMs
  }

  /** True when this node may let others in now. */
  get canAdmit(): boolean {
    return this.#state?.canAdmit(this.#nowMs()) ?? false
  }

  // --- belonging to a mesh

  /** Makes a mesh: a root key, which stays on this node, and this node as its first admin. */
  async found(nowMs: number): Promise<void> {
    if (this.#state !== undefined) {
      throw new MembershipError(
        `this node belongs to mesh ${this.meshName} already: leave it with \`shoal leave\` first`,
        { reason: 'isMember' },
      )
    }
    const root = new KeyPair(this.#random(seedBytes))
    const state = new MeshState(this.#ownByRoot(root, nowMs), this.#identity, { root })
    await this.#files.write('root.key', root.seed)
    await this.#adopt(state)
  }

  /** Takes the credentials that a join has brought. */
  async adoptCredentials(credentials: Uint8Array): Promise<void> {
    const meshId = meshIdOf(decodeCredentials(credentials).rootPublicKey)
    const state = this.#state
    if (state !== undefined && state.name !== meshNameOf(meshId)) {
      throw new MembershipError(
        `this node belongs to mesh ${state.name} and cannot join ${meshNameOf(meshId)}: leave with \`shoal leave\` first`,
        { reason: 'otherMesh' },
      )
    }
    const nowMs = this.#nowMs()
    const { publicKey } = this.#identity
    if (state !== undefined) state.check(credentials, publicKey, nowMs)
    else checkCredentials(credentials, publicKey, { meshId, nowMs, isRevoked: () => false })
    await this.#adopt(state?.with(credentials) ?? new MeshState(credentials, this.#identity))
  }

  /**
   * Ends this node's membership and gives it a new identity, under which it may join again, even if it was revoked.
   * The node that holds the root key goes by `force` only: the others can then revoke no admin, and nobody renews the
   * admins that it has admitted, so that the mesh ends with the last of their certificates.
   */
  async leave({ force = false }: { force?: boolean } = {}): Promise<void> {
    if (this.holdsRoot && !force) {
      throw new MembershipError(
        `this node holds the root key of mesh ${this.meshName}, without which the mesh ends within 30 days: leave with --force if that is meant`,
        { reason: 'holdsRoot' },
      )
    }
    this.#state = undefined
    this.#tokens = new TokenBook()
    this.#identity = new Identity(this.#random(seedBytes))
    // The credentials after all that belongs to them: when this is cut short, it can be done again.
    for (const name of ['root.key', 'tokens', 'revocations', 'credentials'] as const) await this.#files.remove(name)
    await this.#files.write('identity.key', this.#identity.seed)
  }

  // --- the gate

  credentials(): Uint8Array {
    return this.#member.credentials
  }

  check(credentials: Uint8Array, publicKey: Uint8Array): { node: NodeId; role: MemberRole } {
    const { node, role } = this.#member.check(credentials, publicKey, this.#nowMs())
    return { node, role }
  }

  // --- admitting others

  /** Makes a token. Its text is given out this once: the node keeps only what it takes to check it. */
  async createToken(options: TokenOptions = {}): Promise<TokenInfo & { readonly text: string }> {
    const { role = 'worker', ttlMs = hourMs, uses = 1, addresses = [] } = options
    const nowMs = this.#nowMs()
    this.#member.mustAdmit('make tokens', nowMs)
    const reachable = addresses.slice(0, addressesMax)
    const token = new JoinToken(this.meshId, Uint8Array.from(this.#random(secretBytesMin)), reachable)
    const text = formatToken(token)
    const info = this.#tokens.create(token, { role, ttlMs, uses, by: this.nodeId }, nowMs)
    await this.#saveTokens()
    return { ...info, text }
  }

  /** The tokens of this node that have neither ended nor been revoked. */
  tokens(): TokenInfo[] {
    return this.#tokens.list(this.#nowMs())
  }

  async revokeToken(id: string): Promise<void> {
    this.#tokens.revoke(id)
    await this.#saveTokens()
  }

  /** Has the conversation with a node that wants to join. The outcome says what went wrong; only a non-member rejects. */
  async admit(conversation: JoinConversation): Promise<AdmitOutcome> {
    const state = this.#member
    return admit(conversation, {
      meshId: state.meshId,
      publicKey: this.#identity.publicKey,
      credentials: state.credentials,
      canAdmit: this.canAdmit,
      tokens: this.#tokens,
      attempts: this.#attempts,
      isNodeRevoked: (node) => state.revocations.isNodeRevoked(node),
      issue: (publicKey, role, nowMs) => state.issue(publicKey, role, nowMs, this.#random),
      nowMs: this.#nowMs,
      random: this.#random,
      saveTokens: () => this.#saveTokens(),
    })
  }

  // --- revocations

  /**
   * Ends the membership of another node. Only the holder of the root key may revoke an admin, so say which role the node
   * has if it is known: an admin's revocation of another admin would have no effect.
   */
  async revokeMember(node: NodeId, role?: MemberRole): Promise<void> {
    const state = this.#member
    state.revoke(node, role, this.#nowMs())
    await this.#files.write('revocations', state.revocations.encode())
  }

  /**
   * Takes over what another node knows of revocations. Throws ProtocolError or MembershipError, and takes nothing, when
   * anything in the list is not as it should be.
   *
   * @returns true when something was new: then the others should hear of it, and links be checked again
   */
  mergeRevocations(list: Uint8Array): boolean {
    const { revocations } = this.#member
    const isNew = revocations.merge(list, this.#nowMs())
    if (isNew) this.#files.write('revocations', revocations.encode()).catch(this.#onSaveFailed)
    return isNew
  }

  /** Whose membership has been ended before its time. */
  get revoked(): { node: NodeId; revokedAtMs: number }[] {
    return this.#member.revocations.all()
  }

  /** All revocations that this node knows, for `mergeRevocations` of others. */
  revocationsEncoded(): Uint8Array {
    return this.#member.revocations.encode()
  }

  // --- renewal

  /** True when less than a third of this node's membership is left, or a founder's own has been issued by a clock ahead. */
  renewalDue(nowMs: number): boolean {
    return this.#member.renewalDue(nowMs)
  }

  /**
   * New credentials for a member, with the same key and role, as if it had joined now. Throws MembershipError when it is
   * no member any more, or this node may not admit.
   *
   * @param nowMs the time of day
   */
  reissue(memberCredentials: Uint8Array, publicKey: Uint8Array, nowMs: number): Uint8Array {
    const state = this.#member
    const { role } = state.check(memberCredentials, publicKey, nowMs)
    state.mustAdmit('renew a membership', nowMs)
    return state.issue(publicKey, role, nowMs, this.#random)
  }

  /** Takes the credentials that `reissue` of another node has given; they must outlast the present ones. */
  async acceptRenewed(credentials: Uint8Array): Promise<void> {
    const state = this.#member
    state.checkRenewed(credentials, this.#nowMs())
    await this.#adopt(state.with(credentials))
  }

  /** The renewal of the node that holds the root key: it needs nobody else for it. */
  async renewOwn(nowMs: number): Promise<void> {
    const state = this.#member
    if (state.root === undefined) {
      throw new MembershipError('only the node that founded the mesh can renew its own membership: ask an admin', {
        reason: 'notRoot',
      })
    }
    await this.#adopt(state.with(this.#ownByRoot(state.root, nowMs)))
  }

  /** Resolves when nothing is left to be written to the state folder. */
  async settled(): Promise<void> {
    await this.#files.settled()
  }

  toJSON(): unknown {
    if (this.#state === undefined) return { node: this.nodeId }
    return { node: this.nodeId, mesh: this.meshName, role: this.role, expiresAtMs: this.expiresAtMs }
  }

  [inspect.custom](): unknown {
    return this.toJSON()
  }

  get #member(): MeshState {
    if (this.#state !== undefined) return this.#state
    throw new MembershipError(
      'this node belongs to no mesh yet: `shoal up` makes one, `shoal join <token>` joins one',
      { reason: 'noMesh' },
    )
  }

  #ownByRoot(root: KeyPair, nowMs: number): Uint8Array {
    const issuer = { key: root, rootPublicKey: root.publicKey, chain: [] }
    return issueCredentials(issuer, this.#identity.publicKey, 'admin', nowMs, this.#random)
  }

  async #adopt(state: MeshState): Promise<void> {
    await this.#files.write('credentials', state.credentials)
    this.#state = state
  }

  async #saveTokens(): Promise<void> {
    await this.#files.write('tokens', this.#tokens.encode())
  }
}
