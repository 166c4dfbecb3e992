import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { clientIdBytes } from '../../protocols/ids.ts'
import { messages, type MessageName } from '../../protocols/messages.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'

/** Between whom a lease's messages go. */
export interface LeaseRoute {
  readonly leaseId: number
  readonly owner: Client
  readonly worker: Client
  readonly workerId: number
}

const none = 0
const ownerToWorker = 1
const workerToOwner = 2
const clientToClient = 3
const clientToClientAsking = 4

const wayByCode = new Uint8Array(256)
function goes(way: number, ...names: MessageName[]): void {
  for (const name of names) wayByCode[messages[name].code] = way
}
goes(ownerToWorker, 'taskPush', 'taskCancel', 'streamConsumed')
goes(workerToOwner, 'taskDone', 'taskHandBack', 'streamItem')
goes(clientToClient, 'objectReply', 'borrowAdd', 'borrowRelease', 'functionReply', 'taskCancelOwned')
goes(clientToClientAsking, 'objectGet', 'functionGet')

const idsBytes = clientIdBytes * 2

/**
 * Passes on what clients say to each other, unread but for the lease's number or the two ids that it begins with. Every
 * task and every result goes through here.
 */
export class Relay {
  readonly #clients: ClientTable
  readonly #leases: ReadonlyMap<number, LeaseRoute>
  framesRelayed = 0

  constructor(clients: ClientTable, leases: ReadonlyMap<number, LeaseRoute>) {
    this.#clients = clients
    this.#leases = leases
  }

  /** True when the frame was one to pass on. */
  take(sender: Client, frame: Frame): boolean {
    const way = wayByCode[frame.type] as number
    if (way === none) return false
    this.framesRelayed++
    if (way === ownerToWorker || way === workerToOwner) this.#acrossLease(sender, frame, way)
    else this.#toClient(sender, frame, way)
    return true
  }

  #acrossLease(sender: Client, frame: Frame, way: number): void {
    if (frame.body.length < 4) throw new ProtocolError('a message across a lease ends before the number of the lease')
    const lease = this.#leases.get(frame.body.readUInt32LE(0))
    // Messages that cross the end of a lease are normal.
    if (lease === undefined) return
    const from = way === ownerToWorker ? lease.owner : lease.worker
    if (from !== sender) throw new ProtocolError(`lease ${lease.leaseId} is not a lease of this client`)
    const to = way === ownerToWorker ? lease.worker : lease.owner
    to.forward(frame)
  }

  #toClient(sender: Client, frame: Frame, way: number): void {
    const { body } = frame
    if (body.length < idsBytes) throw new ProtocolError('a message between clients ends before its ids')
    if (sender.idBytes.compare(body, clientIdBytes, idsBytes) !== 0) {
      throw new ProtocolError('a message between clients names another sender than its own')
    }
    const to = body.toString('hex', 0, clientIdBytes)
    const receiver = this.#clients.get(to)
    if (receiver !== undefined) receiver.forward(frame)
    else if (way === clientToClientAsking) {
      if (body.length < idsBytes + 4) throw new ProtocolError('a message between clients ends before its number')
      sender.send('undeliverable', { client: to, requestId: body.readUInt32LE(idsBytes) })
    }
  }
}
