import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteWriter } from '../../../protocols/bytes.ts'
import { MessageChannel, dispatch } from '../../../protocols/channel.ts'
import { InvalidArgumentError, ProtocolError } from '../../../protocols/errors.ts'
import { FrameReader, FrameWriter } from '../../../protocols/frame.ts'
import { decodeBody, messages, type MessageName } from '../../../protocols/messages.ts'
import { seededRandom } from '../../support/seeded-random.ts'

function recorded(send: (channel: MessageChannel) => void): Buffer {
  const parts: Uint8Array[] = []
  const channel = new MessageChannel({ write: (bytes) => void parts.push(bytes) })
  send(channel)
  channel.flush()
  return Buffer.concat(parts)
}

const client = 'ab'.repeat(16)
const object = `${client}000000000007`

function sample(channel: MessageChannel): void {
  channel.send('leaseReturn', { leaseId: 7 })
  channel.send('leaseRequest', {
    requestId: 3,
    resources: { CPU: 0.5, tpu: 2 },
    strategy: { kind: 'labels', selector: { zone: { in: ['lab1'] } } },
    envVars: { NAME: 'wert ü' },
    envKey: 'k',
    depth: 2,
    label: 'square',
    isRetriable: true,
    job: client,
    isActor: true,
  })
  channel.send('taskPush', {
    leaseId: 9,
    tasks: [
      {
        sequence: 2 ** 40,
        functionId: object,
        attempt: 1,
        returnCount: 0,
        isCareful: true,
        streamSkip: 5,
        streamLimit: 2 ** 40,
        name: 'square',
        args: {
          kind: 'inline',
          isError: false,
          format: 1,
          head: Buffer.from('args'),
          buffers: [Buffer.from('b')],
          refs: [object],
          classes: [],
        },
        group: '[true]',
        resolved: [
          {
            position: 1,
            object,
            value: {
              kind: 'stored',
              isError: true,
              name: '00112233445566778899',
              bytes: 2 ** 35,
              owner: client,
              sequence: 7,
              refs: [],
              classes: [object],
            },
          },
        ],
      },
    ],
  })
  channel.send('taskDone', {
    leaseId: 9,
    results: [{ sequence: 1, status: 'streamEnd', durationUs: 12, values: [] }],
  })
}

function bodies(bytes: Buffer, chunkSize: number): unknown[] {
  const seen: unknown[] = []
  const channel = new MessageChannel({ write: () => undefined })
  for (let at = 0; at < bytes.length; at += chunkSize) {
    channel.receive(bytes.subarray(at, at + chunkSize), (name, frame) =>
      seen.push([name, decodeBody(name, frame.body)]),
    )
  }
  return seen
}

describe('messages', () => {
  test('arrive as they were sent, however the stream is cut', () => {
    const bytes = recorded(sample)
    const whole = bodies(bytes, bytes.length)
    assert.equal(whole.length, 4)
    const [, , push] = whole as [unknown, unknown, [string, { tasks: { sequence: number; resolved: unknown[] }[] }]]
    assert.equal(push[1].tasks[0]?.sequence, 2 ** 40)
    for (let chunkSize = 1; chunkSize < 40; chunkSize++) assert.deepEqual(bodies(bytes, chunkSize), whole)
  })

  test('sent in one turn leave in one write', async () => {
    const writes: number[] = []
    const channel = new MessageChannel({ write: (bytes) => void writes.push(bytes.length) })
    for (let i = 0; i < 100; i++) channel.send('leaseReturn', { leaseId: i })
    assert.deepEqual(writes, [])
    await Promise.resolve()
    assert.deepEqual(writes, [900])
  })

  test('every type has a code of its own', () => {
    const codes = Object.values(messages).map((message) => message.code)
    assert.equal(new Set(codes).size, codes.length)
  })

  test('an unknown type and a length over the limit are refused before anything is buffered', () => {
    const channel = new MessageChannel({ write: () => undefined })
    const unknown = Buffer.from([5, 0, 0, 0, 255, 1, 2, 3, 4])
    assert.throws(() => channel.receive(unknown, () => undefined), /unknown message type 255/)
    const tooLong = Buffer.from([0xff, 0xff, 0xff, 0x7f, messages.leaseReturn.code])
    const other = new MessageChannel({ write: () => undefined })
    assert.throws(() => other.receive(tooLong, () => undefined), ProtocolError)
  })

  test('a message that this side does not take is refused', () => {
    const bytes = recorded((channel) => channel.send('leaseReturn', { leaseId: 1 }))
    const channel = new MessageChannel({ write: () => undefined })
    assert.throws(
      () => channel.receive(bytes, (name, frame) => dispatch({}, name, frame)),
      /a leaseReturn message is not expected here/,
    )
  })

  test('a stored value cannot name a file outside of the store', () => {
    const bytes = recorded(sample)
    const evil = Buffer.from(bytes.toString('latin1').replace('00112233445566778899', '../../../etc/passwd0'), 'latin1')
    assert.throws(() => bodies(evil, evil.length), /a name that is not one of the store/)
  })

  test('what was written stays as it is, whatever is written after it', () => {
    const random = seededRandom(7)
    const parts: Uint8Array[] = []
    const channel = new MessageChannel({ write: (bytes) => void parts.push(bytes) })
    const sent: string[] = []
    for (let i = 0; i < 2000; i++) {
      // Mostly short, now and then as large as what a writer does not keep.
      const message = `${i} `.repeat(1 + Math.floor(random() ** 8 * 1000))
      sent.push(message)
      channel.send('refused', { code: '', message })
      if (random() < 0.7) channel.flush()
    }
    channel.flush()
    const got: string[] = []
    channel.receive(Buffer.concat(parts), (_, { body }) => void got.push(decodeBody('refused', body).message))
    assert.deepEqual(got, sent)
    assert.ok(new Set(parts.map(({ buffer }) => buffer)).size < parts.length / 4, 'memory is taken for each')
  })

  test('changed bytes decode or are a ProtocolError, and nothing else', () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    const random = seededRandom(seed)
    const original = recorded(sample)
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(original)
      const changes = 1 + Math.floor(random() * 4)
      for (let i = 0; i < changes; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      const names: MessageName[] = []
      const channel = new MessageChannel({ write: () => undefined })
      try {
        channel.receive(bytes, (name, frame) => {
          decodeBody(name, frame.body)
          names.push(name)
        })
      } catch (error) {
        assert.ok(error instanceof ProtocolError, `seed ${seed}, round ${round}: ${String(error)}`)
      }
      assert.ok(names.length <= 20, `seed ${seed}, round ${round}`)
    }
  })
})

test('a message that cannot be written leaves nothing behind', () => {
  const parts: Uint8Array[] = []
  const writer = new FrameWriter({ write: (bytes) => void parts.push(bytes) })
  writer.frame(1, (body) => body.u32(10))
  assert.throws(() =>
    writer.frame(2, (body) => {
      body.u32(20)
      body.u32(2 ** 32)
    }),
  )
  writer.frame(3, (body) => body.u32(30))
  writer.flush()
  const read: [type: number, value: number][] = []
  new FrameReader(() => 4).push(Buffer.concat(parts), ({ type, body }) => read.push([type, body.readUInt32LE()]))
  assert.deepEqual(read, [
    [1, 10],
    [3, 30],
  ])
})

test('an id that is no hex, or too short or long, is an error, and nothing is written', () => {
  const writer = new ByteWriter()
  for (const text of ['', 'zz', 'abz', 'abzz', 'abcd12', 'abc']) {
    assert.throws(() => writer.hex(text, 2), { name: InvalidArgumentError.name, message: /expected 4 digits of hex/ })
  }
  writer.hex('abcd', 2)
  assert.equal(writer.take().toString('hex'), 'abcd')
})
