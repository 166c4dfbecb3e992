import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MembershipError, ProtocolError } from '../../../protocols/errors.ts'
import {
  decode,
  encode,
  revocationList,
  type CertificateBody,
  type RevocationListContent,
} from '../../../protocols/membership.ts'
import { decodeCredentials } from '../../../node/membership/certificate.ts'
import { Revocations } from '../../../node/membership/revocations.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { dayMs, MeshFixture, refusal, startMs, type FixtureMember } from './mesh-fixture.ts'

function certificateOf(member: FixtureMember): CertificateBody {
  const body = decodeCredentials(member.credentials).chain.at(-1)?.body
  assert.ok(body)
  return body
}

function revokeBy(list: Revocations, admin: FixtureMember, node: string, nowMs = startMs): void {
  list.revokeByAdmin(node, admin.identity, decodeCredentials(admin.credentials), nowMs)
}

function content(list: Revocations): RevocationListContent {
  return decode(revocationList, list.encode(), 'revocations')
}

describe('revocations', () => {
  test('what the root has revoked is revoked for all who hear of it', () => {
    const mesh = new MeshFixture()
    const [worker, admin, other] = [mesh.admit('worker'), mesh.admit('admin'), mesh.admit('worker')]
    const here = new Revocations(mesh.root.publicKey)
    here.revokeByRoot(worker.identity.node, mesh.root, startMs)
    here.revokeByRoot(admin.identity.node, mesh.root, startMs)
    const there = new Revocations(mesh.root.publicKey)
    assert.equal(there.merge(here.encode(), startMs), true)
    assert.equal(there.merge(here.encode(), startMs), false)
    for (const list of [here, there]) {
      assert.ok(list.isRevoked(certificateOf(worker)) && list.isNodeRevoked(worker.identity.node))
      assert.ok(list.isRevoked(certificateOf(admin)))
      assert.ok(!list.isRevoked(certificateOf(other)) && !list.isNodeRevoked(other.identity.node))
    }
  })

  test('an admin revokes workers and submitters, and nobody who is an admin', () => {
    const mesh = new MeshFixture()
    const [admin, founder] = [mesh.admit('admin'), mesh.admit('admin')]
    const [worker, submitter] = [mesh.admit('worker'), mesh.admit('submitter')]
    const list = new Revocations(mesh.root.publicKey)
    for (const { identity } of [worker, submitter, founder]) revokeBy(list, admin, identity.node)
    const there = new Revocations(mesh.root.publicKey)
    there.merge(list.encode(), startMs)
    assert.ok(there.isRevoked(certificateOf(worker)))
    assert.ok(there.isRevoked(certificateOf(submitter)))
    assert.ok(!there.isRevoked(certificateOf(founder)))
  })

  test('only admins of this mesh can add to the list', () => {
    const mesh = new MeshFixture(1)
    const stranger = new MeshFixture(2)
    const victim = mesh.admit('worker')
    const foreign = new Revocations(stranger.root.publicKey)
    foreign.revokeByRoot(victim.identity.node, stranger.root, startMs)
    const foreignAdmin = new Revocations(stranger.root.publicKey)
    revokeBy(foreignAdmin, stranger.admit('admin'), victim.identity.node)
    const list = new Revocations(mesh.root.publicKey)
    for (const bad of [foreign, foreignAdmin]) assert.throws(() => list.merge(bad.encode(), startMs), MembershipError)
    for (const role of ['worker', 'submitter'] as const) {
      assert.throws(() => revokeBy(list, mesh.admit(role), victim.identity.node), refusal('notAdmin'))
    }
    // A worker's entry in a list that was made by hand.
    const worker = mesh.admit('worker')
    const byAdmin = new Revocations(mesh.root.publicKey)
    revokeBy(byAdmin, mesh.admit('admin'), victim.identity.node)
    const forged = encode(revocationList, { ...content(byAdmin), signers: [decodeCredentials(worker.credentials)] })
    assert.throws(() => list.merge(forged, startMs), refusal('notAdmin'))
    assert.ok(!list.isNodeRevoked(victim.identity.node))
  })

  test('every change of a bit is refused, and then nothing of the list is taken', () => {
    const mesh = new MeshFixture()
    const worker = mesh.admit('worker')
    const good = new Revocations(mesh.root.publicKey)
    good.revokeByRoot(mesh.admit('worker').identity.node, mesh.root, startMs)
    revokeBy(good, mesh.admit('admin'), worker.identity.node)
    const bytes = good.encode()
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
      const list = new Revocations(mesh.root.publicKey)
      assert.throws(
        () => list.merge(changed, startMs),
        (error) => error instanceof MembershipError || error instanceof ProtocolError,
        `byte ${at}`,
      )
      assert.equal(content(list).entries.length, 0)
    }
  })

  test('an admin whose membership had ended by then cannot revoke', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const late = new Revocations(mesh.root.publicKey)
    revokeBy(late, admin, mesh.admit('worker').identity.node, startMs + 30 * dayMs)
    const list = new Revocations(mesh.root.publicKey)
    assert.throws(() => list.merge(late.encode(), startMs + 30 * dayMs), refusal('expired'))
  })

  test('what an admin has revoked stays so after its membership has ended', () => {
    const mesh = new MeshFixture()
    const worker = mesh.admit('worker')
    const before = new Revocations(mesh.root.publicKey)
    revokeBy(before, mesh.admit('admin'), worker.identity.node, startMs + 29 * dayMs)
    const list = new Revocations(mesh.root.publicKey)
    list.merge(before.encode(), startMs + 40 * dayMs)
    assert.ok(list.isNodeRevoked(worker.identity.node))
  })

  test('what a revoked admin signs counts no more; what it had revoked before is kept by the root', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const below = mesh.admit('admin', admin.issuer)
    const [before, after, byBelow] = [mesh.admit('worker'), mesh.admit('worker'), mesh.admit('worker')]
    const root = new Revocations(mesh.root.publicKey)
    revokeBy(root, admin, before.identity.node)
    root.revokeByRoot(admin.identity.node, mesh.root, startMs + 1)
    assert.ok(root.isRevoked(certificateOf(before)))
    assert.throws(() => revokeBy(root, below, after.identity.node), refusal('revoked'))
    // The admin goes on, with dates from before.
    const rogue = new Revocations(mesh.root.publicKey)
    revokeBy(rogue, admin, after.identity.node)
    revokeBy(rogue, below, byBelow.identity.node)
    assert.equal(root.merge(rogue.encode(), startMs + 2), false)
    assert.ok(!root.isNodeRevoked(after.identity.node) && !root.isNodeRevoked(byBelow.identity.node))
    // One who has heard the rogue first comes to the same.
    const there = new Revocations(mesh.root.publicKey)
    there.merge(rogue.encode(), startMs + 2)
    assert.ok(there.isNodeRevoked(after.identity.node))
    there.merge(root.encode(), startMs + 2)
    for (const member of [admin, before]) assert.ok(there.isRevoked(certificateOf(member)))
    assert.ok(!there.isNodeRevoked(after.identity.node) && !there.isNodeRevoked(byBelow.identity.node))
  })

  test('old entries go when the certificates have long ended', () => {
    const mesh = new MeshFixture()
    const [byRoot, byAdmin, newer] = [mesh.admit('worker'), mesh.admit('worker'), mesh.admit('worker')]
    const list = new Revocations(mesh.root.publicKey)
    list.revokeByRoot(byRoot.identity.node, mesh.root, startMs)
    revokeBy(list, mesh.admit('admin'), byAdmin.identity.node)
    const old = list.encode()
    list.revokeByRoot(newer.identity.node, mesh.root, startMs + 60 * dayMs)
    assert.ok(!list.isNodeRevoked(byAdmin.identity.node))
    assert.ok(list.isNodeRevoked(byRoot.identity.node))
    assert.equal(list.merge(old, startMs + 60 * dayMs), false)
    assert.equal(new Revocations(mesh.root.publicKey).merge(old, startMs + 120 * dayMs), false)
  })

  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  test(`nodes that tell each other in any order come to the same (SEED=${seed})`, () => {
    const random = seededRandom(seed)
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
    const mesh = new MeshFixture(seed)
    const admins = [mesh.admit('admin'), mesh.admit('admin')]
    admins.push(mesh.admit('admin', pick(admins).issuer))
    const workers = Array.from({ length: 6 }, () => mesh.admit('worker'))
    const lists = Array.from({ length: 4 }, () => new Revocations(mesh.root.publicKey))
    const founder = lists[0] as Revocations
    for (let step = 0; step < 40; step++) {
      const choice = random()
      if (choice < 0.1) {
        founder.revokeByRoot(pick([...admins, ...workers]).identity.node, mesh.root, startMs + step)
      } else if (choice < 0.4) {
        const victim = pick([...admins, ...workers])
        const [list, admin] = [pick(lists), pick(admins)]
        try {
          revokeBy(list, admin, victim.identity.node, startMs + step)
        } catch (error) {
          refusal('revoked')(error)
        }
      } else {
        pick(lists).merge(pick(lists).encode(), startMs + step)
      }
    }
    // Until nobody hears anything new: that this ends is part of the test.
    let rounds = 0
    for (let isNew = true; isNew; rounds++) {
      isNew = false
      for (const to of lists) for (const from of lists) isNew = to.merge(from.encode(), startMs + 100) || isNew
      assert.ok(rounds < 10, 'they never come to rest')
    }
    const verdicts = lists.map((list) => [...admins, ...workers].map((member) => list.isRevoked(certificateOf(member))))
    for (const verdict of verdicts) assert.deepEqual(verdict, verdicts[0])
  })

  test('a list holds 10,000 and leaves a tenth for the root', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const list = new Revocations(mesh.root.publicKey)
    const node = (i: number): string => i.toString(16).padStart(16, '0')
    for (let start = 0; start < 9000; start += 500) {
      const part = new Revocations(mesh.root.publicKey)
      for (let i = start; i < start + 500; i++) revokeBy(part, admin, node(i))
      assert.equal(list.merge(part.encode(), startMs), true)
    }
    assert.throws(() => revokeBy(list, admin, node(9000)), refusal('tooManyRevocations'))
    const more = new Revocations(mesh.root.publicKey)
    revokeBy(more, admin, node(9000))
    assert.equal(list.merge(more.encode(), startMs), false)
    const byRoot = new Revocations(mesh.root.publicKey)
    for (let i = 0; i < 1001; i++) byRoot.revokeByRoot(node(20_000 + i), mesh.root, startMs)
    assert.equal(list.merge(byRoot.encode(), startMs), true)
    const { entries, signers } = content(list)
    assert.equal(entries.length, 10_000)
    assert.equal(signers.length, 1)
    assert.ok(list.encode().length < 2 * 1024 * 1024)
  })
})
