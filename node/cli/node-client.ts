import net, { type Socket } from 'node:net'
import { adminValue, type AdminArgs, type AdminCallName, type AdminValue } from '../../protocols/admin.ts'
import { MessageChannel } from '../../protocols/channel.ts'
import { NodeDiedError, NodeUnavailableError, type ShoalError } from '../../protocols/errors.ts'
import { decodeBody, protocolVersion, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import { shoalVersion } from '../../protocols/version.ts'
import type { NodeStatus } from '../status.ts'

const answerMs = 5_000
/** Some of what is asked has to be asked of other nodes first. */
const adminMs = 20_000

/** The command line's connection to the node of this machine. */
export class NodeClient {
  readonly socketPath: string
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #channel: MessageChannel
  readonly #answers = new Map<MessageName, (body: unknown) => void>()
  /** Reject the questions that wait for an answer. */
  readonly #open = new Set<(error: ShoalError) => void>()
  /** Why nothing more will be answered. */
  #failure: ShoalError | undefined
  #nodePid = 0

  private constructor(socketPath: string) {
    this.socketPath = socketPath
    this.#socket = net.connect(socketPath)
    this.#channel = new MessageChannel(this.#socket)
    const fail = (message: string, isRunning = true): void =>
      this.#fail(new NodeUnavailableError(message, { details: { socketPath, isRunning } }))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      // Those who wait for it to take their connection are too many already.
      if (error.code === 'EAGAIN') this.#fail(this.#silence())
      if (error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED') fail(`${socketPath}: ${error.message}`)
      fail(`no node runs here (socket ${socketPath}): start one with \`shoal up\``, false)
    })
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        this.#fail(new NodeDiedError(`the node (pid ${this.#nodePid}) closed the connection`))
        resolve()
      })
    })
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        this.#channel.receive(chunk, (name, frame) => {
          if (name === 'refused') fail(decodeBody('refused', frame.body).message)
          else this.#answers.get(name)?.(decodeBody(name, frame.body))
        })
      } catch (error) {
        fail(`what answers at ${socketPath} is no node of this version of shoal: ${(error as Error).message}`)
        this.#socket.destroy()
      }
    })
  }

  /** Rejects with NodeUnavailableError when there is no node. */
  static async connect(socketPath: string): Promise<NodeClient> {
    const client = new NodeClient(socketPath)
    const welcome = client.#answer('welcome')
    client.#channel.send('hello', {
      protocol: protocolVersion,
      version: shoalVersion,
      role: 'command',
      pid: process.pid,
      workerId: 0,
      program: 'shoal',
      wantsLogs: false,
    })
    try {
      client.#nodePid = (await welcome).nodePid
    } catch (error) {
      client.close()
      throw error
    }
    return client
  }

  get nodePid(): number {
    return this.#nodePid
  }

  async status(): Promise<NodeStatus> {
    const reply = this.#answer('statusReply')
    this.#channel.send('statusGet', { requestId: 1 })
    return (await reply).status as NodeStatus
  }

  /** One call about the mesh; one at a time. Rejects with the error that the node answers with. */
  async call<N extends AdminCallName>(name: N, args: AdminArgs<N>): Promise<AdminValue<N>> {
    const reply = this.#answer('adminReply', adminMs)
    this.#channel.send('adminCall', { requestId: 1, name, args })
    return adminValue(name, (await reply).reply)
  }

  /** Asks the node to stop. It closes the connection when it does. */
  stop(): void {
    this.#channel.send('nodeStop', { requestId: 1 })
  }

  close(): void {
    this.#socket.destroy()
  }

  async #answer<N extends MessageName>(name: N, patienceMs = answerMs): Promise<MessageBody<N>> {
    if (this.#failure !== undefined) throw this.#failure
    const { promise, resolve, reject } = Promise.withResolvers<MessageBody<N>>()
    this.#open.add(reject)
    this.#answers.set(name, (body) => resolve(body as MessageBody<N>))
    const timer = setTimeout(() => reject(this.#silence()), patienceMs)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#answers.delete(name)
      this.#open.delete(reject)
    }
  }

  #silence(): NodeUnavailableError {
    const { socketPath } = this
    const details = { socketPath, isRunning: true, isSilent: true }
    return new NodeUnavailableError(`the node at ${socketPath} does not answer`, { details })
  }

  #fail(error: ShoalError): void {
    this.#failure ??= error
    for (const reject of this.#open) reject(this.#failure)
  }
}
