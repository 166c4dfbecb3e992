import assert from 'node:assert/strict'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { defaultStrategy } from '../../protocols/scheduling.ts'
import { VirtualClock } from './routing-clock.ts'
import type { HeldLease, SimulatedClient } from './routing-client.ts'
import type { Fault } from './routing-faults.ts'
import { SimulatedNetwork } from './routing-network.ts'
import { SimulatedNode } from './routing-node.ts'
import { RoutingStorm } from './routing-storm.ts'
import { isFeasible, pick, randomOffer, randomWish, type NodeOffer, type Wish } from './routing-wishes.ts'
import { seededRandom } from './seeded-random.ts'

export interface RoutingWorldSettings {
  readonly seed: number
  /** All nodes do something wrong, to see that it is found out. */
  readonly fault?: Fault
  /** How often single messages about leases are lost, or come twice, on links that are up. */
  readonly lossShare?: number
  readonly doubleShare?: number
}

const stormMs = 5_000
/** By then everything has come to rest that ever will. */
const restMs = 30_000
/** So often a request is sent to another place at most: one that is sent to and fro keeps a whole mesh busy. */
const placedCountMax = 60

/**
 * Some nodes with their clients, and what befalls them, all by chance from one seed: a storm, then calm. Every rule that
 * can be broken at one moment is looked at in every moment; what must hold in the end, in the end.
 */
export class RoutingWorld {
  readonly settings: RoutingWorldSettings
  readonly clock = new VirtualClock()
  readonly random: () => number
  readonly network: SimulatedNetwork
  /** Those that run. */
  readonly nodes = new Map<NodeId, SimulatedNode>()
  /** All that ever were, the dead too. */
  readonly clients = new Map<ClientId, SimulatedClient>()
  /** How often things have happened. */
  readonly counts = new Map<string, number>()
  /** The share of leases whose tasks ask for workers of their own. */
  readonly nestedShare: number
  isCalm = false
  readonly #offers = new Map<NodeId, NodeOffer>()
  readonly #storm: RoutingStorm
  readonly #holders = new Map<ClientId, HeldLease>()
  readonly #placedCounts = new Map<string, number>()
  #termCounter = 0

  constructor(settings: RoutingWorldSettings) {
    this.settings = settings
    const random = (this.random = seededRandom(settings.seed))
    const onLost = (): void => this.count('lost on the way')
    this.network = new SimulatedNetwork({ ...settings, clock: this.clock, random, onLost })
    this.#storm = new RoutingStorm(this)
    this.nestedShare = random() < 0.5 ? 0.25 : 0
    const count = 2 + Math.floor(random() * 5)
    for (let index = 1; index <= count; index++) {
      this.#offers.set(index.toString(16).padStart(16, '0'), randomOffer(random))
    }
  }

  /** Throws AssertionError when a rule is broken. */
  run(): void {
    this.clock.installed(() => {
      try {
        this.#run()
      } finally {
        for (const node of this.nodes.values()) node.crash()
      }
    })
  }

  #run(): void {
    for (const id of this.#offers.keys()) this.start(id)
    this.#storm.begin()
    this.clock.after(20, () => this.elect(pick(this.random, this.nodes.values())))
    this.clock.run(stormMs)
    this.#calmDown()
    this.#comeToRest('after the storm')
    const refusedBefore = this.#refusedCount
    for (const driver of this.drivers()) {
      for (const resources of [{ CPU: 1 }, { camera: 1 }, { GPU: 1 }]) {
        const wish: Wish = { resources, strategy: defaultStrategy, envKey: '', holdMs: 10 }
        if (isFeasible(wish, this.#offers)) driver.request(wish)
      }
    }
    this.#comeToRest('in calm')
    assert.equal(this.#refusedCount, refusedBefore, 'what nodes can serve was refused in calm')
  }

  // --- the course of things

  start(id: NodeId): void {
    const offer = this.#offers.get(id)
    if (offer === undefined || this.nodes.has(id)) return
    const node = new SimulatedNode(this, id, offer)
    for (const other of this.nodes.values()) this.network.connect(node, other)
    this.nodes.set(id, node)
    node.open()
    const drivers = 1 + Math.floor(this.random() * 2)
    for (let each = 0; each < drivers; each++) node.addDriver()
    if (this.#termCounter > 0) this.clock.after(200, () => this.elect(pick(this.random, this.nodes.values())))
  }

  crash(node: SimulatedNode): void {
    this.nodes.delete(node.id)
    node.crash()
    this.network.cutAll(node.id)
  }

  /** A node becomes the head of a new term, or there is none; the others hear of it in their time. */
  elect(head: SimulatedNode | undefined): void {
    const term = head === undefined ? undefined : { counter: ++this.#termCounter, head: head.id }
    for (const node of this.nodes.values()) {
      // A head knows it first: it is the one who has claimed to be it.
      this.clock.after(node === head ? 0 : this.random() * 100, () => {
        if (!node.isDead) node.onElected(term)
      })
    }
  }

  drivers(): SimulatedClient[] {
    return [...this.nodes.values()].flatMap(({ clients }) =>
      [...clients.values()].filter(({ role, isDead }) => role === 'driver' && !isDead),
    )
  }

  wish(): Wish {
    return randomWish(this.random, [...this.#offers.keys()])
  }

  #calmDown(): void {
    this.isCalm = true
    this.network.isCalm = true
    for (const id of this.#offers.keys()) this.start(id)
    for (const a of this.nodes.values()) {
      for (const b of this.nodes.values()) if (a.id < b.id) this.network.connect(a, b)
    }
    this.clock.run(500)
    this.elect(pick(this.random, this.nodes.values()))
    if (this.#storm.isMild) return
    this.clock.run(1_000)
    // Links that break once more, for a moment, are soon forgotten.
    for (const a of this.nodes.values()) {
      for (const b of this.nodes.values()) {
        if (a.id >= b.id || this.random() < 0.5) continue
        this.network.cut(a.id, b.id)
        this.clock.after(this.random() * 600, () => this.network.connect(a, b))
      }
    }
  }

  /** Until every request has its answer, and nothing is held any more. */
  #comeToRest(when: string): void {
    for (let passedMs = 0; passedMs < restMs; passedMs += 250) {
      this.clock.run(250)
      if (this.#leftOver().length === 0) return
    }
    assert.fail(`${when}, this is left: ${this.#leftOver().join('; ')}`)
  }

  #leftOver(): string[] {
    const left: string[] = []
    for (const { id, isDead, requests, leases } of this.clients.values()) {
      if (isDead) continue
      if (leases.size > 0) left.push(`leases of client ${id}`)
      for (const [requestId, { state }] of requests) {
        if (state === 'open') left.push(`client ${id} waits for ${requestId}`)
      }
    }
    for (const node of this.nodes.values()) left.push(...node.leftOver().map((what) => `at ${node.id} ${what}`))
    return left
  }

  // --- what is told, and checked

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  get #refusedCount(): number {
    return [...this.counts].reduce((sum, [what, count]) => sum + (what.startsWith('refused') ? count : 0), 0)
  }

  wishOf(client: ClientId, requestId: number): Wish {
    const request = this.clients.get(client)?.requests.get(requestId)
    assert.ok(request, `client ${client} never made request ${requestId}`)
    return request.wish
  }

  /** The head has sent a request somewhere. */
  placed(client: ClientId, requestId: number): void {
    const key = `${client}|${requestId}`
    const count = (this.#placedCounts.get(key) ?? 0) + 1
    this.#placedCounts.set(key, count)
    assert.ok(count <= placedCountMax, `request ${requestId} of ${client} is sent from place to place without end`)
  }

  /** A client has got a lease. */
  held(lease: HeldLease): void {
    const { workerId, client } = lease
    const other = this.#holders.get(workerId)
    assert.equal(other, undefined, `worker ${workerId} is held by ${other?.client.id} and by ${client.id}`)
    this.#holders.set(workerId, lease)
    this.count(nodeOf(workerId) === client.node.id ? 'granted here' : 'granted elsewhere')
  }

  released({ workerId }: HeldLease): void {
    this.#holders.delete(workerId)
  }

  /** The owner has died with the lease in hand. */
  abandoned({ workerId }: HeldLease): void {
    this.#holders.delete(workerId)
    for (const { pool } of this.nodes.values()) {
      for (const worker of pool.all()) if (worker.client?.id === workerId) worker.isAbandoned = true
    }
  }

  /** A client's request for the work of a program was refused. */
  refused({ node }: SimulatedClient, job: ClientId, wish: Wish, error: string, message: string): void {
    this.count(`refused: ${error}`)
    assert.notEqual(error, 'busy', 'a busy node is no answer for a client')
    // With its node out of reach a program is as good as dead.
    const isJobDead = this.clients.get(job)?.isDead !== false || !node.hasSeenLately(nodeOf(job))
    const saysDead = message.includes('has ended')
    assert.ok(!saysDead || isJobDead, `refused for the end of a program that lives: ${error}, ${message}`)
    if (saysDead || error === 'workerStart' || error === 'workerLimit') return
    assert.equal(error, 'infeasible')
    // Before that they may not have found each other.
    const isSure = this.#storm.isMild && this.clock.nowMs > 3_000
    assert.ok(!isSure || !isFeasible(wish, this.#offers), `refused although some node has it: ${message}`)
  }
}
