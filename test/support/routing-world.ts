import assert from 'node:assert/strict'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { matchesLabels, type SchedulingStrategy } from '../../protocols/scheduling.ts'
import { VirtualClock } from './routing-clock.ts'
import type { HeldLease, SimulatedClient, Wish } from './routing-client.ts'
import { SimulatedNetwork } from './routing-network.ts'
import { SimulatedNode, type NodeOffer } from './routing-node.ts'
import { seededRandom } from './seeded-random.ts'

/** Ways to break a node on purpose: the simulation must find each out. */
export type Fault =
  | 'late grants are kept'
  | 'broken links keep leases'
  | 'asked twice, granted twice'
  | 'moved, not cancelled'
  | 'grants are said once'

export interface RoutingWorldSettings {
  readonly seed: number
  /** A node that does something wrong, to see that it is found out. */
  readonly fault?: Fault
  /** How often single messages about leases are lost, or come twice, on links that are up. */
  readonly lossShare?: number
  readonly doubleShare?: number
}

/** What of all that can go wrong does go wrong in a run. */
interface Weather {
  readonly links: boolean
  readonly crashes: boolean
  readonly heads: boolean
  readonly drivers: boolean
  readonly workers: boolean
}

const stormMs = 5_000
/** A request has so many places at most, in some seconds of storm. */
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
  /** All that ever were, the dead too. */
  readonly clients = new Map<ClientId, SimulatedClient>()
  readonly counts = new Map<string, number>()
  readonly nestedShare: number
  readonly #weather: Weather
  readonly #offers = new Map<NodeId, NodeOffer>()
  readonly #nodes = new Map<NodeId, SimulatedNode>()
  readonly #placedCounts = new Map<string, number>()
  readonly #holders = new Map<ClientId, HeldLease>()
  #drivers: SimulatedClient[] = []
  #termCounter = 0
  isCalm = false

  constructor(settings: RoutingWorldSettings) {
    this.settings = settings
    const random = seededRandom(settings.seed)
    this.random = random
    const onLost = (): void => this.count('lost on the way')
    this.network = new SimulatedNetwork({ ...settings, clock: this.clock, random, onLost })
    const isFine = random() < 0.2
    const chance = (share: number): boolean => !isFine && random() < share
    this.#weather = {
      links: chance(0.6),
      crashes: chance(0.4),
      heads: chance(0.5),
      drivers: chance(0.5),
      workers: chance(0.5),
    }
    this.nestedShare = random() < 0.5 ? 0.25 : 0
    const count = 2 + Math.floor(random() * 5)
    for (let index = 1; index <= count; index++) {
      const gpus = random() < 0.3 ? Math.ceil(random() * 2) : 0
      this.#offers.set(index.toString(16).padStart(16, '0'), {
        total: { CPU: 1 + Math.floor(random() * 4), ...(random() < 0.3 ? { camera: 1 } : {}) },
        gpuIds: Array.from({ length: gpus }, (_, gpu) => gpu),
        labels: { zone: random() < 0.5 ? 'lab1' : 'lab2' },
      })
    }
  }

  run(): void {
    this.clock.installed(() => {
      try {
        this.#run()
      } finally {
        for (const node of this.#nodes.values()) node.crash()
      }
    })
  }

  // --- what befalls clients

  /** A client has got a lease. */
  held(lease: HeldLease): void {
    const other = this.#holders.get(lease.workerId)
    assert.equal(other, undefined, `worker ${lease.workerId} is held by ${other?.client.id} and by ${lease.client.id}`)
    this.#holders.set(lease.workerId, lease)
    this.count(lease.workerId.startsWith(lease.client.node.id) ? 'granted here' : 'granted elsewhere')
  }

  released({ workerId }: HeldLease): void {
    this.#holders.delete(workerId)
  }

  /** The owner has died with the lease in hand. */
  abandoned({ workerId }: HeldLease): void {
    this.#holders.delete(workerId)
    for (const node of this.#nodes.values()) {
      for (const worker of node.pool.all()) if (worker.client?.id === workerId) worker.isAbandoned = true
    }
  }

  refused({ node }: SimulatedClient, job: ClientId, wish: Wish, error: string, message: string): void {
    this.count(`refused: ${error}`)
    // With its node out of reach a program is as good as dead.
    const isJobDead = this.clients.get(job)?.isDead !== false || !node.hasSeenLately(nodeOf(job))
    const saysDead = message.includes('has ended')
    assert.notEqual(error, 'busy', 'a busy node is no answer for a client')
    assert.ok(!saysDead || isJobDead, `refused for the end of a program that lives: ${error}, ${message}`)
    if (saysDead || error === 'workerStart' || error === 'workerLimit') return
    assert.equal(error, 'infeasible')
    const isStable = !this.#weather.links && !this.#weather.crashes && !this.#weather.heads
    const isSure = isStable && this.clock.nowMs > 3_000
    assert.ok(!isSure || !this.#isFeasible(wish), `refused although some node has it: ${message}`)
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

  wish(): Wish {
    const { random } = this
    const sizes = [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 0.5 }, { CPU: 2 }, { CPU: 4 }, {}]
    const special = [{ GPU: 1 }, { CPU: 1, GPU: 0.5 }, { camera: 1 }, { CPU: 99 }]
    return {
      resources: random() < 0.8 ? this.#pick(sizes) : this.#pick(special),
      strategy: this.#strategy(),
      envKey: random() < 0.1 ? 'torch' : '',
      holdMs: 2 + random() * (random() < 0.2 ? 600 : 60),
    }
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  // --- the course of things

  #run(): void {
    for (const id of this.#offers.keys()) this.#start(id)
    this.#plan(60, () => this.#someDemand())
    if (this.#weather.links) this.#plan(400, () => this.#cutSome())
    if (this.#weather.crashes) this.#plan(1_200, () => this.#crashSome())
    if (this.#weather.heads) this.#plan(900, () => this.#changeHead(this.random() < 0.4))
    if (this.#weather.drivers) this.#plan(700, () => this.#endSomeDriver())
    if (this.#weather.workers) this.#plan(300, () => this.#endSomeWorker())
    this.clock.after(20, () => this.#changeHead(false))
    this.clock.run(stormMs)
    this.#calmDown()
    this.#settle('after the storm')
    for (const driver of this.#liveDrivers()) {
      for (const resources of [{ CPU: 1 }, { camera: 1 }, { GPU: 1 }]) {
        const wish: Wish = { resources, strategy: { kind: 'default' }, envKey: '', holdMs: 10 }
        if (this.#isFeasible(wish)) driver.request(wish)
      }
    }
    const refusals = (): number =>
      [...this.counts].reduce((sum, [what, count]) => sum + (what.startsWith('refused') ? count : 0), 0)
    const before = refusals()
    this.#settle('in calm')
    assert.equal(refusals(), before, 'what nodes can serve was refused in calm')
  }

  #calmDown(): void {
    this.isCalm = true
    this.network.isCalm = true
    for (const [id] of this.#offers) if (!this.#nodes.has(id)) this.#start(id)
    for (const a of this.#nodes.values())
      for (const b of this.#nodes.values()) if (a.id < b.id) this.network.connect(a, b)
    this.clock.run(500)
    this.#changeHead(false)
  }

  /** Until every request has its answer, and nothing is held any more. */
  #settle(when: string): void {
    const isSettled = (): boolean =>
      this.#leftOver().length === 0 &&
      ![...this.clients.values()].some((client) => !client.isDead && client.openCount > 0)
    for (let passedMs = 0; passedMs < 30_000; passedMs += 250) {
      this.clock.run(250)
      if (isSettled()) return
    }
    assert.fail(`${when}, this is left: ${this.#leftOver().join('; ')}`)
  }

  #leftOver(): string[] {
    const left = [...this.#nodes.values()].flatMap((node) =>
      node.leftOver().map((what) => `${short(node.id)}: ${what}`),
    )
    for (const { id, isDead, requests, leases } of this.clients.values()) {
      if (isDead) continue
      if (leases.size > 0) left.push(`client ${id} has leases`)
      for (const [requestId, { state }] of requests)
        if (state === 'open') left.push(`client ${id} waits for ${requestId}`)
    }
    return left
  }

  #plan(everyMs: number, what: () => void): void {
    this.clock.after(this.random() * 2 * everyMs, () => {
      if (this.isCalm) return
      what()
      this.#plan(everyMs, what)
    })
  }

  // --- what happens

  #someDemand(): void {
    const driver = this.#pick(this.#liveDrivers())
    if (driver === undefined) return
    const count = 1 + Math.floor(this.random() * 5)
    for (let each = 0; each < count; each++) {
      const requestId = driver.request(this.wish())
      if (this.random() > 0.15) continue
      this.clock.after(this.random() * 100, () => {
        if (!driver.isDead && driver.requests.get(requestId)?.state === 'open') driver.cancel(requestId)
      })
    }
    const lease = this.#pick([...driver.leases.values()])
    if (lease !== undefined && this.random() < 0.05) driver.kill(lease)
  }

  #cutSome(): void {
    const [a, b] = [this.#pick([...this.#nodes.values()]), this.#pick([...this.#nodes.values()])]
    if (a === undefined || b === undefined || a === b) return
    this.count('links broken')
    this.network.cut(a.id, b.id)
    this.clock.after(this.random() * 2_000, () => {
      if (!a.isDead && !b.isDead) this.network.connect(a, b)
    })
  }

  #crashSome(): void {
    const node = this.#pick([...this.#nodes.values()])
    if (node === undefined || this.#nodes.size < 2) return
    this.count('crashes')
    this.#nodes.delete(node.id)
    node.crash()
    this.network.cutAll(node.id)
    this.clock.after(this.random() * 2_000, () => {
      if (!this.#nodes.has(node.id)) this.#start(node.id)
    })
  }

  /** Another node leads, or the same one anew, after a while without any or at once. */
  #changeHead(withGap: boolean): void {
    if (withGap) this.#tellElected(undefined)
    this.clock.after(withGap ? 300 + this.random() * 1_000 : 0, () =>
      this.#tellElected(this.#pick([...this.#nodes.keys()])),
    )
  }

  #tellElected(head: NodeId | undefined): void {
    const term = head === undefined ? undefined : { counter: ++this.#termCounter, head }
    for (const node of this.#nodes.values()) {
      // A head knows it first: it is the one who was claiming.
      this.clock.after(node.id === head ? 0 : this.random() * 100, () => {
        if (!node.isDead) node.onElected(term)
      })
    }
  }

  #endSomeDriver(): void {
    const driver = this.#pick(this.#liveDrivers())
    if (driver === undefined) return
    driver.node.driverGone(driver)
    this.#addDriver(driver.node)
  }

  #endSomeWorker(): void {
    const node = this.#pick([...this.#nodes.values()])
    const worker = this.#pick([...(node?.pool.all() ?? [])])
    if (worker !== undefined) node?.pool.kill(worker.workerId, 'signal SIGKILL', true)
  }

  #start(id: NodeId): void {
    const offer = this.#offers.get(id)
    assert.ok(offer)
    const node = new SimulatedNode(this, id, offer)
    for (const other of this.#nodes.values()) this.network.connect(node, other)
    this.#nodes.set(id, node)
    node.open()
    const drivers = 1 + Math.floor(this.random() * 2)
    for (let each = 0; each < drivers; each++) this.#addDriver(node)
    if (this.#termCounter > 0) this.clock.after(200, () => this.#changeHead(false))
  }

  #addDriver(node: SimulatedNode): void {
    this.#drivers = [...this.#liveDrivers(), node.addDriver()]
  }

  #liveDrivers(): SimulatedClient[] {
    return this.#drivers.filter(({ isDead }) => !isDead)
  }

  #strategy(): SchedulingStrategy {
    const choice = this.random()
    const node = this.#pick([...this.#offers.keys()])
    if (choice < 0.65 || node === undefined) return { kind: 'default' }
    if (choice < 0.75) return { kind: 'spread' }
    if (choice < 0.9) return { kind: 'node', node, isSoft: this.random() < 0.5 }
    return { kind: 'labels', selector: { zone: { in: ['lab1'] } } }
  }

  #isFeasible({ resources, strategy }: Wish): boolean {
    return [...this.#offers].some(([id, { total, gpuIds, labels }]) => {
      if (strategy.kind === 'node' && strategy.node !== id && !strategy.isSoft) return false
      if (strategy.kind === 'labels' && !matchesLabels(labels, strategy.selector)) return false
      const all: Readonly<Record<string, number>> = { ...total, GPU: gpuIds.length }
      return Object.entries(resources).every(([name, amount]) => (all[name] ?? 0) >= amount)
    })
  }

  #pick<T>(items: readonly [T, ...T[]]): T
  #pick<T>(items: readonly T[]): T | undefined
  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.random() * items.length)]
  }
}

function short(id: NodeId): string {
  return id.replace(/^0+/, '')
}
