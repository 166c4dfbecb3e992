import { ProtocolError, ShoalError } from '../../protocols/errors.ts'
import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import { checkResources, type ResourceSet } from '../../protocols/resources.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { LeaseAction, LeaseEvent } from '../leases/lease-events.ts'
import { jobGoneRefusal } from '../leases/refusals.ts'
import type { WorkerExit, WorkerPool } from '../workers/worker-pool.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'
import type { LeaseRoute } from './relay.ts'

const tickMs = 50

/** A request that has no answer yet: what the worker is to be told with the lease. */
interface Asked {
  owner: Client
  depth: number
  job: ClientId
  label: string
}

/** Tells the lease book what happens, and does what it answers: the policy is all in there, the doing all in here. */
export class LeaseDesk {
  readonly #book: LeaseBook
  readonly #clients: ClientTable
  readonly #pool: WorkerPool
  readonly #now: () => number
  readonly #asked = new Map<ClientId, Map<number, Asked>>()
  readonly #routes = new Map<number, LeaseRoute>()
  readonly #events: LeaseEvent[] = []
  #isStepping = false
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  grantedCount = 0

  constructor(options: { book: LeaseBook; clients: ClientTable; pool: WorkerPool; now: () => number }) {
    this.#book = options.book
    this.#clients = options.clients
    this.#pool = options.pool
    this.#now = options.now
    this.#pool.onExit = (exit) => this.#onWorkerExit(exit)
  }

  /** Who is at the two ends of each lease. */
  get routes(): ReadonlyMap<number, LeaseRoute> {
    return this.#routes
  }

  /** Told when a worker is gone, after its leases were reported lost. */
  onWorkerGone: (client: Client) => void = () => {}

  /** Starts the first workers. */
  open(): void {
    this.#step({ type: 'tick' })
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  request(client: Client, body: MessageBody<'leaseRequest'>): void {
    const { requestId, depth, job, envKey, envVars, label } = body
    const asked = this.#asked.get(client.id) ?? new Map<number, Asked>()
    if (asked.has(requestId)) throw new ProtocolError(`lease request ${requestId} is under way already`)
    const resources = checked(body.resources, label)
    if (this.#clients.get(job) === undefined) {
      // Of work that has been ended already: its last requests were still on their way.
      this.#refuse(jobGoneRefusal({ client: client.id, requestId, resources }))
      return
    }
    this.#asked.set(client.id, asked.set(requestId, { owner: client, depth, job, label }))
    this.#step({ type: 'requested', client: client.id, requestId, resources, envKey, envVars, depth, job, label })
  }

  cancelRequest(client: Client, requestId: number): void {
    if (this.#takeAsked(client.id, requestId) === undefined) return
    this.#step({ type: 'requestCancelled', client: client.id, requestId })
  }

  giveBack(client: Client, leaseId: number): void {
    const route = this.#ownRoute(client, leaseId)
    if (route === undefined) return
    this.#routes.delete(leaseId)
    route.worker.send('leaseEnd', { leaseId })
    this.#step({ type: 'returned', client: client.id, leaseId })
  }

  kill(client: Client, leaseId: number, reason: string): void {
    const route = this.#ownRoute(client, leaseId)
    if (route !== undefined) this.#pool.kill(route.workerId, reason === '' ? 'killed by its owner' : reason)
  }

  /** The worker of a lease says that its task waits in `get()`, or does so no more. */
  blocked(client: Client, { leaseId, isBlocked }: MessageBody<'leaseBlocked'>): void {
    const route = this.#routes.get(leaseId)
    if (route === undefined) return
    if (route.worker !== client) throw new ProtocolError(`lease ${leaseId} is not a lease of this worker`)
    route.owner.send('leaseBlocked', { leaseId, isBlocked })
    this.#step({ type: isBlocked ? 'blocked' : 'unblocked', leaseId })
  }

  /** A worker says that others need what it owns, or do so no more. */
  needed(client: Client, isNeeded: boolean): void {
    if (client.role !== 'worker') throw new ProtocolError('only a worker can say that it is needed')
    this.#step({ type: 'workerNeeded', workerId: client.workerId, isNeeded })
  }

  workerReady(workerId: number): void {
    this.#step({ type: 'workerReady', workerId })
  }

  /** A client is gone. A worker's own end comes from the pool. */
  clientGone(client: Client): void {
    this.#asked.delete(client.id)
    for (const [leaseId, route] of this.#routes) if (route.owner === client) this.#routes.delete(leaseId)
    this.#step({ type: 'clientGone', client: client.id })
  }

  #onWorkerExit({ client, ...exit }: WorkerExit): void {
    this.#step({ type: 'workerExited', ...exit })
    if (client !== undefined) this.onWorkerGone(client)
  }

  #ownRoute(client: Client, leaseId: number): LeaseRoute | undefined {
    const route = this.#routes.get(leaseId)
    if (route !== undefined && route.owner !== client) {
      throw new ProtocolError(`lease ${leaseId} is not a lease of this client`)
    }
    return route
  }

  #takeAsked(client: ClientId, requestId: number): Asked | undefined {
    const asked = this.#asked.get(client)
    const found = asked?.get(requestId)
    asked?.delete(requestId)
    if (asked?.size === 0) this.#asked.delete(client)
    return found
  }

  /** What an action leads to may be an event of its own; it waits until all actions before it are done. */
  #step(event: LeaseEvent): void {
    this.#events.push(event)
    if (this.#isStepping || this.#isClosed) return
    this.#isStepping = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      for (const action of this.#book.step(next, this.#now())) this.#do(action)
    }
    this.#isStepping = false
    if (this.#timer === undefined && this.#book.wantsTick) this.#timer = setTimeout(this.#onTimer, tickMs)
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    this.#step({ type: 'tick' })
  }

  #do(action: LeaseAction): void {
    switch (action.type) {
      case 'grant':
        return this.#grant(action)
      case 'refuse':
        return this.#refuse(action)
      case 'startWorker':
        return this.#pool.start(action)
      case 'stopWorker':
        return this.#pool.kill(action.workerId, action.reason)
      case 'reclaim':
        this.#clients.get(action.client)?.send('leaseReclaim', { leaseId: action.leaseId })
        return
      case 'lost':
        this.#routes.delete(action.leaseId)
        this.#clients.get(action.client)?.send('leaseLost', { leaseId: action.leaseId, reason: action.reason })
    }
  }

  #refuse({ client, requestId, error, message, details }: LeaseAction & { type: 'refuse' }): void {
    this.#takeAsked(client, requestId)
    this.#clients.get(client)?.send('leaseRefuse', { requestId, error, message, details })
  }

  #grant({ client, requestId, leaseId, workerId, gpuIds }: LeaseAction & { type: 'grant' }): void {
    this.grantedCount++
    const asked = this.#takeAsked(client, requestId)
    const worker = this.#pool.get(workerId)?.client
    if (asked === undefined || worker === undefined) {
      throw new Error(`lease ${leaseId} was granted for a request or a worker that is not known`)
    }
    const { owner, job, depth, label } = asked
    this.#pool.leased(workerId, { to: job, name: label })
    this.#routes.set(leaseId, { leaseId, owner, worker, workerId })
    worker.send('leaseStart', { leaseId, owner: client, job, depth, gpuIds: [...gpuIds] })
    const grant = { requestId, leaseId, workerId: worker.id, workerPid: worker.pid, gpuIds: [...gpuIds] }
    owner.send('leaseGrant', grant)
  }
}

function checked(resources: ResourceSet, label: string): ResourceSet {
  try {
    return checkResources(resources, `the request of ${label}`)
  } catch (error) {
    // The SDK has checked them before; whoever sends others does not speak the protocol.
    throw error instanceof ShoalError ? new ProtocolError(error.message) : error
  }
}
