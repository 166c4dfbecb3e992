import { resourcesKey, type ResourceSet } from '../../protocols/resources.ts'
import { ResourceLedger } from '../resources/ledger.ts'
import type { LeaseBookOptions, LeaseBookSettings } from './lease-book-options.ts'
import { leaseBookSettings } from './lease-book-options.ts'
import { LeaseClients } from './lease-clients.ts'
import { addTo, removeFrom } from '../store/set-map.ts'
import type { Bundle } from './bundle-table.ts'
import { couldFit } from './could-fit.ts'
import { HeldBundles } from './held-bundles.ts'
import { JobShares } from './job-shares.ts'
import type { LeaseAction, LeaseEvent, RefuseAction, RequestedEvent, WorkerExitedEvent } from './lease-events.ts'
import type { Lease, LeaseRequest, WorkerRecord } from './lease-records.ts'
import type { LeaseSnapshot } from './lease-snapshot.ts'
import { leaseSnapshot } from './lease-snapshot.ts'
import { nextId } from './next-id.ts'
import { Placement, type Taken } from './placement.ts'
import { chooseReclaims, isWorthReclaiming } from './reclaim.ts'
import {
  bundleTooSmallRefusal,
  busyRefusal,
  closedRefusal,
  groupRemovedRefusal,
  infeasibleRefusal,
  jobGoneRefusal,
  noBundleRefusal,
  tooManyRequestsRefusal,
  workerLimitRefusal,
} from './refusals.ts'
import { StartHealth } from './start-health.ts'
import { WorkerTable } from './worker-table.ts'

/** A worker and the lease under which it is somebody's. */
export type HeldLease = Pick<Lease, 'leaseId' | 'job' | 'label' | 'isRetriable' | 'grantedAtMs'> & { workerId: number }

/** Requests that may wait; more are refused. */
const waitingMax = 100_000

/** Up to this share of a resource a node takes its own clients' work without looking for a better place. */
const ampleShare = 0.5

/** A worker that ends so soon after its start, without having served, counts as a start that failed. */
const settleMs = 5_000
/** Why bundles leave a node that is being taken out of service. */
const closedReason = 'the node takes no new work'

/**
 * Who gets which worker of this node, and when: the whole of the policy, without sockets, processes or a clock. The
 * host tells it what happened and does what it answers, in that order. What it holds changes only in `step`.
 *
 * Times are the host's and must not run backwards. The host steps a `tick` once at the start, so that the first workers
 * are started, and then every 50 ms or so while `wantsTick`.
 *
 * @example
 * const book = new LeaseBook({ total: { CPU: 2 } })
 * for (const action of book.step({ type: 'tick' }, performance.now())) perform(action)
 */
export class LeaseBook {
  #settings: LeaseBookSettings
  #ledger: ResourceLedger
  #workers = new WorkerTable()
  #clients = new LeaseClients()
  #shares = new JobShares()
  #startHealth: StartHealth
  #placement: Placement
  #bundles: HeldBundles
  /** Requests for bundles, by group. */
  #requestsOfGroup = new Map<string, Set<LeaseRequest>>()
  /** The oldest first. */
  #leases = new Map<number, Lease>()
  #blockedCount = 0
  /** Leases of actors that do not wait: their workers do not come free for others. */
  #actorCount = 0
  /** When a worker last got, gave back or went on with something. */
  #movedAtMs = -Infinity
  #limitRefusedAtMs = -Infinity
  #lastLeaseId = 0
  #lastSequence = 0
  #actions: LeaseAction[] = []
  #nowMs = 0

  constructor(options: LeaseBookOptions) {
    this.#settings = leaseBookSettings(options)
    this.#ledger = new ResourceLedger(this.#settings.total, this.#settings.gpus)
    this.#startHealth = new StartHealth(this.#settings)
    this.#bundles = new HeldBundles({
      ledger: this.#ledger,
      whyNone: (resources) => this.#whyNone(resources),
      onEnded: (...ended) => this.#onBundleEnded(...ended),
      emit: (action) => this.#actions.push(action),
    })
    this.#placement = new Placement({
      ledgersFor: (request) => this.#bundles.ledgersFor(request),
      workers: this.#workers,
      startHealth: this.#startHealth,
      shares: this.#shares,
      settings: this.#settings,
      onGranted: (...granted) => this.#onGranted(...granted),
      onRefused: (request) => this.#unlist(request),
      emit: (action) => this.#actions.push(action),
    })
  }

  /**
   * Takes note of one event and returns what is to be done about it. A request's resources must have gone through
   * `checkResources`. News about leases and workers that are not known any more is ignored.
   */
  step(event: LeaseEvent, nowMs: number): LeaseAction[] {
    this.#actions = []
    this.#nowMs = nowMs
    this.#on(event, nowMs)
    this.#refuseIfAllBlocked(nowMs)
    this.#prestart(nowMs)
    return this.#actions
  }

  /** True while time alone can bring something about: requests wait, idle workers grow old, a start can be retried. */
  get wantsTick(): boolean {
    return (
      this.#placement.waiting.size > 0 ||
      this.#startHealth.isTroubled ||
      this.#wantsPrestart() ||
      this.#workers.surplusIdle(this.#settings.prestart).length > 0
    )
  }

  /** It takes no new work. */
  get isClosed(): boolean {
    return this.#placement.isClosed
  }

  /** The names of which the node as a whole has too little for the request. */
  missing(request: ResourceSet): string[] {
    return this.#ledger.missing(request)
  }

  /** True when such a request would be served at once, and the busiest resource be no more than half used then. */
  hasAmpleRoom(request: ResourceSet): boolean {
    return !this.isClosed && this.#placement.waiting.size === 0 && this.#ledger.busiestShareWith(request) <= ampleShare
  }

  /** It has what it asked for, and only waits for a worker that is being started for it. */
  isPlaced({ client, requestId }: { client: string; requestId: number }): boolean {
    return this.#clients.request(client, requestId)?.placement !== undefined
  }

  /** How much of each GPU is free: 0 to 1, by its number. */
  gpusFree(): ReadonlyMap<number, number> {
    return this.#ledger.gpusFree
  }

  /** Bundles of placement groups that are reserved here. */
  get bundleCount(): number {
    return this.#bundles.table.count
  }

  /** What is free and what is going on, in figures. */
  load(): { total: ResourceSet; available: ResourceSet; workers: number; leases: number; queued: number } {
    const { total, available } = this.#ledger
    const queued = this.#placement.waiting.size
    return { total, available, workers: this.#workers.count, leases: this.#leases.size, queued }
  }

  /** Who has which worker. */
  held(): HeldLease[] {
    return Array.from(this.#leases.values(), ({ leaseId, job, label, isRetriable, grantedAtMs, worker }) => {
      return { workerId: worker.workerId, leaseId, job, label, isRetriable, grantedAtMs }
    })
  }

  /** The state of things, for status pages. */
  snapshot(): LeaseSnapshot {
    return leaseSnapshot({
      ledger: this.#ledger,
      workers: this.#workers.all(),
      workerCount: this.#workers.count,
      workersMax: this.#settings.workersMax,
      blockedCount: this.#blockedCount,
      bundles: this.#bundles.table.all(),
      waiting: this.#placement.waiting.all(),
      placed: this.#placement.placed(),
      ledgersFor: (request) => this.#bundles.ledgersFor(request),
    })
  }

  #on(event: LeaseEvent, nowMs: number): void {
    switch (event.type) {
      case 'requested':
        return this.#onRequested(event, nowMs)
      case 'requestCancelled':
        return this.#onRequestCancelled(event.client, event.requestId, nowMs)
      case 'returned':
        return this.#onReturned(event.client, event.leaseId, nowMs)
      case 'blocked':
        this.#movedAtMs = nowMs
        return this.#onBlocked(event.leaseId, nowMs)
      case 'unblocked':
        this.#movedAtMs = nowMs
        return this.#onUnblocked(event.leaseId)
      case 'workerReady':
        return this.#onWorkerReady(event.workerId, nowMs)
      case 'workerNeeded':
        return this.#onWorkerNeeded(event.workerId, event.isNeeded)
      case 'workerExited':
        return this.#onWorkerExited(event, nowMs)
      case 'clientGone':
        return this.#onClientGone(event.client, nowMs)
      case 'bundlesReserve':
      case 'bundlesClaim':
      case 'bundlesRelease':
      case 'groupsGone':
      case 'bundlesTick':
        this.#bundles.on(event, nowMs)
        if (this.#bundles.settle()) this.#placement.placeAll(nowMs)
        if (this.isClosed) this.#bundles.leaveUnused(closedReason)
        return
      case 'opened':
        return this.#onOpened(event.isOpen, nowMs)
      case 'tick':
        return this.#onTick(nowMs)
    }
  }

  #onRequested(event: RequestedEvent, nowMs: number): void {
    if (this.#clients.request(event.client, event.requestId) !== undefined) return
    const never = this.#neverRefusal(event)
    if (never !== undefined) {
      this.#actions.push(never)
      return
    }
    if (this.#placement.waiting.size >= waitingMax) {
      this.#actions.push(tooManyRequestsRefusal(event, waitingMax))
      return
    }
    const job = event.job ?? event.client
    const isRetriable = event.isRetriable ?? false
    const { bundle } = event
    const bundleKey = bundle === undefined ? '' : `|${bundle.group}:${bundle.index}`
    const classKey = `${resourcesKey(event.resources)}|${event.envKey}|${isRetriable ? 'again' : 'once'}${bundleKey}`
    const request: LeaseRequest = {
      client: event.client,
      requestId: event.requestId,
      job,
      resources: event.resources,
      bundle,
      envKey: event.envKey,
      envVars: event.envVars ?? {},
      depth: event.depth,
      label: event.label,
      isRetriable,
      isActor: event.isActor ?? false,
      sequence: ++this.#lastSequence,
      classKey,
      lineKey: `${job}|${classKey}`,
      requestedAtMs: nowMs,
      placement: undefined,
      wait: { reason: { kind: 'turn' } },
      reserveAtMs: nowMs + this.#settings.starvationMs,
      reserveSpanMs: this.#placement.reservations.spanMs,
    }
    this.#clients.addRequest(request)
    if (bundle !== undefined) addTo(this.#requestsOfGroup, bundle.group, request)
    this.#placement.add(request, nowMs)
    if (!this.#placement.waiting.has(request)) return
    if (event.mayWait === false) {
      this.#forgetRequest(request)
      this.#actions.push(this.isClosed ? closedRefusal(event) : busyRefusal(event))
    } else this.#reclaimOwnLease(request)
  }

  /** Why nothing is reserved now, whatever is free; undefined when it may be. */
  #whyNone(resources: ResourceSet): string | undefined {
    if (this.isClosed) return closedReason
    return this.#placement.reservations.keeps(resources) ? 'what it needs is kept for others' : undefined
  }

  /** The answer to what can never be served here. */
  #neverRefusal(event: RequestedEvent): RefuseAction | undefined {
    const { resources, bundle } = event
    if (bundle === undefined) {
      const missing = this.#ledger.missing(resources)
      return missing.length > 0 ? infeasibleRefusal(event, this.#ledger, missing) : undefined
    }
    const ledgers = this.#bundles.ledgersFor({ bundle })
    const [first] = ledgers
    if (first === undefined) return noBundleRefusal(event, bundle)
    return ledgers.some((ledger) => ledger.fits(resources))
      ? undefined
      : bundleTooSmallRefusal(event, bundle, first.total)
  }

  #onRequestCancelled(client: string, requestId: number, nowMs: number): void {
    const request = this.#clients.request(client, requestId)
    if (request === undefined) return
    this.#forgetRequest(request)
    this.#placement.placeAll(nowMs)
  }

  #onReturned(client: string, leaseId: number, nowMs: number): void {
    const lease = this.#leases.get(leaseId)
    if (lease === undefined || lease.client !== client) return
    this.#forgetLease(lease)
    lease.from.release(lease.allocation)
    if (this.isClosed) this.#bundles.leaveUnused(closedReason)
    lease.worker.lease = undefined
    this.#placement.offer(lease.worker, nowMs)
    this.#placement.placeAll(nowMs)
  }

  #onBlocked(leaseId: number, nowMs: number): void {
    const lease = this.#leases.get(leaseId)
    if (lease === undefined || lease.isBlocked) return
    lease.isBlocked = true
    this.#blockedCount++
    if (lease.isActor) this.#actorCount--
    this.#shares.add(lease.job, -1)
    lease.from.releaseCpu(lease.allocation)
    this.#placement.placeAll(nowMs)
  }

  #onUnblocked(leaseId: number): void {
    const lease = this.#leases.get(leaseId)
    if (lease?.isBlocked !== true) return
    lease.isBlocked = false
    this.#blockedCount--
    if (lease.isActor) this.#actorCount++
    this.#shares.add(lease.job, 1)
    this.#limitRefusedAtMs = -Infinity
    lease.from.reacquireCpu(lease.allocation)
  }

  #onWorkerReady(workerId: number, nowMs: number): void {
    const worker = this.#workers.get(workerId)
    if (worker?.state !== 'starting') return
    this.#startHealth.ready(worker.envKey)
    this.#placement.offer(worker, nowMs)
    this.#placement.placeAll(nowMs)
  }

  #onWorkerNeeded(workerId: number, isNeeded: boolean): void {
    const worker = this.#workers.get(workerId)
    if (worker !== undefined) worker.isNeeded = isNeeded
  }

  #onWorkerExited(event: WorkerExitedEvent, nowMs: number): void {
    const worker = this.#workers.get(event.workerId)
    if (worker === undefined) return
    const { state, lease, envKey, key, hasServed, sinceMs } = worker
    this.#workers.remove(worker)
    if (lease !== undefined) {
      // Also for one that was being stopped: what it held is free only now that the process is gone.
      lease.from.release(lease.allocation)
      this.#bundles.settle()
      if (state === 'leased') {
        this.#forgetLease(lease)
        const { reason, outOfMemory } = event
        const lost = { type: 'lost', client: lease.client, leaseId: lease.leaseId, reason } as const
        this.#actions.push(outOfMemory === undefined ? lost : { ...lost, outOfMemory })
      }
    }
    const diedYoung = state === 'idle' && !hasServed && nowMs - sinceMs < settleMs
    if (state === 'starting' || event.startFailed || diedYoung) {
      if (event.isOutside === true) this.#startHealth.interrupted(envKey, event.reason, nowMs)
      else this.#startHealth.failed(envKey, event.reason, nowMs)
    }
    if (state === 'starting') this.#placement.startFailed(key)
    this.#placement.placeAll(nowMs)
  }

  #onClientGone(client: string, nowMs: number): void {
    for (const request of this.#clients.requests(client)) this.#forgetRequest(request)
    for (const lease of this.#clients.leases(client)) this.#end(lease, `the owner of '${lease.label}' is gone`, nowMs)
    this.#onJobGone(client, nowMs)
    this.#placement.placeAll(nowMs)
  }

  /** What is left of the client's work belongs to others, who may live on: they are told. */
  #onJobGone(job: string, nowMs: number): void {
    for (const request of this.#placement.ofJob(job)) {
      this.#forgetRequest(request)
      this.#actions.push(jobGoneRefusal(request))
    }
    for (const lease of this.#leases.values()) {
      if (lease.job !== job) continue
      const reason = `the program for which '${lease.label}' ran has ended`
      this.#end(lease, reason, nowMs)
      this.#actions.push({ type: 'lost', client: lease.client, leaseId: lease.leaseId, reason })
    }
  }

  /** What runs in a bundle ends with it; what waits for it is sent back to where it came from. */
  #onBundleEnded({ group, ledger }: Bundle, reason: string, isRemoved: boolean): void {
    if (!ledger.isUnused) {
      for (const lease of this.#leases.values()) {
        if (lease.from !== ledger) continue
        const why = isRemoved ? `placement group ${group} is there no more: ${reason}` : reason
        this.#end(lease, why, this.#nowMs)
        const { client, leaseId } = lease
        this.#actions.push({ type: 'lost', client, leaseId, reason: why, isGroupRemoved: isRemoved })
      }
    }
    for (const request of this.#requestsOfGroup.get(group) ?? []) {
      const { bundle, placement } = request
      const hasPlace =
        placement === undefined ? this.#bundles.ledgersFor(request).length > 0 : placement.from !== ledger
      if (bundle === undefined || hasPlace) continue
      this.#forgetRequest(request)
      this.#actions.push(isRemoved ? groupRemovedRefusal(request, bundle, reason) : noBundleRefusal(request, bundle))
    }
  }

  /** Ends a lease by stopping its worker, which may be running a task of it. */
  #end(lease: Lease, reason: string, nowMs: number): void {
    this.#forgetLease(lease)
    // Its resources stay taken until the process has ended: a GPU's memory, say, is not free before that.
    this.#workers.setState(lease.worker, 'stopping', nowMs)
    this.#actions.push({ type: 'stopWorker', workerId: lease.worker.workerId, reason })
  }

  #onOpened(isOpen: boolean, nowMs: number): void {
    if (isOpen !== this.isClosed) return
    this.#placement.isClosed = !isOpen
    if (isOpen) {
      this.#placement.placeAll(nowMs)
      return
    }
    for (const request of [...this.#placement.waiting.all(), ...this.#placement.placed()]) {
      this.#forgetRequest(request)
      this.#actions.push(closedRefusal(request))
    }
    for (const lease of this.#leases.values()) if (!lease.isReclaimed) this.#askBack(lease)
    this.#bundles.leaveUnused(closedReason)
  }

  #onTick(nowMs: number): void {
    const { waiting, reservations } = this.#placement
    reservations.lapse(nowMs)
    this.#placement.placeAll(nowMs)
    reservations.reserveFor(waiting.heads(), nowMs, couldFit(this.#leases, this.#bundles))
    this.#reclaim(nowMs)
    this.#startHealth.forgetOld(nowMs)
    for (const worker of this.#workers.surplusIdle(this.#settings.prestart)) {
      if (nowMs - worker.sinceMs < this.#settings.idleMs) continue
      this.#workers.setState(worker, 'stopping', nowMs)
      this.#actions.push({ type: 'stopWorker', workerId: worker.workerId, reason: 'idle' })
    }
  }

  #onGranted(request: LeaseRequest, worker: WorkerRecord, { allocation, from }: Taken, nowMs: number): void {
    const { client, requestId, job, classKey, depth, label, isRetriable, isActor } = request
    const leaseId = nextId(this.#lastLeaseId, this.#leases)
    this.#lastLeaseId = leaseId
    const lease: Lease = {
      leaseId,
      client,
      job,
      classKey,
      depth,
      label,
      isRetriable,
      isActor,
      allocation,
      from,
      group: request.bundle?.group,
      worker,
      grantedAtMs: nowMs,
      isBlocked: false,
      isReclaimed: false,
    }
    this.#unlist(request)
    this.#clients.addLease(lease)
    this.#leases.set(leaseId, lease)
    if (isActor) this.#actorCount++
    this.#movedAtMs = nowMs
    this.#shares.add(job, 1)
    this.#workers.setState(worker, 'leased', nowMs)
    worker.lease = lease
    // Only a new worker shows that starting works; old ones may go on while no new one can be started.
    if (!worker.hasServed) this.#startHealth.served(worker.envKey)
    worker.hasServed = true
    const { workerId } = worker
    this.#actions.push({ type: 'grant', client, requestId, leaseId, workerId, gpuIds: allocation.gpuIds })
  }

  #unlist(request: LeaseRequest): void {
    this.#clients.removeRequest(request)
    if (request.bundle !== undefined) removeFrom(this.#requestsOfGroup, request.bundle.group, request)
  }

  #forgetRequest(request: LeaseRequest): void {
    this.#unlist(request)
    this.#placement.remove(request)
  }

  #forgetLease(lease: Lease): void {
    this.#leases.delete(lease.leaseId)
    this.#clients.removeLease(lease)
    this.#movedAtMs = this.#nowMs
    if (lease.isBlocked) this.#blockedCount--
    else {
      if (lease.isActor) this.#actorCount--
      this.#shares.add(lease.job, -1)
    }
  }

  /** The owner's own leases of another kind are asked back at once: it knows whether it still needs them. */
  #reclaimOwnLease(request: LeaseRequest): void {
    const own = this.#clients.leases(request.client)
    const lease = own.find((each) => !each.isReclaimed && isWorthReclaiming(each, request))
    if (lease !== undefined) this.#askBack(lease)
  }

  #reclaim(nowMs: number): void {
    const { waiting } = this.#placement
    if (waiting.size === 0) return
    const chosen = chooseReclaims(waiting.all(), this.#leases.values(), this.#settings.quantumMs, nowMs)
    for (const lease of chosen) this.#askBack(lease)
  }

  #askBack(lease: Lease): void {
    lease.isReclaimed = true
    this.#actions.push({ type: 'reclaim', client: lease.client, leaseId: lease.leaseId })
  }

  /**
   * With every worker that there may be waiting in `get()` or with an actor, and requests waiting for a worker, nothing
   * would ever move again, unless it is other nodes or the actors that are waited for. So when nothing has moved for a
   * while the deepest requests are refused: their tasks fail, those that wait for them go on, and workers come free for the
   * rest. Should that free nobody within a quantum, the next level is refused.
   */
  #refuseIfAllBlocked(nowMs: number): void {
    const { workersMax, quantumMs, stuckMs } = this.#settings
    const { waiting } = this.#placement
    if (waiting.size === 0 || this.#blockedCount === 0) return
    const notComing = this.#blockedCount + this.#actorCount
    if (notComing < workersMax || notComing < this.#workers.count || nowMs - this.#movedAtMs < stuckMs) return
    if (nowMs - this.#limitRefusedAtMs < quantumMs) return
    const [deepest] = waiting.depthsDeepestFirst()
    if (deepest === undefined) return
    this.#limitRefusedAtMs = nowMs
    for (const line of waiting.linesAt(deepest)) {
      for (const request of line.requests.values()) {
        this.#forgetRequest(request)
        this.#actions.push(workerLimitRefusal(request, this.#blockedCount, this.#actorCount, workersMax))
      }
    }
  }

  #wantsPrestart(): boolean {
    const { prestart, workersMax } = this.#settings
    return !this.isClosed && this.#workers.plainCount < prestart && this.#workers.count < workersMax
  }

  /** Keeps the plain workers at their number, whatever became of them. */
  #prestart(nowMs: number): void {
    while (this.#wantsPrestart() && this.#startHealth.mayPrestart('', nowMs)) {
      const { workerId } = this.#workers.start('', [], nowMs)
      this.#actions.push({ type: 'startWorker', workerId, envKey: '', envVars: {}, gpuIds: [] })
    }
  }
}
