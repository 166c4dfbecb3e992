import { GroupDesk, type GroupMessageHandlers } from '../../node/groups/group-desk.ts'
import type { GroupRouterEvent } from '../../node/groups/group-router.ts'
import { LeaseBook } from '../../node/leases/lease-book.ts'
import type { LeaseAction, LeaseEvent } from '../../node/leases/lease-events.ts'
import type { RoutedRequest, RouterAction } from '../../node/routing/router-events.ts'
import type { Term } from '../../protocols/election.ts'
import { nodeOf, objectId, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { BundleSpec, GroupId, PlacementStrategy } from '../../protocols/placement-groups.ts'
import { simulatedAdvert } from './routing-advert.ts'
import type { GroupWorld } from './group-world.ts'
import type { Mail } from './routing-network.ts'
import type { NodeOffer } from './routing-wishes.ts'

type Told = MessageBody<'groupState'>

/** A program that makes groups and runs tasks in them. */
export interface GroupClient {
  readonly id: ClientId
  /** What it was told last of those that it has made and not removed. */
  readonly groups: Map<GroupId, { readonly strategy: PlacementStrategy; told: Told | undefined }>
  readonly removed: Set<GroupId>
  /** Its tasks without an answer, and the groups that they are for. */
  readonly open: Map<number, GroupId>
  send(name: string, body: unknown): void
}

const adverts = { everyMs: 100, restMs: 2000 }

/** A node as far as it has to do with groups: the lease book and all parts of the group desk are the real ones. */
export class GroupNode {
  readonly world: GroupWorld
  readonly id: NodeId
  readonly offer: NodeOffer
  readonly book: LeaseBook
  readonly desk: GroupDesk
  readonly clients = new Map<ClientId, GroupClient>()
  isDead = false
  readonly #handlers: GroupMessageHandlers
  readonly #linked = new Set<NodeId>()
  readonly #events: ({ book: LeaseEvent } | { router: GroupRouterEvent })[] = []
  readonly #startedAtMs: number
  #isStepping = false
  #lastClient = 0
  #lastRequest = 0
  #version: number
  #told = ''
  #toldAtMs = -Infinity
  #term: Term | undefined
  #head: NodeId | undefined

  constructor(world: GroupWorld, id: NodeId, offer: NodeOffer) {
    this.world = world
    this.id = id
    this.offer = offer
    const { clock } = world
    this.#startedAtMs = Math.floor(clock.nowMs)
    this.#version = this.#startedAtMs * 1000
    const now = (): number => clock.nowMs
    this.book = new LeaseBook({ total: offer.total, gpuIds: offer.gpuIds, workersMax: 64, prestart: 1 })
    this.desk = new GroupDesk({
      self: id,
      labels: offer.labels,
      book: this.book,
      gpus: () => this.#gpus(),
      directory: { get: (client: ClientId) => this.clients.get(client) } as never,
      whyForbidden: () => undefined,
      expectsOthers: () => true,
      now,
    })
    this.desk.tellBook = (event) => this.#take({ book: event })
    this.desk.route = (event) => this.#take({ router: event })
    this.#handlers = this.desk.handlers()
    this.desk.openMesh({
      send: (to, message, body) => this.#mail(to, { name: 'group', message, body }),
      obeys: (from, term) => term.head === from && term.counter === this.#term?.counter,
      isOpen: true,
      others: () => Promise.resolve([]),
    })
  }

  open(): void {
    this.#take({ book: { type: 'tick' } })
    this.#tick()
    this.#advertise()
  }

  crash(): void {
    this.isDead = true
    this.desk.close()
  }

  // --- programs

  addClient(): GroupClient {
    const start = this.#startedAtMs.toString(16).padStart(8, '0')
    const id = `${this.id}${start}${(++this.#lastClient).toString(16).padStart(8, '0')}`
    const client: GroupClient = {
      id,
      groups: new Map(),
      removed: new Set(),
      open: new Map(),
      send: (name, body) => {
        const { group } = body as Told
        const known = client.groups.get(group)
        if (name === 'groupState' && known !== undefined) known.told = body as Told
      },
    }
    this.clients.set(id, client)
    return client
  }

  createGroup(client: GroupClient, strategy: PlacementStrategy, bundles: BundleSpec[]): GroupId {
    const group = objectId(client.id, ++this.#lastRequest)
    client.groups.set(group, { strategy, told: undefined })
    this.desk.create(client as never, { group, job: client.id, name: '', strategy, bundles })
    return group
  }

  removeGroup(client: GroupClient, group: GroupId): void {
    client.groups.delete(group)
    client.removed.add(group)
    this.desk.remove(client as never, { group })
  }

  /** Asks for a worker in a bundle of the group, which may be of another node. */
  runTask(client: GroupClient, group: GroupId, bundle: number | 'any'): void {
    const requestId = ++this.#lastRequest
    client.open.set(requestId, group)
    const request: RoutedRequest = {
      client: client.id,
      requestId,
      resources: { CPU: 0.5 },
      strategy: { kind: 'group', group, bundle },
      envKey: '',
      envVars: {},
      depth: 0,
      job: client.id,
      label: 'task',
      isActor: false,
    }
    this.#take({ router: { type: 'requested', request } })
  }

  /** A task of the node itself, outside of groups. */
  runOther(): void {
    const requestId = ++this.#lastRequest
    const other = { client: `other of ${this.id}`, requestId, envKey: '', depth: 0, label: 'other', mayWait: false }
    this.#take({ book: { type: 'requested', resources: { CPU: 1 }, ...other } })
  }

  clientGone(client: ClientId): void {
    if (!this.clients.delete(client)) return
    this.#clientGone(client)
    for (const node of this.#linked) this.#mail(node, { name: 'clientGone', client })
  }

  #clientGone(client: ClientId): void {
    this.#take({ book: { type: 'clientGone', client } })
    this.#take({ router: { type: 'clientGone', client } })
  }

  // --- links and heads

  onLinkUp(node: NodeId): void {
    this.#linked.add(node)
    this.#take({ router: { type: 'linkUp', node } })
    this.#tellHead()
    this.#mail(node, { name: 'nodeState', state: this.#state() })
  }

  onLinkDown(node: NodeId): void {
    this.#linked.delete(node)
    this.desk.office.nodeGone(node)
    this.world.linkDown(this, node)
    this.#take({ router: { type: 'linkDown', node } })
    this.#tellHead()
  }

  onElected(term: Term | undefined): void {
    if (term !== undefined && term.counter < (this.#term?.counter ?? 0)) return
    this.#head = term?.head
    this.#term = term ?? this.#term
    if (term?.head === this.id) this.desk.office.start(term)
    else this.desk.office.stop()
    this.#tellHead()
    this.#toldAtMs = -Infinity
  }

  #tellHead(): void {
    const head = this.#head
    const isReachable = head === this.id || (head !== undefined && this.#linked.has(head))
    this.#take({ router: { type: 'headChanged', head: isReachable ? head : undefined } })
  }

  // --- mail

  onMail(from: NodeId, mail: Mail): void {
    switch (mail.name) {
      case 'group': {
        if (mail.message === this.world.settings.neverArrives) return
        const handlers = this.#handlers as Record<string, (from: NodeId, body: unknown) => void>
        handlers[mail.message]?.(from, structuredClone(mail.body))
        return
      }
      case 'clientGone':
        return this.#clientGone(mail.client)
      case 'nodeState':
        return this.desk.office.onState(mail.state)
      case 'leaseAsk': {
        const { strategy, ...asked } = mail.body
        if (strategy.kind !== 'group') return
        const bundle = { group: strategy.group, index: strategy.bundle }
        this.#take({ book: { type: 'requested', ...asked, bundle } })
        return
      }
      case 'leaseAskCancel':
        this.#take({ book: { type: 'requestCancelled', ...mail.body } })
        return
      case 'leaseAskRefuse': {
        const { client, requestId, error, message } = mail.body
        const refusal = { error, message, details: {} }
        return this.#take({ router: { type: 'remoteRefused', node: from, client, requestId, refusal } })
      }
      case 'leaseGrant': {
        const { requestId, ...grant } = mail.body
        this.#take({ router: { type: 'remoteGranted', node: from, client: mail.client, requestId, grant } })
        return
      }
      default:
    }
  }

  #mail(to: NodeId, mail: Mail): boolean {
    if (this.isDead) return true
    if (to === this.id) this.world.clock.after(0, () => this.isDead || this.onMail(to, mail))
    else if (this.#linked.has(to)) this.world.network.send(this.id, to, mail)
    return to === this.id || this.#linked.has(to)
  }

  // --- what the lease desk does, in short

  #take(event: { book: LeaseEvent } | { router: GroupRouterEvent }): void {
    if (this.isDead) return
    this.#events.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      if ('book' in next) for (const action of this.book.step(next.book, this.world.clock.nowMs)) this.#doBook(action)
      else for (const action of this.desk.step(next.router)) this.#doRouter(action)
    }
    this.#isStepping = false
    this.desk.bookChanged()
    this.world.look(this)
  }

  #doBook(action: LeaseAction): void {
    const { clock, random } = this.world
    switch (action.type) {
      case 'startWorker':
        clock.after(5, () => this.#take({ book: { type: 'workerReady', workerId: action.workerId } }))
        return
      case 'stopWorker': {
        const exit = { type: 'workerExited', workerId: action.workerId, reason: 'stopped', startFailed: false } as const
        clock.after(random() * 20, () => this.#take({ book: exit }))
        return
      }
      case 'grant': {
        const { client, requestId, leaseId } = action
        clock.after(5 + random() * 100, () => this.#take({ book: { type: 'returned', client, leaseId } }))
        if (client.startsWith('other')) return
        this.world.count('granted')
        const grant = { leaseId, workerId: client, workerPid: 1, gpuIds: [], nodesAble: 1 }
        if (nodeOf(client) !== this.id) {
          this.#mail(nodeOf(client), { name: 'leaseGrant', client, body: { requestId, ...grant } })
        } else {
          this.clients.get(client)?.open.delete(requestId)
          this.#take({ router: { type: 'localGranted', client, requestId } })
        }
        return
      }
      case 'refuse': {
        const { client, requestId, error, message } = action
        if (client.startsWith('other')) return
        const refusal = { error, message, details: {} }
        if (nodeOf(client) === this.id) this.#take({ router: { type: 'localRefused', client, requestId, refusal } })
        else {
          const body = { client, requestId, ...refusal, state: this.#state() }
          this.#mail(nodeOf(client), { name: 'leaseAskRefuse', body })
        }
        return
      }
      case 'bundlesAnswer':
        this.world.count(`bundles ${action.outcome}`)
        return this.desk.answer(action)
      case 'lost':
        return this.world.count('lease lost')
      case 'reclaim':
    }
  }

  #doRouter(action: RouterAction): void {
    switch (action.type) {
      case 'askLocal': {
        const { strategy, ...request } = action.request
        if (strategy.kind !== 'group') return
        const bundle = { group: strategy.group, index: strategy.bundle }
        return this.#take({ book: { type: 'requested', ...request, bundle, mayWait: action.mayWait } })
      }
      case 'cancelLocal':
        return this.#take({
          book: { type: 'requestCancelled', client: action.client, requestId: action.requestId },
        })
      case 'askRemote': {
        const { resources, envVars, isRetriable = false, ...request } = action.request
        const body = {
          ...request,
          isRetriable,
          resources: { ...resources },
          envVars: { ...envVars },
          mayWait: action.mayWait,
        }
        this.#mail(action.node, { name: 'leaseAsk', body })
        return
      }
      case 'cancelRemote':
        this.#mail(action.node, {
          name: 'leaseAskCancel',
          body: { client: action.client, requestId: action.requestId },
        })
        return
      case 'accept':
        this.clients.get(action.client)?.open.delete(action.requestId)
        return
      case 'refuse': {
        const client = this.clients.get(action.client)
        const group = client?.open.get(action.requestId)
        client?.open.delete(action.requestId)
        if (group !== undefined) this.world.refused(group, action.refusal.error)
        return
      }
      default:
    }
  }

  #state(): ReturnType<typeof simulatedAdvert> {
    const of = { node: this.id, startedAtMs: this.#startedAtMs, labels: this.offer.labels }
    return simulatedAdvert({ ...of, version: ++this.#version, gpus: this.#gpus(), ...this.book.load() })
  }

  #gpus(): { free: number }[] {
    return Array.from(this.book.gpusFree().values(), (free) => ({ free }))
  }

  #advertise(): void {
    if (this.isDead) return
    const { clock, network } = this.world
    const text = JSON.stringify(this.book.load())
    if (text !== this.#told || clock.nowMs - this.#toldAtMs >= adverts.restMs) {
      this.#told = text
      this.#toldAtMs = clock.nowMs
      const state = this.#state()
      for (const node of this.#linked) network.send(this.id, node, { name: 'nodeState', state })
    }
    clock.after(adverts.everyMs, () => this.#advertise())
  }

  #tick(): void {
    if (this.isDead) return
    if (this.desk.wantsTick) this.#take({ router: { type: 'tick' } })
    if (this.book.wantsTick) this.#take({ book: { type: 'tick' } })
    this.world.clock.after(50, () => this.#tick())
  }
}
