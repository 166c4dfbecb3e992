import assert from 'node:assert/strict'
import type { ClientId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import type { WorkerExit } from '../../node/workers/worker-pool.ts'
import { SimulatedClient } from './routing-client.ts'
import type { SimulatedNode } from './routing-node.ts'

interface WorkerLease {
  readonly leaseId: number
  readonly owner: ClientId
  readonly requestId: number
  readonly resources: ResourceSet
  readonly gpuIds: readonly number[]
  isBlocked: boolean
  wasBlocked: boolean
}

/** A worker process of a simulated node. */
export interface SimulatedWorker {
  readonly workerId: number
  readonly gpuIds: readonly number[]
  client: SimulatedClient | undefined
  lease: WorkerLease | undefined
  /** The owner of its lease has died: a task of its may be running here for ever. */
  isAbandoned: boolean
  isKilled: boolean
}

/** The worker processes of a simulated node: they take a while to start, some never do, and all can be killed. */
export class SimulatedPool {
  readonly #node: SimulatedNode
  readonly #workers = new Map<number, SimulatedWorker>()
  onExit: (exit: WorkerExit) => void = () => {}

  constructor(node: SimulatedNode) {
    this.#node = node
  }

  get(workerId: number): SimulatedWorker | undefined {
    return this.#workers.get(workerId)
  }

  all(): IterableIterator<SimulatedWorker> {
    return this.#workers.values()
  }

  start({ workerId, gpuIds }: { workerId: number; gpuIds: readonly number[] }): void {
    const { clock, random } = this.#node.world
    const worker: SimulatedWorker = {
      workerId,
      gpuIds,
      client: undefined,
      lease: undefined,
      isAbandoned: false,
      isKilled: false,
    }
    this.#workers.set(workerId, worker)
    clock.after(5 + random() * 50, () => {
      if (this.#node.isDead || worker.isKilled) return
      worker.client = new WorkerClient(this.#node, this.#node.nextClientId(), worker)
      this.#node.clients.set(worker.client.id, worker.client)
      this.#node.desk.workerReady(workerId)
    })
  }

  leased(): void {}

  kill(workerId: number, reason: string, isOutside = false): void {
    const worker = this.#workers.get(workerId)
    if (worker === undefined || worker.isKilled) return
    worker.isKilled = true
    const { clock, random } = this.#node.world
    clock.after(random() * 10, () => {
      if (!this.#node.isDead) this.#exit(worker, reason, isOutside)
    })
  }

  /** What is leased now is no more than there is. To be looked at whenever something was granted. */
  checkGranted(): void {
    const { id, offer } = this.#node
    const sums = new Map<string, number>()
    const gpus = new Map<number, number>()
    for (const { lease } of this.#workers.values()) {
      if (lease === undefined) continue
      for (const [name, amount] of Object.entries(lease.resources)) {
        // Tasks that come back from waiting take their CPUs again whether they are free or not.
        if (name !== 'CPU' || !lease.wasBlocked) sums.set(name, (sums.get(name) ?? 0) + amount)
      }
      for (const gpu of lease.gpuIds) gpus.set(gpu, (gpus.get(gpu) ?? 0) + Math.min(1, lease.resources['GPU'] ?? 0))
    }
    for (const [name, amount] of sums) {
      const total = offer.total[name] ?? (name === 'GPU' ? offer.gpuIds.length : 0)
      assert.ok(amount <= total + 1e-9, `node ${id} has granted ${amount} of its ${total} ${name}`)
    }
    for (const [gpu, share] of gpus) assert.ok(share <= 1, `GPU ${gpu} of ${id} is granted ${share} times`)
  }

  #exit(worker: SimulatedWorker, reason: string, isOutside: boolean): void {
    if (!this.#workers.delete(worker.workerId)) return
    const { client, workerId } = worker
    worker.lease = undefined
    client?.die()
    this.onExit({ workerId, reason, startFailed: client === undefined, isOutside, client: client?.asClient() })
  }
}

/** A worker on its connection: what it runs may ask for workers of its own. */
class WorkerClient extends SimulatedClient {
  readonly #worker: SimulatedWorker

  constructor(node: SimulatedNode, id: ClientId, worker: SimulatedWorker) {
    super(node, id, { workerId: worker.workerId, job: id, depth: 0 })
    this.#worker = worker
  }

  /** What is said of its lease holds from the moment at which it is said: nothing may come between. */
  override send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    if (name === 'leaseStart') this.#onStart(body as MessageBody<'leaseStart'>)
    else if (name === 'leaseEnd') this.#onEnd(body as MessageBody<'leaseEnd'>)
    else super.send(name, body)
  }

  #onStart({ leaseId, owner, job, depth }: MessageBody<'leaseStart'>): void {
    const worker = this.#worker
    const { world } = this.node
    assert.equal(worker.lease, undefined, `worker ${this.id} is leased to ${owner} and to ${worker.lease?.owner}`)
    assert.ok(!worker.isAbandoned, `worker ${this.id} is leased while a task of a dead owner may run on it`)
    const { requestId, resources, gpuIds } = this.node.leased(leaseId)
    for (const other of this.node.pool.all()) {
      const isSame = other.lease?.owner === owner && other.lease.requestId === requestId && !other.isKilled
      assert.ok(!isSame, `request ${requestId} of ${owner} is granted twice by ${this.node.id}`)
    }
    const lease: WorkerLease = { leaseId, owner, requestId, resources, gpuIds, isBlocked: false, wasBlocked: false }
    worker.lease = lease
    this.node.pool.checkGranted()
    if (depth >= 2 || world.random() >= world.nestedShare) return
    world.clock.after(world.random() * 20, () => {
      if (this.isDead || worker.lease !== lease || this.node.world.isCalm) return
      const isWaiting = world.random() < 0.5
      if (isWaiting) this.#setBlocked(lease, true)
      this.request(world.wish(), job, depth + 1)
      const waitMs = 20 + world.random() * 100
      if (isWaiting) world.clock.after(waitMs, () => this.#setBlocked(lease, false))
    })
  }

  #setBlocked(lease: WorkerLease, isBlocked: boolean): void {
    if (this.isDead || this.#worker.lease !== lease || lease.isBlocked === isBlocked) return
    this.say((desk) => {
      if (this.#worker.lease !== lease) return
      lease.isBlocked = isBlocked
      lease.wasBlocked = true
      desk.blocked(this.asClient(), { leaseId: lease.leaseId, isBlocked })
    })
  }

  #onEnd({ leaseId }: MessageBody<'leaseEnd'>): void {
    assert.equal(
      this.#worker.lease?.leaseId,
      leaseId,
      `worker ${this.id} is told the end of a lease that it does not have`,
    )
    this.#worker.lease = undefined
  }
}
