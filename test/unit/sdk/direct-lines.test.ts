import '../../support/loopback.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { MessageChannel } from '../../../protocols/channel.ts'
import type { ActorCall } from '../../../protocols/actor-messages.ts'
import { objectId, type ClientId } from '../../../protocols/ids.ts'
import type { MessageBody, MessageName } from '../../../protocols/messages.ts'
import type { NodeConnection } from '../../../sdk/client/node-connection.ts'
import { DirectCallers } from '../../../sdk/direct/direct-callers.ts'
import { DirectWorkers } from '../../../sdk/direct/direct-workers.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { taskSpecOf } from '../../../sdk/tasks/task-spec.ts'
import { inlineValue, taskOf } from '../../support/task-records.ts'

const node = '0a'.repeat(8)
const caller: ClientId = `${node}${'01'.repeat(8)}`
const worker: ClientId = `${node}${'02'.repeat(8)}`
const actor = objectId(caller, 1)
const returned = new ObjectRecord(caller, 2)

type Sent = { [N in MessageName]: { name: N; body: MessageBody<N> } }[MessageName]

interface ConnectionEvents {
  /** The process says something to its node. */
  onSent(sent: Sent): void
  onHandled(): void
}

function connectionOf(clientId: ClientId, codeDirectory: string, events: ConnectionEvents): NodeConnection {
  const send = (name: MessageName, body: unknown): void => events.onSent({ name, body } as Sent)
  const welcome = { clientId, nodeId: node, codeDirectory }
  const connection = { welcome, send, flush: () => undefined, handled: () => events.onHandled() }
  return connection as unknown as NodeConnection
}

function callOf(sequence: number, args = inlineValue(4)): ActorCall {
  const host = {
    named: () => undefined,
    streamPart: () => ({ skip: 0, limit: 0 }),
    moveToStore: (_: unknown, value: never) => value,
  }
  return { method: 'f', group: '', task: taskSpecOf(taskOf(sequence, [returned], { args }), host) }
}

function pushOf(sequence: number, from = caller): MessageBody<'actorPush'> {
  return { to: worker, from, requestId: 0, actor, handle: actor, calls: [callOf(sequence)] }
}

function resultOf(sequence: number, bytes = 1) {
  return { sequence, status: 'ok' as const, durationUs: 0, values: [inlineValue(bytes)] }
}

/** A worker and one caller; what they would say through their node goes straight from one to the other. */
class Pair {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'shoal-lines-'))
  readonly pushed: number[] = []
  readonly cancelled: number[] = []
  readonly done: number[] = []
  readonly fences: number[] = []
  /** Lines that have ended. */
  readonly ended: number[] = []
  /** What the worker has answered to who has asked for a line. */
  readonly met: MessageBody<'actorMet'>[] = []
  readonly #waiting: (() => void)[] = []
  /** How often the caller has asked. */
  asked = 0
  /** The caller does not hear what the worker answers. */
  isDeaf = false
  readonly workers: DirectWorkers
  readonly callers: DirectCallers

  constructor(directory = this.directory) {
    this.workers = new DirectWorkers({
      connection: connectionOf(caller, directory, {
        onSent: ({ name, body }) => {
          if (name !== 'actorMeet') return
          this.asked += 1
          this.callers.onMeet(body)
        },
        onHandled: () => this.#note(() => undefined),
      }),
      onDone: (_, results) => this.#note(() => this.done.push(...results.map(({ sequence }) => sequence))),
      onFence: (_, fence) => this.#note(() => this.fences.push(fence)),
      onEnded: (_, line) => this.#note(() => this.ended.push(line)),
    })
    this.callers = new DirectCallers({
      connection: connectionOf(worker, directory, {
        onSent: ({ name, body }) => {
          if (name !== 'actorMet') return
          this.#note(() => this.met.push(body))
          if (!this.isDeaf) this.workers.onMet(body)
        },
        onHandled: () => undefined,
      }),
      onPush: ({ calls }) => this.#note(() => this.pushed.push(...calls.map(({ task }) => task.sequence))),
      onCancel: ({ sequence }) => this.#note(() => this.cancelled.push(sequence)),
    })
  }

  #note(change: () => void): void {
    change()
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** A line from the caller to the worker, in use. */
  async open(): Promise<void> {
    this.workers.meet(worker)
    await this.until(() => this.workers.lineTo(worker) > 0)
    this.workers.send(worker, 'actorPush', pushOf(1))
    await this.until(() => this.pushed.length === 1)
  }

  /** Where the worker waits for the caller, and the key. */
  async door(): Promise<MessageBody<'actorMet'>> {
    this.isDeaf = true
    this.callers.onMeet({ to: worker, from: caller })
    await this.until(() => this.met.length > 0)
    return this.met[0] as MessageBody<'actorMet'>
  }
}

/** Says this on a new connection, and waits for its end. */
async function say(socketPath: string, speak: (channel: MessageChannel, socket: Socket) => void): Promise<void> {
  const socket = connect(socketPath)
  socket.on('error', () => {})
  await once(socket, 'connect')
  const channel = new MessageChannel({ write: (bytes) => void socket.write(bytes) })
  speak(channel, socket)
  channel.flush()
  socket.resume()
  await once(socket, 'close')
}

describe('lines between processes of one node', () => {
  let pair: Pair
  beforeEach(() => (pair = new Pair()))
  afterEach(async () => {
    await pair.workers.close()
    await pair.callers.close()
    rmSync(pair.directory, { recursive: true })
  })

  test('calls and cancels one way, results the other, in their order', async () => {
    await pair.open()
    for (let sequence = 2; sequence <= 500; sequence++) pair.workers.send(worker, 'actorPush', pushOf(sequence))
    pair.workers.send(worker, 'actorCancel', { to: worker, from: caller, sequence: 7, recursive: true })
    await pair.until(() => pair.cancelled.length === 1)
    const sequences = Array.from({ length: 500 }, (_, i) => i + 1)
    assert.deepEqual(pair.pushed, sequences)
    for (const sequence of sequences) assert.ok(pair.callers.send(caller, [resultOf(sequence, 10_000)]))
    await pair.until(() => pair.done.length === 500)
    assert.deepEqual(pair.done, sequences)
  })

  test('a fence comes back behind everything that was sent before it', async () => {
    await pair.open()
    for (let sequence = 2; sequence <= 100; sequence++) pair.workers.send(worker, 'actorPush', pushOf(sequence))
    const fence = pair.workers.fence(worker)
    await pair.until(() => pair.fences.length > 0)
    assert.deepEqual([pair.fences, pair.pushed.length], [[fence], 100])
  })

  test('there is no line before the worker has taken it; who is shown out can ask again', async () => {
    pair.isDeaf = true
    pair.workers.meet(worker)
    await pair.until(() => pair.met.length === 1)
    pair.workers.onMet({ ...(pair.met[0] as MessageBody<'actorMet'>), key: 'another one' })
    assert.equal(pair.workers.lineTo(worker), 0)
    pair.isDeaf = false
    while (pair.met.length < 2) {
      await new Promise(setImmediate)
      pair.workers.meet(worker)
    }
    await pair.until(() => pair.workers.lineTo(worker) > 0)
    assert.deepEqual([pair.pushed, pair.ended], [[], []])
  })

  test('a worker that listens outside of its node’s folder is not believed', () => {
    pair.isDeaf = true
    pair.workers.meet(worker)
    const met = { to: caller, from: worker, socketPath: path.join(tmpdir(), 'elsewhere'), key: '' }
    pair.workers.onMet(met)
    assert.equal(pair.workers.lineTo(worker), 0)
    pair.workers.meet(worker)
    assert.equal(pair.asked, 2)
  })

  test('results with refs do not come over a line: it ends', async () => {
    await pair.open()
    const values = [{ ...inlineValue(1), refs: [actor] }]
    pair.callers.send(caller, [{ ...resultOf(1), values }])
    await pair.until(() => pair.ended.length === 1)
    assert.deepEqual(pair.done, [])
  })

  test('nothing is left in the folder once the caller has come', async () => {
    await pair.open()
    assert.deepEqual(readdirSync(pair.directory), [])
  })

  test('who does not know the key is shown out, and nothing that he says is heard', async () => {
    const { socketPath } = await pair.door()
    await say(socketPath, (channel) => {
      channel.send('actorHello', { key: '00'.repeat(16) })
      channel.send('actorPush', pushOf(1))
    })
    assert.deepEqual(pair.pushed, [])
    assert.equal(pair.callers.send(caller, [resultOf(1)]), false)
  })

  test('who begins with something else, sends for another, brings refs along, or sends no frames at all is shown out', async () => {
    const attempts: ((channel: MessageChannel, key: string, socket: Socket) => void)[] = [
      (channel) => channel.send('actorPush', pushOf(1)),
      (channel, key) => {
        channel.send('actorHello', { key })
        channel.send('actorPush', pushOf(1, `${node}${'03'.repeat(8)}`))
      },
      (channel, key) => {
        channel.send('actorHello', { key })
        channel.send('leaseReturn', { leaseId: 1 })
      },
      (_channel, _key, socket) => void socket.write(Buffer.alloc(64, 0xff)),
      (channel, key) => {
        channel.send('actorHello', { key })
        const calls = [callOf(1, { ...inlineValue(1), refs: [actor] })]
        channel.send('actorPush', { ...pushOf(1), calls })
      },
    ]
    for (const attempt of attempts) {
      pair.met.length = 0
      const { socketPath, key } = await pair.door()
      await say(socketPath, (channel, socket) => attempt(channel, key, socket))
    }
    assert.deepEqual(pair.pushed, [])
  })

  test('a worker of another node is not asked, and none twice', async () => {
    pair.workers.meet(`${'0b'.repeat(8)}${'02'.repeat(8)}`)
    assert.equal(pair.met.length, 0)
    await pair.open()
    pair.workers.meet(worker)
    assert.equal(pair.met.length, 1)
  })

  test('a worker has a bounded number of lines', async () => {
    pair.isDeaf = true
    const asking = Array.from({ length: 65 }, (_, i) => `${node}${String(i).padStart(16, '0')}`)
    for (const from of asking) pair.callers.onMeet({ to: worker, from })
    await pair.until(() => pair.met.length === 65)
    const refused = pair.met.filter(({ socketPath }) => socketPath === '')
    assert.deepEqual(
      refused.map(({ to }) => to),
      [asking[64]],
    )
  })

  test('a folder whose path is too long for a socket, or that is gone: there is no line', async () => {
    for (const directory of [path.join(pair.directory, 'x'.repeat(120)), path.join(pair.directory, 'gone')]) {
      const other = new Pair(directory)
      other.workers.meet(worker)
      await other.until(() => other.met.length === 1)
      assert.equal(other.met[0]?.socketPath, '')
      assert.equal(other.workers.lineTo(worker), 0)
      rmSync(other.directory, { recursive: true })
    }
  })

  test('an actor that ends waits until its callers have what was sent before, and has no lines any more', async () => {
    await pair.open()
    for (let sequence = 1; sequence <= 200; sequence++) pair.callers.send(caller, [resultOf(sequence, 50_000)])
    const closing = pair.callers.close()
    assert.equal(pair.callers.send(caller, [resultOf(201)]), false)
    await closing
    assert.equal(pair.done.length, 200)
    await pair.until(() => pair.ended.length === 1)
    assert.deepEqual(pair.ended, [1])
    pair.workers.meet(worker)
    assert.equal(pair.met.at(-1)?.socketPath, '')
  })

  test('a caller that ends waits until the worker has what was sent before', async () => {
    await pair.open()
    for (let sequence = 2; sequence <= 3000; sequence++) pair.workers.send(worker, 'actorPush', pushOf(sequence))
    await pair.workers.close()
    await pair.until(() => pair.pushed.length === 3000)
    assert.deepEqual(pair.ended, [])
  })

  test('… or, before that, until a fence has come back', async () => {
    await pair.open()
    for (let sequence = 2; sequence <= 3000; sequence++) pair.workers.send(worker, 'actorPush', pushOf(sequence))
    await pair.workers.delivered(worker)
    assert.equal(pair.pushed.length, 3000)
    const delivered = pair.workers.delivered(worker)
    // A line that ends delivers nothing more.
    await pair.callers.close()
    await delivered
    await pair.workers.delivered(worker)
  })

  test('a caller that hangs up is not told, and can come again', async () => {
    await pair.open()
    pair.workers.drop(worker)
    assert.equal(pair.workers.lineTo(worker), 0)
    pair.pushed.length = 0
    await pair.open()
    assert.ok(pair.callers.send(caller, [resultOf(1)]))
    await pair.until(() => pair.done.length === 1)
    assert.deepEqual(pair.ended, [])
  })
})
