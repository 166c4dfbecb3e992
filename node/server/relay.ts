import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { clientIdBytes, nodeIdBytes, nodeOf, objectIdBytes, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { messages, type MessageName } from '../../protocols/messages.ts'
import { isRemoteLease, type RemoteLeases } from '../routing/remote-leases.ts'
import type { Client } from './client.ts'
import type { ClientDirectory } from './client-directory.ts'
import type { LeaseEnd } from './lease-end.ts'

/** Between whom a lease's messages go. */
export interface LeaseRoute {
  readonly leaseId: number
  readonly requestId: number
  readonly owner: LeaseEnd
  readonly worker: Client
  readonly workerId: number
  readonly gpuIds: number[]
  readonly nodesAble: number
}

/** Links to other nodes, as far as frames go over them. */
export interface FrameLinks {
  /** False when there is no link to the node. */
  forward(node: NodeId, frame: Frame, leaseId?: number): boolean
}

export interface RelayOptions {
  directory: ClientDirectory
  routes: ReadonlyMap<number, LeaseRoute>
  remote: RemoteLeases
  links: FrameLinks
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
goes(clientToClient, 'borrowAsk', 'borrowSettle', 'borrowMarkAsk', 'borrowMark', 'borrowMarked', 'borrowsLost')
goes(clientToClientAsking, 'objectGet', 'functionGet')
goes(ownerToWorker, 'actorStart', 'actorEnd')
goes(workerToOwner, 'actorStarted', 'actorEnded')
goes(
  clientToClient,
  'actorDone',
  'actorItem',
  'actorConsumed',
  'actorCancel',
  'actorUnwatch',
  'actorState',
  'actorKill',
)
goes(clientToClient, 'actorMeet', 'actorMet')
goes(clientToClientAsking, 'actorPush', 'actorWatch')

const idsBytes = clientIdBytes * 2
/** In a `borrowAdd`, behind the two ids and that of the object. */
const borrowerAt = idsBytes + objectIdBytes

/**
 * Passes on what clients say to each other, on this node or over links to others, unread but for the lease's number or
 * the two ids that it begins with. Every task and every result goes through here.
 *
 * Between two nodes a lease has the number that the worker's node gave it; the owner's node puts its own in its place.
 */
export class Relay {
  readonly #with: RelayOptions
  framesRelayed = 0

  constructor(options: RelayOptions) {
    this.#with = options
  }

  /** True when the frame was one to pass on. */
  take(sender: Client, frame: Frame): boolean {
    const way = wayByCode[frame.type] as number
    if (way === none) return false
    this.framesRelayed++
    if (way === ownerToWorker) this.#toWorker(sender, frame)
    else if (way === workerToOwner) this.#toOwner(sender, frame)
    else {
      assertIds(frame)
      if (sender.idBytes.compare(frame.body, clientIdBytes, idsBytes) !== 0) {
        throw new ProtocolError('a message between clients names another sender than its own')
      }
      this.#toClient(sender, frame, way)
    }
    return true
  }

  /** Takes a frame of another node's client. False when it is not one to pass on. */
  takeFromNode(node: NodeId, frame: Frame): boolean {
    const way = wayByCode[frame.type] as number
    if (way === none) return false
    this.framesRelayed++
    const { routes, remote, directory } = this.#with
    if (way === ownerToWorker) {
      const route = routes.get(leaseIdOf(frame))
      if (route === undefined) return true
      if (nodeOf(route.owner.id) !== node) throw notItsLease(route.leaseId)
      route.worker.forward(frame)
    } else if (way === workerToOwner) {
      const lease = remote.at(node, leaseIdOf(frame))
      lease?.owner.forward(frame, lease.alias)
    } else {
      assertIds(frame)
      const from = frame.body.toString('hex', clientIdBytes, idsBytes)
      const sender = directory.get(from)
      if (sender === undefined || nodeOf(from) !== node) {
        throw new ProtocolError('a message between clients names a sender of another node')
      }
      if (frame.body.toString('hex', 0, nodeIdBytes) !== directory.self) {
        throw new ProtocolError('a message between clients came to the wrong node')
      }
      this.#toClient(sender, frame, way)
    }
    return true
  }

  #toWorker(sender: Client, frame: Frame): void {
    const { routes, remote, links } = this.#with
    const leaseId = leaseIdOf(frame)
    if (isRemoteLease(leaseId)) {
      const lease = remote.get(leaseId)
      if (lease === undefined) return
      if (lease.owner !== sender) throw notItsLease(leaseId)
      links.forward(lease.node, frame, lease.leaseId)
      return
    }
    // Messages that cross the end of a lease are normal.
    const route = routes.get(leaseId)
    if (route === undefined) return
    if (route.owner !== sender) throw notItsLease(leaseId)
    route.worker.forward(frame)
  }

  #toOwner(sender: Client, frame: Frame): void {
    const route = this.#with.routes.get(leaseIdOf(frame))
    if (route === undefined) return
    if (route.worker !== sender) throw notItsLease(route.leaseId)
    route.owner.forward(frame)
  }

  #toClient(sender: LeaseEnd, frame: Frame, way: number): void {
    const { directory } = this.#with
    const { body } = frame
    const to = body.toString('hex', 0, clientIdBytes)
    const receiver = directory.get(to)
    // An owner that came after the end of a process has not heard of it, and would count what is lent to it for ever.
    if (frame.type === messages.borrowAdd.code && directory.isLocal(to) && directory.isGone(borrowerOf(frame))) return
    if (receiver !== undefined) receiver.forward(frame)
    else if (way === clientToClientAsking) {
      if (body.length < idsBytes + 4) throw new ProtocolError('a message between clients ends before its number')
      sender.send('undeliverable', { client: to, requestId: body.readUInt32LE(idsBytes) })
    }
  }
}

function borrowerOf({ body }: Frame): ClientId {
  if (body.length < borrowerAt + clientIdBytes) throw new ProtocolError('a borrow ends before its borrower')
  return body.toString('hex', borrowerAt, borrowerAt + clientIdBytes)
}

function leaseIdOf({ body }: Frame): number {
  if (body.length < 4) throw new ProtocolError('a message across a lease ends before the number of the lease')
  return body.readUInt32LE(0)
}

function assertIds({ body }: Frame): void {
  if (body.length < idsBytes) throw new ProtocolError('a message between clients ends before its ids')
}

function notItsLease(leaseId: number): ProtocolError {
  return new ProtocolError(`lease ${leaseId} is not a lease of this client`)
}
