import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MembershipError, UnreachableError } from '../../protocols/errors.ts'
import type { MembershipGate, PeerNetwork } from '../../node/network/network.ts'
import { NetworkRecord, PaperMembership, type NetworkPeer } from '../support/network-peer.ts'
import { seededRandom } from '../support/seeded-random.ts'

export interface PeerOptions {
  name: string
  gate: MembershipGate
  meshId: Uint8Array
  protocolVersion: number
  version: string
  unsentBytesMax: number
  silentMsMax: number
  keepAliveMs: number
}

export interface NetworkSetup {
  /** A network of a node of its own, not open yet. */
  create(options: PeerOptions): PeerNetwork
  /** An address of the network on a way that `silence` can close. */
  closable(network: PeerNetwork): Promise<string>
  /** From now on nothing that either says reaches the other on that way; they do not hear of it. */
  silence(a: PeerNetwork, b: PeerNetwork): void
  [Symbol.asyncDispose](): Promise<void>
}

export const frameType = 1
export const frameBytesMax = 4 * 1024 * 1024

/** What every network must do. Call it with a setup of each kind of network. */
export function testNetwork(name: string, setup: () => NetworkSetup): void {
  describe(`network: ${name}`, () => {
    class Peers implements AsyncDisposable {
      readonly membership = new PaperMembership()
      readonly setup = setup()
      readonly #all: PeerNetwork[] = []

      async open(peerName: string, options: Partial<PeerOptions> = {}): Promise<NetworkPeer> {
        const network = this.setup.create({
          name: peerName,
          gate: this.membership.gate(),
          meshId: Buffer.alloc(32, 7),
          protocolVersion: 1,
          version: '0.1.0',
          unsentBytesMax: 8 * 1024 * 1024,
          silentMsMax: 8000,
          keepAliveMs: 2000,
          ...options,
        })
        this.#all.push(network)
        const record = new NetworkRecord()
        await network.open(record)
        return { network, record }
      }

      async pair(options: Partial<PeerOptions> = {}): Promise<[NetworkPeer, NetworkPeer]> {
        const [a, b] = [await this.open('a', options), await this.open('b', options)]
        await connect(a, b)
        return [a, b]
      }

      /** Two that are linked on a way that can be closed. */
      async closablePair(options: Partial<PeerOptions>): Promise<[NetworkPeer, NetworkPeer]> {
        const [a, b] = [await this.open('a', options), await this.open('b', options)]
        await a.network.connect(await this.setup.closable(b.network))
        await b.record.until('the other side has the link', ({ linked }) => linked.length === 1)
        return [a, b]
      }

      async [Symbol.asyncDispose](): Promise<void> {
        await Promise.all(this.#all.map((network) => network.close()))
        await this.setup[Symbol.asyncDispose]()
      }
    }

    test('links two nodes, and tells each who the other is', async () => {
      await using peers = new Peers()
      const [a, b] = [await peers.open('a'), await peers.open('b')]
      assert.equal(await a.network.connect(addressOf(b)), b.network.self)
      await b.record.until('b has the link', ({ linked }) => linked.length === 1)
      const { peer } = linkTo(b, a)
      assert.deepEqual([peer.node, peer.name, peer.version, peer.role], [a.network.self, 'a', '0.1.0', 'worker'])
      assert.equal(linkTo(a, b).peer.name, 'b')
      assert.ok(peer.addresses.some((address) => a.network.addresses.includes(address)))
      assert.equal(peer.publicKey.length, 32)
    })

    test('a second call to a linked node gives the same link', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      assert.equal(await a.network.connect(addressOf(b)), b.network.self)
      assert.equal(await b.network.connect(addressOf(a)), a.network.self)
      assert.equal(a.record.events.length + b.record.events.length, 2)
    })

    test('nodes that call each other at the same time have one link, the same on both sides', async () => {
      await using peers = new Peers()
      const [a, b] = [await peers.open('a'), await peers.open('b')]
      const calls = [a.network.connect(addressOf(b)), b.network.connect(addressOf(a)), a.network.connect(addressOf(b))]
      assert.deepEqual(await Promise.all(calls), [b.network.self, a.network.self, b.network.self])
      for (const each of [a, b]) await each.record.until('it has a link', ({ linked }) => linked.length === 1)
      linkTo(a, b).frame(frameType, (writer) => writer.u32(1))
      linkTo(b, a).frame(frameType, (writer) => writer.u32(2))
      for (const each of [a, b]) await each.record.until('a frame', (record) => record.of('frame')[0])
      assert.equal([...a.network.links()].length, 1)
      assert.equal([...b.network.links()].length, 1)
    })

    test('frames arrive in order, once each, as they were written', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      const random = seededRandom(11)
      const sizes = Array.from({ length: 2000 }, (_, i) =>
        i % 97 === 0 ? Math.floor(random() * 300_000) : Math.floor(random() * 300),
      )
      const link = linkTo(a, b)
      for (const [i, size] of sizes.entries()) {
        link.frame(frameType, (writer) => {
          writer.u32(i)
          writer.raw(Buffer.alloc(size, i))
        })
        if (i % 100 === 0)
          await b.record.until('no more than a few wait', (record) => record.of('frame').length > i - 300)
      }
      const frames = await b.record.until('all have arrived', (record) => {
        const found = record.of('frame')
        return found.length === sizes.length && found
      })
      for (const [i, { body, node }] of frames.entries()) {
        assert.equal(node, a.network.self)
        assert.equal(body.readUInt32LE(0), i)
        assert.ok(body.subarray(4).equals(Buffer.alloc(sizes[i] ?? 0, i)), `frame ${i}`)
      }
    })

    test('a frame of the most bytes passes, a larger one ends the link', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      linkTo(a, b).frame(frameType, (writer) => writer.raw(Buffer.alloc(frameBytesMax)))
      await b.record.until('the large frame', (record) => record.of('frame')[0])
      linkTo(a, b).frame(frameType, (writer) => writer.raw(Buffer.alloc(frameBytesMax + 1)))
      const [down] = await a.record.until('the link is down', (record) => record.of('down')[0] && record.of('down'))
      assert.match(down?.reason ?? '', /bytes/)
      await b.record.until('on both sides', (record) => record.of('down')[0])
    })

    test('a frame of a type that nobody has ends the link', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      linkTo(a, b).frame(77, (writer) => writer.u32(1))
      const { reason } = await a.record.until('the link is down', (record) => record.of('down')[0])
      assert.match(reason, /77/)
      assert.deepEqual(b.record.of('frame'), [])
    })

    test('a link that is closed tells both why, and can be made again', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      linkTo(a, b).close('enough for today')
      const downs = await Promise.all([a, b].map(({ record }) => record.until('down', (each) => each.of('down')[0])))
      for (const { reason } of downs) assert.match(reason, /enough for today/)
      await connect(a, b)
      linkTo(a, b).frame(frameType, (writer) => writer.u32(5))
      await b.record.until('a frame over the new link', (record) => record.of('frame')[0])
    })

    test('frames for a link that is down go nowhere', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      const link = linkTo(a, b)
      link.close('enough')
      link.frame(frameType, (writer) => writer.u32(5))
      link.flush()
      link.close('again')
      await b.record.until('down', (record) => record.of('down')[0])
      assert.equal(a.record.of('down').length, 1)
      assert.deepEqual(b.record.of('frame'), [])
    })

    test('a node that stops says so to all', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair()
      const address = addressOf(a)
      await a.network.close()
      const { reason } = await b.record.until('down', (record) => record.of('down')[0])
      assert.match(reason, /stopping/)
      await assert.rejects(b.network.connect(address, { timeoutMs: 2000 }), UnreachableError)
    })

    test('a node that does not read loses its link, not this one its memory', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.closablePair({ unsentBytesMax: 2 * 1024 * 1024 })
      peers.setup.silence(a.network, b.network)
      const link = linkTo(a, b)
      for (let i = 0; i < 40 && a.record.of('down').length === 0; i++) {
        link.frame(frameType, (writer) => writer.raw(Buffer.alloc(100_000)))
        link.flush()
      }
      const { reason } = await a.record.until('down', (record) => record.of('down')[0])
      assert.match(reason, /does not read/)
    })

    test('a node of which nothing is heard is given up', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.closablePair({ silentMsMax: 400, keepAliveMs: 100 })
      peers.setup.silence(a.network, b.network)
      for (const { record } of [a, b]) {
        const { reason } = await record.until('down', (each) => each.of('down')[0])
        assert.match(reason, /has not answered/)
      }
    })

    test('links that have nothing to say stay', async () => {
      await using peers = new Peers()
      const [a, b] = await peers.pair({ silentMsMax: 300, keepAliveMs: 50 })
      // For several times as long as silence is borne.
      const { promise, resolve } = Promise.withResolvers<void>()
      setTimeout(resolve, 1200)
      await promise
      assert.deepEqual([a.record.linked, b.record.linked], [[b.network.self], [a.network.self]])
      assert.equal(a.record.events.length, 1)
    })

    describe('who may link', () => {
      test('somebody without the credentials is refused, on both sides', async () => {
        await using peers = new Peers()
        const [a, b] = [await peers.open('a'), await peers.open('b', { gate: peers.membership.gate('guess') })]
        await assert.rejects(b.network.connect(addressOf(a)), MembershipError)
        await assert.rejects(a.network.connect(addressOf(b)), MembershipError)
        assert.deepEqual([a.record.events, b.record.events], [[], []])
      })

      test('another mesh is refused', async () => {
        await using peers = new Peers()
        const [a, b] = [await peers.open('a'), await peers.open('b', { meshId: Buffer.alloc(32, 8) })]
        await assert.rejects(a.network.connect(addressOf(b)), /different meshes/)
        assert.deepEqual(b.record.events, [])
      })

      test('another protocol is refused, with both versions in the message', async () => {
        await using peers = new Peers()
        const [a, b] = [await peers.open('a'), await peers.open('b', { protocolVersion: 2, version: '0.9.0' })]
        const names = (error: unknown): boolean =>
          /shoal 0\.1\.0/.test(String(error)) && /shoal 0\.9\.0/.test(String(error))
        await assert.rejects(a.network.connect(addressOf(b)), names)
        await assert.rejects(b.network.connect(addressOf(a)), names)
      })

      test('who is put out loses its link at once, and gets no other', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        peers.membership.out.add(b.network.self)
        a.network.recheck()
        for (const { record } of [a, b]) {
          const { reason } = await record.until('down', (each) => each.of('down')[0])
          assert.match(reason, /put out/)
        }
        await assert.rejects(b.network.connect(addressOf(a)), MembershipError)
      })

      test('the others stay when one is put out', async () => {
        await using peers = new Peers()
        const [a, b, c] = [await peers.open('a'), await peers.open('b'), await peers.open('c')]
        await connect(a, b)
        await connect(a, c)
        peers.membership.out.add(b.network.self)
        a.network.recheck()
        await a.record.until('b is out', (record) => record.of('down')[0])
        linkTo(a, c).frame(frameType, (writer) => writer.u32(1))
        await c.record.until('c hears', (record) => record.of('frame')[0])
      })
    })

    describe('calls that fail', () => {
      test('nobody there: UnreachableError', async () => {
        await using peers = new Peers()
        const [a, gone] = [await peers.open('a'), await peers.open('gone')]
        const address = addressOf(gone)
        await gone.network.close()
        await assert.rejects(a.network.connect(address, { timeoutMs: 2000 }), UnreachableError)
      })

      test('given up by the caller: UnreachableError', async () => {
        await using peers = new Peers()
        const [a, b] = [await peers.open('a'), await peers.open('b')]
        await assert.rejects(a.network.connect(addressOf(b), { signal: AbortSignal.abort() }), UnreachableError)
      })

      test('no stream without a link', async () => {
        await using peers = new Peers()
        const [a, b] = [await peers.open('a'), await peers.open('b')]
        await assert.rejects(a.network.openBulk(b.network.self), UnreachableError)
      })
    })

    describe('gossip', () => {
      test('reaches all members, with who said it, but not oneself', async () => {
        await using peers = new Peers()
        const all = [await peers.open('a'), await peers.open('b'), await peers.open('c')] as const
        const [a, b, c] = all
        await Promise.all([connect(a, b), connect(a, c), connect(b, c)])
        // It takes a while until everybody knows who wants to hear it.
        const timer = setInterval(() => a.network.publish(Buffer.from('hello')), 100)
        try {
          for (const { record } of [b, c]) {
            const { node, data } = await record.until('it has arrived', (each) => each.of('gossip')[0])
            assert.deepEqual([node, data], [a.network.self, 'hello'])
          }
        } finally {
          clearInterval(timer)
        }
        assert.deepEqual(a.record.of('gossip'), [])
      })

      test('too much at once is an error of the caller', async () => {
        await using peers = new Peers()
        const [a] = await peers.pair()
        const attempt = async (): Promise<void> => a.network.publish(Buffer.alloc(64 * 1024 + 1))
        await assert.rejects(attempt, RangeError)
      })
    })

    describe('streams', () => {
      test('carry bytes both ways, to their end', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const mine = await a.network.openBulk(b.network.self)
        const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251))
        const answering = b.record
          .until('the stream', (record) => record.of('bulk')[0])
          .then(async ({ stream, node }) => {
            assert.equal(node, a.network.self)
            const bytes = await all(stream.source)
            await stream.write(bytes.subarray(0, 1000))
            await stream.end()
            return bytes
          })
        await mine.write(sent)
        await mine.end()
        assert.deepEqual(await all(mine.source), sent.subarray(0, 1000))
        assert.ok((await answering).equals(sent))
      })

      test('many at a time do not mix', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const sums = Promise.all(
          Array.from({ length: 10 }, async (_, i) => {
            const { stream } = await b.record.until('a stream', (record) => record.of('bulk')[i])
            const bytes = await all(stream.source)
            assert.ok(bytes.every((byte) => byte === bytes[0]))
            return bytes.length
          }),
        )
        await Promise.all(
          Array.from({ length: 10 }, async (_, i) => {
            const stream = await a.network.openBulk(b.network.self)
            for (let at = 0; at < 20; at++) await stream.write(Buffer.alloc(10_000, i + 1))
            await stream.end()
          }),
        )
        assert.deepEqual(
          await sums,
          Array.from({ length: 10 }, () => 200_000),
        )
      })

      test('the writer waits for the reader', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const mine = await a.network.openBulk(b.network.self)
        const chunk = Buffer.alloc(256 * 1024, 1)
        const wholeBytes = 64 * 1024 * 1024
        let writtenBytes = 0
        const writing = (async () => {
          while (writtenBytes < wholeBytes) {
            await mine.write(chunk)
            writtenBytes += chunk.length
          }
          await mine.end()
        })()
        writing.catch(() => {})
        const { stream } = await b.record.until('the stream', (record) => record.of('bulk')[0])
        // The frames of the link are not held up by what nobody reads.
        linkTo(a, b).frame(frameType, (writer) => writer.u32(1))
        await b.record.until('a frame', (record) => record.of('frame')[0])
        let readBytes = 0
        for await (const bytes of stream.source) {
          readBytes += bytes.length
          assert.ok(writtenBytes - readBytes < 16 * 1024 * 1024, `${writtenBytes - readBytes} bytes are under way`)
        }
        await writing
        assert.equal(readBytes, wholeBytes)
      })

      test('what one side aborts breaks for the other', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const mine = await a.network.openBulk(b.network.self)
        await mine.write(Buffer.from('so far'))
        const { stream } = await b.record.until('the stream', (record) => record.of('bulk')[0])
        mine.abort('changed my mind')
        await assert.rejects(all(stream.source))
        await assert.rejects(mine.write(Buffer.alloc(10)))
        assert.deepEqual([a.record.linked.length, b.record.linked.length], [1, 1])
      })

      test('a reader that leaves breaks it for the writer', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const mine = await a.network.openBulk(b.network.self)
        await mine.write(Buffer.from('so far'))
        const { stream } = await b.record.until('the stream', (record) => record.of('bulk')[0])
        stream.abort('no more')
        await assert.rejects(async () => {
          for (let i = 0; i < 10_000; i++) await mine.write(Buffer.alloc(64 * 1024))
        })
      })

      test('they break when the other node ends', async () => {
        await using peers = new Peers()
        const [a, b] = await peers.pair()
        const mine = await a.network.openBulk(b.network.self)
        await mine.write(Buffer.from('so far'))
        const { stream } = await b.record.until('the stream', (record) => record.of('bulk')[0])
        const reading = assert.rejects(all(stream.source))
        await a.network.close()
        await reading
      })
    })

    test('nodes hear from each other where the others are', async () => {
      await using peers = new Peers()
      const [a, b, c] = [await peers.open('a'), await peers.open('b'), await peers.open('c')]
      await connect(a, b)
      await connect(c, b)
      await c.record.until('c and a have found each other', ({ linked }) => linked.length === 2)
      await a.record.until('so has a', ({ linked }) => linked.length === 2)
    })
  })
}

function addressOf({ network }: NetworkPeer): string {
  const [address] = network.addresses
  assert.ok(address !== undefined)
  return address
}

async function connect(a: NetworkPeer, b: NetworkPeer): Promise<void> {
  await a.network.connect(addressOf(b))
  await b.record.until('the other side has the link', ({ linked }) => linked.includes(a.network.self))
}

function linkTo(from: NetworkPeer, to: NetworkPeer): NonNullable<ReturnType<PeerNetwork['link']>> {
  const link = from.network.link(to.network.self)
  assert.ok(link !== undefined, 'there is no link')
  return link
}

async function all(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source))
}
