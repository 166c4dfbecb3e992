import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import { meshIdOf } from '../../node/membership/certificate.ts'
import { Identity } from '../../node/membership/identity.ts'
import { KeyPair } from '../../node/membership/key-pair.ts'
import { parseToken } from '../../node/membership/join-token.ts'
import { requestToJoin } from '../../node/membership/request-to-join.ts'
import { dialToJoin } from '../../node/network/dial-to-join.ts'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { PeerNetwork } from '../../node/network/network.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { MembershipError, UnreachableError } from '../../protocols/errors.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask, nodesSeenBy } from '../support/mesh-view.ts'
import { certificateFor, logOf, Outsider, residentBytes, rootOf, stranger } from '../support/outsider.ts'
import { seededRandom } from '../support/seeded-random.ts'

const dayMs = 24 * 3_600_000
const seed = Number(process.env['SHOAL_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

/** All protocols that a node takes streams for. */
const protocolNames = [
  '/shoal/peer/1',
  '/shoal/join/1',
  '/shoal/bulk/1',
  '/shoal/kad/1',
  '/ipfs/id/1.0.0',
  '/ipfs/id/push/1.0.0',
  '/ipfs/ping/1.0.0',
  '/meshsub/1.2.0',
  '/meshsub/1.1.0',
  '/meshsub/1.0.0',
]

/** Two members that work together all the while, and somebody who wants to disturb them. */
describe('who does not belong here', () => {
  let mesh: LocalMesh
  let target: LocalNode
  let address: string
  let root: KeyPair
  let meshId: Uint8Array
  let driver: DriverProgram
  const upped = (node: LocalNode): { ready: LocalNode } => ({ ready: node })

  before(async () => {
    mesh = await startLocalMesh({ nodes: 2 })
    ;[target] = mesh.nodes as [LocalNode, LocalNode]
    address = target.addresses[0] ?? ''
    root = await rootOf(target)
    meshId = meshIdOf(root.publicKey)
    driver = new DriverProgram(
      `
      import { init, remote, get } from 'SDK'
      import { existsSync } from 'node:fs'
      await init()
      const double = remote((i: number) => i * 2, { schedulingStrategy: 'spread' })
      let rounds = 0
      let wrong = 0
      while (!existsSync('enough')) {
        const values = await get(Array.from({ length: 100 }, (_, i) => double.remote(i)))
        wrong += values.filter((value, i) => value !== i * 2).length
        if (++rounds % 10 === 1) console.log('ROUND ' + rounds)
      }
      console.log('RESULT ' + JSON.stringify({ rounds, wrong }))
      `,
      { SHOAL_RUNTIME_DIR: target.runtimeDirectory },
    )
    await driver.printed(/ROUND/)
  })

  after(async () => {
    await driver[Symbol.asyncDispose]()
    await mesh[Symbol.asyncDispose]()
  })

  /** What the target has written to its log since. */
  function watchLog(): () => string[] {
    const { length } = logOf(target)
    return () => logOf(target).slice(length - 1)
  }

  async function assertRefused(outsider: Outsider, why: RegExp): Promise<void> {
    const news = watchLog()
    for (let i = 0; i < 3; i++) {
      await assert.rejects(outsider.network.connect(address), (error) => {
        assert.ok(error instanceof MembershipError, String(error))
        assert.match(error.message, why)
        return true
      })
    }
    const said = news().filter((line) => why.test(line))
    assert.equal(said.length, 1, `logged once: ${said.join('\n')}`)
    assert.deepEqual(outsider.record.events, [])
  }

  test('no certificate', async () => {
    await using outsider = await Outsider.open({ meshId, credentials: new Uint8Array() })
    await assertRefused(outsider, /credentials/)
  })

  test('a certificate of another node', async () => {
    const credentials = certificateFor(root, new Identity(randomBytes(32)), 'worker', Date.now())
    await using outsider = await Outsider.open({ meshId, credentials })
    await assertRefused(outsider, /another|not of the key|belongs/)
  })

  test('an expired certificate', async () => {
    const identity = new Identity(randomBytes(32))
    const credentials = certificateFor(root, identity, 'admin', Date.now() - 31 * dayMs)
    await using outsider = await Outsider.open({ meshId, identity, credentials })
    await assertRefused(outsider, /expired|ended/)
  })

  test('a revoked certificate, also of a member that is linked', async () => {
    const identity = new Identity(randomBytes(32))
    const credentials = certificateFor(root, identity, 'worker', Date.now())
    await using outsider = await Outsider.open({ meshId, identity, credentials })
    await outsider.network.connect(address)
    await ask(upped(target), 'memberRevoke', { node: identity.node })
    await outsider.record.until('its link is down', (record) => record.of('down')[0])
    await assert.rejects(outsider.network.connect(address), /revoked/)
    const other = mesh.nodes[1]?.addresses[0] ?? ''
    await assert.rejects(outsider.network.connect(other), /revoked/)
  })

  test('a certificate of another mesh', async () => {
    const [identity, otherRoot] = [new Identity(randomBytes(32)), new KeyPair(randomBytes(32))]
    const credentials = certificateFor(otherRoot, identity, 'admin', Date.now())
    {
      await using outsider = await Outsider.open({ meshId: meshIdOf(otherRoot.publicKey), identity, credentials })
      await assertRefused(outsider, /different meshes/)
    }
    await using liar = await Outsider.open({ meshId, credentials })
    await assertRefused(liar, /of mesh/)
  })

  test('another version of the protocol', async () => {
    const identity = new Identity(randomBytes(32))
    const credentials = certificateFor(root, identity, 'worker', Date.now())
    await using outsider = await Outsider.open({ meshId, identity, credentials, protocolVersion: 99, version: '9.1.0' })
    await assertRefused(outsider, /shoal 0\.1\.0 .*9\.1\.0|9\.1\.0 .*shoal 0\.1\.0/)
  })

  test('a token that is used up, revoked, or made up', async () => {
    const join = async (text: string): Promise<Uint8Array> => {
      const identity = new Identity(randomBytes(32))
      await using conversation = await dialToJoin({ seed: identity.seed, address, timeoutMs: 5000 })
      return await requestToJoin(conversation, parseToken(text), identity)
    }
    const { token: once_ } = await ask(upped(target), 'tokenCreate', { role: 'worker', ttlMs: 60_000, uses: 1 })
    assert.ok((await join(once_)).length > 0)
    await assert.rejects(join(once_), /used/)
    const { token, id } = await ask(upped(target), 'tokenCreate', { role: 'worker', ttlMs: 60_000, uses: 5 })
    await ask(upped(target), 'tokenRevoke', { id })
    await assert.rejects(join(token), /revoked|not known/)
  })

  test(`garbage on every protocol (SHOAL_FUZZ_SEED=${seed})`, async () => {
    const random = seededRandom(seed)
    for (const name of protocolNames) {
      for (let i = 0; i < 4; i++) {
        await using knocking = await stranger(address)
        let stream: Stream
        try {
          stream = await knocking.connection.newStream(name, { signal: AbortSignal.timeout(5000) })
        } catch {
          continue
        }
        const closed = once(stream, 'close')
        const bytes = Buffer.from(
          Array.from({ length: 1 + Math.floor(random() * 20_000) }, () => Math.floor(random() * 256)),
        )
        try {
          for (let at = 0; at < bytes.length && stream.writeStatus === 'writable'; at += 1000) {
            stream.send(bytes.subarray(at, at + 1000))
            await new Promise(setImmediate)
          }
        } catch {
          // Closed meanwhile, as it should be.
        }
        if (stream.status === 'open') await Promise.race([closed, once(AbortSignal.timeout(15_000), 'abort')])
        assert.notEqual(stream.status, 'open', `${name} is still open to a stranger that talks nonsense`)
      }
    }
  })

  test('garbage from a member', async () => {
    const random = seededRandom(seed + 1)
    const identity = new Identity(randomBytes(32))
    const credentials = certificateFor(root, identity, 'worker', Date.now())
    await using outsider = await Outsider.open({ meshId, identity, credentials })
    let downs = 0
    for (let i = 0; i < 60; i++) {
      const node = await connected(outsider.network, address)
      const link = outsider.network.link(node)
      // Frames of every type that members use, with bodies of chance.
      const type = 10 + Math.floor(random() * 150)
      const body = randomBody(random)
      link?.frame(type, (writer) => writer.raw(body))
      link?.flush()
      if (i % 10 === 0) {
        const stream = await outsider.network.openBulk(node).catch(() => undefined)
        await stream?.write(randomBody(random)).catch(() => {})
        stream?.abort('nothing more')
      }
      outsider.network.publish(randomBody(random))
      const ping = AbortSignal.timeout(50)
      await Promise.race([
        once(ping, 'abort'),
        outsider.record.until('down', (record) => record.of('down').length > downs),
      ])
      downs = outsider.record.of('down').length
    }
    assert.ok(downs > 5, `its link was closed ${downs} times`)
    const gossip = logOf(target).filter((line) => line.includes(`gossip of ${identity.node}`))
    assert.ok(gossip.length <= 1, `logged once, not ${gossip.length} times`)
  })

  test('bytes that are not even TLS, and connections that only stay', async () => {
    const random = seededRandom(seed + 2)
    const [, port] = /tcp\/(\d+)/.exec(address) ?? []
    const sockets: Socket[] = []
    try {
      for (let i = 0; i < 400; i++) {
        const socket = connect(Number(port), '127.0.0.1')
        socket.on('error', () => {})
        sockets.push(socket)
        if (i % 2 === 0) socket.once('connect', () => socket.write(randomBody(random)))
        if (i % 20 === 0) await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
      }
      // A member gets in all the same.
      const identity = new Identity(randomBytes(32))
      const credentials = certificateFor(root, identity, 'worker', Date.now())
      await using late = await Outsider.open({ meshId, identity, credentials })
      await connected(late.network, address)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  })

  test('all the while nothing else was disturbed, and memory is bounded', async () => {
    writeFileSync(`${driver.directory}/enough`, '')
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    const { rounds, wrong } = JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? '{}') as { rounds: number; wrong: number }
    assert.equal(wrong, 0)
    assert.ok(rounds > 10, `${rounds} rounds`)
    for (const node of mesh.nodes) {
      const broken = logOf(node).filter((line) => /the link with n\d .* is down/.test(line))
      assert.deepEqual(broken, [])
      assert.ok(residentBytes(node.pid) < 400 * 1024 * 1024, `${residentBytes(node.pid)} bytes`)
    }
    const seen = await nodesSeenBy(upped(target))
    assert.deepEqual(
      seen
        .filter(({ linked, isSelf }) => linked || isSelf)
        .map(({ name }) => name)
        .toSorted(),
      ['n1', 'n2'],
    )
  })
})

/** Links up, again and again for a while: a connection may be ending just now, or too many others be coming in. */
async function connected(network: PeerNetwork, address: string): Promise<NodeId> {
  const deadline = AbortSignal.timeout(30_000)
  for (;;) {
    try {
      return await network.connect(address)
    } catch (error) {
      if (!(error instanceof UnreachableError) || deadline.aborted) throw error
      await delay(20)
    }
  }
}

function randomBody(random: () => number): Buffer {
  const length = Math.floor(random() ** 3 * 20_000)
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)))
}
