import '../../support/loopback.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import tls from 'node:tls'
import { UnreachableError } from '../../../protocols/errors.ts'
import { DirectBulk, tlsOptions } from '../../../node/network/direct-bulk.ts'
import type { DirectStream } from '../../../node/network/direct-stream.ts'
import { ticketName } from '../../../node/network/tickets.ts'
import { strangerCertificate } from '../../support/stranger-certificate.ts'

const host = '127.0.0.1'

interface End {
  bulk: DirectBulk
  /** The next stream that comes in. */
  next(): Promise<{ from: string; stream: DirectStream }>
  /** Streams that have come in and were not asked for. */
  waiting(): number
}

async function listening(t: TestContext, now = (): number => performance.now()): Promise<End> {
  const come: { from: string; stream: DirectStream }[] = []
  let changed = Promise.withResolvers<void>()
  const bulk = new DirectBulk({
    host,
    now,
    log: () => {},
    onStream: (from, stream) => {
      come.push({ from, stream })
      changed.resolve()
      changed = Promise.withResolvers()
    },
  })
  await bulk.open()
  t.after(() => bulk.close())
  return {
    bulk,
    waiting: () => come.length,
    async next() {
      for (;;) {
        const first = come.shift()
        if (first !== undefined) return first
        await changed.promise
      }
    },
  }
}

async function pair(t: TestContext): Promise<[DirectStream, DirectStream]> {
  const server = await listening(t)
  const secret = server.bulk.issue('a')
  assert.ok(secret !== undefined)
  const client = await listening(t)
  const mine = await client.bulk.connect('b', { host, port: server.bulk.port, secret }, 2000)
  const { from, stream } = await server.next()
  assert.equal(from, 'a')
  return [mine, stream]
}

describe('direct connections for what is large', { concurrency: true }, () => {
  test('carry bytes both ways, right into their places', async (t) => {
    const [a, b] = await pair(t)
    const sent = Buffer.alloc(9_000_001, 'shoal').fill(1, 4_000_000)
    const target = new Uint8Array(sent.length)
    const read = [a.readInto(target.subarray(0, 5)), a.readInto(target.subarray(5, 6_000_000))]
    const written = b.write(sent)
    await Promise.all(read)
    await a.readInto(target.subarray(6_000_000))
    await written
    assert.ok(sent.equals(target))
    await a.write(Buffer.from('thanks'))
    const answer = Buffer.alloc(6)
    await b.readInto(answer)
    assert.equal(answer.toString(), 'thanks')
  })

  test('small pieces that come before they are asked for are kept', async (t) => {
    const [a, b] = await pair(t)
    for (let i = 0; i < 100; i++) await b.write(Buffer.alloc(1000, i))
    const first = Buffer.alloc(1)
    await a.readInto(first)
    const rest = Buffer.alloc(99_999)
    await a.readInto(rest)
    assert.ok(rest.subarray(-1000).every((byte) => byte === 99))
  })

  test('hold the writer back when nobody reads', async (t) => {
    const [a, b] = await pair(t)
    let written = 0
    const chunk = Buffer.alloc(1_000_000)
    const writing = (async () => {
      for (let i = 0; i < 200; i++) {
        await b.write(chunk)
        written += 1
      }
    })()
    const target = Buffer.alloc(1_000_000)
    await a.readInto(target)
    assert.ok(written < 100, `${written} of 200 were written with nobody reading`)
    for (let i = 1; i < 200; i++) await a.readInto(target)
    await writing
  })

  test('an end in the middle is an error for who reads, and for who writes', async (t) => {
    const [a, b] = await pair(t)
    const reading = a.readInto(new Uint8Array(1000))
    await b.write(Buffer.alloc(10))
    b.abort('enough')
    await assert.rejects(reading, UnreachableError)
    await assert.rejects(b.write(Buffer.alloc(10)), UnreachableError)
    await assert.rejects(a.readInto(new Uint8Array(1)), UnreachableError)
  })

  test('a ticket opens one connection, for a while, and another secret none', async (t) => {
    let nowMs = 0
    const server = await listening(t, () => nowMs)
    const client = await listening(t)
    const connect = (secret: Uint8Array): Promise<DirectStream> =>
      client.bulk.connect('b', { host, port: server.bulk.port, secret }, 2000)
    const [used, late] = [server.bulk.issue('a'), server.bulk.issue('a')]
    assert.ok(used !== undefined && late !== undefined)
    await connect(used)
    await assert.rejects(connect(used), UnreachableError)
    await assert.rejects(connect(Buffer.alloc(32, 1)), UnreachableError)
    nowMs += 60_000
    await assert.rejects(connect(late), UnreachableError)
    const revoked = server.bulk.issue('a')
    server.bulk.end('a')
    await assert.rejects(connect(revoked as Buffer), UnreachableError)
  })

  test('a certificate is no ticket, on either side, even if all the world trusts it', async (t) => {
    const trusted = tls.getCACertificates('default')
    tls.setDefaultCACertificates([...trusted, strangerCertificate.cert])
    t.after(() => tls.setDefaultCACertificates(trusted))
    const stranger = tls.createServer({ ...tlsOptions, ...strangerCertificate }).listen(0, host)
    stranger.on('tlsClientError', (_, socket) => socket.destroy())
    t.after(() => stranger.close())
    await once(stranger, 'listening')
    const { port } = stranger.address() as net.AddressInfo
    const end = await listening(t)
    for (const accepts of ['1', '0']) {
      const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = accepts
      try {
        const connecting = end.bulk.connect('b', { host, port, secret: Buffer.alloc(32, 7) }, 2000)
        await assert.rejects(connecting, { name: 'UnreachableError', message: /a certificate instead of the ticket/ })
      } finally {
        if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
        else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
      }
    }
    const client = tls.connect({ ...tlsOptions, ...strangerCertificate, host, port: end.bulk.port })
    const [error] = (await once(client, 'close').catch((cause: Error) => [cause])) as [unknown]
    assert.ok(error instanceof Error)
  })

  test('a session that a ticket has opened cannot be taken up again without one', async (t) => {
    const server = await listening(t)
    const secret = server.bulk.issue('a') as Buffer
    const to = { ...tlsOptions, host, port: server.bulk.port, rejectUnauthorized: false }
    const first = tls.connect({ ...to, pskCallback: () => ({ psk: secret, identity: ticketName(secret) }) })
    const [session] = (await once(first, 'session')) as [Buffer]
    const { stream } = await server.next()
    stream.abort('enough')
    const again = tls.connect({ ...to, session })
    again.on('error', () => {})
    again.resume()
    await once(again, 'close')
    assert.equal(server.waiting(), 0)
  })

  test('a node can have only so many tickets that it does not use', async (t) => {
    const { bulk } = await listening(t)
    let issued = 0
    while (bulk.issue('a') !== undefined) issued += 1
    assert.ok(issued > 0 && issued <= 64)
    assert.ok(bulk.issue('b') !== undefined)
  })

  test('garbage, silence and too many strangers are shown the door, and others get in', async (t) => {
    const server = await listening(t)
    const garbage = net.connect(server.bulk.port, host)
    garbage.on('error', () => {})
    garbage.write(Buffer.alloc(10_000, 'x'))
    garbage.resume()
    await once(garbage, 'close')
    const silent = Array.from({ length: 80 }, () => net.connect(server.bulk.port, host))
    t.after(() => silent.forEach((socket) => socket.destroy()))
    let closed = 0
    const { promise: someClosed, resolve } = Promise.withResolvers<void>()
    for (const socket of silent) {
      socket.on('error', () => {})
      socket.resume()
      socket.once('close', () => {
        if (++closed === 16) resolve()
      })
    }
    await someClosed
    for (const socket of silent) socket.destroy()
    const client = await listening(t)
    const secret = server.bulk.issue('a') as Buffer
    // Those who have just left are counted until the system has told.
    for (let tries = 0; ; tries++) {
      try {
        const stream = await client.bulk.connect('b', { host, port: server.bulk.port, secret }, 2000)
        stream.abort('done')
        return
      } catch (error) {
        if (tries === 50) throw error
      }
    }
  })
})
