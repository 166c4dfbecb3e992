import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LeaseBook } from '../../node/leases/lease-book.ts'
import type { LeaseBookOptions } from '../../node/leases/lease-book-options.ts'
import { asksFor } from '../../protocols/resources.ts'
import type { LeaseAction, LeaseEvent, RequestedEvent } from '../../node/leases/lease-events.ts'

type Random = () => number

/** The same numbers for the same seed (mulberry32). */
function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<T>(random: Random, items: Iterable<T>): T | undefined {
  const list = [...items]
  return list[Math.floor(random() * list.length)]
}

interface OpenLease {
  client: string
  leaseId: number
  workerId: number
  isBlocked: boolean
  isReclaimed: boolean
}

/** A host and its clients as the lease book sees them: it does what it is told and checks every answer. */
class SimulatedNode {
  readonly book: LeaseBook
  nowMs = 0
  readonly workersMax: number
  /** Workers by id, until their end has been told. */
  workers = new Map<number, { isReady: boolean; isStopping: boolean; key: string }>()
  requests = new Map<string, RequestedEvent>()
  leases = new Map<number, OpenLease>()
  refusals: LeaseAction[] = []
  grantCount = 0
  workersAtOnceMax = 0

  constructor(options: LeaseBookOptions) {
    this.workersMax = options.workersMax ?? 256
    this.book = new LeaseBook(options)
    this.step({ type: 'tick' })
  }

  step(event: LeaseEvent): void {
    for (const action of this.book.step(event, this.nowMs)) this.#perform(action)
    const counted = [...this.workers.values()].filter(({ isStopping }) => !isStopping).length
    this.workersAtOnceMax = Math.max(this.workersAtOnceMax, counted)
    assert.ok(counted <= this.workersMax, `${counted} workers of at most ${this.workersMax}`)
  }

  request(event: RequestedEvent): void {
    this.requests.set(`${event.client} ${event.requestId}`, event)
    this.step(event)
  }

  cancel(key: string): void {
    const event = this.requests.get(key)
    assert.ok(event)
    this.requests.delete(key)
    this.step({ type: 'requestCancelled', client: event.client, requestId: event.requestId })
  }

  return(lease: OpenLease): void {
    this.leases.delete(lease.leaseId)
    this.step({ type: 'returned', client: lease.client, leaseId: lease.leaseId })
  }

  setBlocked(lease: OpenLease, isBlocked: boolean): void {
    lease.isBlocked = isBlocked
    this.step({ type: isBlocked ? 'blocked' : 'unblocked', leaseId: lease.leaseId })
  }

  ready(workerId: number): void {
    const worker = this.workers.get(workerId)
    assert.ok(worker)
    worker.isReady = true
    this.step({ type: 'workerReady', workerId })
  }

  exit(workerId: number): void {
    const worker = this.workers.get(workerId)
    assert.ok(worker)
    this.workers.delete(workerId)
    this.step({ type: 'workerExited', workerId, reason: 'died', startFailed: !worker.isReady })
    for (const lease of this.leases.values()) assert.notEqual(lease.workerId, workerId, 'a lease outlived its worker')
  }

  goAway(client: string): void {
    for (const [key, request] of this.requests) if (request.client === client) this.requests.delete(key)
    for (const lease of this.leases.values()) if (lease.client === client) this.leases.delete(lease.leaseId)
    this.step({ type: 'clientGone', client })
  }

  #perform(action: LeaseAction): void {
    switch (action.type) {
      case 'startWorker': {
        assert.ok(!this.workers.has(action.workerId), 'a worker id was used twice')
        const key = `${action.envKey} ${action.gpuIds.join()}`
        this.workers.set(action.workerId, { isReady: false, isStopping: false, key })
        return
      }
      case 'stopWorker': {
        const worker = this.workers.get(action.workerId)
        assert.ok(worker?.isStopping === false, 'stopped what does not run')
        worker.isStopping = true
        return
      }
      case 'grant': {
        const { client, requestId, leaseId, workerId } = action
        const event = this.requests.get(`${client} ${requestId}`)
        assert.ok(event, 'granted what nobody waits for')
        this.requests.delete(`${client} ${requestId}`)
        const worker = this.workers.get(workerId)
        assert.ok(worker?.isReady === true && !worker.isStopping, 'granted a worker that is not there')
        assert.equal(worker.key, `${event.envKey} ${action.gpuIds.join()}`, 'granted a worker of another kind')
        const gpusMin = asksFor(event.resources, 'GPU') ? 1 : 0
        assert.equal(action.gpuIds.length, Math.max(gpusMin, Math.ceil(event.resources['GPU'] ?? 0)))
        for (const lease of this.leases.values()) assert.notEqual(lease.workerId, workerId, 'two leases on one worker')
        assert.ok(!this.leases.has(leaseId))
        this.leases.set(leaseId, { client, leaseId, workerId, isBlocked: false, isReclaimed: false })
        this.grantCount++
        return
      }
      case 'refuse': {
        const key = `${action.client} ${action.requestId}`
        assert.ok(this.requests.delete(key), 'refused what nobody waits for')
        this.refusals.push(action)
        return
      }
      case 'reclaim': {
        const lease = this.leases.get(action.leaseId)
        assert.ok(lease?.client === action.client && !lease.isReclaimed, 'asked back what is not there, or twice')
        lease.isReclaimed = true
        return
      }
      case 'lost': {
        const lease = this.leases.get(action.leaseId)
        assert.ok(lease?.client === action.client, 'lost what is not there')
        this.leases.delete(action.leaseId)
        return
      }
      case 'bundlesAnswer':
        assert.fail('nobody has asked for bundles')
    }
  }
}

const requestKinds: Pick<RequestedEvent, 'resources' | 'envKey'>[] = [
  { resources: { CPU: 1 }, envKey: '' },
  { resources: { CPU: 1 }, envKey: '' },
  { resources: { CPU: 0.3 }, envKey: '' },
  { resources: {}, envKey: '' },
  { resources: { CPU: 3, memory: 60 }, envKey: '' },
  { resources: { CPU: 1, memory: 30 }, envKey: 'torch' },
  { resources: { CPU: 0.5, GPU: 0.4 }, envKey: '' },
  { resources: { GPU: 1 }, envKey: 'torch' },
  { resources: { CPU: 1, GPU: 2, camera: 1 }, envKey: '' },
  { resources: { gpuMemory: 30 }, envKey: '' },
  { resources: { GPU: 0.2, gpuMemory: 60, 'accelerator:H100': 1 }, envKey: '' },
  { resources: { CPU: 5 }, envKey: '' },
]

function randomStep(node: SimulatedNode, random: Random, requestId: number): void {
  const choice = random()
  const client = `client${Math.floor(random() * 4)}`
  node.nowMs += Math.floor(random() * 40)
  if (choice < 0.35) {
    const kind = pick(random, requestKinds)
    assert.ok(kind)
    node.request({ type: 'requested', client, requestId, depth: Math.floor(random() * 3), label: 'task', ...kind })
  } else if (choice < 0.55) {
    const lease = pick(random, node.leases.values())
    if (lease !== undefined) node.return(lease)
  } else if (choice < 0.65) {
    const lease = pick(random, node.leases.values())
    if (lease !== undefined) node.setBlocked(lease, !lease.isBlocked)
  } else if (choice < 0.8) {
    const starting = [...node.workers].filter(([, { isReady }]) => !isReady)
    const [workerId] = pick(random, starting) ?? []
    if (workerId !== undefined) node.ready(workerId)
  } else if (choice < 0.85) {
    const workerId = pick(random, node.workers.keys())
    if (workerId !== undefined) node.exit(workerId)
  } else if (choice < 0.88) {
    const key = pick(random, node.requests.keys())
    if (key !== undefined) node.cancel(key)
  } else if (choice < 0.9) {
    node.goAway(client)
  } else if (choice < 0.93) {
    // News of what is long over, or never was.
    const id = Math.floor(random() * 50)
    if (!node.leases.has(id)) node.step({ type: 'returned', client, leaseId: id })
    if (!node.leases.has(id)) node.step({ type: 'unblocked', leaseId: id })
    if (!node.workers.has(id)) node.step({ type: 'workerExited', workerId: id, reason: '', startFailed: true })
  } else {
    node.step({ type: 'tick' })
  }
}

function checkSums(node: SimulatedNode): void {
  const { available, total, workers } = node.book.snapshot()
  for (const [name, amount] of Object.entries(available)) {
    assert.ok(amount <= (total[name] ?? 0), `${name}: ${amount} is more than there is`)
    if (name !== 'CPU') assert.ok(amount >= 0, `${name} is overdrawn`)
  }
  assert.deepEqual(
    workers.map(({ workerId }) => workerId),
    [...node.workers.keys()],
    'a worker is lost',
  )
  const held = workers.filter(({ state }) => state === 'leased' || state === 'blocked').map(({ leaseId }) => leaseId)
  assert.deepEqual(new Set(held), new Set(node.leases.keys()))
}

/** Lets everything come to its end with healthy workers and owners that return what they have. */
function drain(node: SimulatedNode): void {
  let rounds = 0
  node.step({ type: 'tick' })
  while (node.requests.size + node.leases.size > 0 || [...node.workers.values()].some(isUnsettled)) {
    assert.ok(++rounds < 500, `requests wait for ever: ${JSON.stringify(node.book.snapshot())}`)
    for (const [workerId, { isStopping, isReady }] of node.workers) {
      if (isStopping) node.exit(workerId)
      else if (!isReady) node.ready(workerId)
    }
    for (const lease of node.leases.values()) node.return(lease)
    node.nowMs += 50
    node.step({ type: 'tick' })
  }
}

function isUnsettled({ isReady, isStopping }: { isReady: boolean; isStopping: boolean }): boolean {
  return isStopping || !isReady
}

/** Runs with a seed that the failure names. */
function withSeed(seed: number, run: (random: Random) => void): void {
  try {
    run(randomFrom(seed))
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

describe('the lease book under random events', () => {
  test('keeps its sums, answers once, loses no worker, and serves everybody in the end', () => {
    let grants = 0
    for (let seed = 1; seed <= 300; seed++) {
      withSeed(seed, (random) => {
        const workersMax = 3 + Math.floor(random() * 10)
        const total = { CPU: 4, memory: 100, camera: 1 }
        const gpus = [
          { id: 0, type: 'H100', memoryBytes: 100 },
          { id: 1, memoryBytes: 40 },
        ]
        const node = new SimulatedNode({ total, gpus, workersMax, idleMs: 500, starvationMs: 300 })
        for (let count = 1; count <= 300; count++) {
          randomStep(node, random, count)
          if (count % 10 === 0) checkSums(node)
        }
        drain(node)
        checkSums(node)
        const { available, total: offered, pending } = node.book.snapshot()
        assert.deepEqual(available, offered, 'something is still held')
        assert.deepEqual(pending, [])
        // Long enough for failed starts to be forgotten.
        node.nowMs += 100_000
        drain(node)
        node.step({ type: 'tick' })
        drain(node)
        const kept = [...node.workers.values()].filter(({ key }) => key === ' ')
        assert.equal(kept.length, Math.min(4, workersMax), 'the plain workers are not kept at their number')
        grants += node.grantCount
      })
    }
    assert.ok(grants > 300 * 20, `only ${grants} grants: the runs show nothing`)
  })

  test('a large request is served although small ones never stop coming', () => {
    for (let seed = 1; seed <= 20; seed++) {
      withSeed(seed, (random) => {
        const node = new SimulatedNode({ total: { CPU: 4 }, starvationMs: 500 })
        for (const workerId of node.workers.keys()) node.ready(workerId)
        const request = (requestId: number, cpus: number): void =>
          node.request({
            type: 'requested',
            client: 'driver',
            requestId,
            resources: { CPU: cpus },
            envKey: '',
            depth: 0,
            label: 'task',
          })
        for (let id = 1; id <= 8; id++) request(id, 1)
        request(1_000_000, 4)
        let id = 8
        while (node.requests.has('driver 1000000')) {
          assert.ok(id < 5_000, 'starved')
          node.nowMs += 10
          request(++id, 1)
          const lease = pick(random, node.leases.values())
          if (lease !== undefined) node.return(lease)
          node.step({ type: 'tick' })
        }
      })
    }
  })
})

/**
 * Tasks that call themselves twice and wait for both, on one CPU. Every task is an owner that asks for a lease for each
 * child; the news of a worker travels in any order but its own.
 */
class TreeRun {
  readonly node: SimulatedNode
  #random: Random
  #isNewsLate: boolean
  #taskByRequest = new Map<string, TreeTask>()
  #running = new Map<number, TreeTask>()
  #later: (() => void)[] = []
  #lastId = 0
  completed = 0

  /** With `isNewsLate`, a lease is back before its owner says that it does not wait any more. */
  constructor(node: SimulatedNode, random: Random, isNewsLate: boolean) {
    this.node = node
    this.#isNewsLate = isNewsLate
    this.#random = random
  }

  run(levels: number): void {
    this.#submit({ id: 0, levels, depth: 0, parent: undefined, open: 0 })
    let rounds = 0
    do {
      assert.ok(++rounds < 100_000, `stuck: ${JSON.stringify(this.node.book.snapshot().pending)}`)
      for (const [workerId, { isReady, isStopping }] of this.node.workers) {
        if (!isReady) this.node.ready(workerId)
        else if (isStopping) this.node.exit(workerId)
      }
      this.#startGranted()
      const index = Math.floor(this.#random() * this.#later.length)
      const [next] = this.#later.splice(index, 1)
      next?.()
      this.#startGranted()
      this.node.nowMs += 1
    } while (this.#later.length > 0 || this.node.requests.size > 0)
  }

  #submit(task: TreeTask): void {
    const requestId = task.id
    const client = task.parent === undefined ? 'driver' : `task${task.parent.id}`
    this.#taskByRequest.set(`${client} ${requestId}`, task)
    const { depth } = task
    const resources = { CPU: 1 }
    this.node.request({ type: 'requested', client, requestId, resources, envKey: '', depth, label: 'fib' })
  }

  /** Begins the tasks whose requests have been granted since. */
  #startGranted(): void {
    for (const lease of this.node.leases.values()) {
      if (this.#running.has(lease.leaseId)) continue
      for (const [key, task] of this.#taskByRequest) {
        if (this.node.requests.has(key) || !key.startsWith(`${lease.client} `)) continue
        this.#taskByRequest.delete(key)
        task.lease = lease
        this.#running.set(lease.leaseId, task)
        this.#later.push(() => this.#body(task))
        break
      }
    }
  }

  #body(task: TreeTask): void {
    if (task.levels === 0) {
      this.#complete(task)
      return
    }
    task.open = 2
    for (let child = 0; child < 2; child++) {
      const id = ++this.#lastId
      this.#submit({ id, levels: task.levels - 1, depth: task.depth + 1, parent: task, open: 0 })
    }
    assert.ok(task.lease)
    this.node.setBlocked(task.lease, true)
  }

  #complete(task: TreeTask): void {
    const { lease, parent } = task
    assert.ok(lease)
    this.completed++
    this.#running.delete(lease.leaseId)
    const isParentDone = parent !== undefined && --parent.open === 0
    const goOn = (): void => {
      if (!isParentDone) return
      assert.ok(parent.lease)
      this.node.setBlocked(parent.lease, false)
      this.#later.push(() => this.#complete(parent))
    }
    if (this.#isNewsLate) {
      this.node.return(lease)
      this.#later.push(goOn)
    } else {
      // The parent owns the lease, so it is the one to return it, after the result has woken it.
      this.#later.push(() => {
        goOn()
        this.node.return(lease)
      })
    }
  }
}

interface TreeTask {
  id: number
  levels: number
  depth: number
  parent: TreeTask | undefined
  /** Children that have not ended. */
  open: number
  lease?: OpenLease
}

describe('recursion on one CPU', () => {
  const cases = [
    { levels: 3, isNewsLate: false, workersMax: 3 + 3 },
    { levels: 6, isNewsLate: false, workersMax: 6 + 3 },
    { levels: 9, isNewsLate: false, workersMax: 9 + 3 },
    // A sibling of the parent may slip in before the parent goes on: at the worst one on every level.
    { levels: 9, isNewsLate: true, workersMax: 2 * 9 + 3 },
  ]
  for (const { levels, isNewsLate, workersMax } of cases) {
    test(`a tree of ${levels} levels needs at most ${workersMax} workers${isNewsLate ? ' when news is late' : ''}`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        withSeed(seed, (random) => {
          const node = new SimulatedNode({ total: { CPU: 1 } })
          const tree = new TreeRun(node, random, isNewsLate)
          tree.run(levels)
          assert.equal(tree.completed, 2 ** (levels + 1) - 1)
          assert.ok(node.workersAtOnceMax <= workersMax, `${node.workersAtOnceMax} workers for ${levels} levels`)
          assert.deepEqual(node.book.snapshot().available, { CPU: 1 })
        })
      }
    })
  }

  test('deeper than the workers allow, tasks are refused and the rest ends', () => {
    const node = new SimulatedNode({ total: { CPU: 1 }, workersMax: 4 })
    for (const workerId of node.workers.keys()) node.ready(workerId)
    for (let depth = 0; depth < 5; depth++) {
      node.request({
        type: 'requested',
        client: `task${depth}`,
        requestId: 1,
        resources: { CPU: 1 },
        envKey: '',
        depth,
        label: 'f',
      })
      for (const [workerId, { isReady }] of node.workers) if (!isReady) node.ready(workerId)
      for (const lease of node.leases.values()) if (!lease.isBlocked) node.setBlocked(lease, true)
    }
    assert.equal(node.refusals.length, 0, 'they may wait for what other nodes do')
    node.nowMs += 5000
    node.step({ type: 'tick' })
    assert.deepEqual(
      node.refusals.map((action) => (action.type === 'refuse' ? [action.error, action.client] : [])),
      [['workerLimit', 'task4']],
    )
    drain(node)
    assert.deepEqual(node.book.snapshot().available, { CPU: 1 })
  })
})
