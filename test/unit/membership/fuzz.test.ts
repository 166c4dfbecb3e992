import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidArgumentError, MembershipError, ProtocolError } from '../../../protocols/errors.ts'
import { decodeCredentials } from '../../../node/membership/certificate.ts'
import { decodeJoinMessage, encodeJoinMessage } from '../../../node/membership/join-messages.ts'
import { formatToken, JoinToken, parseToken } from '../../../node/membership/join-token.ts'
import { JoinerSteps } from '../../../node/membership/joiner-steps.ts'
import { AdmitterSteps } from '../../../node/membership/admitter-steps.ts'
import { Revocations } from '../../../node/membership/revocations.ts'
import { TokenBook } from '../../../node/membership/token-book.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { MeshFixture, startMs } from './mesh-fixture.ts'
import { seededBytes } from './seeded-bytes.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const rounds = 4000

const mesh = new MeshFixture(1)
const admin = mesh.admit('admin')
const member = mesh.admit('worker', admin.issuer)
const { meshId } = decodeCredentials(member.credentials).chain[0]?.body ?? assert.fail()
const bytes = seededBytes(2)
const token = new JoinToken(meshId, bytes(16), ['/ip4/192.0.2.1/tcp/7461'])
const revocations = new Revocations(mesh.root.publicKey)
revocations.revokeByRoot('0123456789abcdef', mesh.root, startMs)
revocations.revokeByAdmin('fedcba9876543210', admin.identity, decodeCredentials(admin.credentials), startMs)
const book = new TokenBook()
book.create(token, { role: 'worker', ttlMs: 1000, uses: 1, by: admin.identity.node }, startMs)

const messages = [
  encodeJoinMessage('hello', { version: 1, meshId, nonce: bytes(32) }),
  encodeJoinMessage('offer', { nonce: bytes(32), credentials: admin.credentials }),
  encodeJoinMessage('proof', { tokenId: token.id, proof: bytes(32) }),
  encodeJoinMessage('welcome', { credentials: member.credentials, proof: bytes(32) }),
  encodeJoinMessage('refused', { reason: 'expired' }),
]

function joinerSteps(): JoinerSteps {
  return new JoinerSteps({
    token,
    identity: member.identity,
    admitterKey: admin.identity.publicKey,
    nonce: new Uint8Array(32),
  })
}

function admitterSteps(): AdmitterSteps {
  return new AdmitterSteps({
    meshId,
    publicKey: admin.identity.publicKey,
    credentials: admin.credentials,
    canAdmit: true,
    tokens: new TokenBook(),
    joinerKey: member.identity.publicKey,
    nonce: new Uint8Array(32),
    isNodeRevoked: () => false,
    issue: () => assert.fail('nobody is to be admitted'),
  })
}

/** What decodes bytes of others, and good bytes for it. */
const decoders: Record<string, { good: readonly Uint8Array[]; decode(input: Uint8Array): unknown }> = {
  credentials: { good: [member.credentials], decode: decodeCredentials },
  'join messages': { good: messages, decode: decodeJoinMessage },
  'a joiner': { good: messages, decode: (input) => joinerSteps().receive(input, startMs) },
  'an admitter': { good: messages, decode: (input) => admitterSteps().receive(input, startMs) },
  revocations: {
    good: [revocations.encode()],
    decode: (input) => new Revocations(mesh.root.publicKey).merge(input, startMs),
  },
  'the token book': { good: [book.encode()], decode: (input) => new TokenBook(input) },
  'the text of a token': {
    good: [Buffer.from(formatToken(token))],
    decode: (input) => parseToken(Buffer.from(input).toString('latin1')),
  },
}

function damaged(good: Uint8Array, random: () => number): Uint8Array {
  const below = (max: number): number => Math.floor(random() * max)
  const kind = random()
  if (kind < 0.15) return Uint8Array.from({ length: below(300) }, () => below(256))
  if (kind < 0.3) return good.subarray(0, below(good.length))
  if (kind < 0.4) return Buffer.concat([good, Uint8Array.from({ length: 1 + below(20) }, () => below(256))])
  const changed = Uint8Array.from(good)
  for (let i = 0; i <= below(6); i++) changed[below(changed.length)] = random() < 0.3 ? 0xff : below(256)
  if (kind < 0.6 && changed.length >= 4) changed.fill(0xff, below(changed.length - 3)).subarray(0, 4)
  return changed
}

describe(`bytes of anybody (SEED=${seed})`, () => {
  for (const [name, { good, decode }] of Object.entries(decoders)) {
    test(`${name}: nothing but the errors of the family`, () => {
      const random = seededRandom(seed)
      for (let round = 0; round < rounds; round++) {
        const input = damaged(good[Math.floor(random() * good.length)] ?? new Uint8Array(), random)
        try {
          decode(input)
        } catch (error) {
          assert.ok(
            error instanceof ProtocolError || error instanceof MembershipError || error instanceof InvalidArgumentError,
            `round ${round}, ${Buffer.from(input).toString('hex')}: ${String((error as Error).stack)}`,
          )
        }
      }
    })

    test(`${name}: huge counts in few bytes take no memory`, () => {
      const before = process.memoryUsage()
      for (const bytesOfGood of good) {
        for (let at = 0; at + 4 <= bytesOfGood.length; at += 3) {
          const input = Uint8Array.from(bytesOfGood)
          input.set([0xff, 0xff, 0xff, 0x7f], at)
          try {
            decode(input)
          } catch (error) {
            assert.ok(!(error instanceof RangeError), String(error))
          }
        }
      }
      const after = process.memoryUsage()
      assert.ok(after.arrayBuffers - before.arrayBuffers < 64 * 1024 * 1024)
    })
  }

  test('good bytes are taken: the tests above test something', () => {
    for (const [name, { good, decode }] of Object.entries(decoders)) {
      if (name === 'a joiner' || name === 'an admitter') continue
      for (const input of good) decode(input)
    }
  })
})
