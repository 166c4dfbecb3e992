import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { InvalidArgumentError } from '../../../protocols/errors.ts'
import { formatToken, JoinToken, parseToken } from '../../../node/membership/join-token.ts'
import { seededBytes } from './seeded-bytes.ts'

const random = seededBytes(7)
const meshId = random(32)
const secret = random(16)
const addresses = [
  '/ip4/192.168.1.7/tcp/7461/p2p/12D3KooWGRUhSJ3MWTjcPVkbnpZxLxJr4hmYUnXUQxvDvGrAHcDb',
  '/ip6/fe80::1/tcp/7461',
  '/dns4/lab-3.example.org/tcp/7461',
]

describe('token', () => {
  test('what is formatted can be parsed', () => {
    for (const list of [[], addresses.slice(0, 1), addresses]) {
      const text = formatToken(new JoinToken(meshId, secret, list))
      const parsed = parseToken(text)
      assert.deepEqual(parsed.meshId, meshId)
      assert.deepEqual(parsed.secret, secret)
      assert.deepEqual(parsed.addresses, list)
      assert.equal(formatToken(parsed), text)
    }
  })

  test('its text needs no quotes in a shell', () => {
    for (let seed = 0; seed < 50; seed++) {
      const bytes = seededBytes(seed)
      assert.match(formatToken(new JoinToken(bytes(32), bytes(16), addresses)), /^shoal1\.[\w@/.:,%-]+$/)
    }
  })

  test('spaces and line breaks around it do no harm', () => {
    const text = formatToken(new JoinToken(meshId, secret, addresses))
    assert.deepEqual(parseToken(`  ${text}\r\n`).secret, secret)
  })

  const good = formatToken(new JoinToken(meshId, secret, addresses))
  const [, mesh = '', secretText = ''] = (good.split('@')[0] ?? '').split('.')
  const cases: Record<string, [string, RegExp]> = {
    nothing: ['', /empty/],
    'another version': [good.replace('shoal1', 'shoal2'), /does not begin with "shoal1\."/],
    'other text': ['hello', /does not begin/],
    'no secret': [`shoal1.${mesh}`, /three parts/],
    'a part too many': [`shoal1.${mesh}.${secretText}.x`, /three parts/],
    'a mesh cut short': [`shoal1.${mesh.slice(4)}.${secretText}`, /second part, the mesh/],
    'a mesh that is no base64url': [`shoal1.${mesh.slice(1)}+.${secretText}`, /second part, the mesh/],
    'a secret cut short': [`shoal1.${mesh}.${secretText.slice(0, 16)}`, /third part, the secret/],
    'a secret that is too long': [`shoal1.${mesh}.${secretText.repeat(4)}`, /third part, the secret/],
    'a secret that is no base64url': [`shoal1.${mesh}.${secretText.slice(1)}=`, /third part, the secret/],
    'a line break within': [`${good.slice(0, 60)}\n${good.slice(60)}`, /line break after character 60/],
    'no address after the @': [`shoal1.${mesh}.${secretText}@`, /addresses like/],
    'an address that is none': [`shoal1.${mesh}.${secretText}@192.168.1.7:7461`, /addresses like/],
    'a token twice': [good + good, /addresses like/],
    'an address for a shell': [`shoal1.${mesh}.${secretText}@/ip4/$(reboot)`, /addresses like/],
    'too many addresses': [`shoal1.${mesh}.${secretText}@${Array(17).fill('/ip4/1').join(',')}`, /17 addresses/],
    'an endless text': [`shoal1.${'A'.repeat(20_000)}`, /characters long/],
  }
  for (const [name, [text, message]] of Object.entries(cases)) {
    test(`${name}: says what is wrong, and nothing of the secret`, () => {
      assert.throws(
        () => parseToken(text),
        (error: Error) => {
          assert.ok(error instanceof InvalidArgumentError)
          assert.match(error.message, message)
          assert.ok(!error.message.includes(secretText.slice(1, 9)), error.message)
          assert.ok(!JSON.stringify(error.details).includes(secretText.slice(1, 9)))
          return true
        },
      )
    })
  }

  test('it does not print its secret', () => {
    const token = new JoinToken(meshId, secret, addresses)
    for (const printed of [inspect(token, { depth: 9, showHidden: true }), JSON.stringify(token)]) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        assert.ok(!printed.includes(Buffer.from(secret).toString(encoding)), printed)
      }
      assert.match(printed, new RegExp(token.id))
    }
  })

  test('its id and key depend on the secret, the key on the mesh, too', () => {
    const token = new JoinToken(meshId, secret)
    const otherSecret = new JoinToken(meshId, random(16))
    const otherMesh = new JoinToken(random(32), secret)
    assert.match(token.id, /^[0-9a-f]{16}$/)
    assert.notEqual(token.id, otherSecret.id)
    assert.notDeepEqual(token.key, otherSecret.key)
    assert.notDeepEqual(token.key, otherMesh.key)
  })
})
