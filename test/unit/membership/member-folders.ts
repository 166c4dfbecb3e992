import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Membership, type MembershipOptions } from '../../../node/membership/membership.ts'
import type { MemberRole } from '../../../protocols/membership.ts'
import { parseToken } from '../../../node/membership/join-token.ts'
import { requestToJoin } from '../../../node/membership/request-to-join.ts'
import { conversationPair } from './conversation-pair.ts'
import { startMs } from './mesh-fixture.ts'
import { seededBytes } from './seeded-bytes.ts'

/** State folders of several nodes with a clock of the test's, gone at its end. */
export class MemberFolders implements AsyncDisposable {
  readonly directory: string
  readonly random = seededBytes(5)
  nowMs = startMs
  readonly #opened: Membership[] = []
  #count = 0

  private constructor(directory: string) {
    this.directory = directory
  }

  static async make(): Promise<MemberFolders> {
    return new MemberFolders(await mkdtemp(path.join(tmpdir(), 'shoal-membership-')))
  }

  get options(): MembershipOptions {
    return { nowMs: () => this.nowMs, random: this.random }
  }

  newFolder(): string {
    return path.join(this.directory, `node-${++this.#count}`)
  }

  async open(directory = this.newFolder()): Promise<Membership> {
    const membership = await Membership.open(directory, this.options)
    this.#opened.push(membership)
    return membership
  }

  async founder(directory = this.newFolder()): Promise<Membership> {
    const membership = await this.open(directory)
    await membership.found(this.nowMs)
    return membership
  }

  /** A node that has joined. */
  async member(by: Membership, role: MemberRole, directory = this.newFolder()): Promise<Membership> {
    const member = await this.open(directory)
    const { text } = await by.createToken({ role })
    await member.adoptCredentials(await this.join(member, by, text))
    return member
  }

  /** Has the whole conversation. Resolves with what the joiner gets. */
  async join(joiner: Membership, admitter: Membership, token: string, address?: string): Promise<Uint8Array> {
    const { identity } = joiner
    const ends = conversationPair(identity.publicKey, admitter.identity.publicKey, address)
    const admitted = admitter.admit(ends.admitter)
    try {
      return await requestToJoin(ends.joiner, parseToken(token), identity, {
        nowMs: () => this.nowMs,
        random: this.random,
      })
    } finally {
      await admitted
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((membership) => membership.settled()))
    await rm(this.directory, { recursive: true, force: true })
  }
}
