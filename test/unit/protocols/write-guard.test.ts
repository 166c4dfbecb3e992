import '../../support/loopback.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { Client } from '../../../node/server/client.ts'
import { MessageChannel } from '../../../protocols/channel.ts'
import { decodeBody } from '../../../protocols/messages.ts'
import { WriteGuard } from '../../../protocols/write-guard.ts'
import { DirectLine } from '../../../sdk/direct/direct-line.ts'

/** Hands over both ends of a connection, on which nothing has been said yet. */
async function withPair<T>(use: (end: Socket, other: Socket) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-guard-'))
  const socketPath = path.join(directory, 's')
  const server = createServer()
  const accepted = once(server, 'connection') as Promise<[Socket]>
  server.listen(socketPath)
  await once(server, 'listening')
  const other = connect(socketPath)
  const [[end]] = await Promise.all([accepted, once(other, 'connect')])
  other.on('error', () => {})
  try {
    return await use(end, other)
  } finally {
    other.destroy()
    server.close()
    rmSync(directory, { recursive: true })
  }
}

function bytesUntilClosed(socket: Socket): Promise<number> {
  let bytes = 0
  socket.on('data', (chunk) => (bytes += chunk.length))
  // Who dies with something unread resets the connection, which is said behind the last that it wrote.
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve(bytes)))
}

function speakAndDie(socket: Socket, numbers: readonly number[]): void {
  const channel = new MessageChannel({ write: (bytes) => void socket.write(bytes) })
  for (const number of numbers) channel.send('actorFence', { number })
  channel.flush()
  socket.destroy()
}

const numbers = Array.from({ length: 5000 }, (_, i) => i)

describe('what the other end said before it died is heard although nothing can be written to it any more', () => {
  for (const [what, write] of [
    ['one write', (socket: Socket) => socket.write('too late')],
    [
      'several writes at once',
      (socket: Socket) => {
        socket.cork()
        for (let i = 0; i < 3; i++) socket.write('too late')
        socket.uncork()
      },
    ],
    ['the end', (socket: Socket) => socket.end('too late')],
  ] as const) {
    test(`by a guarded socket: ${what}`, () =>
      withPair(async (end, other) => {
        const guard = new WriteGuard(end)
        const heard = bytesUntilClosed(end)
        other.write(Buffer.alloc(50_000))
        other.destroy()
        write(end)
        assert.deepEqual([await heard, guard.isBroken], [50_000, true])
      }))
  }

  test('by a socket on which a write waits while the other end dies', () =>
    withPair(async (end, other) => {
      const guard = new WriteGuard(end)
      const heard = bytesUntilClosed(end)
      end.write(Buffer.alloc(4 << 20))
      assert.ok(end.writableLength > 0)
      other.write(Buffer.alloc(50_000))
      other.destroy()
      assert.deepEqual([await heard, guard.isBroken], [50_000, true])
    }))

  test('by a client of the node', () =>
    withPair(async (end, other) => {
      const heard: number[] = []
      const { promise: closed, resolve } = Promise.withResolvers<void>()
      const client = new Client(end, {
        onFrame: (_client, _name, frame) => void heard.push(decodeBody('actorFence', frame.body).number),
        onClosed: () => resolve(),
        log: () => undefined,
      })
      speakAndDie(other, numbers)
      client.send('actorFence', { number: 1 })
      await closed
      assert.deepEqual(heard, numbers)
    }))

  test('by a line between two processes, which is not open any more', () =>
    withPair(async (end, other) => {
      const heard: number[] = []
      const { promise: ended, resolve } = Promise.withResolvers<void>()
      const line = new DirectLine(end, {
        onMessage: (_name, frame) => void heard.push(decodeBody('actorFence', frame.body).number),
        onEnded: () => resolve(),
      })
      end.on('data', (chunk) => line.receive(chunk))
      // What is read keeps the process alive here, since nothing else does.
      end.ref()
      speakAndDie(other, numbers)
      assert.ok(line.isOpen)
      line.send('actorFence', { number: 1 })
      line.flush()
      assert.equal(line.isOpen, false)
      await ended
      assert.deepEqual(heard, numbers)
    }))
})
