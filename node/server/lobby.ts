import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import { decodeBody, protocolVersion, type MessageName } from '../../protocols/messages.ts'
import { shoalVersion } from '../../protocols/version.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PinTables } from '../store/pin-tables.ts'
import type { WorkerPool } from '../workers/worker-pool.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'

const helloMs = 10_000

export interface LobbyOptions {
  clients: ClientTable
  pool: WorkerPool
  store: ObjectStore
  pinTables: PinTables
  storeDirectory: string
  codeDirectory: string
  cpus: number
  node: NodeId
  onWorkerReady(workerId: number): void
  /** A program of a user has come. */
  onDriver(client: Client): void
}

/** Where connections are until they have said who they are, in the protocol of this node. */
export class Lobby {
  readonly #options: LobbyOptions
  readonly #timers = new Map<Client, NodeJS.Timeout>()

  constructor(options: LobbyOptions) {
    this.#options = options
  }

  enter(client: Client): void {
    const timer = setTimeout(() => client.fail(`it has said nothing for ${helloMs} ms`), helloMs)
    this.#timers.set(client, timer)
  }

  left(client: Client): void {
    clearTimeout(this.#timers.get(client))
    this.#timers.delete(client)
  }

  /** Takes the first message of a connection. */
  take(client: Client, name: MessageName, frame: Frame): void {
    if (name !== 'hello' && name !== 'storeAttach') {
      throw new ProtocolError(`the first message is a ${name}, where a hello belongs`)
    }
    // The version comes first and stays there, so that it can be read whatever else has changed.
    const protocol = frame.body.length < 4 ? -1 : frame.body.readUInt32LE(0)
    if (protocol !== protocolVersion) {
      const message = `this node speaks protocol ${protocolVersion} (shoal ${shoalVersion}) and the program speaks protocol ${protocol}: use the same version of shoal in both, and restart the node with \`shoal down\` and \`shoal up\``
      client.refuse('PROTOCOL_VERSION', message)
      return
    }
    if (name === 'storeAttach') {
      this.#attach(client, decodeBody(name, frame.body).clientId)
      return
    }
    const { role, pid, workerId, program, wantsLogs } = decodeBody('hello', frame.body)
    Object.assign(client, { role, pid, program, wantsLogs })
    if (role === 'worker') {
      const problem = this.#options.pool.connected(client, workerId)
      if (problem !== undefined) throw new ProtocolError(problem)
      client.workerId = workerId
    }
    this.left(client)
    this.#welcome(client)
    if (role === 'worker') this.#options.onWorkerReady(workerId)
    else if (role === 'driver') this.#options.onDriver(client)
  }

  /** The second connection of a client. It takes the place of another one, of whose end we may hear later. */
  #attach(channel: Client, id: ClientId): void {
    const client = this.#options.clients.get(id)
    if (client === undefined || client.role === 'command') {
      throw new ProtocolError(`there is no client ${id} that could have another connection`)
    }
    this.left(channel)
    client.storeChannel?.end()
    channel.channelOf = client
    client.storeChannel = channel
  }

  #welcome(client: Client): void {
    const { clients, node, store, pinTables, storeDirectory, codeDirectory, cpus } = this.#options
    clients.add(client)
    if (client.role !== 'command') pinTables.entered(client)
    client.send('welcome', {
      clientId: client.id,
      version: shoalVersion,
      nodeId: node,
      nodePid: process.pid,
      storeSegment: store.segment?.path ?? '',
      pinTable: client.pinTable ?? -1,
      storeDirectory,
      codeDirectory,
      storeBytesMax: store.bytesMax,
      cpus,
    })
  }
}
