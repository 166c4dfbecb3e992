import assert from 'node:assert/strict'
import { Claim } from '../../node/election/claim.ts'
import { HeadOffice } from '../../node/head/head-office.ts'
import { LeaseBook } from '../../node/leases/lease-book.ts'
import type { LeaseRouter } from '../../node/routing/lease-router.ts'
import { LeaseDesk } from '../../node/server/lease-desk.ts'
import type { LeaseEnd } from '../../node/server/lease-end.ts'
import type { Advert } from '../../protocols/advert.ts'
import type { Term } from '../../protocols/election.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { SimulatedClient } from './routing-client.ts'
import { FaultyRouter, hideGrants } from './routing-faults.ts'
import { simulatedNeighbours } from './routing-neighbours.ts'
import type { Mail } from './routing-network.ts'
import { SimulatedOwnState } from './routing-own-state.ts'
import type { NodeOffer } from './routing-wishes.ts'
import { SimulatedPool } from './routing-worker.ts'
import type { RoutingWorld } from './routing-world.ts'

const sayAgainMs = 3_000
const lookMs = 50
const claimMs = 200
const leaseMs = 1_000

/**
 * A node as far as it has to do with leases: its lease book, its router and what joins them are the real ones, the rest is
 * made of time and chance. Whatever comes from outside goes to the same parts in the same order as in a real node.
 */
export class SimulatedNode {
  readonly world: RoutingWorld
  readonly id: NodeId
  readonly offer: NodeOffer
  readonly book: LeaseBook
  readonly router: LeaseRouter
  readonly desk: LeaseDesk
  readonly office: HeadOffice
  readonly pool: SimulatedPool
  /** Drivers and workers. */
  readonly clients = new Map<ClientId, SimulatedClient>()
  /** Clients of each node that a link leads to, as far as they were seen. */
  readonly #linked = new Map<NodeId, Map<ClientId, LeaseEnd>>()
  readonly #lostAtMs = new Map<NodeId, number>()
  readonly #view = new Map<NodeId, Advert>()
  readonly #startedAtMs: number
  readonly #own: SimulatedOwnState
  #lastClient = 0
  #term: Term | undefined
  #head: NodeId | undefined
  /** Of the head. */
  #claim: Claim | undefined
  isDead = false

  constructor(world: RoutingWorld, id: NodeId, offer: NodeOffer) {
    this.world = world
    this.id = id
    this.offer = offer
    const { clock } = world
    this.#startedAtMs = Math.floor(clock.nowMs)
    const now = (): number => clock.nowMs
    this.book = new LeaseBook({ total: offer.total, gpuIds: offer.gpuIds, workersMax: 12, prestart: 1 })
    const { labels } = offer
    this.#own = new SimulatedOwnState({ node: id, startedAtMs: this.#startedAtMs, labels }, this.book)
    this.router = new FaultyRouter(
      { self: id, labels, local: this.book, expectsOthers: () => true },
      world.settings.fault,
      () => world.count('came too late'),
    )
    this.pool = new SimulatedPool(this)
    this.desk = new LeaseDesk({
      book: this.book,
      router: this.router,
      directory: {
        self: id,
        isLocal: (client: ClientId) => nodeOf(client) === id,
        get: (client: ClientId) => this.#directoryGet(client),
      } as never,
      pool: this.pool as never,
      neighbours: simulatedNeighbours({
        mail: (to, mail) => this.mail(to, mail),
        state: () => this.#own.now(),
        stateOf: (node) => (node === id ? this.#own.now() : this.#view.get(node)),
        onCancelled: () => world.count('cancelled elsewhere'),
      }),
      now,
    })
    this.desk.onWorkerGone = (client) => this.#gone(client.id)
    const post = { send: (to: NodeId, name: Mail['name'], body: unknown) => this.mail(to, { name, body } as Mail) }
    this.office = new HeadOffice({ post: post as never, now, log: () => {} })
  }

  open(): void {
    this.desk.open()
    this.#look()
    this.#sayAgain()
  }

  /** The machine is gone from one moment to the next. */
  crash(): void {
    this.isDead = true
    this.desk.close()
    this.office.stop()
    for (const client of this.clients.values()) client.die()
  }

  nextClientId(): ClientId {
    const start = this.#startedAtMs.toString(16).padStart(8, '0')
    return `${this.id}${start}${(++this.#lastClient).toString(16).padStart(8, '0')}`
  }

  addDriver(): SimulatedClient {
    const driver = new SimulatedClient(this, this.nextClientId())
    this.clients.set(driver.id, driver)
    return driver
  }

  driverGone(driver: SimulatedClient): void {
    driver.die()
    this.world.clock.after(this.world.random() * 5, () => {
      if (!this.isDead) this.#gone(driver.id)
    })
  }

  mail(to: NodeId, mail: Mail): void {
    if (this.isDead) return
    if (to === this.id) this.world.clock.after(0, () => !this.isDead && this.onMail(to, mail))
    else if (this.#linked.has(to)) this.world.network.send(this.id, to, mail)
  }

  // --- links

  onLinkUp(node: NodeId): void {
    this.#linked.set(node, new Map())
    this.mail(node, { name: 'nodeState', state: this.#own.now() })
    this.desk.route({ type: 'linkUp', node })
    this.#tellHead()
  }

  onLinkDown(node: NodeId): void {
    const gone = [...(this.#linked.get(node)?.keys() ?? [])]
    this.#linked.delete(node)
    this.#lostAtMs.set(node, this.world.clock.nowMs)
    this.office.onLinkDown(node)
    if (this.world.settings.fault !== 'a node reports once in a term') this.#claim?.linkDown(node)
    if (this.world.settings.fault === 'broken links keep leases') this.desk.route({ type: 'linkDown', node })
    else this.desk.nodeGone(node, gone, 'the link is broken')
  }

  // --- the head

  /** The election has come to a result, or is under way. */
  onElected(term: Term | undefined): void {
    if (term !== undefined && term.counter < (this.#term?.counter ?? 0)) return
    this.#head = term?.head
    this.#term = term ?? this.#term
    if (term?.head === this.id) {
      if (this.office.term?.counter !== term.counter) this.office.start(term)
      this.office.onReported(this.#own.now())
      this.#claim = new Claim(term, this.world.clock.nowMs)
      this.#claim.isActing = true
      this.#claimAll(this.#claim)
    } else if (this.office.term !== undefined) {
      this.office.stop()
      this.#claim = undefined
    }
    this.#tellHead()
  }

  get #reachableHead(): NodeId | undefined {
    const head = this.#head
    return head === this.id || (head !== undefined && this.#linked.has(head)) ? head : undefined
  }

  #tellHead(): void {
    this.desk.route({ type: 'headChanged', head: this.#reachableHead })
  }

  /** Asks all for their support, again and again; who has not said yet how it stands is to do that, too. */
  #claimAll(claim: Claim): void {
    const { clock } = this.world
    if (this.isDead || this.#claim !== claim) return
    const { term } = claim
    claim.dropExpired(clock.nowMs)
    const round = claim.send(clock.nowMs)
    for (const node of this.#linked.keys()) {
      this.mail(node, { name: 'claim', term, round, wantsReport: claim.wantsReport(node) })
    }
    clock.after(claimMs, () => this.#claimAll(claim))
  }

  #onSupport(from: NodeId, { term, round, state }: Extract<Mail, { name: 'support' }>): void {
    const claim = this.#claim
    if (claim?.term.counter !== term.counter || !claim.supported(from, round, leaseMs) || state === undefined) return
    claim.reported(from)
    this.#onState(state)
    this.office.onReported(state)
  }

  // --- mail

  onMail(from: NodeId, mail: Mail): void {
    const { desk, office } = this
    switch (mail.name) {
      case 'leaseAsk':
        desk.ask(from, mail.body)
        if (this.world.settings.fault === 'asked twice, granted twice') hideGrants(desk)
        return
      case 'leaseAskCancel':
        return desk.cancelAsk(mail.body)
      case 'leaseAskRefuse': {
        const { client, requestId, error, message, details, state } = mail.body
        this.#onState(state)
        const refusal = { error, message, details: details as Record<string, unknown> }
        return desk.route({ type: 'remoteRefused', node: from, client, requestId, refusal })
      }
      case 'leaseGrant':
        return desk.granted(from, mail.client, mail.body)
      case 'leaseReclaim':
      case 'leaseLost':
      case 'leaseBlocked':
        return desk.onRemote(from, mail.name, mail.body)
      case 'leaseReturn':
        return desk.giveBack(this.#remoteClient(mail.client), mail.leaseId)
      case 'leaseKill':
        return desk.kill(this.#remoteClient(mail.client), mail.leaseId, mail.reason)
      case 'clientGone':
        desk.clientGone(mail.client)
        this.#linked.get(from)?.delete(mail.client)
        return
      case 'nodeState':
        return this.#onState(mail.state)
      case 'claim': {
        const { term, round, wantsReport } = mail
        if (!this.#obeys(from, term)) return
        return this.mail(from, { name: 'support', term, round, state: wantsReport ? this.#own.now() : undefined })
      }
      case 'support':
        return this.#onSupport(from, mail)
      case 'demandAdd':
        return office.onDemandAdd(from, mail.body)
      case 'demandRemove':
        return office.onDemandRemove(from, mail.body)
      case 'demandRefused':
        return office.onDemandRefused(from, mail.body)
      case 'demandPlace': {
        const { client, requestId, term, node, mayWait } = mail.body
        this.world.placed(client, requestId)
        if (this.#obeys(from, term)) desk.route({ type: 'placed', client, requestId, node, mayWait })
        return
      }
      case 'demandInfeasible': {
        const { client, requestId, term, reason } = mail.body
        if (this.#obeys(from, term)) desk.route({ type: 'infeasible', client, requestId, reason, details: {} })
        return
      }
      // These nodes have no part in groups.
      case 'group':
        return
      case 'demandFeasible': {
        const { client, requestId, term } = mail.body
        if (this.#obeys(from, term)) desk.route({ type: 'feasible', client, requestId })
      }
    }
  }

  // --- checks

  /** What was asked for with a lease of this node. */
  leased(leaseId: number): { requestId: number; resources: ResourceSet; gpuIds: readonly number[] } {
    const route = this.desk.routes.get(leaseId)
    assert.ok(route, `lease ${leaseId} of ${this.id} has begun, but the node does not know it`)
    // Below zero where a fault has hidden it.
    const requestId = Math.abs(route.requestId)
    const { resources } = this.world.wishOf(route.owner.id, requestId)
    return { requestId, resources, gpuIds: route.gpuIds }
  }

  /** True when the link to a node is up, and has been for a moment. */
  hasSeenLately(node: NodeId): boolean {
    return (
      node === this.id ||
      (this.#linked.has(node) && this.world.clock.nowMs - (this.#lostAtMs.get(node) ?? -1_000) > 100)
    )
  }

  /** What is still held or waited for; empty when all is at rest. */
  leftOver(): string[] {
    const { total, available, leases, queued } = this.book.load()
    const left: string[] = []
    if (leases > 0) left.push(`${leases} leases in the book`)
    if (queued > 0) left.push(`${queued} requests in the book`)
    if (this.desk.routes.size > 0) left.push(`leases ${[...this.desk.routes.keys()].join()} with their routes`)
    if (this.desk.remote.count > 0) left.push(`${this.desk.remote.count} leases elsewhere`)
    for (const { request, at } of this.router.waiting())
      left.push(`request ${request.requestId} at ${at ?? 'no place'}`)
    const demands = this.office.scheduler?.pendingCount ?? 0
    if (demands > 0) left.push(`${demands} demands at the head`)
    for (const [name, amount] of Object.entries(total)) {
      if (available[name] !== amount) left.push(`${name}: ${available[name]} of ${amount} free`)
    }
    return left
  }

  // --- within

  #directoryGet(client: ClientId): LeaseEnd | undefined {
    if (nodeOf(client) === this.id) return this.clients.get(client)
    const known = this.#linked.get(nodeOf(client))
    if (known === undefined) return undefined
    let end = known.get(client)
    if (end === undefined) known.set(client, (end = this.#remoteEnd(client)))
    return end
  }

  #remoteClient(client: ClientId): LeaseEnd {
    const end = this.#directoryGet(client)
    assert.ok(end, 'a node speaks for a client although it has no link')
    return end
  }

  #remoteEnd(client: ClientId): LeaseEnd {
    const send = (name: string, body: unknown): void => {
      this.mail(nodeOf(client), { name, client, body } as Mail)
    }
    return { id: client, wantsLogs: true, unsentBytes: 0, send, forward: () => {} }
  }

  #gone(client: ClientId): void {
    this.clients.delete(client)
    this.desk.clientGone(client)
    for (const node of this.#linked.keys()) this.mail(node, { name: 'clientGone', client })
  }

  #obeys(from: NodeId, term: Term): boolean {
    return term.head === from && term.counter === this.#term?.counter
  }

  #onState(state: Advert): void {
    if ((this.#view.get(state.node)?.version ?? 0) >= state.version) return
    this.#view.set(state.node, state)
    this.office.onState(state)
  }

  #sayAgain(): void {
    this.world.clock.after(sayAgainMs, () => {
      if (this.isDead) return
      if (this.world.settings.fault !== 'grants are said once') this.desk.sayGrantsAgain()
      this.#sayAgain()
    })
  }

  /** Says how it stands when that has changed, and now and then anyway. */
  #look(): void {
    if (this.isDead) return
    const { clock, network, random } = this.world
    const state = this.#own.due(clock.nowMs)
    if (state !== undefined) {
      this.#onState(state)
      const head = this.#reachableHead
      if (head !== undefined && head !== this.id) this.mail(head, { name: 'nodeState', state })
      // By gossip, which may be lost.
      for (const node of this.#linked.keys()) {
        if (random() < 0.7) network.send(this.id, node, { name: 'nodeState', state })
      }
    }
    clock.after(lookMs, () => this.#look())
  }
}
