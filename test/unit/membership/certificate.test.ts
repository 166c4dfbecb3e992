import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { MembershipError, ProtocolError } from '../../../protocols/errors.ts'
import {
  certificateBody,
  credentials as credentialsCodec,
  encode,
  mayAdmit,
  mayOffer,
  maySubmit,
  type CertificateBody,
} from '../../../protocols/membership.ts'
import {
  certificateLifeMs,
  checkCredentials,
  clockSkewMsMax,
  decodeCredentials,
  issueCredentials,
  meshIdOf,
  type Member,
} from '../../../node/membership/certificate.ts'
import { nodeIdOf } from '../../../node/membership/identity.ts'
import { KeyPair } from '../../../node/membership/key-pair.ts'
import { MeshFixture, minuteMs, refusal, startMs, type FixtureMember } from './mesh-fixture.ts'

function check(
  mesh: MeshFixture,
  { credentials, identity }: Pick<FixtureMember, 'credentials' | 'identity'>,
  nowMs = startMs,
  isRevoked: (certificate: CertificateBody) => boolean = () => false,
): Member {
  return checkCredentials(credentials, identity.publicKey, { meshId: meshIdOf(mesh.root.publicKey), nowMs, isRevoked })
}

/** Credentials with a last certificate that has been changed and then properly signed. */
function resigned(member: FixtureMember, key: KeyPair, change: Partial<CertificateBody>): FixtureMember {
  const decoded = decodeCredentials(member.credentials)
  const last = decoded.chain.at(-1)
  assert.ok(last)
  const body = { ...last.body, ...change }
  const signature = key.sign('shoal/certificate/1', encode(certificateBody, body))
  const chain = [...decoded.chain.slice(0, -1), { body, signature }]
  return { ...member, credentials: encode(credentialsCodec, { ...decoded, chain }) }
}

describe('identity', () => {
  test('a node is named by the beginning of the hash of its public key', () => {
    const identity = new MeshFixture().identity()
    assert.equal(identity.publicKey.length, 32)
    assert.equal(identity.node, createHash('sha256').update(identity.publicKey).digest('hex').slice(0, 16))
    assert.equal(nodeIdOf(identity.publicKey), identity.node)
  })

  // RFC 8032, section 7.1, test 1.
  test('a seed gives the key that the standard says', () => {
    const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex')
    const { publicKey } = new KeyPair(seed)
    assert.equal(
      Buffer.from(publicKey).toString('hex'),
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    )
  })
})

describe('roles', () => {
  test('who may do what', () => {
    const roles = ['worker', 'submitter', 'admin'] as const
    assert.deepEqual(roles.filter(maySubmit), ['submitter', 'admin'])
    assert.deepEqual(roles.filter(mayOffer), ['worker', 'admin'])
    assert.deepEqual(roles.filter(mayAdmit), ['admin'])
  })
})

describe('credentials', () => {
  test('who the root has admitted is a member, and whom its admins have, three deep', () => {
    const mesh = new MeshFixture()
    let by = mesh.rootIssuer
    for (const role of ['admin', 'admin', 'admin', 'worker'] as const) {
      const member = mesh.admit(role, by)
      const { node, role: found, expiresAtMs } = check(mesh, member)
      assert.deepEqual({ node, found }, { node: member.identity.node, found: role })
      assert.equal(expiresAtMs, startMs + certificateLifeMs)
      by = member.issuer
    }
  })

  test('every change of a bit makes them invalid', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const member = mesh.admit('worker', admin.issuer)
    for (let at = 0; at < member.credentials.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const credentials = Uint8Array.from(member.credentials)
        credentials[at] = (credentials[at] ?? 0) ^ (1 << bit)
        assert.throws(
          () => check(mesh, { ...member, credentials }),
          (error) => error instanceof MembershipError || error instanceof ProtocolError,
          `bit ${bit} of byte ${at}`,
        )
      }
    }
  })

  test('no part of them is enough, and nothing may follow', () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker', mesh.admit('admin').issuer)
    for (let length = 0; length < member.credentials.length; length++) {
      assert.throws(
        () => check(mesh, { ...member, credentials: member.credentials.subarray(0, length) }),
        ProtocolError,
      )
    }
    const longer = Buffer.concat([member.credentials, Buffer.from([0])])
    assert.throws(() => check(mesh, { ...member, credentials: longer }), ProtocolError)
    const noChain = encode(credentialsCodec, { ...decodeCredentials(member.credentials), chain: [] })
    assert.throws(() => check(mesh, { ...member, credentials: noChain }), refusal('forged'))
  })

  test('they end after 30 days, to the millisecond', () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker')
    check(mesh, member, startMs + certificateLifeMs - 1)
    assert.throws(() => check(mesh, member, startMs + certificateLifeMs), refusal('expired'))
  })

  test('they may come from a clock that is 5 minutes ahead, and no more', () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker')
    check(mesh, member, startMs - clockSkewMsMax)
    assert.throws(() => check(mesh, member, startMs - clockSkewMsMax - 1), refusal('notYetValid'))
  })

  test('what an admin issues ends with its own certificate at the latest', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const member = mesh.admit('worker', admin.issuer, startMs + 10 * minuteMs)
    assert.equal(check(mesh, member, startMs + 10 * minuteMs).expiresAtMs, startMs + certificateLifeMs)
    const longer = resigned(member, admin.identity, { expiresAtMs: startMs + 1 + certificateLifeMs })
    assert.throws(() => check(mesh, longer, startMs + 10 * minuteMs), refusal('tooLong'))
  })

  test('nobody gets a certificate of more than 30 days, not even from the root', () => {
    const mesh = new MeshFixture()
    const member = resigned(mesh.admit('worker'), mesh.root, { expiresAtMs: startMs + certificateLifeMs + 1 })
    assert.throws(() => check(mesh, member), refusal('tooLong'))
  })

  test('those of another mesh are refused', () => {
    const mesh = new MeshFixture(1)
    const other = new MeshFixture(2)
    assert.throws(() => check(mesh, other.admit('worker')), refusal('otherMesh'))
    // The right root key on top of another root's certificates.
    const member = other.admit('worker')
    const decoded = decodeCredentials(member.credentials)
    const dressed = encode(credentialsCodec, { ...decoded, rootPublicKey: mesh.root.publicKey })
    assert.throws(() => check(mesh, { ...member, credentials: dressed }), refusal('otherMesh'))
    const renamed = resigned({ ...member, credentials: dressed }, other.root, {
      meshId: meshIdOf(mesh.root.publicKey),
      issuer: mesh.root.publicKey,
    })
    assert.throws(() => check(mesh, renamed), refusal('forged'))
  })

  test("another node's are of no use", () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker')
    assert.throws(() => check(mesh, { ...member, identity: mesh.identity() }), refusal('otherKey'))
  })

  test('only admins issue', () => {
    const mesh = new MeshFixture()
    for (const role of ['worker', 'submitter'] as const) {
      const issuer = mesh.admit(role)
      assert.throws(() => check(mesh, mesh.admit('worker', issuer.issuer)), refusal('notAdmin'))
    }
  })

  test('a member cannot issue for itself what only another could', () => {
    const mesh = new MeshFixture()
    const worker = mesh.admit('worker')
    const promoted = resigned(worker, worker.identity, { role: 'admin' })
    assert.throws(() => check(mesh, promoted), refusal('forged'))
    const selfIssued = resigned(worker, worker.identity, { role: 'admin', issuer: worker.identity.publicKey })
    assert.throws(() => check(mesh, selfIssued), refusal('forged'))
  })

  test('a certificate names the one who has signed it', () => {
    const mesh = new MeshFixture()
    const member = resigned(mesh.admit('worker'), mesh.root, { issuer: mesh.admit('admin').identity.publicKey })
    assert.throws(() => check(mesh, member), refusal('forged'))
  })

  test('a chain has four certificates at most', () => {
    const mesh = new MeshFixture()
    let by = mesh.rootIssuer
    for (let i = 0; i < 4; i++) by = mesh.admit('admin', by).issuer
    assert.throws(() => mesh.admit('worker', by), refusal('chainTooLong'))
    // One made all the same is refused, too.
    const [first] = by.chain
    assert.ok(first)
    const tooLong = encode(credentialsCodec, {
      version: 1,
      rootPublicKey: mesh.root.publicKey,
      chain: [...by.chain, first],
    })
    assert.throws(() => check(mesh, { credentials: tooLong, identity: mesh.identity() }), ProtocolError)
  })

  test('certificates of a chain cannot be left out or swapped', () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker', mesh.admit('admin', mesh.admit('admin').issuer).issuer)
    const decoded = decodeCredentials(member.credentials)
    const [a, b, c] = decoded.chain
    assert.ok(a && b && c)
    for (const chain of [[c], [b, c], [a, c], [b, a, c], [a, b, b, c]]) {
      const credentials = encode(credentialsCodec, { ...decoded, chain })
      assert.throws(() => check(mesh, { ...member, credentials }), MembershipError)
    }
  })

  test('a certificate whose issuer has expired is refused with it', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const member = mesh.admit('worker', admin.issuer, startMs + minuteMs)
    assert.throws(() => check(mesh, member, startMs + certificateLifeMs), refusal('expired'))
  })

  test('the revoked are refused, and all whom they have admitted', () => {
    const mesh = new MeshFixture()
    const admin = mesh.admit('admin')
    const member = mesh.admit('worker', mesh.admit('admin', admin.issuer).issuer)
    const isAdmin = ({ subject }: CertificateBody): boolean => nodeIdOf(subject) === admin.identity.node
    assert.throws(() => check(mesh, admin, startMs, isAdmin), refusal('revoked'))
    assert.throws(() => check(mesh, member, startMs, isAdmin), refusal('revoked'))
    check(mesh, mesh.admit('worker'), startMs, isAdmin)
  })

  test('an unknown version says so', () => {
    const mesh = new MeshFixture()
    const member = mesh.admit('worker')
    const newer = Uint8Array.from(member.credentials)
    newer[0] = 2
    assert.throws(() => check(mesh, { ...member, credentials: newer }), /version 2 is not known/)
  })

  test('two certificates for the same node differ', () => {
    const mesh = new MeshFixture()
    const { publicKey } = mesh.identity()
    const issue = (): Uint8Array => issueCredentials(mesh.rootIssuer, publicKey, 'worker', startMs, mesh.random)
    assert.notDeepEqual(issue(), issue())
  })
})
