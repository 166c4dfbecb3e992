import assert from 'node:assert/strict'
import type { ActorCall } from '../../protocols/actor-messages.ts'
import { nodeOf, objectId, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { ActorLink, type ActorStatus } from '../../sdk/actors/actor-link.ts'
import { OwnedActors } from '../../sdk/actors/owned-actors.ts'
import { leaseTerms } from '../../sdk/tasks/lease-terms.ts'
import type { TaskRecord } from '../../sdk/tasks/task-record.ts'
import { CallIntake } from '../../sdk/worker/call-intake.ts'
import { seededRandom } from './seeded-random.ts'
import { SimulatedLines } from './simulated-lines.ts'
import { inlineValue, taskOf } from './task-records.ts'

const nothing = inlineValue(1)
const anError = inlineValue(1, true)

interface SimulatedWorker {
  readonly id: ClientId
  readonly leaseId: number
  readonly intake: CallIntake
  readonly queue: { from: ClientId; call: ActorCall; isDirect: boolean }[]
  incarnation: number
  isStarted: boolean
  isEnding: boolean
  /** It has ended its lines, and tells of its end when all is read. */
  hasHungUp: boolean
}

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** A process that calls the actor. */
class Caller {
  readonly id: ClientId
  readonly link: ActorLink
  /** Calls in their order, and what came of them. */
  readonly outcomes = new Map<number, 'ok' | 'error' | 'unavailable' | 'dead' | 'cancelled'>()
  readonly tasks = new Map<number, TaskRecord>()
  nextSequence = 1

  constructor(world: ActorWorld, id: ClientId) {
    this.id = id
    const end = (task: TaskRecord, outcome: 'ok' | 'error' | 'unavailable' | 'dead' | 'cancelled'): void => {
      assert.ok(!this.outcomes.has(task.sequence), `call ${task.sequence} of ${id} ended twice`)
      this.outcomes.set(task.sequence, outcome)
    }
    this.link = new ActorLink(world.actor, 'actor', {
      named: () => undefined,
      streamPart: () => ({ skip: 0, limit: 0 }),
      moveToStore: (_task, value) => value,
      push: ({ worker, target, handle, calls, isDirect }) => {
        assert.equal(target, world.actor)
        const arrive = (): void => world.onPush(worker, { from: id, handle, calls, isDirect })
        if (isDirect) world.lines.toWorker(id, worker, arrive)
        else world.send(id, worker, true, arrive)
      },
      cancelCall: (worker, sequence, { isDirect }) => {
        const arrive = (): void => world.onCancel(worker, id, sequence)
        if (isDirect) world.lines.toWorker(id, worker, arrive)
        else world.send(id, worker, false, arrive)
      },
      meet: (worker) => world.send(id, worker, false, () => world.lines.open(id, worker)),
      lineTo: (worker) => world.lines.numberOf(id, worker),
      fence: (worker) => world.lines.fence(id, worker),
      hangUp: (worker) => world.lines.drop(id, worker),
      watch: () =>
        world.send(id, world.owner, true, () => {
          world.owned.watch(world.actor, id)
        }),
      defer: (callback) => world.after(0, callback),
      after: (delayMs, callback) => world.after(delayMs, callback),
      nowMs: () => world.nowMs,
      settle: (task, result) => end(task, result.status === 'ok' ? 'ok' : 'error'),
      discard: () => undefined,
      fail: (task, error) => {
        const { name } = error as Error
        end(
          task,
          name === 'TaskCancelledError' ? 'cancelled' : name === 'ActorUnavailableError' ? 'unavailable' : 'dead',
        )
      },
      failAs: (task) => end(task, 'dead'),
      failWith: (task) => end(task, 'error'),
      isRetriable: () => false,
    })
  }
}

/**
 * The owner of one actor, callers and workers on several nodes, in virtual time. Messages between two processes come in their
 * order, late, and perhaps twice; links between nodes break, which loses what is under way; workers are killed at any time.
 */
export class ActorWorld {
  readonly random: () => number
  readonly owner: ClientId
  readonly actor: ObjectId
  readonly owned: OwnedActors
  readonly callers: Caller[] = []
  readonly workers = new Map<ClientId, SimulatedWorker>()
  /** How often each call has run, by its caller and number. */
  readonly runs = new Map<string, number>()
  /** What ran, in its order: for each worker and caller. */
  readonly order = new Map<string, number[]>()
  readonly maxTaskRetries: number
  readonly lines: SimulatedLines
  /** Results that came over lines. */
  directAnswers = 0
  nowMs = 0
  /** From now on nothing goes wrong any more. */
  isCalm = false
  #timers: Timer[] = []
  #order = 0
  readonly #lastArrival = new Map<string, number>()
  readonly #epochs = new Map<string, number>()
  readonly #down = new Set<string>()
  readonly #nodes: NodeId[]
  /** So many calls have refs among their arguments. */
  readonly #withRefs: number
  #nextClient = 1
  #nextLease = 1
  readonly #requests = new Set<number>()
  /** What the owner's node knows of. */
  readonly #leases = new Map<number, ClientId>()

  constructor(seed: number) {
    this.random = seededRandom(seed)
    this.lines = new SimulatedLines({
      after: (delayMs, callback) => this.after(delayMs, callback),
      random: this.random,
      isAlive: (worker) => this.workers.get(worker)?.hasHungUp === false,
      onFence: (caller, worker, fence) => this.#linkOf(caller)?.onFence(worker, fence),
      onEnded: (caller, worker, line) => this.#linkOf(caller)?.onLineEnded(worker, line),
    })
    this.#withRefs = [0, 0.05, 0.2, 0.5][Math.floor(this.random() * 4)] as number
    const nodeCount = 1 + Math.floor(this.random() * 4)
    this.#nodes = Array.from({ length: nodeCount }, (_, i) => String(i + 1).repeat(16))
    this.owner = this.#client(this.#nodes[0] as NodeId)
    this.actor = objectId(this.owner, 1)
    this.maxTaskRetries = this.random() < 0.5 ? 0 : this.random() < 0.5 ? 2 : -1
    const maxRestarts = [0, 1, 3, -1][Math.floor(this.random() * 4)] as number
    this.owned = new OwnedActors({
      named: () => undefined,
      streamPart: () => ({ skip: 0, limit: 0 }),
      moveToStore: (_task, value) => value,
      requestLease: (requestId) => {
        this.#requests.add(requestId)
        this.after(this.#delay(), () => this.#grantOrRefuse(requestId))
      },
      cancelRequest: (requestId) => {
        // As in the network, the answer may have left already.
        if (this.random() < 0.7) this.#requests.delete(requestId)
      },
      returnLease: (leaseId) => this.after(this.#delay(), () => this.#end(leaseId)),
      killLease: (leaseId, reason) => this.after(this.#delay(), () => this.#end(leaseId, reason)),
      start: (leaseId, worker, _actor, _creation, settings) =>
        this.send(this.owner, worker, false, () => this.#onStart(leaseId, settings.restarts)),
      end: (leaseId) => {
        const worker = this.#byLease(leaseId)
        if (worker === undefined) return
        this.send(this.owner, worker.id, false, () => {
          worker.isEnding = true
          this.#endIfDone(worker)
        })
      },
      after: (delayMs, callback) => this.after(delayMs, callback),
      nowMs: () => this.nowMs,
      tell: (watcher, _actor, status) => this.send(this.owner, watcher, false, () => this.#onStatus(watcher, status)),
      onStatus: (_actor, status) => this.#onStatus(this.owner, status),
      encodeError: () => anError,
      decodeError: async () => new Error('the constructor has failed'),
      discard: () => undefined,
      onDead: () => undefined,
      killTarget: () => undefined,
    })
    this.callers.push(new Caller(this, this.owner))
    for (let i = 0; i < 2; i++) this.callers.push(new Caller(this, this.#client(this.#pick(this.#nodes))))
    const creation = taskOf(1, [], { terms: leaseTerms({}, {}), name: 'Actor', retriesLeft: 0 })
    const settings = { name: '', namespace: '', className: 'Actor', maxConcurrency: 1, groups: [] }
    const made = { id: this.actor, name: 'actor', settings, hasExitHook: false }
    this.owned.begin(this.owned.create(creation, made, maxRestarts))
    const [own, ...others] = this.callers
    const actor = this.owned.get(this.actor)
    if (actor !== undefined) own?.link.onStatus(this.owned.statusOf(actor))
    for (const { id } of others) this.send(id, this.owner, true, () => this.owned.watch(this.actor, id))
  }

  #client(node: NodeId): ClientId {
    return node + String(this.#nextClient++).padStart(16, '0')
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)] as T
  }

  #delay(): number {
    return 1 + this.random() * 20
  }

  after(delayMs: number, callback: () => void): void {
    this.#timers.push({ atMs: this.nowMs + delayMs, order: this.#order++, callback })
  }

  /** Runs what is due next. False when there is nothing left. */
  advance(): boolean {
    let next: Timer | undefined
    for (const each of this.#timers) {
      const isFirst =
        next === undefined || each.atMs < next.atMs || (each.atMs === next.atMs && each.order < next.order)
      if (isFirst) next = each
    }
    if (next === undefined) return false
    this.#timers.splice(this.#timers.indexOf(next), 1)
    this.nowMs = Math.max(this.nowMs, next.atMs)
    next.callback()
    return true
  }

  // --- the network

  #linkKey(a: NodeId, b: NodeId): string {
    return a < b ? `${a} ${b}` : `${b} ${a}`
  }

  #isUp(a: ClientId, b: ClientId): boolean {
    return !this.#down.has(this.#linkKey(nodeOf(a), nodeOf(b)))
  }

  /** @param isAsking the sender is told when the receiver is not there */
  send(from: ClientId, to: ClientId, isAsking: boolean, arrive: () => void): void {
    const link = this.#linkKey(nodeOf(from), nodeOf(to))
    const refuse = (): void => {
      const caller = this.callers.find(({ id }) => id === from)
      if (isAsking && caller !== undefined) this.after(1, () => this.#undeliverable(caller, to))
    }
    if (this.#down.has(link)) {
      refuse()
      return
    }
    const pair = `${from} ${to}`
    const atMs = Math.max(this.#lastArrival.get(pair) ?? 0, this.nowMs + this.#delay())
    this.#lastArrival.set(pair, atMs)
    const epoch = this.#epochs.get(link) ?? 0
    const deliver = (): void => {
      if ((this.#epochs.get(link) ?? 0) !== epoch || this.#down.has(link)) return
      const isWorker = !this.callers.some(({ id }) => id === to) && to !== this.owner
      if (isWorker && !this.workers.has(to)) refuse()
      else arrive()
    }
    this.after(atMs - this.nowMs, deliver)
    // Behind the first one, as everything between these two.
    if (!this.isCalm && this.random() < 0.1) this.after(atMs - this.nowMs, deliver)
  }

  #undeliverable(caller: Caller, to: ClientId): void {
    if (to === this.owner) caller.link.onStatus(this.#ownerGone())
    else caller.link.onUndeliverable(to)
  }

  #ownerGone(): ActorStatus {
    const reason = 'its owner is gone'
    return { state: 'dead', worker: '', incarnation: 0xffff_ffff, target: this.actor, reason, error: anError }
  }

  breakLink(): void {
    const [a, b] = [this.#pick(this.#nodes), this.#pick(this.#nodes)]
    const key = this.#linkKey(a, b)
    if (a === b || this.#down.has(key)) return
    this.#down.add(key)
    this.#epochs.set(key, (this.#epochs.get(key) ?? 0) + 1)
    this.#nodeGone(a, b)
    this.#nodeGone(b, a)
    this.after(50 + this.random() * 2000, () => this.#down.delete(key))
  }

  /** The node `at` has lost its link to the other one. */
  #nodeGone(at: NodeId, gone: NodeId): void {
    const isGone = (client: ClientId): boolean => nodeOf(client) === gone
    if (nodeOf(this.owner) === at) {
      for (const [leaseId, worker] of this.#leases) {
        if (isGone(worker)) this.#leaseLost(leaseId, `node ${gone} is gone`)
      }
      this.owned.watchersGone(isGone)
    }
    for (const worker of [...this.workers.values()]) {
      if (nodeOf(worker.id) !== at) continue
      // Its owner is gone, for all that this node knows.
      if (isGone(this.owner)) this.#kill(worker, 'its owner is gone')
      else worker.intake.forget(isGone)
    }
    for (const { id, link } of this.callers) {
      if (nodeOf(id) !== at) continue
      if (isGone(this.owner)) link.onStatus(this.#ownerGone())
      else if (link.worker !== '' && isGone(link.worker)) link.onGone(link.worker, true)
    }
  }

  breakLine(): void {
    this.lines.breakOne()
  }

  // --- leases

  #grantOrRefuse(requestId: number): void {
    if (!this.#requests.delete(requestId)) return
    const nodes = this.#nodes.filter((node) => this.#isUp(this.owner, node.padEnd(32, '0')))
    if (!this.isCalm && this.random() < 0.1) {
      this.owned.onRefuse({ requestId, error: 'workerStart', message: 'no worker', details: {} })
      return
    }
    const id = this.#client(this.#pick(nodes))
    const leaseId = this.#nextLease++
    const state = {
      intake: new CallIntake(),
      queue: [],
      incarnation: 0,
      isStarted: false,
      isEnding: false,
      hasHungUp: false,
    }
    this.workers.set(id, { id, leaseId, ...state })
    this.#leases.set(leaseId, id)
    this.owned.onGrant({ requestId, leaseId, workerId: id, workerPid: leaseId, gpuIds: [], nodesAble: 1 })
    if (!this.isCalm && this.random() < 0.1) {
      this.owned.onGrant({ requestId: 1, leaseId, workerId: id, workerPid: leaseId, gpuIds: [], nodesAble: 1 })
    }
  }

  #byLease(leaseId: number): SimulatedWorker | undefined {
    for (const worker of this.workers.values()) if (worker.leaseId === leaseId) return worker
    return undefined
  }

  #end(leaseId: number, reason = ''): void {
    const worker = this.#byLease(leaseId)
    if (worker !== undefined) this.#kill(worker, reason)
  }

  #leaseLost(leaseId: number, reason: string): void {
    this.#leases.delete(leaseId)
    this.owned.onLost(leaseId, reason)
  }

  killWorker(): void {
    const workers = [...this.workers.values()]
    if (workers.length > 0) this.#kill(this.#pick(workers), 'killed')
  }

  #kill(worker: SimulatedWorker, reason: string): void {
    this.workers.delete(worker.id)
    this.lines.endAll(worker.id, () => undefined)
    // What it has said before comes first.
    this.send(worker.id, this.owner, false, () => this.#leaseLost(worker.leaseId, reason))
    for (const { id, link } of this.callers) {
      this.send(worker.id, id, false, () => {
        if (link.worker === worker.id) link.onGone(worker.id, false)
      })
    }
  }

  // --- the worker

  #onStart(leaseId: number, incarnation: number): void {
    const worker = this.#byLease(leaseId)
    if (worker === undefined || worker.isStarted) return
    worker.incarnation = incarnation
    const fails = !this.isCalm && this.random() < 0.05
    this.after(this.#delay(), () => {
      if (!this.workers.has(worker.id)) return
      worker.isStarted = true
      const values = [fails ? anError : nothing]
      const result = { sequence: 1, status: fails ? ('error' as const) : ('ok' as const), durationUs: 0, values }
      this.send(worker.id, this.owner, false, () => this.owned.onStarted({ leaseId, result }))
    })
  }

  onPush(
    to: ClientId,
    push: { from: ClientId; handle: ObjectId; calls: readonly ActorCall[]; isDirect: boolean },
  ): void {
    const worker = this.workers.get(to)
    if (worker === undefined) return
    const { from, handle, calls, isDirect } = push
    assert.ok(worker.isStarted, 'a call comes before the constructor has run')
    for (const call of calls) {
      if (!worker.intake.isNew(from, handle, call.task)) continue
      worker.queue.push({ from, call, isDirect })
      this.after(this.#delay(), () => this.#runNext(worker))
    }
  }

  #runNext(worker: SimulatedWorker): void {
    const next = worker.queue.shift()
    if (next === undefined || !this.workers.has(worker.id)) return
    const { from, call, isDirect } = next
    const { sequence } = call.task
    const key = `${from} ${sequence}`
    this.runs.set(key, (this.runs.get(key) ?? 0) + 1)
    const lane = `${worker.id} ${from}`
    const ran = this.order.get(lane) ?? []
    // One that is made again in the same process may come late; it has been there in its turn.
    if (!ran.includes(sequence)) ran.push(sequence)
    this.order.set(lane, ran)
    this.#answer(worker, { from, isDirect }, { sequence, status: 'ok', durationUs: 0, values: [nothing] })
    this.#endIfDone(worker)
  }

  onCancel(to: ClientId, from: ClientId, sequence: number): void {
    const worker = this.workers.get(to)
    if (worker === undefined) return
    for (const queued of [...worker.queue]) {
      if (queued.from !== from || queued.call.task.sequence !== sequence) continue
      worker.queue.splice(worker.queue.indexOf(queued), 1)
      this.#answer(worker, queued, { sequence, status: 'cancelled', durationUs: 0, values: [] })
    }
    this.#endIfDone(worker)
  }

  #answer(worker: SimulatedWorker, call: { from: ClientId; isDirect: boolean }, result: TaskResult): void {
    const { from: to, isDirect } = call
    const arrive = (): void => this.callers.find(({ id }) => id === to)?.link.onDone(worker.id, [result])
    // What brings refs along goes through the node, whatever way the call came.
    const isPlain = this.random() < 0.8
    if (isDirect && isPlain && !worker.hasHungUp && this.lines.toCaller(to, worker.id, arrive)) this.directAnswers++
    else this.send(worker.id, to, false, arrive)
  }

  #endIfDone(worker: SimulatedWorker): void {
    if (!worker.isEnding || worker.hasHungUp || worker.queue.length > 0 || !this.workers.has(worker.id)) return
    const { leaseId } = worker
    worker.hasHungUp = true
    this.lines.endAll(worker.id, () =>
      this.send(worker.id, this.owner, false, () => this.owned.onEnded({ leaseId, reason: 'it has ended' })),
    )
  }

  #linkOf(caller: ClientId): ActorLink | undefined {
    return this.callers.find(({ id }) => id === caller)?.link
  }

  #onStatus(watcher: ClientId, status: ActorStatus): void {
    this.#linkOf(watcher)?.onStatus(status)
  }

  // --- what users do

  call(): void {
    const caller = this.#pick(this.callers)
    const sequence = caller.nextSequence++
    const task = taskOf(sequence, [], {
      call: { actor: this.actor, method: 'f', group: '' },
      args: { ...nothing, refs: this.random() < this.#withRefs ? [this.actor] : [] },
      retriesLeft: this.maxTaskRetries,
    })
    caller.tasks.set(sequence, task)
    caller.link.submit(task)
  }

  cancel(): void {
    const caller = this.#pick(this.callers)
    const open = [...caller.tasks.values()].filter(({ sequence }) => !caller.outcomes.has(sequence))
    if (open.length > 0) caller.link.cancel(this.#pick(open), false)
  }
}
