import type { Socket } from 'node:net'
import { ProtocolError } from '../../protocols/errors.ts'
import { decodeBody } from '../../protocols/messages.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PinTables } from '../store/pin-tables.ts'
import type { WorkerPool } from '../workers/worker-pool.ts'
import { Client, type ClientEvents } from './client.ts'
import type { ClientDirectory } from './client-directory.ts'
import type { ClientTable } from './client-table.ts'
import type { LeaseDesk } from './lease-desk.ts'
import type { Lobby } from './lobby.ts'
import type { Relay } from './relay.ts'
import type { Requests } from './requests.ts'
import type { StoreDesk } from './store-desk.ts'

const namesPerMessageMax = 10_000

export interface ReceptionOptions {
  clients: ClientTable
  directory: ClientDirectory
  lobby: Lobby
  relay: Relay
  requests: Requests
  leases: LeaseDesk
  pool: WorkerPool
  store: ObjectStore
  storeDesk: StoreDesk
  pinTables: PinTables
  /** A driver or a worker of this node has gone. */
  onClientGone(client: Client): void
  log(text: string): void
}

/** Leads every connection through its life: the hello, what it has to say, its end. */
export class Reception {
  readonly #options: ReceptionOptions
  readonly #events: ClientEvents

  constructor(options: ReceptionOptions) {
    this.#options = options
    const { lobby, relay, requests, storeDesk } = options
    this.#events = {
      onFrame(client, name, frame) {
        if (client.channelOf !== undefined) {
          if (name === 'storeAllocate') storeDesk.allocate(client, client.channelOf, decodeBody(name, frame.body))
          else if (name === 'storeAbandon') storeDesk.abandonAsked(client, decodeBody(name, frame.body))
          else throw new ProtocolError(`a ${name} message does not belong on this connection`)
        } else if (client.id === '') lobby.take(client, name, frame)
        else if (!relay.take(client, frame)) requests.take(client, name, frame)
      },
      onClosed: (client) => this.#onClosed(client),
      log: options.log,
    }
    // The end of a worker is told when its process is gone, too, and after its leases: so owners hear why first.
    options.leases.onWorkerGone = (client) => this.#gone(client)
  }

  readonly admit = (socket: Socket): void => {
    this.#options.lobby.enter(new Client(socket, this.#events))
  }

  #onClosed(client: Client): void {
    const { lobby, clients, pool, storeDesk } = this.#options
    lobby.left(client)
    if (client.channelOf !== undefined) {
      storeDesk.channelClosed(client)
      if (client.channelOf.storeChannel === client) client.channelOf.storeChannel = undefined
    }
    if (client.id === '') return
    clients.remove(client)
    client.storeChannel?.end()
    const worker = client.role === 'worker' ? pool.get(client.workerId) : undefined
    if (worker === undefined) this.#gone(client)
    else worker.disconnected()
  }

  #gone(client: Client): void {
    const { clients, directory, leases, store, pinTables, onClientGone } = this.#options
    clients.remove(client)
    leases.clientGone(client.id)
    if (client.role === 'command') return
    store.clientLeft(client.id)
    pinTables.left(client)
    store.ownerGone(client.id)
    clients.sendToAll('clientGone', { client: client.id })
    onClientGone(client)
    // What it has stored for others without having told them is known to nobody.
    for (const [owner, names] of store.writtenForOthers(client.id)) {
      for (let at = 0; at < names.length; at += namesPerMessageMax) {
        directory.get(owner)?.send('valuesLeft', { names: names.slice(at, at + namesPerMessageMax) })
      }
    }
  }
}
