import { TaskCancelledError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { ArgumentWaits } from './argument-waits.ts'
import { SpreadShares } from './spread-shares.ts'
import { Lease } from './lease.ts'
import { termsWithout, type LeaseTerms } from './lease-terms.ts'
import { crashError, groupRemovedError, outOfMemoryError, refusalError } from './task-errors.ts'
import { TaskQueue } from './task-queue.ts'
import { hasArguments, pushBytesMax, sendableSpecOf, type TaskSpecHost } from './task-spec.ts'
import type { FunctionRecord, TaskRecord } from './task-record.ts'

/** What the submitter sends. Everything goes to the node, or through it to the worker of a lease. */
export interface SubmitterMessages {
  requestLease(requestId: number, terms: LeaseTerms, job: ClientId, label: string): void
  cancelRequest(requestId: number): void
  returnLease(leaseId: number): void
  killLease(leaseId: number, reason: string): void
  push(lease: Pick<Lease, 'id' | 'worker'>, tasks: TaskSpec[]): void
  cancelTask(leaseId: number, sequence: number, recursive: boolean): void
}

/** What the submitter needs of its process. */
export interface SubmitterHost extends TaskSpecHost {
  /** An idle lease is kept this long: the next task of its kind starts without asking. 0 gives it back at once. */
  readonly idleLeaseMs: number
  nowMs(): number
  /** Calls back once, soon, at the end of what runs now. */
  defer(callback: () => void): void
  /** Calls back after a while; must not keep the process alive. */
  after(delayMs: number, callback: () => void): void
  /** A result has arrived from that worker. */
  settle(task: TaskRecord, result: TaskResult, worker: ClientId): void
  /** A result has arrived that nobody waits for any more. `worker`: undefined when it is not known any more. */
  discard(result: TaskResult, worker: ClientId | undefined): void
  /** The task has no result and never will. */
  fail(task: TaskRecord, error: unknown): void
  /** An argument is an error, which is that of the task, too. */
  failWith(task: TaskRecord, argument: ObjectRef): void
  /** True when the thrown error is one that the task's options retry. */
  isRetriable(task: TaskRecord, error: WireValue): boolean
}

/** Tasks that can use each other's leases: of one job, with the same needs. */
interface Pool {
  key: string
  job: ClientId
  terms: LeaseTerms
  queue: TaskQueue<TaskRecord>
  leases: Map<number, Lease>
  /** Requests without an answer, and when each was sent. */
  requests: Map<number, number>
  /** With 'spread'. */
  shares: SpreadShares | undefined
  isLookPlanned: boolean
  /** How many grants there had been when a lease was last given back for tasks of other kinds. */
  givenBackAtGrant: number | undefined
  /** Until then none is: the last one was of no help to them. */
  keepsUntilMs: number
}

/** Why a lease was lost, when it was not a crash. */
export interface LostHow {
  /** Memory ran out. */
  readonly outOfMemory?: OutOfMemoryDetails | undefined
  /** Its placement group is there no more. */
  readonly isGroupRemoved?: boolean
}

/** How long a cancelled task may take to end by itself; then its worker is killed. */
const cancelGraceMs = 2000
/** After a worker was ended for want of memory. */
const memoryPauseMs = 1000
const memoryPauseMsMax = 30_000
/** What holds tasks with 'spread' back may end by time alone. */
const spreadLookMs = 50
/** After a lease was given back for tasks of another kind, and was of no help to them. */
const keepMs = 500
/** Lease requests of one kind that may wait at the node at a time. */
const requestsPendingMax = 16

/**
 * The owner's side of running tasks: queues them by what they need, asks the node for leases, pushes tasks to the leased
 * workers, and tries again when a worker dies. Knows no socket and no clock: both are handed in.
 */
export class TaskSubmitter {
  readonly #messages: SubmitterMessages
  readonly #host: SubmitterHost
  readonly #pools = new Map<string, Pool>()
  readonly #poolOfRequest = new Map<number, Pool>()
  readonly #poolOfLease = new Map<number, Pool>()
  readonly #tasks = new Map<number, TaskRecord>()
  readonly #waits = new ArgumentWaits()
  readonly #pumpSoon = new Set<Pool>()
  #lastPool: Pool | undefined
  #submittedAtMs = 0
  #nextRequestId = 1
  #grantCount = 0
  #isIdleCheckPlanned = false

  constructor(messages: SubmitterMessages, host: SubmitterHost) {
    this.#messages = messages
    this.#host = host
  }

  /** Those that have no result yet. */
  get tasks(): Iterable<TaskRecord> {
    return this.#tasks.values()
  }

  /** Tasks that have no result yet. */
  get pendingCount(): number {
    return this.#tasks.size
  }

  /** How many of them are on workers; the others wait here. */
  get pushedCount(): number {
    let count = 0
    for (const pool of this.#pools.values()) for (const lease of pool.leases.values()) count += lease.tasks.size
    return count
  }

  leases(): Iterable<Lease> {
    return [...this.#pools.values()].flatMap(({ leases }) => [...leases.values()])
  }

  submit(task: TaskRecord): void {
    // Of many in a row, all at once: asking for the time costs as much as a good part of the rest.
    if (this.#pumpSoon.size === 0) this.#submittedAtMs = Math.round(this.#host.nowMs())
    task.sinceMs = this.#submittedAtMs
    this.#tasks.set(task.sequence, task)
    this.#awaitArguments(task)
  }

  #awaitArguments(task: TaskRecord): void {
    task.state = 'waiting'
    if (task.resolvedRefs.length === 0) {
      this.#enqueue(task)
      return
    }
    this.#waits.begin(task, (failed) => {
      if (failed === undefined) this.#enqueue(task)
      else this.#finish(task, () => this.#host.failWith(task, failed))
    })
  }

  #enqueue(task: TaskRecord): void {
    const pool = this.#poolFor(task)
    task.state = 'queued'
    pool.queue.push(task)
    this.#pumpLater(pool)
  }

  #poolFor({ job, terms }: TaskRecord): Pool {
    // Most tasks come in rows of one kind, and building the key costs more than all else here.
    const last = this.#lastPool
    if (last?.terms === terms && last.job === job && this.#pools.get(last.key) === last) return last
    const key = `${job}|${terms.key}`
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      const shares = terms.strategy.kind === 'spread' ? new SpreadShares(this.#host.nowMs()) : undefined
      pool = {
        key,
        job,
        terms,
        queue: new TaskQueue(),
        leases: new Map(),
        requests: new Map(),
        shares,
        isLookPlanned: false,
        givenBackAtGrant: undefined,
        keepsUntilMs: 0,
      }
      this.#pools.set(key, pool)
    }
    this.#lastPool = pool
    return pool
  }

  #pumpLater(pool: Pool): void {
    if (this.#pumpSoon.size === 0) this.#host.defer(this.#pumpAll)
    this.#pumpSoon.add(pool)
  }

  readonly #pumpAll = (): void => {
    const pools = [...this.#pumpSoon]
    this.#pumpSoon.clear()
    for (const pool of pools) this.#pump(pool)
  }

  /** Pushes what the leases can take, and asks for more leases, or fewer, by what is left. */
  #pump(pool: Pool): void {
    const nowMs = this.#host.nowMs()
    const batches = new Map<Lease, { specs: TaskSpec[]; bytes: number }>()
    for (let task = pool.queue.peek(); task !== undefined; task = pool.queue.peek()) {
      const lease = pool.shares === undefined ? bestLease(pool, task) : this.#leaseForSpread(pool, pool.shares, task)
      if (lease === undefined) break
      pool.queue.shift()
      if (!hasArguments(task)) {
        // One has been lost since the task was queued; it is being made again.
        this.#awaitArguments(task)
        continue
      }
      const sendable = this.#sendable(task)
      if (sendable === undefined) continue
      const { spec, bytes } = sendable
      lease.add(task, bytes, nowMs)
      let batch = batches.get(lease)
      if (batch === undefined) batches.set(lease, (batch = { specs: [], bytes: 0 }))
      if (batch.bytes + bytes > pushBytesMax && batch.specs.length > 0) {
        this.#messages.push(lease, batch.specs)
        batch.specs = []
        batch.bytes = 0
      }
      batch.specs.push(spec)
      batch.bytes += bytes
    }
    for (const [lease, batch] of batches) this.#messages.push(lease, batch.specs)
    this.#balanceRequests(pool)
    this.#returnUnwanted(pool)
  }

  /** Undefined when it cannot be sent, and has failed. */
  #sendable(task: TaskRecord): ReturnType<typeof sendableSpecOf> | undefined {
    try {
      return sendableSpecOf(task, this.#host)
    } catch (error) {
      this.#finish(task, () => this.#host.fail(task, error))
      return undefined
    }
  }

  #leaseForSpread(pool: Pool, shares: SpreadShares, task: TaskRecord): Lease | undefined {
    const nowMs = this.#host.nowMs()
    const best = shares.pick([...pool.leases.values()], task, nowMs)
    if (best === undefined && !pool.isLookPlanned && shares.isBeginning(pool.leases.values(), nowMs)) {
      pool.isLookPlanned = true
      this.#host.after(spreadLookMs, () => {
        pool.isLookPlanned = false
        this.#pumpLater(pool)
      })
    }
    return best
  }

  #balanceRequests(pool: Pool): void {
    const wanted = Math.min(pool.queue.length, requestsPendingMax)
    while (pool.requests.size < wanted) {
      const requestId = this.#nextRequestId++
      // Each in the name of the task that it is likely to be for.
      const { name } = pool.queue.peek(pool.requests.size) as TaskRecord
      pool.requests.set(requestId, this.#host.nowMs())
      this.#poolOfRequest.set(requestId, pool)
      this.#messages.requestLease(requestId, pool.terms, pool.job, name)
    }
    if (pool.queue.length > 0) return
    for (const requestId of pool.requests.keys()) this.#dropRequest(pool, requestId)
  }

  #dropRequest(pool: Pool, requestId: number): void {
    pool.requests.delete(requestId)
    this.#poolOfRequest.delete(requestId)
    this.#messages.cancelRequest(requestId)
  }

  /** Gives back leases that the node wants, or others of here wait for, and plans to give back those that stay idle. */
  #returnUnwanted(pool: Pool): void {
    // With 'spread' tasks may be held back for a moment; then they want it.
    const isWanted = pool.queue.length > 0
    for (const lease of pool.leases.values()) {
      if (lease.tasks.size > 0) continue
      if (lease.isReclaimed) this.#return(pool, lease)
      else if (isWanted) continue
      else if (this.#host.idleLeaseMs === 0) this.#return(pool, lease)
      else if (this.#isLackedByOthers(pool)) {
        pool.givenBackAtGrant = this.#grantCount
        this.#return(pool, lease)
      } else if (lease.idleSinceMs === undefined) {
        lease.idleSinceMs = this.#host.nowMs()
        this.#planIdleCheck()
      }
    }
  }

  /** Tasks of another kind wait for what a lease of this kind holds. */
  #isLackedByOthers({ key, terms, keepsUntilMs }: Pool): boolean {
    if (this.#poolOfRequest.size === 0 || this.#host.nowMs() < keepsUntilMs) return false
    for (const other of this.#pools.values()) {
      if (other.requests.size > 0 && other.key !== key && mayLack(other.terms, terms)) return true
    }
    return false
  }

  #return(pool: Pool, lease: Lease): void {
    this.#forgetLease(pool, lease)
    this.#messages.returnLease(lease.id)
    if (pool.queue.length > 0) this.#pumpLater(pool)
  }

  /** Gives back at once the leases of some terms that have nothing to do. */
  returnIdle(isMeant: (terms: LeaseTerms) => boolean): void {
    for (const pool of this.#pools.values()) {
      if (!isMeant(pool.terms)) continue
      for (const lease of [...pool.leases.values()]) if (lease.tasks.size === 0) this.#return(pool, lease)
    }
  }

  #forgetLease(pool: Pool, lease: Lease): void {
    pool.leases.delete(lease.id)
    this.#poolOfLease.delete(lease.id)
    if (pool.leases.size + pool.queue.length === 0) pool.shares?.paused(this.#host.nowMs())
  }

  #planIdleCheck(): void {
    if (this.#isIdleCheckPlanned) return
    this.#isIdleCheckPlanned = true
    const { idleLeaseMs } = this.#host
    this.#host.after(idleLeaseMs, () => {
      this.#isIdleCheckPlanned = false
      const now = this.#host.nowMs()
      for (const pool of this.#pools.values()) {
        for (const lease of pool.leases.values()) {
          if (lease.idleSinceMs === undefined) continue
          if (now - lease.idleSinceMs >= idleLeaseMs) this.#return(pool, lease)
          else this.#planIdleCheck()
        }
        if (pool.leases.size + pool.requests.size + pool.queue.length > 0) continue
        this.#pools.delete(pool.key)
        if (this.#lastPool === pool) this.#lastPool = undefined
      }
    })
  }

  onGrant(
    grant: Pick<MessageBody<'leaseGrant'>, 'requestId' | 'leaseId' | 'workerId' | 'workerPid' | 'nodesAble'>,
  ): void {
    const pool = this.#poolOfRequest.get(grant.requestId)
    if (pool === undefined) {
      // Its request was cancelled while the answer was on its way.
      this.#messages.returnLease(grant.leaseId)
      return
    }
    // Nobody else has been granted what was given back for others.
    if (pool.givenBackAtGrant === this.#grantCount) pool.keepsUntilMs = this.#host.nowMs() + keepMs
    pool.givenBackAtGrant = undefined
    this.#grantCount++
    pool.requests.delete(grant.requestId)
    this.#poolOfRequest.delete(grant.requestId)
    pool.shares?.granted(grant.nodesAble, this.#host.nowMs())
    pool.leases.set(grant.leaseId, new Lease(grant.leaseId, grant.workerPid, grant.workerId, this.#host.nowMs()))
    this.#poolOfLease.set(grant.leaseId, pool)
    this.#pump(pool)
  }

  onRefuse(refusal: Pick<MessageBody<'leaseRefuse'>, 'requestId' | 'error' | 'message' | 'details'>): void {
    const pool = this.#poolOfRequest.get(refusal.requestId)
    if (pool === undefined) return
    pool.requests.delete(refusal.requestId)
    this.#poolOfRequest.delete(refusal.requestId)
    const details = refusal.details as Record<string, unknown>
    for (const requestId of [...pool.requests.keys()]) this.#dropRequest(pool, requestId)
    for (const task of pool.queue.drain()) {
      this.#finish(task, () => this.#host.fail(task, refusalError(refusal.error, task.name, refusal.message, details)))
    }
  }

  onReclaim(leaseId: number): void {
    const pool = this.#poolOfLease.get(leaseId)
    const lease = pool?.leases.get(leaseId)
    if (pool === undefined || lease === undefined) return
    lease.isReclaimed = true
    if (lease.tasks.size === 0) this.#return(pool, lease)
  }

  onBlocked(leaseId: number, isBlocked: boolean): void {
    const pool = this.#poolOfLease.get(leaseId)
    const lease = pool?.leases.get(leaseId)
    if (pool === undefined || lease === undefined) return
    lease.isBlocked = isBlocked
    this.#pumpLater(pool)
  }

  /** The worker gives back tasks that it has not started, because another of them waits. */
  onHandBack(leaseId: number, sequences: readonly number[]): void {
    const pool = this.#poolOfLease.get(leaseId)
    const lease = pool?.leases.get(leaseId)
    if (pool === undefined || lease === undefined) return
    const back = sequences.map((sequence) => lease.remove(sequence)).filter((task) => task !== undefined)
    lease.fill()
    this.#requeue(pool, back)
  }

  #requeue(pool: Pool, tasks: readonly TaskRecord[]): void {
    const alive = tasks.filter((task) => this.#tasks.has(task.sequence))
    for (const task of alive) {
      task.state = 'queued'
      task.leaseId = undefined
    }
    if (alive.length > 0) pool.queue.unshift(alive)
    this.#pumpLater(pool)
  }

  onDone(leaseId: number, results: readonly TaskResult[]): void {
    const pool = this.#poolOfLease.get(leaseId)
    const lease = pool?.leases.get(leaseId)
    if (pool === undefined || lease === undefined) {
      for (const result of results) this.#host.discard(result, undefined)
      return
    }
    lease.hasAnswered = true
    lease.firstSinceMs = this.#host.nowMs()
    for (const result of results) {
      const task = lease.remove(result.sequence)
      if (task !== undefined) learn(task.function, result.durationUs / 1000)
      // A task that was cancelled while it ran has failed already.
      if (task !== undefined && this.#tasks.has(task.sequence)) this.#onResult(pool, lease, task, result)
      else this.#host.discard(result, lease.worker)
    }
    if (pool.queue.length > 0 || lease.tasks.size === 0) this.#pumpLater(pool)
  }

  #onResult(pool: Pool, { worker }: Lease, task: TaskRecord, result: TaskResult): void {
    const [error] = result.values
    if (
      result.status === 'error' &&
      error !== undefined &&
      task.retriesLeft > 0 &&
      this.#host.isRetriable(task, error)
    ) {
      this.#host.discard(result, worker)
      this.#retry(task)
      this.#requeue(pool, [task])
    } else {
      this.#finish(task, () => this.#host.settle(task, result, worker))
    }
  }

  #retry(task: TaskRecord): void {
    task.retriesLeft -= 1
    task.attempt += 1
    task.stream?.rewind()
  }

  /**
   * The worker died. What it may have begun has used a try; what it cannot have begun has not. If memory ran out, what may have
   * begun is tried again after a pause, the longer the more often it was tried, and on another node if there is one for it.
   * Without its placement group nothing is.
   */
  onLost(leaseId: number, reason: string, { outOfMemory, isGroupRemoved }: LostHow = {}): void {
    const pool = this.#poolOfLease.get(leaseId)
    const lease = pool?.leases.get(leaseId)
    if (pool === undefined || lease === undefined) return
    this.#forgetLease(pool, lease)
    const again: TaskRecord[] = []
    for (const { task, mayHaveBegun } of lease.unfinished()) {
      if (!this.#tasks.has(task.sequence)) continue
      if (isGroupRemoved === true) {
        this.#finish(task, () => this.#host.fail(task, groupRemovedError(task, reason)))
        continue
      }
      if (mayHaveBegun) {
        if (task.retriesLeft === 0) {
          const error =
            outOfMemory === undefined
              ? crashError(task, lease, reason)
              : outOfMemoryError(task, lease, reason, outOfMemory)
          this.#finish(task, () => this.#host.fail(task, error))
          continue
        }
        this.#retry(task)
        if (outOfMemory !== undefined) {
          task.terms = termsWithout(task.terms, nodeOf(lease.worker))
          this.#enqueueLater(task)
          continue
        }
      }
      again.push(task)
    }
    this.#requeue(pool, again)
  }

  #enqueueLater(task: TaskRecord): void {
    task.state = 'waiting'
    task.leaseId = undefined
    this.#host.after(Math.min(memoryPauseMs * 2 ** (task.attempt - 1), memoryPauseMsMax), () => {
      if (this.#tasks.has(task.sequence)) this.#awaitArguments(task)
    })
  }

  /** Ends a task before its result: it fails with TaskCancelledError at once, wherever it is. */
  cancel(task: TaskRecord, options: { force: boolean; recursive: boolean }): void {
    if (task.isCancelled || !this.#tasks.has(task.sequence)) return
    task.isCancelled = true
    if (task.state === 'queued') {
      const pool = this.#poolFor(task)
      pool.queue.remove(task)
      // What was asked for it may not be needed any more.
      this.#pumpLater(pool)
    }
    const leaseId = task.leaseId
    const lease = leaseId === undefined ? undefined : this.#poolOfLease.get(leaseId)?.leases.get(leaseId)
    if (task.state === 'pushed' && lease !== undefined) {
      // Only a task that may be running costs its worker; one that waits behind it is taken off the worker's queue.
      if (options.force && lease.mayBeRunning(task)) this.#kill(lease, `task ${task.name} was cancelled by force`)
      else {
        this.#messages.cancelTask(lease.id, task.sequence, options.recursive)
        this.#killLater(lease, task)
      }
    }
    const error = new TaskCancelledError(`task ${task.name} was cancelled`, { task: task.name })
    this.#finish(task, () => this.#host.fail(task, error))
  }

  #kill(lease: Lease, reason: string): void {
    lease.isKilledByOwner = true
    this.#messages.killLease(lease.id, reason)
  }

  /** A task that hears nothing, or does not heed it, must not keep its worker for ever. */
  #killLater(lease: Lease, task: TaskRecord): void {
    this.#host.after(cancelGraceMs, () => {
      const isStillThere = lease.tasks.has(task.sequence) && this.#poolOfLease.has(lease.id)
      if (isStillThere && lease.mayBeRunning(task)) {
        this.#kill(lease, `task ${task.name} was cancelled and did not end within ${cancelGraceMs} ms`)
      } else if (isStillThere) this.#killLater(lease, task)
    })
  }

  /** Whose lease it is; undefined when it has ended. */
  workerOf(leaseId: number): ClientId | undefined {
    return this.#poolOfLease.get(leaseId)?.leases.get(leaseId)?.worker
  }

  /** Cancels what was submitted by one task of this process. */
  cancelChildren(parent: object): void {
    for (const task of [...this.#tasks.values()]) {
      if (task.parent === parent) this.cancel(task, { force: false, recursive: true })
    }
  }

  /** The node is gone: nothing can come any more. */
  failAll(error: unknown): void {
    for (const task of [...this.#tasks.values()]) this.#finish(task, () => this.#host.fail(task, error))
    this.#pools.clear()
    this.#poolOfLease.clear()
    this.#poolOfRequest.clear()
  }

  #finish(task: TaskRecord, settle: () => void): void {
    this.#tasks.delete(task.sequence)
    // The refs that it waits for may be there for long yet.
    if (task.state === 'waiting') this.#waits.end(task)
    task.state = 'done'
    settle()
  }
}

function bestLease(pool: Pool, task: TaskRecord): Lease | undefined {
  let best: Lease | undefined
  for (const lease of pool.leases.values()) {
    if (lease.canTake(task) && (best === undefined || lease.loadMs < best.loadMs)) best = lease
  }
  return best
}

/** Those that ask for nothing wait for a worker. */
function mayLack(wanted: LeaseTerms, held: LeaseTerms): boolean {
  const names = Object.keys(wanted.resources)
  return (
    wanted.group === held.group && (names.length === 0 || names.some((name) => Object.hasOwn(held.resources, name)))
  )
}

/** Rises fast and sinks slowly: a guess that is too low makes tasks wait behind a long one. */
function learn(record: FunctionRecord, durationMs: number): void {
  const estimate = record.estimateMs
  if (estimate === undefined) record.estimateMs = durationMs
  else record.estimateMs = estimate + (durationMs - estimate) * (durationMs > estimate ? 0.5 : 0.1)
}
