import assert from 'node:assert/strict'
import { rename } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { MembershipError, ProtocolError, UnreachableError } from '../../../protocols/errors.ts'
import { issueCredentials } from '../../../node/membership/certificate.ts'
import { decodeJoinMessage, encodeJoinMessage } from '../../../node/membership/join-messages.ts'
import { formatToken, JoinToken, parseToken } from '../../../node/membership/join-token.ts'
import type { Membership } from '../../../node/membership/membership.ts'
import { requestToJoin } from '../../../node/membership/request-to-join.ts'
import { conversationPair } from './conversation-pair.ts'
import { MemberFolders } from './member-folders.ts'
import { dayMs, MeshFixture, minuteMs, refusal } from './mesh-fixture.ts'

const hour = 60 * minuteMs

/** A stranger's end of a conversation with a member that admits. */
function callOn(
  admitter: Membership,
  joinerKey: Uint8Array,
): ReturnType<typeof conversationPair> & {
  outcome: ReturnType<Membership['admit']>
} {
  const ends = conversationPair(joinerKey, admitter.identity.publicKey)
  return { ...ends, outcome: admitter.admit(ends.admitter) }
}

/** A joiner's end whose other end the test speaks for. */
function answerTo(
  joiner: Membership,
  token: string,
  admitterKey: Uint8Array,
  nowMs: () => number,
): ReturnType<typeof conversationPair> & { joined: Promise<Uint8Array> } {
  const ends = conversationPair(joiner.identity.publicKey, admitterKey)
  const joined = requestToJoin(ends.joiner, parseToken(token), joiner.identity, { nowMs })
  joined.catch(() => {})
  return { ...ends, joined }
}

describe('join', { timeout: 60_000 }, () => {
  for (const role of ['worker', 'submitter', 'admin'] as const) {
    test(`a node with a token becomes a ${role} whom the others know`, async () => {
      await using folders = await MemberFolders.make()
      const founder = await folders.founder()
      const joiner = await folders.open()
      const { text } = await founder.createToken({ role })
      await joiner.adoptCredentials(await folders.join(joiner, founder, text))
      assert.equal(joiner.role, role)
      assert.equal(joiner.meshName, founder.meshName)
      assert.deepEqual(founder.check(joiner.credentials(), joiner.identity.publicKey), { node: joiner.nodeId, role })
      assert.deepEqual(joiner.check(founder.credentials(), founder.identity.publicKey), {
        node: founder.nodeId,
        role: 'admin',
      })
    })
  }

  test('an admin that was admitted admits others; workers and submitters do not', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const admin = await folders.member(founder, 'admin')
    const worker = await folders.member(admin, 'worker')
    assert.deepEqual(founder.check(worker.credentials(), worker.identity.publicKey).role, 'worker')
    const { text } = await founder.createToken()
    for (const member of [worker, await folders.member(founder, 'submitter')]) {
      assert.equal(member.canAdmit, false)
      await assert.rejects(folders.join(await folders.open(), member, text), refusal('cannotAdmit'))
      await assert.rejects(member.createToken(), refusal('cannotAdmit'))
    }
  })

  test('the outcome is told to the admitter', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const { text, id } = await founder.createToken()
    const call = callOn(founder, joiner.identity.publicKey)
    await requestToJoin(call.joiner, parseToken(text), joiner.identity, { nowMs: () => folders.nowMs })
    assert.deepEqual(await call.outcome, { isAdmitted: true, node: joiner.nodeId, role: 'worker', tokenId: id })
  })

  test('the secret is never sent', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const { text } = await founder.createToken()
    const token = parseToken(text)
    const call = callOn(founder, joiner.identity.publicKey)
    await requestToJoin(call.joiner, token, joiner.identity, { nowMs: () => folders.nowMs })
    const said = Buffer.concat([...call.joiner.said, ...call.admitter.said])
    assert.ok(said.includes(Buffer.from(token.id, 'hex')))
    assert.ok(!said.includes(Buffer.from(token.secret)))
    assert.ok(!said.includes(Buffer.from(token.key)))
  })

  test('an expired token is refused as such', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { text } = await founder.createToken({ ttlMs: hour })
    folders.nowMs += hour
    await assert.rejects(folders.join(await folders.open(), founder, text), (error: Error) => {
      assert.match(error.message, /has expired.*shoal token create/)
      return refusal('expired')(error)
    })
  })

  test('a used up token is refused as such', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { text } = await founder.createToken({ uses: 1 })
    await folders.join(await folders.open(), founder, text)
    await assert.rejects(folders.join(await folders.open(), founder, text), refusal('usedUp'))
  })

  test('a revoked token is refused as such', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { text, id } = await founder.createToken()
    await founder.revokeToken(id)
    await assert.rejects(folders.join(await folders.open(), founder, text), refusal('revoked'))
  })

  test('a token of another node, and one with the wrong secret, are unknown', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const made = new JoinToken(founder.meshId, folders.random(16))
    await assert.rejects(folders.join(joiner, founder, formatToken(made)), refusal('unknown'))
    // A wrong proof for a token that there is.
    const { id } = await founder.createToken()
    const call = callOn(founder, joiner.identity.publicKey)
    call.joiner.send(encodeJoinMessage('hello', { version: 1, meshId: founder.meshId, nonce: folders.random(32) }))
    await call.joiner.receive()
    call.joiner.send(encodeJoinMessage('proof', { tokenId: id, proof: folders.random(32) }))
    assert.deepEqual(decodeJoinMessage(await call.joiner.receive()), { name: 'refused', body: { reason: 'unknown' } })
    assert.equal((await call.outcome).isAdmitted, false)
    assert.equal(founder.tokens()[0]?.usesLeft, 1)
  })

  test('two nodes race for a token with one use: one gets it', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { text } = await founder.createToken({ uses: 1 })
    const joiners = await Promise.all(Array.from({ length: 5 }, () => folders.open()))
    const results = await Promise.allSettled(joiners.map((joiner) => folders.join(joiner, founder, text)))
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const result of results) if (result.status === 'rejected') refusal('usedUp')(result.reason)
  })

  test('a join whose answer was lost may be tried again within the minute, by the same node only', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const { text } = await founder.createToken({ uses: 1 })
    const call = callOn(founder, joiner.identity.publicKey)
    const played = answerTo(joiner, text, founder.identity.publicKey, () => folders.nowMs)
    call.joiner.send(await played.admitter.receive())
    played.admitter.send(await call.joiner.receive())
    call.joiner.send(await played.admitter.receive())
    assert.equal((await call.outcome).isAdmitted, true)
    played.admitter.close()
    await assert.rejects(played.joined, UnreachableError)
    await folders.join(joiner, founder, text)
    folders.nowMs += minuteMs - 1
    await folders.join(joiner, founder, text)
    await assert.rejects(folders.join(await folders.open(), founder, text), refusal('usedUp'))
    folders.nowMs += minuteMs
    await assert.rejects(folders.join(joiner, founder, text), refusal('usedUp'))
  })

  test('a conversation cannot be replayed, by nobody', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const { text } = await founder.createToken({ uses: 100 })
    const first = callOn(founder, joiner.identity.publicKey)
    await requestToJoin(first.joiner, parseToken(text), joiner.identity, { nowMs: () => folders.nowMs })
    const stranger = await folders.open()
    for (const { identity } of [joiner, stranger]) {
      const again = callOn(founder, identity.publicKey)
      for (const message of first.joiner.said) again.joiner.send(message)
      const outcome = await again.outcome
      assert.ok(!outcome.isAdmitted)
      refusal('unknown')(outcome.error)
    }
    // And the admitter's part, played to the joiner.
    const played = answerTo(joiner, text, founder.identity.publicKey, () => folders.nowMs)
    for (const message of first.admitter.said) played.admitter.send(message)
    await assert.rejects(played.joined, refusal('forged'))
    assert.equal(founder.tokens()[0]?.usesLeft, 99)
  })

  test('one in the middle who passes all messages on gets nothing', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const middle = await folders.open()
    const { text } = await founder.createToken()
    // The founder sees the middle's key, and so does the joiner.
    const call = callOn(founder, middle.identity.publicKey)
    const played = answerTo(joiner, text, middle.identity.publicKey, () => folders.nowMs)
    call.joiner.send(await played.admitter.receive())
    played.admitter.send(await call.joiner.receive())
    await assert.rejects(played.joined, refusal('otherKey'))
    assert.equal(played.joiner.said.length, 1, 'the joiner has said no more than hello')
    call.joiner.close()
    assert.equal((await call.outcome).isAdmitted, false)
  })

  test('one that is a member, in the middle, cannot use the proof that it gets', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const rogue = await folders.member(founder, 'admin')
    const joiner = await folders.open()
    const { text } = await founder.createToken()
    const call = callOn(founder, joiner.identity.publicKey)
    const played = answerTo(joiner, text, rogue.identity.publicKey, () => folders.nowMs)
    call.joiner.send(await played.admitter.receive())
    const offer = decodeJoinMessage(await call.joiner.receive())
    assert.ok(offer.name === 'offer')
    played.admitter.send(encodeJoinMessage('offer', { nonce: offer.body.nonce, credentials: rogue.credentials() }))
    call.joiner.send(await played.admitter.receive())
    const outcome = await call.outcome
    assert.ok(!outcome.isAdmitted)
    refusal('unknown')(outcome.error)
    played.admitter.close()
    await assert.rejects(played.joined, UnreachableError)
  })

  test('a proof holds for the key that has made it only', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const middle = await folders.open()
    const { text } = await founder.createToken()
    const call = callOn(founder, middle.identity.publicKey)
    const played = answerTo(joiner, text, founder.identity.publicKey, () => folders.nowMs)
    call.joiner.send(await played.admitter.receive())
    played.admitter.send(await call.joiner.receive())
    call.joiner.send(await played.admitter.receive())
    const outcome = await call.outcome
    assert.ok(!outcome.isAdmitted)
    refusal('unknown')(outcome.error)
    played.admitter.close()
    await assert.rejects(played.joined, UnreachableError)
  })

  test('the credentials of a welcome cannot be exchanged for others', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const { publicKey } = joiner.identity
    const { text } = await founder.createToken({ uses: 2, role: 'admin' })
    const worker = await founder.createToken({ role: 'worker' })
    const others = await folders.join(joiner, founder, worker.text)
    const call = callOn(founder, publicKey)
    const played = answerTo(joiner, text, founder.identity.publicKey, () => folders.nowMs)
    call.joiner.send(await played.admitter.receive())
    played.admitter.send(await call.joiner.receive())
    call.joiner.send(await played.admitter.receive())
    const welcome = decodeJoinMessage(await call.joiner.receive())
    assert.ok(welcome.name === 'welcome')
    played.admitter.send(encodeJoinMessage('welcome', { ...welcome.body, credentials: others }))
    await assert.rejects(played.joined, refusal('forged'))
  })

  test('one in the middle with a mesh of its own hears nothing of the token', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const rogue = await folders.founder()
    const joiner = await folders.open()
    const { text } = await founder.createToken()
    const played = answerTo(joiner, text, rogue.identity.publicKey, () => folders.nowMs)
    await played.admitter.receive()
    played.admitter.send(encodeJoinMessage('offer', { nonce: folders.random(32), credentials: rogue.credentials() }))
    await assert.rejects(played.joined, refusal('otherMesh'))
    assert.equal(played.joiner.said.length, 1)
    // Asked in the open, a member of another mesh says so.
    await assert.rejects(folders.join(joiner, rogue, text), refusal('otherMesh'))
  })

  test('a joiner refuses to be admitted by a worker, and by one whose membership has ended', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const worker = await folders.member(founder, 'worker')
    const joiner = await folders.open()
    const { text } = await founder.createToken({ ttlMs: 60 * dayMs })
    const offerOf = (member: Membership): Uint8Array =>
      encodeJoinMessage('offer', { nonce: folders.random(32), credentials: member.credentials() })
    const byWorker = answerTo(joiner, text, worker.identity.publicKey, () => folders.nowMs)
    byWorker.admitter.send(offerOf(worker))
    await assert.rejects(byWorker.joined, refusal('notAdmin'))
    folders.nowMs += 31 * dayMs
    const byOld = answerTo(joiner, text, founder.identity.publicKey, () => folders.nowMs)
    byOld.admitter.send(offerOf(founder))
    await assert.rejects(byOld.joined, refusal('expired'))
    assert.equal(byOld.joiner.said.length, 1)
  })

  test('a joiner takes only credentials that are its own, from one who knows the token', async () => {
    const mesh = new MeshFixture()
    await using folders = await MemberFolders.make()
    const admin = mesh.admit('admin')
    const token = new JoinToken(admin.issuer.chain[0]?.body.meshId ?? new Uint8Array(), folders.random(16))
    const joiner = await folders.open()
    const { publicKey } = joiner.identity
    const credentials = issueCredentials(admin.issuer, publicKey, 'worker', folders.nowMs, folders.random)
    const played = answerTo(joiner, formatToken(token), admin.identity.publicKey, () => folders.nowMs)
    played.admitter.send(encodeJoinMessage('offer', { nonce: folders.random(32), credentials: admin.credentials }))
    played.admitter.send(encodeJoinMessage('welcome', { credentials, proof: folders.random(32) }))
    await assert.rejects(played.joined, refusal('forged'))
  })

  test('a revoked node is not admitted again, until it has a new identity', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const worker = await folders.member(founder, 'worker')
    await founder.revokeMember(worker.nodeId)
    const { text } = await founder.createToken()
    await assert.rejects(folders.join(worker, founder, text), refusal('nodeRevoked'))
    assert.equal(founder.tokens().at(-1)?.usesLeft, 1)
    await worker.leave()
    await worker.adoptCredentials(await folders.join(worker, founder, text))
    founder.check(worker.credentials(), worker.identity.publicKey)
  })

  test('after ten failed tries a host waits a minute; others do not', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const joiner = await folders.open()
    const bad = formatToken(new JoinToken(founder.meshId, folders.random(16)))
    const { text } = await founder.createToken({ uses: 2 })
    for (let i = 0; i < 10; i++) await assert.rejects(folders.join(joiner, founder, bad), refusal('unknown'))
    await assert.rejects(folders.join(joiner, founder, text), refusal('tooManyTries'))
    await folders.join(await folders.open(), founder, text, '/ip4/192.0.2.8/tcp/1')
    folders.nowMs += minuteMs
    await folders.join(joiner, founder, text)
  })

  test('more nodes of one host may join in a minute than may fail', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { text } = await founder.createToken({ uses: 15 })
    for (let i = 0; i < 15; i++) await folders.join(await folders.open(), founder, text)
    // Neither do those count that come too late.
    for (let i = 0; i < 15; i++)
      await assert.rejects(folders.join(await folders.open(), founder, text), refusal('usedUp'))
  })

  test('another version is told so, and messages out of turn end it', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const { publicKey } = (await folders.open()).identity
    const newer = callOn(founder, publicKey)
    newer.joiner.send(Buffer.from([1, 9, 0, 0, 0, 1, 2, 3]))
    assert.deepEqual(decodeJoinMessage(await newer.joiner.receive()), {
      name: 'refused',
      body: { reason: 'otherVersion' },
    })
    const hello = encodeJoinMessage('hello', { version: 1, meshId: founder.meshId, nonce: folders.random(32) })
    const proof = encodeJoinMessage('proof', { tokenId: '00'.repeat(8), proof: folders.random(32) })
    for (const messages of [[proof], [hello, hello], [Buffer.from([])], [hello, Buffer.from([77])]]) {
      const call = callOn(founder, publicKey)
      for (const message of messages) call.joiner.send(message)
      const outcome = await call.outcome
      assert.ok(!outcome.isAdmitted && outcome.error instanceof ProtocolError)
    }
  })

  test('a use that could not be written down is not given away', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    const { text } = await founder.createToken()
    await rename(directory, `${directory}-away`)
    await assert.rejects(folders.join(await folders.open(), founder, text), refusal('failed'))
    await rename(`${directory}-away`, directory)
  })

  test('errors of a join name the address', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const bad = formatToken(new JoinToken(founder.meshId, folders.random(16)))
    await assert.rejects(folders.join(await folders.open(), founder, bad), (error) => {
      assert.ok(error instanceof MembershipError)
      assert.match(error.message, /could not join over \/ip4\/192\.0\.2\.1\/tcp\/7461: this node was not admitted/)
      return true
    })
  })
})
