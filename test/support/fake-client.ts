import './loopback.ts'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { MessageChannel } from '../../protocols/channel.ts'
import { decodeBody, protocolVersion, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import { shoalVersion } from '../../protocols/version.ts'

interface Waiting {
  name: MessageName
  matches: (body: never) => boolean
  resolve: (body: unknown) => void
  reject: (error: Error) => void
}

/** A client of a node that does nothing on its own: tests say what it sends, and wait for what comes. */
export class FakeClient {
  readonly socket: Socket
  readonly closed: Promise<void>
  welcome!: MessageBody<'welcome'>
  /** The kinds of all messages so far, in the order of their arrival. */
  readonly arrived: MessageName[] = []
  readonly #channel: MessageChannel
  readonly #received: { name: MessageName; body: unknown }[] = []
  readonly #waiting: Waiting[] = []
  readonly #handlers = new Map<MessageName, (body: never) => void>()
  #storeChannel: FakeClient | undefined
  #isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    this.#channel = new MessageChannel(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.#channel.receive(chunk, (name, frame) => this.#take(name, decodeBody(name, Buffer.from(frame.body))))
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true
        for (const each of this.#waiting.splice(0)) each.reject(new Error(`closed while waiting for ${each.name}`))
        resolve()
      })
    })
  }

  static async connect(socketPath: string): Promise<FakeClient> {
    const socket = net.connect(socketPath)
    await once(socket, 'connect')
    return new FakeClient(socket)
  }

  /** Connects and says hello. */
  static async attach(socketPath: string, hello: Partial<MessageBody<'hello'>> = {}): Promise<FakeClient> {
    const client = await FakeClient.connect(socketPath)
    client.hello(hello)
    client.welcome = await client.next('welcome')
    return client
  }

  /** Stores a value of so many bytes, as a client does: asks for room on a second connection, and says that it is written. */
  async store(socketPath: string, name: string, bytes: number, object = ''): Promise<MessageBody<'storePlaced'>> {
    const channel = this.#storeChannel ?? (await FakeClient.connect(socketPath))
    if (this.#storeChannel === undefined) channel.send('storeAttach', { protocol: protocolVersion, clientId: this.id })
    this.#storeChannel = channel
    channel.send('storeAllocate', { requestId: 1, name, bytes, owner: this.id, isAhead: false })
    const placed = await channel.next('storePlaced')
    if (placed.kind !== 'refused') {
      this.send('objectStored', { name, bytes, owner: this.id, object, crc: 0, isFile: false })
    }
    return placed
  }

  get id(): string {
    return this.welcome.clientId
  }

  hello(hello: Partial<MessageBody<'hello'>> = {}): void {
    this.send('hello', {
      protocol: protocolVersion,
      version: shoalVersion,
      role: 'driver',
      pid: process.pid,
      workerId: 0,
      program: 'test',
      wantsLogs: true,
      ...hello,
    })
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#channel.send(name, body)
  }

  /** Handles all messages of a kind, those that have come already first. */
  on<N extends MessageName>(name: N, handler: (body: MessageBody<N>) => void): void {
    this.#handlers.set(name, handler)
    for (const early of this.#received) if (early.name === name) handler(early.body as MessageBody<N>)
  }

  /** The next message of this kind that was not yet waited for. */
  next<N extends MessageName>(
    name: N,
    matches: (body: MessageBody<N>) => boolean = () => true,
  ): Promise<MessageBody<N>> {
    const at = this.#received.findIndex((each) => each.name === name && matches(each.body as MessageBody<N>))
    if (at !== -1) return Promise.resolve(this.#received.splice(at, 1)[0]?.body as MessageBody<N>)
    if (this.#isClosed) return Promise.reject(new Error(`closed before ${name}`))
    return new Promise<MessageBody<N>>((resolve, reject) => {
      this.#waiting.push({ name, matches, resolve: resolve as (body: unknown) => void, reject })
    })
  }

  /** Asks for a lease and waits for the answer. */
  async lease(request: Partial<MessageBody<'leaseRequest'>> = {}): Promise<MessageBody<'leaseGrant'>> {
    const full = leaseRequest(this, request)
    this.send('leaseRequest', full)
    return this.next('leaseGrant', (grant) => grant.requestId === full.requestId)
  }

  async close(): Promise<void> {
    this.socket.end()
    await this.closed
  }

  #take(name: MessageName, body: unknown): void {
    this.arrived.push(name)
    const handler = this.#handlers.get(name)
    if (handler !== undefined) {
      handler(body as never)
      return
    }
    const at = this.#waiting.findIndex((each) => each.name === name && each.matches(body as never))
    if (at === -1) this.#received.push({ name, body })
    else this.#waiting.splice(at, 1)[0]?.resolve(body)
  }
}

let lastRequestId = 0

export function leaseRequest(
  client: FakeClient,
  request: Partial<MessageBody<'leaseRequest'>> = {},
): MessageBody<'leaseRequest'> {
  return {
    requestId: ++lastRequestId,
    resources: { CPU: 1 },
    strategy: { kind: 'default' },
    envVars: {},
    envKey: '',
    depth: 0,
    label: 'task',
    isRetriable: false,
    job: client.id,
    isActor: false,
    ...request,
  }
}
