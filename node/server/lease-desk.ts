import { ProtocolError, ShoalError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import { checkResources, type ResourceSet } from '../../protocols/resources.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import type { GroupRouterEvent } from '../groups/group-router.ts'
import type { BundleRef, LeaseAction, LeaseEvent } from '../leases/lease-events.ts'
import type { LeaseRouter } from '../routing/lease-router.ts'
import { isRemoteLease, RemoteLeases, type RemoteLease } from '../routing/remote-leases.ts'
import type {
  Refusal,
  RemoteGrant,
  RequestKey,
  RoutedRequest,
  RouterAction,
  RouterEvent,
} from '../routing/router-events.ts'
import type { WorkerExit, WorkerPool } from '../workers/worker-pool.ts'
import type { Client } from './client.ts'
import type { ClientDirectory } from './client-directory.ts'
import type { LeaseEnd } from './lease-end.ts'
import type { LeaseRoute } from './relay.ts'

const tickMs = 50

/** What the desk says to other nodes, about leases and about what waits for one. */
export interface LeaseNeighbours {
  askLease(node: NodeId, request: RoutedRequest, mayWait: boolean): void
  cancelAsk(node: NodeId, key: RequestKey): void
  refuseAsk(node: NodeId, key: RequestKey, refusal: Refusal): void
  returnLease(node: NodeId, client: ClientId, leaseId: number): void
  killLease(node: NodeId, client: ClientId, leaseId: number, reason: string): void
  tellHead(action: Extract<RouterAction, { type: `demand${string}` }>): void
  /** How many nodes could run what needs these resources, this one included. */
  nodesAble(resources: ResourceSet): number
  /** Why work of this client may not be submitted; undefined when it may. */
  whyForbidden(job: ClientId): string | undefined
}

/** A request at the own lease book: what the worker is to be told with the lease. */
interface Asked {
  owner: LeaseEnd
  depth: number
  job: ClientId
  label: string
  resources: ResourceSet
}

const ended: Refusal = { error: 'workerLimit', message: 'the program for which it was to run has ended', details: {} }
const closed: Refusal = { error: 'busy', message: 'the node takes no new work', details: {} }
const workerGone: Refusal = { error: 'busy', message: 'the worker that it was to get is gone', details: {} }
/** Another node may reach it. */
const outOfReach: Refusal = { error: 'busy', message: 'there is no link to the node of its program', details: {} }

type DeskEvent = { to: 'book'; event: LeaseEvent } | { to: 'router'; event: GroupRouterEvent }

/** What the desk leaves to those who know about placement groups. */
export type GroupsAtDesk = Pick<GroupDesk, 'has' | 'step' | 'wantsTick' | 'answer' | 'bookChanged'>

const noGroups: GroupsAtDesk = {
  wantsTick: false,
  has: () => false,
  step: () => [],
  answer: () => {},
  bookChanged: () => {},
}

export interface LeaseDeskOptions {
  book: LeaseBook
  router: LeaseRouter
  directory: ClientDirectory
  pool: WorkerPool
  neighbours: LeaseNeighbours
  /** @default there are no placement groups */
  groups?: GroupDesk
  now(): number
}

/**
 * Tells the lease book and the router what happens, and does what they answer: all policy is in there, the doing all in
 * here.
 */
export class LeaseDesk {
  readonly #with: LeaseDeskOptions
  readonly #groups: GroupsAtDesk
  readonly #asked = new Map<ClientId, Map<number, Asked>>()
  readonly #routes = new Map<number, LeaseRoute>()
  readonly remote = new RemoteLeases()
  readonly #events: DeskEvent[] = []
  #isStepping = false
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  grantedCount = 0

  constructor(options: LeaseDeskOptions) {
    this.#with = options
    this.#groups = options.groups ?? noGroups
    if (options.groups !== undefined) {
      options.groups.tellBook = (event) => this.#tell(event)
      options.groups.route = (event) => this.#take({ to: 'router', event })
    }
    options.pool.onExit = (exit) => this.#onWorkerExit(exit)
  }

  /** Who is at the two ends of each lease on a worker of this node. */
  get routes(): ReadonlyMap<number, LeaseRoute> {
    return this.#routes
  }

  /** Told when something has changed: who has which worker, or what waits. */
  onChanged: () => void = () => {}

  /** Told first of all when a worker's process has ended. */
  onWorkerExit: (workerId: number) => void = () => {}

  /** Told when a worker is gone, after its leases were reported lost. */
  onWorkerGone: (client: Client) => void = () => {}

  /** Starts the first workers. */
  open(): void {
    this.#tell({ type: 'tick' })
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  // --- clients of this node

  /** @param isAllowed whoever is behind it may submit work, whatever this node itself may do */
  request(client: LeaseEnd, body: MessageBody<'leaseRequest'>, isAllowed = false): void {
    const { directory, router, neighbours } = this.#with
    const { requestId, job, label } = body
    const key = { client: client.id, requestId }
    if (router.has(key) || this.#groups.has(key))
      throw new ProtocolError(`lease request ${requestId} is under way already`)
    const resources = checked(body.resources, label)
    if (directory.get(job) === undefined) {
      // Of work that has been ended already: its last requests were still on their way.
      this.#refuse(key, ended)
      return
    }
    const why = isAllowed ? undefined : neighbours.whyForbidden(job)
    if (why !== undefined) this.#refuse(key, { error: 'forbidden', message: why, details: {} })
    else this.route({ type: 'requested', request: { ...body, client: client.id, resources } })
  }

  cancelRequest(client: LeaseEnd, requestId: number): void {
    this.route({ type: 'cancelled', client: client.id, requestId })
  }

  giveBack(client: LeaseEnd, leaseId: number): void {
    if (isRemoteLease(leaseId)) {
      const lease = this.#ownRemote(client, leaseId)
      if (lease === undefined) return
      this.remote.remove(lease)
      this.#with.neighbours.returnLease(lease.node, client.id, lease.leaseId)
      return
    }
    const route = this.#ownRoute(client, leaseId)
    if (route === undefined) return
    this.#routes.delete(leaseId)
    route.worker.send('leaseEnd', { leaseId })
    this.#tell({ type: 'returned', client: client.id, leaseId })
  }

  kill(client: LeaseEnd, leaseId: number, reason: string): void {
    if (isRemoteLease(leaseId)) {
      const lease = this.#ownRemote(client, leaseId)
      if (lease !== undefined) this.#with.neighbours.killLease(lease.node, client.id, lease.leaseId, reason)
      return
    }
    const route = this.#ownRoute(client, leaseId)
    if (route !== undefined) this.#with.pool.kill(route.workerId, reason === '' ? 'killed by its owner' : reason)
  }

  /** The worker of a lease says that its task waits in `get()`, or does so no more. */
  blocked(client: Client, { leaseId, isBlocked }: MessageBody<'leaseBlocked'>): void {
    const route = this.#routes.get(leaseId)
    if (route === undefined) return
    if (route.worker !== client) throw new ProtocolError(`lease ${leaseId} is not a lease of this worker`)
    route.owner.send('leaseBlocked', { leaseId, isBlocked })
    this.#tell({ type: isBlocked ? 'blocked' : 'unblocked', leaseId })
  }

  /** A worker says that others need what it owns, or do so no more. */
  needed(client: Client, isNeeded: boolean): void {
    if (client.role !== 'worker') throw new ProtocolError('only a worker can say that it is needed')
    this.#tell({ type: 'workerNeeded', workerId: client.workerId, isNeeded })
  }

  workerReady(workerId: number): void {
    this.#tell({ type: 'workerReady', workerId })
  }

  /** A client is gone, of this node or another. A worker's own end comes from the pool. */
  clientGone(client: ClientId): void {
    this.#asked.delete(client)
    for (const [leaseId, route] of this.#routes) if (route.owner.id === client) this.#routes.delete(leaseId)
    for (const lease of this.remote.ofClient(client)) {
      this.remote.remove(lease)
      const reason = 'the program for which it ran has ended'
      // The other node hears of the end of the owner itself, and stops the worker, which may be running a task.
      if (lease.owner.id === client) continue
      lease.owner.send('leaseLost', { leaseId: lease.alias, reason, outOfMemory: [], isGroupRemoved: false })
      this.#with.neighbours.killLease(lease.node, lease.owner.id, lease.leaseId, reason)
    }
    // The book first: what the router gives up would leave room there for requests of the same program.
    this.#tell({ type: 'clientGone', client })
    this.route({ type: 'clientGone', client })
  }

  // --- other nodes

  /** A node asks for a worker here for one of its clients. The same question may come twice. */
  ask(node: NodeId, body: PeerMessageBody<'leaseAsk'>): void {
    const { directory, neighbours } = this.#with
    const { client, requestId, job, label, depth, mayWait, strategy, envKey, envVars, isRetriable, isActor } = body
    const owner = directory.get(client)
    if (owner === undefined || nodeOf(client) !== node) {
      throw new ProtocolError('a node asks for a lease in the name of a client that is not its own')
    }
    const key = { client, requestId }
    const route = this.#routeOf(key)
    if (route !== undefined) {
      this.#sendGrant(route, requestId)
      return
    }
    if (this.#with.book.isClosed) {
      neighbours.refuseAsk(node, key, closed)
      return
    }
    const resources = checked(body.resources, label)
    if (directory.get(job) === undefined) {
      neighbours.refuseAsk(node, key, directory.isLocal(job) ? ended : outOfReach)
      return
    }
    const why = neighbours.whyForbidden(job)
    if (why !== undefined) neighbours.refuseAsk(node, key, { error: 'forbidden', message: why, details: {} })
    else
      this.#askBook(
        { ...key, resources, depth, job, label, strategy, envKey, envVars, isRetriable, isActor },
        owner,
        mayWait,
      )
  }

  /** A node needs no worker here any more for what it asked; a lease that it was granted meanwhile it returns. */
  cancelAsk(key: RequestKey): void {
    if (this.#takeAsked(key) !== undefined) this.#tell({ type: 'requestCancelled', ...key })
  }

  granted(node: NodeId, client: ClientId, { requestId, ...grant }: MessageBody<'leaseGrant'>): void {
    // It may come twice.
    if (this.remote.at(node, grant.leaseId)?.owner.id === client) return
    this.route({ type: 'remoteGranted', node, client, requestId, grant })
  }

  /** Says again which workers here the clients of other nodes have: if a grant was lost, the worker comes back. */
  sayGrantsAgain(): void {
    for (const route of this.#routes.values()) {
      if (!this.#with.directory.isLocal(route.owner.id)) this.#sendGrant(route, route.requestId)
    }
  }

  /** What another node says of a lease that a client of this one holds there. */
  onRemote(
    node: NodeId,
    name: 'leaseReclaim' | 'leaseLost' | 'leaseBlocked',
    body: Partial<MessageBody<'leaseLost'> & MessageBody<'leaseBlocked'>> & { leaseId: number },
  ): void {
    const lease = this.remote.at(node, body.leaseId)
    if (lease === undefined) return
    if (name === 'leaseLost') this.remote.remove(lease)
    lease.owner.send(name, { ...body, leaseId: lease.alias })
  }

  /** The link to a node is down: what its clients had here ends, and what clients of this node had there is lost. */
  nodeGone(node: NodeId, clients: Iterable<ClientId>, reason: string): void {
    for (const lease of this.remote.ofNode(node)) {
      this.remote.remove(lease)
      const why = `node ${node} is gone: ${reason}`
      lease.owner.send('leaseLost', { leaseId: lease.alias, reason: why, outOfMemory: [], isGroupRemoved: false })
    }
    const gone = new Set(clients)
    this.#refuseOutOfReach(gone)
    for (const client of gone) this.clientGone(client)
    this.route({ type: 'linkDown', node })
  }

  /** Requests of nodes that are still there, for programs that only this node cannot reach any more. */
  #refuseOutOfReach(jobs: ReadonlySet<ClientId>): void {
    const { directory, neighbours } = this.#with
    for (const [client, asked] of this.#asked) {
      if (directory.isLocal(client) || jobs.has(client)) continue
      for (const [requestId, { job }] of [...asked]) {
        if (!jobs.has(job)) continue
        this.cancelAsk({ client, requestId })
        neighbours.refuseAsk(nodeOf(client), { client, requestId }, outOfReach)
      }
    }
  }

  /** The node takes no new work, or does so again. */
  setOpen(isOpen: boolean): void {
    this.#tell({ type: 'opened', isOpen })
  }

  /** Ends all that runs: its owners may try it again elsewhere. */
  killAll(reason: string): void {
    for (const { workerId } of [...this.#routes.values()]) this.#with.pool.kill(workerId, reason)
  }

  /** Something has happened that the router is to know. */
  route(event: RouterEvent): void {
    this.#take({ to: 'router', event })
  }

  #tell(event: LeaseEvent): void {
    this.#take({ to: 'book', event })
  }

  #onWorkerExit({ client, ...exit }: WorkerExit): void {
    this.onWorkerExit(exit.workerId)
    this.#tell({ type: 'workerExited', ...exit })
    if (client !== undefined) this.onWorkerGone(client)
  }

  #ownRoute(client: LeaseEnd, leaseId: number): LeaseRoute | undefined {
    const route = this.#routes.get(leaseId)
    if (route !== undefined && route.owner.id !== client.id) {
      throw new ProtocolError(`lease ${leaseId} is not a lease of this client`)
    }
    return route
  }

  #ownRemote(client: LeaseEnd, leaseId: number): RemoteLease | undefined {
    const lease = this.remote.get(leaseId)
    if (lease !== undefined && lease.owner.id !== client.id) {
      throw new ProtocolError(`lease ${leaseId} is not a lease of this client`)
    }
    return lease
  }

  #routeOf({ client, requestId }: RequestKey): LeaseRoute | undefined {
    for (const route of this.#routes.values()) {
      if (route.requestId === requestId && route.owner.id === client) return route
    }
    return undefined
  }

  #takeAsked({ client, requestId }: RequestKey): Asked | undefined {
    const asked = this.#asked.get(client)
    const found = asked?.get(requestId)
    asked?.delete(requestId)
    if (asked?.size === 0) this.#asked.delete(client)
    return found
  }

  #askBook(request: RoutedRequest, owner: LeaseEnd, mayWait: boolean): void {
    const { client, requestId, depth, job, label, resources, envKey, envVars, isRetriable, isActor } = request
    const asked = this.#asked.get(client) ?? new Map<number, Asked>()
    if (asked.has(requestId)) return
    this.#asked.set(client, asked.set(requestId, { owner, depth, job, label, resources }))
    const bundle = bundleOf(request)
    const what = { client, requestId, depth, job, label, resources, envKey, envVars, isActor, bundle, mayWait }
    this.#tell({ type: 'requested', ...what, ...(isRetriable === undefined ? {} : { isRetriable }) })
  }

  /** What an action leads to may be an event of its own; it waits until all actions before it are done. */
  #take(event: DeskEvent): void {
    const { book, router, now } = this.#with
    const groups = this.#groups
    this.#events.push(event)
    if (this.#isStepping || this.#isClosed) return
    this.#isStepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        if (next.to === 'book') {
          if (this.#isStillAsked(next.event)) for (const action of book.step(next.event, now())) this.#doBook(action)
        } else for (const action of this.#route(next.event)) this.#doRouter(action)
      }
    } finally {
      this.#isStepping = false
    }
    this.onChanged()
    groups.bookChanged()
    const wantsTick = book.wantsTick || router.wantsTick || groups.wantsTick
    if (this.#timer === undefined && wantsTick) this.#timer = setTimeout(this.#onTimer, tickMs)
  }

  /** A request may have been granted, refused or given up while it waited for its turn here. */
  #isStillAsked(event: LeaseEvent): boolean {
    return event.type !== 'requested' || this.#asked.get(event.client)?.has(event.requestId) === true
  }

  /** Gives an event to the router whose it is, or to both. */
  #route(event: GroupRouterEvent): RouterAction[] {
    const { router, now } = this.#with
    switch (event.type) {
      case 'told':
      case 'watched':
      case 'unwatched':
        return this.#groups.step(event)
      case 'requested':
        return event.request.strategy.kind === 'group' ? this.#groups.step(event) : router.step(event, now())
      case 'clientGone':
      case 'linkUp':
      case 'linkDown':
      case 'headChanged':
      case 'tick':
        return [...this.#groups.step(event), ...router.step(event, now())]
      default:
        return this.#groups.has(event) ? this.#groups.step(event) : router.step(event, now())
    }
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    this.route({ type: 'tick' })
    this.#tell({ type: 'tick' })
  }

  #doBook(action: LeaseAction): void {
    const { pool, directory } = this.#with
    switch (action.type) {
      case 'grant':
        return this.#onGrant(action)
      case 'refuse': {
        const { client, requestId, error, message, details } = action
        const key = { client, requestId }
        this.#takeAsked(key)
        return this.#refused(key, { error, message, details })
      }
      case 'startWorker':
        return pool.start(action)
      case 'stopWorker':
        return pool.kill(action.workerId, action.reason)
      case 'reclaim':
        directory.get(action.client)?.send('leaseReclaim', { leaseId: action.leaseId })
        return
      case 'lost': {
        const { client, leaseId, reason, outOfMemory, isGroupRemoved = false } = action
        this.#routes.delete(leaseId)
        const memory = outOfMemory === undefined ? [] : [outOfMemory]
        directory.get(client)?.send('leaseLost', { leaseId, reason, outOfMemory: memory, isGroupRemoved })
        return
      }
      case 'bundlesAnswer':
        return this.#groups.answer(action)
    }
  }

  #doRouter(action: RouterAction): void {
    const { directory, neighbours } = this.#with
    switch (action.type) {
      case 'askLocal': {
        const owner = directory.get(action.request.client)
        if (owner !== undefined) this.#askBook(action.request, owner, action.mayWait)
        return
      }
      case 'cancelLocal':
        return this.cancelAsk({ client: action.client, requestId: action.requestId })
      case 'askRemote':
        return neighbours.askLease(action.node, action.request, action.mayWait)
      case 'cancelRemote':
        return neighbours.cancelAsk(action.node, { client: action.client, requestId: action.requestId })
      case 'returnRemote':
        return neighbours.returnLease(action.node, action.client, action.leaseId)
      case 'accept':
        return this.#accept(action)
      case 'refuse':
        return this.#refuse(action, action.refusal)
      default:
        return neighbours.tellHead(action)
    }
  }

  /** The own lease book has nothing for a request. */
  #refused(key: RequestKey, refusal: Refusal): void {
    const { directory, neighbours } = this.#with
    if (directory.isLocal(key.client)) this.route({ type: 'localRefused', ...key, refusal })
    else neighbours.refuseAsk(nodeOf(key.client), key, refusal)
  }

  #refuse({ client, requestId }: RequestKey, { error, message, details }: Refusal): void {
    this.#with.directory.get(client)?.send('leaseRefuse', { requestId, error, message, details })
  }

  #accept({
    node,
    grant,
    client,
    requestId,
    job,
  }: RequestKey & { node: NodeId; grant: RemoteGrant; job: ClientId }): void {
    const { directory, neighbours } = this.#with
    const owner = directory.get(client)
    if (owner === undefined) {
      neighbours.returnLease(node, client, grant.leaseId)
      return
    }
    this.grantedCount++
    const { alias } = this.remote.add(node, grant, owner, job)
    owner.send('leaseGrant', { ...grant, gpuIds: [...grant.gpuIds], requestId, leaseId: alias })
  }

  #onGrant({ client, requestId, leaseId, workerId, gpuIds }: LeaseAction & { type: 'grant' }): void {
    const { pool, directory } = this.#with
    const worker = pool.get(workerId)?.client
    const asked = this.#takeAsked({ client, requestId })
    if (asked === undefined || worker === undefined) {
      // Given up meanwhile, or to be asked for again.
      this.#tell({ type: 'returned', client, leaseId })
      if (asked !== undefined) this.#refused({ client, requestId }, workerGone)
      return
    }
    this.grantedCount++
    const { owner, job, depth, label, resources } = asked
    pool.leased(workerId, { to: job, name: label })
    const nodesAble = this.#with.neighbours.nodesAble(resources)
    const route = { leaseId, requestId, owner, worker, workerId, gpuIds: [...gpuIds], nodesAble }
    this.#routes.set(leaseId, route)
    worker.send('leaseStart', { leaseId, owner: client, job, depth, gpuIds: [...gpuIds] })
    if (directory.isLocal(client)) this.route({ type: 'localGranted', client, requestId })
    this.#sendGrant(route, requestId)
  }

  #sendGrant({ leaseId, owner, worker, gpuIds, nodesAble }: LeaseRoute, requestId: number): void {
    owner.send('leaseGrant', { requestId, leaseId, workerId: worker.id, workerPid: worker.pid, gpuIds, nodesAble })
  }
}

/** The bundle of a placement group that is asked for. */
function bundleOf({ strategy }: RoutedRequest): BundleRef | undefined {
  return strategy.kind === 'group' ? { group: strategy.group, index: strategy.bundle } : undefined
}

function checked(resources: ResourceSet, label: string): ResourceSet {
  try {
    return checkResources(resources, `the request of ${label}`)
  } catch (error) {
    // The SDK has checked them before; whoever sends others does not speak the protocol.
    throw error instanceof ShoalError ? new ProtocolError(error.message) : error
  }
}
