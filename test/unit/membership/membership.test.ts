import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { InvalidArgumentError, NodeUnavailableError } from '../../../protocols/errors.ts'
import { Membership } from '../../../node/membership/membership.ts'
import { decodeCredentials } from '../../../node/membership/certificate.ts'
import { nodeIdOf } from '../../../node/membership/identity.ts'
import { parseToken } from '../../../node/membership/join-token.ts'
import { MemberFolders } from './member-folders.ts'
import { dayMs, minuteMs, refusal } from './mesh-fixture.ts'

describe('membership', () => {
  test('a new node has an identity, which it keeps, and no mesh', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const membership = await folders.open(directory)
    assert.equal(membership.isMember, false)
    assert.equal(membership.canAdmit, false)
    assert.equal(membership.nodeId, nodeIdOf(membership.identity.publicKey))
    for (const call of [() => membership.credentials(), () => membership.role, () => membership.meshId]) {
      assert.throws(call, refusal('noMesh'))
    }
    assert.equal((await folders.open(directory)).nodeId, membership.nodeId)
    assert.notEqual((await folders.open()).nodeId, membership.nodeId)
  })

  test('a founder is the first admin of a new mesh, also after a restart', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    for (const membership of [founder, await folders.open(directory)]) {
      assert.ok(membership.isMember && membership.holdsRoot && membership.canAdmit)
      assert.equal(membership.role, 'admin')
      assert.equal(membership.expiresAtMs, folders.nowMs + 30 * dayMs)
      const { rootPublicKey } = decodeCredentials(membership.credentials())
      assert.deepEqual(Buffer.from(membership.meshId), createHash('sha256').update(rootPublicKey).digest())
      assert.equal(membership.meshName, Buffer.from(founder.meshId).toString('hex').slice(0, 8))
      assert.equal(membership.check(founder.credentials(), founder.identity.publicKey).node, founder.nodeId)
    }
    await assert.rejects(founder.found(folders.nowMs), refusal('isMember'))
  })

  test('all of its files are for its user only', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    await founder.createToken()
    await founder.revokeMember('0123456789abcdef')
    const names = await readdir(directory)
    assert.deepEqual(names.sort(), ['credentials', 'identity.key', 'revocations', 'root.key', 'tokens'])
    for (const name of names) assert.equal((await stat(path.join(directory, name))).mode & 0o777, 0o600, name)
    assert.equal((await stat(directory)).mode & 0o777, 0o700)
  })

  test('the secret of a token is in no file', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    const { text } = await founder.createToken()
    const secret = Buffer.from(parseToken(text).secret)
    for (const name of await readdir(directory)) {
      const content = await readFile(path.join(directory, name))
      assert.ok(!content.includes(secret) && !content.includes(secret.toString('base64url')), name)
    }
  })

  test('a machine may have more addresses than a token has room for', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const addresses = Array.from({ length: 19 }, (_, i) => `/ip4/172.17.${i}.1/tcp/7461`)
    const { text } = await founder.createToken({ addresses })
    assert.deepEqual(parseToken(text).addresses, addresses.slice(0, 16))
  })

  test('tokens and their uses outlive a restart', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    const { text, id } = await founder.createToken({ role: 'submitter', uses: 2, ttlMs: dayMs })
    await folders.join(await folders.open(), founder, text)
    const again = await folders.open(directory)
    assert.deepEqual(again.tokens(), founder.tokens())
    assert.equal(again.tokens()[0]?.usesLeft, 1)
    await folders.join(await folders.open(), again, text)
    await assert.rejects(folders.join(await folders.open(), again, text), refusal('usedUp'))
    await again.revokeToken(id)
    assert.deepEqual((await folders.open(directory)).tokens(), [])
  })

  test('a member is one after a restart, too, and its membership ends in time', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const directory = folders.newFolder()
    const member = await folders.member(founder, 'admin', directory)
    const again = await folders.open(directory)
    assert.deepEqual(again.credentials(), member.credentials())
    assert.equal(again.role, 'admin')
    assert.equal(again.canAdmit, true)
    assert.equal(again.holdsRoot, false)
    folders.nowMs += 30 * dayMs
    const late = await folders.open(directory)
    assert.equal(late.isMember, true)
    assert.equal(late.canAdmit, false)
    assert.throws(() => late.check(late.credentials(), late.identity.publicKey), refusal('expired'))
    await assert.rejects(late.createToken(), refusal('cannotAdmit'))
  })

  test('a founder that was away for months lets itself in again, even without its credentials', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    folders.nowMs += 90 * dayMs
    const again = await folders.open(directory)
    assert.equal(again.meshName, founder.meshName)
    assert.equal(again.canAdmit, true)
    await rm(path.join(directory, 'credentials'))
    const restored = await folders.open(directory)
    assert.equal(restored.meshName, founder.meshName)
    assert.equal(restored.canAdmit, true)
  })

  test('credentials that are not its own, or of another mesh, are not adopted', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const other = await folders.founder()
    const joiner = await folders.open()
    await assert.rejects(joiner.adoptCredentials(founder.credentials()), refusal('otherKey'))
    assert.equal(joiner.isMember, false)
    const { text } = await other.createToken()
    const member = await folders.member(founder, 'worker')
    const credentials = await folders.join(member, other, text)
    await assert.rejects(member.adoptCredentials(credentials), refusal('otherMesh'))
    assert.equal(member.meshName, founder.meshName)
  })

  test('a member may join its own mesh again with another role', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const member = await folders.member(founder, 'worker')
    const { text } = await founder.createToken({ role: 'admin' })
    await member.adoptCredentials(await folders.join(member, founder, text))
    assert.equal(member.role, 'admin')
  })

  test('who leaves is a stranger with a new identity', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const directory = folders.newFolder()
    const member = await folders.member(founder, 'admin', directory)
    await member.createToken()
    const { nodeId } = member
    await member.leave()
    for (const membership of [member, await folders.open(directory)]) {
      assert.equal(membership.isMember, false)
      assert.notEqual(membership.nodeId, nodeId)
      assert.equal(membership.nodeId, member.nodeId)
    }
    assert.deepEqual(await readdir(directory), ['identity.key'])
    await member.found(folders.nowMs)
    assert.deepEqual(member.tokens(), [])
  })

  test('the holder of the root key leaves by force only', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const founder = await folders.founder(directory)
    await assert.rejects(founder.leave(), refusal('holdsRoot'))
    assert.equal((await folders.open(directory)).holdsRoot, true)
    await founder.leave({ force: true })
    assert.equal((await folders.open(directory)).isMember, false)
    assert.deepEqual(await readdir(directory), ['identity.key'])
  })

  test('it prints nothing secret', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    await founder.createToken()
    const seed = Buffer.from(founder.identity.seed)
    for (const thing of [founder, founder.identity, { founder }, [founder.identity]]) {
      for (const printed of [inspect(thing, { depth: 20, showHidden: true }), JSON.stringify(thing), String(thing)]) {
        assert.ok(!printed.includes(seed.toString('hex')) && !printed.includes(seed.toString('base64')))
        assert.ok(!printed.includes(inspect(seed).slice(8, 30)))
      }
    }
    assert.match(inspect(founder), new RegExp(founder.meshName))
  })

  for (const name of ['identity.key', 'root.key', 'credentials', 'tokens', 'revocations']) {
    test(`a damaged or open ${name} is named`, async () => {
      await using folders = await MemberFolders.make()
      const directory = folders.newFolder()
      const founder = await folders.founder(directory)
      await founder.createToken()
      await founder.revokeMember('0123456789abcdef')
      const file = path.join(directory, name)
      const good = await readFile(file)
      const isNamed = (error: unknown): boolean => {
        assert.ok(error instanceof NodeUnavailableError)
        return error.message.includes(file)
      }
      await chmod(file, 0o644)
      await assert.rejects(folders.open(directory), isNamed)
      await chmod(file, 0o600)
      await writeFile(file, good.subarray(0, good.length - 1))
      await assert.rejects(folders.open(directory), isNamed)
      // A good checksum on content that makes no sense.
      const content = Buffer.from([9, 9, 9])
      const header = `shoal ${name} 1 ${createHash('sha256').update(content).digest('hex')}\n`
      await writeFile(file, Buffer.concat([Buffer.from(header), content]))
      await assert.rejects(folders.open(directory), isNamed)
      await writeFile(file, good)
      assert.equal((await folders.open(directory)).nodeId, founder.nodeId)
    })
  }

  test('a root key of another mesh is noticed', async () => {
    await using folders = await MemberFolders.make()
    const [here, there] = [folders.newFolder(), folders.newFolder()]
    await folders.founder(here)
    await folders.founder(there)
    await writeFile(path.join(here, 'root.key'), await readFile(path.join(there, 'root.key')))
    await assert.rejects(folders.open(here), NodeUnavailableError)
  })
})

describe('revoking a member', () => {
  test('others refuse it once they have heard, and after a restart', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const directory = folders.newFolder()
    const other = await folders.member(founder, 'worker', directory)
    const bad = await folders.member(founder, 'worker')
    other.check(bad.credentials(), bad.identity.publicKey)
    await founder.revokeMember(bad.nodeId)
    assert.equal(other.mergeRevocations(founder.revocationsEncoded()), true)
    assert.equal(other.mergeRevocations(founder.revocationsEncoded()), false)
    await other.settled()
    for (const membership of [founder, other, await folders.open(directory)]) {
      assert.throws(() => membership.check(bad.credentials(), bad.identity.publicKey), refusal('revoked'))
      membership.check(other.credentials(), other.identity.publicKey)
    }
  })

  test('whom a revoked admin has admitted is out, too', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const admin = await folders.member(founder, 'admin')
    const worker = await folders.member(admin, 'worker')
    await founder.revokeMember(admin.nodeId)
    assert.throws(() => founder.check(worker.credentials(), worker.identity.publicKey), refusal('revoked'))
    admin.mergeRevocations(founder.revocationsEncoded())
    assert.equal(admin.canAdmit, false)
  })

  test('an admin revokes workers, no admins, and not itself', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const admin = await folders.member(founder, 'admin')
    const worker = await folders.member(founder, 'worker')
    await assert.rejects(admin.revokeMember(founder.nodeId, 'admin'), refusal('notRoot'))
    await admin.revokeMember(founder.nodeId)
    admin.check(founder.credentials(), founder.identity.publicKey)
    await admin.revokeMember(worker.nodeId, 'worker')
    assert.throws(() => admin.check(worker.credentials(), worker.identity.publicKey), refusal('revoked'))
    await assert.rejects(admin.revokeMember(admin.nodeId), InvalidArgumentError)
    await assert.rejects(admin.revokeMember('nobody'), InvalidArgumentError)
    await assert.rejects(worker.revokeMember(admin.nodeId), refusal('cannotAdmit'))
  })

  test('a list that cannot be written is told to who has asked for it', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const failed = Promise.withResolvers<Error>()
    const directory = folders.newFolder()
    await folders.member(founder, 'worker', directory)
    const other = await Membership.open(directory, { ...folders.options, onSaveFailed: failed.resolve })
    await founder.revokeMember('0123456789abcdef')
    await rm(directory, { recursive: true })
    assert.equal(other.mergeRevocations(founder.revocationsEncoded()), true)
    assert.match((await failed.promise).message, /revocations cannot be written/)
  })
})

describe('renewal', () => {
  test('a member gets another 30 days from any admin, with the same key and role', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const directory = folders.newFolder()
    const member = await folders.member(founder, 'submitter', directory)
    assert.equal(member.renewalDue(folders.nowMs), false)
    folders.nowMs += 20 * dayMs + 1
    assert.equal(member.renewalDue(folders.nowMs), true)
    await member.acceptRenewed(founder.reissue(member.credentials(), member.identity.publicKey, folders.nowMs))
    assert.equal(member.renewalDue(folders.nowMs), false)
    folders.nowMs += 29 * dayMs
    const again = await folders.open(directory)
    assert.equal(again.role, 'submitter')
    const { publicKey } = again.identity
    assert.equal(founder.check(again.credentials(), publicKey).role, 'submitter')
  })

  test('the founder renews itself', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    folders.nowMs += 25 * dayMs
    assert.equal(founder.renewalDue(folders.nowMs), true)
    await founder.renewOwn(folders.nowMs)
    assert.equal(founder.expiresAtMs, folders.nowMs + 30 * dayMs)
    const worker = await folders.member(founder, 'worker')
    await assert.rejects(worker.renewOwn(folders.nowMs), refusal('notRoot'))
  })

  test('a founder whose clock was ahead renews itself once that is set right', async () => {
    await using folders = await MemberFolders.make()
    const directory = folders.newFolder()
    const rightMs = folders.nowMs
    folders.nowMs = rightMs + dayMs
    const founder = await folders.founder(directory)
    const member = await folders.member(founder, 'admin')
    folders.nowMs = rightMs
    assert.equal(founder.canAdmit, false)
    await assert.rejects(founder.createToken(), /its membership begins at .*: set the clocks/)
    assert.equal(founder.renewalDue(rightMs), true)
    // Who has been let in cannot help itself.
    assert.equal(member.renewalDue(rightMs), false)
    const again = await folders.open(directory)
    assert.ok(again.canAdmit && !again.renewalDue(rightMs))
    await founder.renewOwn(rightMs)
    assert.ok(founder.canAdmit && !founder.renewalDue(rightMs))
    assert.equal(founder.expiresAtMs, rightMs + 30 * dayMs)
  })

  test('no member, no renewal: expired, revoked, a stranger, the key of another', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const stranger = await folders.founder()
    const [worker, bad] = [await folders.member(founder, 'worker'), await folders.member(founder, 'worker')]
    const { publicKey } = worker.identity
    const reissue = (credentials: Uint8Array, key: Uint8Array): Uint8Array =>
      founder.reissue(credentials, key, folders.nowMs)
    assert.throws(() => reissue(worker.credentials(), bad.identity.publicKey), refusal('otherKey'))
    assert.throws(() => reissue(stranger.credentials(), stranger.identity.publicKey), refusal('otherMesh'))
    await founder.revokeMember(bad.nodeId)
    assert.throws(() => reissue(bad.credentials(), bad.identity.publicKey), refusal('revoked'))
    folders.nowMs += 30 * dayMs
    await founder.renewOwn(folders.nowMs)
    assert.throws(() => reissue(worker.credentials(), publicKey), refusal('expired'))
  })

  test('workers renew nobody', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const worker = await folders.member(founder, 'worker')
    assert.throws(
      () => worker.reissue(worker.credentials(), worker.identity.publicKey, folders.nowMs),
      refusal('cannotAdmit'),
    )
  })

  test('a renewal that changes the role or gives no more time is not taken', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const admin = await folders.member(founder, 'admin')
    folders.nowMs += minuteMs
    const member = await folders.member(founder, 'worker')
    const { publicKey } = member.identity
    // The admin's own membership ends before the member's does.
    const shorter = admin.reissue(member.credentials(), publicKey, folders.nowMs)
    await assert.rejects(member.acceptRenewed(shorter), refusal('notLonger'))
    folders.nowMs += minuteMs
    const { text } = await founder.createToken({ role: 'admin' })
    const promoted = await folders.join(member, founder, text)
    await assert.rejects(member.acceptRenewed(promoted), refusal('otherRole'))
    await assert.rejects(member.acceptRenewed(founder.credentials()), refusal('otherKey'))
    assert.equal(member.role, 'worker')
  })

  test('two admins cannot keep each other alive without the root', async () => {
    await using folders = await MemberFolders.make()
    const founder = await folders.founder()
    const [a, b] = [await folders.member(founder, 'admin'), await folders.member(founder, 'admin')]
    folders.nowMs += 29 * dayMs
    const renewed = b.reissue(a.credentials(), a.identity.publicKey, folders.nowMs)
    await assert.rejects(a.acceptRenewed(renewed), refusal('notLonger'))
  })
})
