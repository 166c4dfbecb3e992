import assert from 'node:assert/strict'
import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import type { SimulatedNode } from './routing-node.ts'
import type { Wish } from './routing-wishes.ts'

/** A lease as its owner sees it. */
export interface HeldLease {
  readonly client: SimulatedClient
  readonly leaseId: number
  readonly workerId: ClientId
}

type RequestState = 'open' | 'cancelled' | 'granted' | 'refused'

/**
 * A driver, or a worker whose task asks for workers of its own: it uses what it gets for a while and hands it back. What
 * it says and what it hears is on the way for a moment, so that both can cross.
 */
export class SimulatedClient {
  readonly id: ClientId
  readonly node: SimulatedNode
  readonly job: ClientId
  readonly depth: number
  readonly idBytes: Buffer = Buffer.alloc(0)
  readonly pid = 1
  readonly program = 'simulated'
  readonly wantsLogs = false
  readonly unsentBytes = 0
  /** Of a worker; else 0. */
  readonly workerId: number
  isDead = false
  readonly requests = new Map<number, { state: RequestState; wish: Wish; job: ClientId }>()
  readonly leases = new Map<number, HeldLease>()
  #lastRequestId = 0
  #lastHeardMs = 0
  #lastSaidMs = 0

  constructor(node: SimulatedNode, id: ClientId, worker?: { workerId: number; job: ClientId; depth: number }) {
    this.node = node
    this.id = id
    node.world.clients.set(id, this)
    this.job = worker?.job ?? id
    this.depth = worker?.depth ?? 0
    this.workerId = worker?.workerId ?? 0
  }

  get role(): 'driver' | 'worker' {
    return this.workerId === 0 ? 'driver' : 'worker'
  }

  get openCount(): number {
    return [...this.requests.values()].filter(({ state }) => state === 'open').length
  }

  /** What the node's parts say to it. */
  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    const { clock } = this.node.world
    this.#lastHeardMs = Math.max(this.#lastHeardMs, clock.nowMs + this.node.world.random() * 2)
    clock.after(this.#lastHeardMs - clock.nowMs, () => {
      if (!this.isDead) this.hear(name, body)
    })
  }

  forward(): void {}

  request(wish: Wish, job = this.job, depth = this.depth): number {
    const requestId = ++this.#lastRequestId
    this.requests.set(requestId, { state: 'open', wish, job })
    const { resources, strategy, envKey } = wish
    this.say((desk) =>
      desk.request(this.asClient(), {
        requestId,
        resources: { ...resources },
        strategy,
        envVars: {},
        envKey,
        depth,
        label: 'task',
        isRetriable: false,
        job,
        isActor: false,
      }),
    )
    return requestId
  }

  cancel(requestId: number): void {
    const request = this.requests.get(requestId)
    assert.equal(request?.state, 'open')
    request.state = 'cancelled'
    this.say((desk) => desk.cancelRequest(this.asClient(), requestId))
  }

  giveBack(lease: HeldLease): void {
    if (!this.leases.delete(lease.leaseId)) return
    this.node.world.released(lease)
    this.say((desk) => desk.giveBack(this.asClient(), lease.leaseId))
  }

  kill(lease: HeldLease): void {
    this.say((desk) => desk.kill(this.asClient(), lease.leaseId, 'killed by its owner'))
  }

  /** It is gone, with all that it has said and not been heard. The node learns of it. */
  die(): void {
    if (this.isDead) return
    this.isDead = true
    for (const lease of this.leases.values()) this.node.world.abandoned(lease)
    this.leases.clear()
  }

  /** Says something to the node. */
  say(what: (desk: SimulatedNode['desk']) => void): void {
    const { clock, random } = this.node.world
    this.#lastSaidMs = Math.max(this.#lastSaidMs, clock.nowMs + random() * 2)
    clock.after(this.#lastSaidMs - clock.nowMs, () => {
      if (!this.isDead && !this.node.isDead) what(this.node.desk)
    })
  }

  /** For those who want a connection: it has all of one that leases need. */
  asClient(): Parameters<SimulatedNode['desk']['blocked']>[0] {
    return this as never
  }

  protected hear<N extends MessageName>(name: N, body: MessageBody<N>): void {
    if (name === 'leaseGrant') this.#onGrant(body as MessageBody<'leaseGrant'>)
    else if (name === 'leaseRefuse') this.#onRefuse(body as MessageBody<'leaseRefuse'>)
    else if (name === 'leaseReclaim') this.#onReclaim(body as MessageBody<'leaseReclaim'>)
    else if (name === 'leaseLost') this.#onLost(body as MessageBody<'leaseLost'>)
  }

  #onReclaim({ leaseId }: MessageBody<'leaseReclaim'>): void {
    const lease = this.leases.get(leaseId)
    if (lease !== undefined) this.node.world.clock.after(20, () => this.giveBack(lease))
  }

  #onLost({ leaseId }: MessageBody<'leaseLost'>): void {
    const lease = this.leases.get(leaseId)
    if (lease === undefined) return
    this.leases.delete(leaseId)
    this.node.world.count('lost')
    this.node.world.released(lease)
  }

  #onGrant({ requestId, leaseId, workerId }: MessageBody<'leaseGrant'>): void {
    const { world } = this.node
    const request = this.requests.get(requestId)
    assert.ok(request, `client ${this.id} was granted a lease for request ${requestId}, which it never made`)
    const { state, wish } = request
    assert.ok(
      state === 'open' || state === 'cancelled',
      `request ${requestId} of ${this.id} was ${state}, then granted`,
    )
    assert.ok(!this.leases.has(leaseId), `lease ${leaseId} was granted twice`)
    request.state = 'granted'
    const lease: HeldLease = { client: this, leaseId, workerId }
    this.leases.set(leaseId, lease)
    world.held(lease)
    if (state === 'cancelled') this.giveBack(lease)
    else world.clock.after(wish.holdMs, () => this.giveBack(lease))
  }

  #onRefuse({ requestId, error, message }: MessageBody<'leaseRefuse'>): void {
    const request = this.requests.get(requestId)
    assert.ok(request, `client ${this.id} was refused request ${requestId}, which it never made`)
    const { state, wish, job } = request
    assert.ok(
      state === 'open' || state === 'cancelled',
      `request ${requestId} of ${this.id} was ${state}, then refused`,
    )
    request.state = 'refused'
    if (state === 'open') this.node.world.refused(this, job, wish, error, message)
  }
}
