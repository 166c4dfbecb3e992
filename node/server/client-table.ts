import { randomBytes } from 'node:crypto'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import type { Client } from './client.ts'

/** The clients that have said hello, by id. */
export class ClientTable {
  readonly #byId = new Map<ClientId, Client>()
  /** The node's id and 4 bytes that name this start; the client's number follows. */
  readonly #prefix: Buffer
  #lastNumber = 0

  constructor(node: NodeId) {
    this.#prefix = Buffer.concat([Buffer.from(node, 'hex'), randomBytes(4)])
  }

  add(client: Client): void {
    const id = this.#nextId()
    client.idBytes = id
    client.id = id.toString('hex')
    this.#byId.set(client.id, client)
  }

  /** The id of a part of the node itself that acts as a client. */
  reserveId(): ClientId {
    return this.#nextId().toString('hex')
  }

  #nextId(): Buffer {
    const id = Buffer.alloc(16)
    this.#prefix.copy(id)
    id.writeUInt32BE(++this.#lastNumber, 12)
    return id
  }

  remove(client: Client): void {
    this.#byId.delete(client.id)
  }

  get(id: ClientId): Client | undefined {
    return this.#byId.get(id)
  }

  all(): IterableIterator<Client> {
    return this.#byId.values()
  }

  sendToAll<N extends MessageName>(name: N, body: MessageBody<N>): void {
    for (const client of this.#byId.values()) {
      if (client.role !== 'command') client.send(name, body)
    }
  }
}
