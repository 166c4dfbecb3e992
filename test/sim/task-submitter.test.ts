import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import { leaseTerms } from '../../sdk/tasks/lease-terms.ts'
import type { FunctionRecord, TaskRecord } from '../../sdk/tasks/task-record.ts'
import { TaskSubmitter } from '../../sdk/tasks/task-submitter.ts'
import { seededRandom } from '../support/seeded-random.ts'

/**
 * One owner and a node with a few workers, in virtual time. Workers behave as the real ones do: in order, results sent
 * off late unless a task is careful, queued tasks handed back by one that waits. They die at random.
 */
const nothing: WireValue = {
  kind: 'inline',
  isError: false,
  format: 1,
  head: new Uint8Array(),
  buffers: [],
  refs: [],
  classes: [],
}

const outOfMemory = { node: 'n', usedBytes: 96, limitBytes: 95, totalBytes: 100, rssBytes: 50, workers: [] }

interface SimulatedWorker {
  leaseId: number
  queue: TaskSpec[]
  unsent: TaskResult[]
  isAlive: boolean
  isBlocked: boolean
}

class Simulation {
  readonly random: () => number
  readonly started = new Map<number, number>()
  readonly outcomes = new Map<number, 'ok' | 'failed' | 'cancelled'>()
  readonly submitter: TaskSubmitter
  #now = 0
  #deferred: (() => void)[] = []
  #timers: { atMs: number; callback: () => void }[] = []
  #requests: number[] = []
  #workers = new Map<number, SimulatedWorker>()
  #nextLease = 1
  #toOwner: (() => void)[] = []
  #toWorkers: (() => void)[] = []
  readonly #workersMax: number
  crashProbability: number

  constructor(seed: number) {
    this.random = seededRandom(seed)
    this.#workersMax = 1 + Math.floor(this.random() * 4)
    this.crashProbability = this.random() * 0.3
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId) => void this.#requests.push(requestId),
        cancelRequest: (requestId) => {
          // As in the network, the answer may have left already.
          if (this.random() < 0.7) this.#requests = this.#requests.filter((id) => id !== requestId)
        },
        returnLease: (leaseId) =>
          this.#toWorkers.push(() => {
            const worker = this.#workers.get(leaseId)
            assert.equal(worker?.queue.length ?? 0, 0, 'a lease is returned with tasks on it')
            this.#workers.delete(leaseId)
          }),
        killLease: (leaseId) => this.#toWorkers.push(() => this.#die(leaseId)),
        push: ({ id: leaseId }, tasks) => this.#toWorkers.push(() => this.#receive(leaseId, tasks)),
        cancelTask: (leaseId, sequence) =>
          this.#toWorkers.push(() => {
            const worker = this.#workers.get(leaseId)
            const at = worker?.queue.findIndex((task) => task.sequence === sequence) ?? -1
            if (worker === undefined || at < 0) return
            worker.queue.splice(at, 1)
            worker.unsent.push({ sequence, status: 'cancelled', durationUs: 0, values: [] })
            this.#send(worker)
          }),
      },
      {
        idleLeaseMs: seed % 2 === 0 ? 300 : 0,
        nowMs: () => this.#now,
        defer: (callback) => void this.#deferred.push(callback),
        after: (delayMs, callback) => void this.#timers.push({ atMs: this.#now + delayMs, callback }),
        settle: (task, result) => this.#end(task, result.status === 'ok' ? 'ok' : 'failed'),
        discard: () => undefined,
        fail: (task, error) => this.#end(task, (error as Error).name === 'TaskCancelledError' ? 'cancelled' : 'failed'),
        failWith: (task) => this.#end(task, 'failed'),
        isRetriable: () => false,
        named: () => undefined,
        streamPart: () => ({ skip: 0, limit: 0 }),
        moveToStore: (_task, value) => value,
      },
    )
  }

  #end(task: TaskRecord, outcome: 'ok' | 'failed' | 'cancelled'): void {
    assert.ok(!this.outcomes.has(task.sequence), `task ${task.sequence} ended twice`)
    this.outcomes.set(task.sequence, outcome)
  }

  #receive(leaseId: number, tasks: TaskSpec[]): void {
    const worker = this.#workers.get(leaseId)
    if (worker === undefined || !worker.isAlive) return
    worker.queue.push(...tasks)
    if (worker.isBlocked) this.#handBack(worker, 1)
  }

  #handBack(worker: SimulatedWorker, keep: number): void {
    const sequences = worker.queue.splice(keep).map((task) => task.sequence)
    if (sequences.length > 0) this.#toOwner.push(() => this.submitter.onHandBack(worker.leaseId, sequences))
  }

  #send(worker: SimulatedWorker): void {
    const results = worker.unsent.splice(0)
    if (results.length > 0) this.#toOwner.push(() => this.submitter.onDone(worker.leaseId, results))
  }

  #die(leaseId: number): void {
    const worker = this.#workers.get(leaseId)
    if (worker === undefined) return
    worker.isAlive = false
    this.#workers.delete(leaseId)
    const memory = this.random() < 0.3 ? outOfMemory : undefined
    this.#toOwner.push(() => this.submitter.onLost(leaseId, 'signal SIGKILL', { outOfMemory: memory }))
  }

  /** One worker runs its first task, or part of it. */
  #work(worker: SimulatedWorker): void {
    const [spec] = worker.queue
    if (spec === undefined) {
      this.#send(worker)
      return
    }
    if (worker.isBlocked) {
      worker.isBlocked = false
      this.#toOwner.push(() => this.submitter.onBlocked(worker.leaseId, false))
    } else {
      if (spec.isCareful) this.#send(worker)
      this.started.set(spec.sequence, (this.started.get(spec.sequence) ?? 0) + 1)
      if (this.random() < this.crashProbability) {
        this.#die(worker.leaseId)
        return
      }
      if (this.random() < 0.1) {
        worker.isBlocked = true
        this.#handBack(worker, 1)
        this.#send(worker)
        this.#toOwner.push(() => this.submitter.onBlocked(worker.leaseId, true))
        return
      }
    }
    worker.queue.shift()
    const status = this.random() < 0.05 ? 'error' : 'ok'
    worker.unsent.push({ sequence: spec.sequence, status, durationUs: this.random() * 500, values: [nothing] })
    if (spec.isCareful || worker.queue.length === 0 || this.random() < 0.3) this.#send(worker)
  }

  /** One thing happens. */
  step(): void {
    this.#now += this.random() * 5
    for (const callback of this.#deferred.splice(0)) callback()
    const due = this.#timers.filter((timer) => timer.atMs <= this.#now)
    this.#timers = this.#timers.filter((timer) => timer.atMs > this.#now)
    for (const timer of due) timer.callback()
    const dice = this.random()
    if (dice < 0.3) this.#toWorkers.shift()?.()
    else if (dice < 0.6) this.#toOwner.shift()?.()
    else if (dice < 0.7) this.#grant()
    else if (dice < 0.72) this.#reclaim()
    else {
      const workers = [...this.#workers.values()]
      const worker = workers[Math.floor(this.random() * workers.length)]
      if (worker !== undefined) this.#work(worker)
    }
  }

  #grant(): void {
    if (this.#workers.size >= this.#workersMax) return
    const requestId = this.#requests.shift()
    if (requestId === undefined) return
    const leaseId = this.#nextLease++
    this.#workers.set(leaseId, { leaseId, queue: [], unsent: [], isAlive: true, isBlocked: false })
    this.#toOwner.push(() =>
      this.submitter.onGrant({ requestId, leaseId, workerId: '', workerPid: leaseId, nodesAble: 1 }),
    )
  }

  #reclaim(): void {
    const [leaseId] = this.#workers.keys()
    if (leaseId !== undefined) this.#toOwner.push(() => this.submitter.onReclaim(leaseId))
  }

  get isQuiet(): boolean {
    const isIdle = this.#toOwner.length + this.#toWorkers.length + this.#deferred.length === 0
    return isIdle && this.submitter.pendingCount === 0 && this.#workers.size === 0
  }
}

const functions: FunctionRecord[] = ['a', 'b', 'c'].map((name) => ({ id: name, name, estimateMs: undefined }))

function newTask(sequence: number, maxRetries: number, random: () => number): TaskRecord {
  return {
    sequence,
    name: 'task',
    function: functions[Math.floor(random() * functions.length)] as FunctionRecord,
    terms: leaseTerms({ CPU: random() < 0.8 ? 1 : 2 }, {}),
    args: nothing,
    job: random() < 0.8 ? 'a' : 'b',
    argsBytes: 20,
    holds: undefined,
    resolvedRefs: [],
    returns: [{} as never],
    stream: undefined,
    retryExceptions: false,
    replicas: 1,
    parent: undefined,
    sinceMs: 0,
    retriesLeft: maxRetries,
    attempt: 0,
    state: 'waiting',
    leaseId: undefined,
    isCancelled: false,
    lineage: undefined,
    call: undefined,
  }
}

describe('task submission under crashes, seeded', () => {
  test('every task ends once, and none runs more often than its retries allow', () => {
    const base = Number(process.env['SEED'] ?? Date.now() % 1e6)
    for (let seed = base; seed < base + 200; seed++) {
      const simulation = new Simulation(seed)
      const retries = new Map<number, number>()
      const tasks: TaskRecord[] = []
      let next = 1
      const label = (): string => `seed ${seed}`
      for (let step = 0; step < 60_000 && !(simulation.isQuiet && next > 60); step++) {
        if (next <= 60 && simulation.random() < 0.1) {
          const maxRetries = Math.floor(simulation.random() * 4)
          retries.set(next, maxRetries)
          const task = newTask(next++, maxRetries, simulation.random)
          tasks.push(task)
          simulation.submitter.submit(task)
        }
        if (simulation.random() < 0.002 && tasks.length > 0) {
          const task = tasks[Math.floor(simulation.random() * tasks.length)] as TaskRecord
          simulation.submitter.cancel(task, { force: simulation.random() < 0.5, recursive: true })
        }
        simulation.step()
      }
      assert.ok(simulation.isQuiet, `${label()}: ${simulation.submitter.pendingCount} tasks hang, or leases are kept`)
      assert.equal(simulation.outcomes.size, 60, label())
      for (const [sequence, count] of simulation.started) {
        const allowed = 1 + (retries.get(sequence) ?? 0)
        assert.ok(count <= allowed, `${label()}: task ${sequence} ran ${count} times, ${allowed} allowed`)
      }
    }
  })

  test('without crashes nothing fails but what throws, and nothing runs twice', () => {
    const simulation = new Simulation(7)
    simulation.crashProbability = 0
    for (let sequence = 1; sequence <= 300; sequence++) {
      simulation.submitter.submit(newTask(sequence, 0, simulation.random))
    }
    for (let step = 0; step < 100_000 && !simulation.isQuiet; step++) simulation.step()
    assert.equal(simulation.outcomes.size, 300)
    for (const count of simulation.started.values()) assert.equal(count, 1)
  })
})
