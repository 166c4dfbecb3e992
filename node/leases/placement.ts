import type { Allocation, ResourceLedger } from '../resources/ledger.ts'
import type { LeaseBookSettings } from './lease-book-options.ts'
import type { LeaseAction } from './lease-events.ts'
import type { LeaseRequest, WorkerRecord } from './lease-records.ts'
import { isAhead } from './lease-records.ts'
import type { JobShares } from './job-shares.ts'
import { workerStartRefusal } from './refusals.ts'
import { Reservations } from './reservations.ts'
import type { StartHealth } from './start-health.ts'
import type { RequestLine } from './waiting-requests.ts'
import { WaitingRequests } from './waiting-requests.ts'
import type { WorkerTable } from './worker-table.ts'
import { workerKey } from './worker-table.ts'

/** What a request has got, and from which ledger. */
export interface Taken {
  readonly allocation: Allocation
  readonly from: ResourceLedger
}

/** What placement works on, and whom it tells. */
export interface PlacementComponents {
  /** From which of these a request may take. */
  ledgersFor(request: LeaseRequest): readonly ResourceLedger[]
  workers: WorkerTable
  startHealth: StartHealth
  shares: JobShares
  settings: LeaseBookSettings
  /** The request has got this worker and these resources. */
  onGranted(request: LeaseRequest, worker: WorkerRecord, taken: Taken, nowMs: number): void
  /** The request has been refused. */
  onRefused(request: LeaseRequest): void
  emit(action: LeaseAction): void
}

/**
 * Brings requests, resources and workers together.
 *
 * A request is first *waiting* and holds nothing. When its resources are free it takes them; if a worker with its
 * environment and its devices is idle, it is granted at once, otherwise it is *placed*: it holds its resources while a
 * worker is started, and takes whichever worker of that key is free first. There are never more placed requests of a
 * key than workers of the key that are starting.
 *
 * The order is the deepest first, then the job that holds the fewest workers, then first come first served. Depth first matters for recursion: a task that waits
 * in `get()` keeps its worker, so if its siblings went before its children, a tree of tasks would fill the machine with
 * a worker for every node of the tree's width; this way there is about one for every level of its depth.
 */
export class Placement {
  readonly waiting = new WaitingRequests()
  readonly reservations: Reservations
  /** Nothing is placed. */
  isClosed = false
  #placedByKey = new Map<string, Set<LeaseRequest>>()
  #with: PlacementComponents

  constructor(components: PlacementComponents) {
    this.#with = components
    this.reservations = new Reservations(components.settings.starvationMs)
  }

  /** Takes a request in, and places it at once if that is possible. */
  add(request: LeaseRequest, nowMs: number): void {
    // Behind others of its line it cannot be served: nothing has been freed since they were looked at.
    if (this.waiting.add(request)) this.#place(request, nowMs)
  }

  /** Forgets a request that has not been granted and gives back what it holds. */
  remove(request: LeaseRequest): void {
    if (request.placement === undefined) {
      this.waiting.remove(request)
      this.reservations.drop(request)
    } else {
      request.placement.from.release(request.placement.allocation)
      this.#unlist(request)
    }
  }

  /** Serves all that can be served: to be called when something has become free. */
  placeAll(nowMs: number): void {
    if (this.waiting.size === 0) return
    for (const depth of this.waiting.depthsDeepestFirst()) {
      // Kept with the next to be served last, so that it can be popped.
      const lines = this.waiting.linesAt(depth).sort(this.#lastFirst)
      for (let line = lines.pop(); line !== undefined; line = lines.pop()) {
        const { head } = line
        if (head === undefined || !this.#place(head, nowMs)) continue
        // All lines of its job have moved back.
        if (line.head !== undefined) lines.push(line)
        lines.sort(this.#lastFirst)
      }
    }
  }

  readonly #lastFirst = ({ head: a }: RequestLine, { head: b }: RequestLine): number => {
    if (a === undefined || b === undefined) return 0
    const { shares } = this.#with
    return shares.of(b.job) - shares.of(a.job) || b.sequence - a.sequence
  }

  /** Gives a worker that has become free to the first request that is placed for one like it, or makes it idle. */
  offer(worker: WorkerRecord, nowMs: number): void {
    const { workers } = this.#with
    const request = firstOf(this.#placedByKey.get(worker.key))
    if (request?.placement === undefined) {
      workers.setState(worker, 'idle', nowMs)
      return
    }
    const { allocation, from } = request.placement
    this.#unlist(request)
    this.#with.onGranted(request, worker, { allocation, from }, nowMs)
  }

  /** A worker of this key will not come: if a request was placed for it, the last of them waits again. */
  startFailed(key: string): void {
    const placed = this.#placedByKey.get(key)
    if (placed === undefined || placed.size <= this.#with.workers.startingCount(key)) return
    const request = lastOf(placed)
    if (request?.placement === undefined) return
    request.placement.from.release(request.placement.allocation)
    this.#unlist(request)
    this.waiting.putBack(request)
  }

  *placed(): Generator<LeaseRequest> {
    for (const requests of this.#placedByKey.values()) yield* requests
  }

  /** The requests of a job, waiting or placed. */
  ofJob(job: string): LeaseRequest[] {
    const found: LeaseRequest[] = []
    for (const requests of [this.waiting.all(), this.placed()]) {
      for (const request of requests) if (request.job === job) found.push(request)
    }
    return found
  }

  /** Places or refuses a waiting request. False when it has to go on waiting; its `wait` says why. */
  #place(request: LeaseRequest, nowMs: number): boolean {
    const { workers, onGranted } = this.#with
    if (this.isClosed) {
      request.wait.reason = { kind: 'closed' }
      return false
    }
    const ledgers = this.#with.ledgersFor(request)
    const from = ledgers.find((ledger) => ledger.shortOf(request.resources).length === 0)
    if (from === undefined) {
      request.wait.reason = { kind: 'resources', names: ledgers[0]?.shortOf(request.resources) ?? [] }
      return false
    }
    const by = this.reservations.against(request)
    if (by !== undefined) {
      request.wait.reason = { kind: 'reserved', by }
      return false
    }
    const allocation = from.tryAcquire(request.resources)
    if (allocation === undefined) return false
    const key = workerKey(request.envKey, allocation.gpuIds)
    const worker = workers.newestIdle(key)
    if (worker !== undefined) {
      this.#leaveWaiting(request)
      onGranted(request, worker, { allocation, from }, nowMs)
      return true
    }
    const isSpare = workers.startingCount(key) > (this.#placedByKey.get(key)?.size ?? 0)
    if (isSpare || this.#mayStart(request, key, nowMs)) {
      this.#leaveWaiting(request)
      request.placement = { allocation, from, workerKey: key }
      let placed = this.#placedByKey.get(key)
      if (placed === undefined) this.#placedByKey.set(key, (placed = new Set()))
      placed.add(request)
      this.#with.shares.add(request.job, 1)
      if (!isSpare) this.#start(request, allocation.gpuIds, nowMs)
      return true
    }
    from.release(allocation)
    return !this.waiting.has(request)
  }

  /** True when a worker may be started for the request; if not, says what it waits for or refuses it. */
  #mayStart(request: LeaseRequest, key: string, nowMs: number): boolean {
    const { workers, settings, startHealth, emit, onRefused } = this.#with
    const verdict = startHealth.verdict(request.envKey, nowMs)
    if (verdict.may !== 'start') {
      request.wait.reason = { kind: 'start', reason: verdict.reason }
      if (verdict.may === 'refuse' && !workers.hasBusy(key)) {
        this.#leaveWaiting(request)
        emit(workerStartRefusal(request, verdict.reason, verdict.failures))
        onRefused(request)
      }
      return false
    }
    if (workers.count < settings.workersMax) return true
    const idle = workers.mostDispensable()
    if (idle === undefined) {
      request.wait.reason = { kind: 'workers' }
      return false
    }
    workers.setState(idle, 'stopping', nowMs)
    emit({ type: 'stopWorker', workerId: idle.workerId, reason: 'its place is needed for a worker of another kind' })
    return true
  }

  #start(request: LeaseRequest, gpuIds: readonly number[], nowMs: number): void {
    const { workers, startHealth, emit } = this.#with
    // A process that has used a device may keep its memory for as long as it lives.
    for (const idle of workers.idleOn(gpuIds)) {
      workers.setState(idle, 'stopping', nowMs)
      emit({ type: 'stopWorker', workerId: idle.workerId, reason: 'its GPU goes to a worker of another kind' })
    }
    const { workerId } = workers.start(request.envKey, gpuIds, nowMs)
    startHealth.started(request.envKey)
    emit({ type: 'startWorker', workerId, envKey: request.envKey, envVars: request.envVars, gpuIds })
  }

  #leaveWaiting(request: LeaseRequest): void {
    this.waiting.remove(request)
    this.reservations.drop(request)
  }

  #unlist(request: LeaseRequest): void {
    const key = request.placement?.workerKey ?? ''
    const placed = this.#placedByKey.get(key)
    if (placed?.delete(request) === true) this.#with.shares.add(request.job, -1)
    if (placed?.size === 0) this.#placedByKey.delete(key)
    request.placement = undefined
  }
}

function firstOf(requests: Iterable<LeaseRequest> = []): LeaseRequest | undefined {
  let first: LeaseRequest | undefined
  for (const request of requests) if (first === undefined || isAhead(request, first)) first = request
  return first
}

function lastOf(requests: Iterable<LeaseRequest>): LeaseRequest | undefined {
  let last: LeaseRequest | undefined
  for (const request of requests) if (last === undefined || isAhead(last, request)) last = request
  return last
}
