import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { GroupId } from '../../protocols/placement-groups.ts'
import type { Refusal, RequestKey, RoutedRequest, RouterAction, RouterEvent } from '../routing/router-events.ts'
import type { GroupTold } from './group-events.ts'

/** What happens to requests for bundles, and to those who want to know how a group stands. */
export type GroupRouterEvent =
  | RouterEvent
  /** A group's home says how it stands. */
  | { type: 'told'; told: GroupTold }
  /** A client of this node wants to be told of a group. `isMaker`: it makes it now, so that its home need not be asked. */
  | { type: 'watched'; client: ClientId; group: GroupId; isMaker: boolean }
  | { type: 'unwatched'; client: ClientId; group: GroupId }

export type GroupRouterAction =
  | RouterAction
  | { type: 'askHome'; home: NodeId; group: GroupId; want: 'watch' | 'unwatch' }
  | { type: 'tellClient'; client: ClientId; told: GroupTold }

type Place =
  | { kind: 'none' }
  | { kind: 'local'; sinceMs: number; mayWait: boolean }
  | { kind: 'remote'; node: NodeId; sinceMs: number; askedAtMs: number; mayWait: boolean }

export interface GroupRouterOptions {
  readonly self: NodeId
  /** The own node has what the request asks for, and is starting a worker for it. */
  isPlacedHere(key: RequestKey): boolean
}

interface OpenRequest {
  readonly request: RoutedRequest
  readonly openedAtMs: number
  readonly group: GroupId
  readonly bundle: number | 'any'
  place: Place
  /** Of 'any': nodes that had no room, in this round; and those whose bundles are all too small. */
  readonly tried: Set<NodeId>
  readonly tooSmall: Map<NodeId, Refusal>
  /** Not to be asked for again before. */
  againAtMs: number
}

interface KnownGroup {
  readonly id: GroupId
  readonly home: NodeId
  told: GroupTold | undefined
  readonly open: Set<OpenRequest>
  readonly clients: Set<ClientId>
  askedAtMs: number
  /** No link leads to its home since then. */
  cutOffSinceMs: number | undefined
  /** Nobody wants to know of it since then. */
  idleSinceMs: number | undefined
}

const openMax = 100_000
/** An unanswered question is asked again: answers may be lost. */
const askAgainMs = 2000
/** A bundle that was not where it should be is asked for again after this time. */
const retryMs = 100
/** What is told of a group may be old when a node does not know of its bundle; its home is asked again so often at most. */
const homeAgainMs = 500
/** A request for any bundle that waits so long at one of several nodes looks at the others again. */
const roundMs = 500
const idleMs = 5000
/** A group is given up when no link leads to its home for so long. */
const cutOffMs = 2000

/**
 * Where requests for bundles of placement groups go: to the node that has the bundle, as the group's home says. While the
 * bundle is nowhere, they wait here.
 *
 * Pure: no sockets, no clock. What it holds changes only in `step`.
 */
export class GroupRouter {
  readonly #self: NodeId
  readonly #isPlacedHere: GroupRouterOptions['isPlacedHere']
  readonly #open = new Map<string, OpenRequest>()
  readonly #groups = new Map<GroupId, KnownGroup>()
  readonly #links = new Set<NodeId>()
  #idleCount = 0
  #turn = 0
  #actions: GroupRouterAction[] = []

  constructor({ self, isPlacedHere }: GroupRouterOptions) {
    this.#self = self
    this.#isPlacedHere = isPlacedHere
  }

  /** True while time alone can bring something about. */
  get wantsTick(): boolean {
    return this.#open.size + this.#idleCount > 0
  }

  has(key: RequestKey): boolean {
    return this.#open.has(keyOf(key))
  }

  step(event: GroupRouterEvent, nowMs: number): GroupRouterAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  /** What waits, and where; and why it is nowhere. */
  *waiting(): Generator<{ request: RoutedRequest; sinceMs: number; at: NodeId | undefined; reason: string }> {
    for (const { request, openedAtMs, place, group } of this.#open.values()) {
      const at = place.kind === 'remote' ? place.node : place.kind === 'local' ? this.#self : undefined
      const { told } = this.#groups.get(group) ?? {}
      const reason = told === undefined ? 'its home has not answered yet' : told.reason
      yield { request, sinceMs: openedAtMs, at, reason: at === undefined ? `the placement group waits: ${reason}` : '' }
    }
  }

  #on(event: GroupRouterEvent, nowMs: number): void {
    switch (event.type) {
      case 'requested':
        return this.#onRequested(event.request, nowMs)
      case 'cancelled':
        return this.#withOpen(event, (open) => this.#close(open, nowMs))
      case 'clientGone':
        return this.#onClientGone(event.client, nowMs)
      case 'localGranted':
        return this.#withOpen(event, (open) => {
          if (open.place.kind === 'local') open.place = { kind: 'none' }
          this.#close(open, nowMs)
        })
      case 'localRefused':
        return this.#withOpen(event, (open) => {
          if (open.place.kind === 'local') this.#onRefused(open, this.#self, event.refusal, nowMs)
        })
      case 'remoteGranted':
        return this.#onRemoteGranted(event, nowMs)
      case 'remoteRefused':
        return this.#withOpen(event, (open) => {
          if (open.place.kind === 'remote' && open.place.node === event.node) {
            this.#onRefused(open, event.node, event.refusal, nowMs)
          }
        })
      case 'told':
        return this.#onTold(event.told, nowMs)
      case 'watched':
        return this.#onWatched(event, nowMs)
      case 'unwatched': {
        const group = this.#groups.get(event.group)
        group?.clients.delete(event.client)
        if (group !== undefined) this.#settle(group, nowMs)
        return
      }
      case 'linkUp':
        return this.#onLinkUp(event.node, nowMs)
      case 'linkDown':
        return this.#onLinkDown(event.node, nowMs)
      case 'tick':
        return this.#onTick(nowMs)
      case 'placed':
      case 'infeasible':
      case 'feasible':
      case 'headChanged':
        return
    }
  }

  // --- groups

  #known(id: GroupId, nowMs: number, isAsked: boolean): KnownGroup {
    let group = this.#groups.get(id)
    if (group === undefined) {
      const home = nodeOf(id)
      const isCutOff = home !== this.#self && !this.#links.has(home)
      group = {
        id,
        home,
        told: undefined,
        open: new Set(),
        clients: new Set(),
        askedAtMs: -Infinity,
        cutOffSinceMs: isCutOff ? nowMs : undefined,
        idleSinceMs: undefined,
      }
      this.#groups.set(id, group)
      if (isAsked) this.#askHome(group, nowMs)
    }
    if (group.idleSinceMs !== undefined) this.#idleCount--
    group.idleSinceMs = undefined
    return group
  }

  #askHome(group: KnownGroup, nowMs: number): void {
    group.askedAtMs = nowMs
    this.#actions.push({ type: 'askHome', home: group.home, group: group.id, want: 'watch' })
  }

  /** Nobody may want to know of it any more. */
  #settle(group: KnownGroup, nowMs: number): void {
    if (group.open.size + group.clients.size > 0 || group.idleSinceMs !== undefined) return
    group.idleSinceMs = nowMs
    this.#idleCount++
  }

  #forget(group: KnownGroup): void {
    if (this.#groups.delete(group.id) && group.idleSinceMs !== undefined) this.#idleCount--
  }

  #onWatched({ client, group: id, isMaker }: GroupRouterEvent & { type: 'watched' }, nowMs: number): void {
    const group = this.#known(id, nowMs, !isMaker)
    group.clients.add(client)
    if (group.told !== undefined) this.#actions.push({ type: 'tellClient', client, told: group.told })
  }

  #onTold(told: GroupTold, nowMs: number): void {
    const group = this.#groups.get(told.group)
    if (group === undefined) return
    group.told = told
    for (const client of group.clients) this.#actions.push({ type: 'tellClient', client, told })
    if (told.state === 'removed' || told.state === 'refused') {
      this.#forget(group)
      for (const open of group.open) this.#refuse(open, removedRefusal(group.id, told.reason), nowMs)
      return
    }
    for (const open of group.open) {
      if (!this.#isRight(open, told)) this.#leavePlace(open)
      if (open.place.kind === 'none') this.#place(open, nowMs)
    }
  }

  /** The node that it stands at has a bundle for it. */
  #isRight({ place, bundle }: OpenRequest, { nodes }: GroupTold): boolean {
    if (place.kind === 'none') return true
    const node = place.kind === 'local' ? this.#self : place.node
    return bundle === 'any' ? nodes.includes(node) : nodes[bundle] === node
  }

  #onLinkUp(node: NodeId, nowMs: number): void {
    this.#links.add(node)
    for (const group of this.#groups.values()) {
      if (group.home !== node) continue
      group.cutOffSinceMs = undefined
      this.#askHome(group, nowMs)
    }
  }

  #onLinkDown(node: NodeId, nowMs: number): void {
    this.#links.delete(node)
    for (const group of [...this.#groups.values()]) {
      // Its home ends what was made by its programs; they may be told of it again when the link is back.
      if (group.home === node) {
        const reason = `node ${node}, on which it was made, is gone`
        this.#onTold({ group: group.id, state: 'removed', reason, nodes: [] }, nowMs)
      }
    }
    for (const open of this.#open.values()) {
      if (open.place.kind !== 'remote' || open.place.node !== node) continue
      open.place = { kind: 'none' }
      open.againAtMs = nowMs + retryMs
    }
  }

  #onClientGone(client: ClientId, nowMs: number): void {
    for (const open of [...this.#open.values()]) {
      if (open.request.client === client) this.#close(open, nowMs)
      else if (open.request.job === client) {
        const message = 'the program for which it was to run has ended'
        this.#refuse(open, { error: 'workerLimit', message, details: {} }, nowMs)
      }
    }
    for (const group of this.#groups.values()) if (group.clients.delete(client)) this.#settle(group, nowMs)
  }

  // --- requests

  #onRequested(request: RoutedRequest, nowMs: number): void {
    const { strategy } = request
    const key = keyOf(request)
    if (strategy.kind !== 'group' || this.#open.has(key)) return
    if (this.#open.size >= openMax) {
      const message = `${openMax} requests wait for workers already; ask again when some have been answered`
      this.#actions.push({ type: 'refuse', ...idsOf(request), refusal: { error: 'workerLimit', message, details: {} } })
      return
    }
    const group = this.#known(strategy.group, nowMs, true)
    const open: OpenRequest = {
      request,
      openedAtMs: nowMs,
      group: group.id,
      bundle: strategy.bundle,
      place: { kind: 'none' },
      tried: new Set(),
      tooSmall: new Map(),
      againAtMs: nowMs,
    }
    this.#open.set(key, open)
    group.open.add(open)
    this.#place(open, nowMs)
  }

  /** Asks the node that has the bundle, if there is one. */
  #place(open: OpenRequest, nowMs: number): void {
    const { told } = this.#groups.get(open.group) ?? {}
    if (told === undefined || nowMs < open.againAtMs) return
    if (told.state === 'infeasible') {
      const message = `placement group ${open.group} fits nowhere: ${told.reason}`
      this.#refuse(open, { error: 'infeasible', message, details: { group: open.group } }, nowMs)
    } else if (open.bundle === 'any') this.#placeAnywhere(open, told.nodes, nowMs)
    else if (open.bundle >= told.nodes.length) {
      const message = `asked for bundle ${open.bundle} of placement group ${open.group}, which has ${told.nodes.length} bundles`
      this.#refuse(open, { error: 'infeasible', message, details: { group: open.group, bundle: open.bundle } }, nowMs)
    } else {
      const node = told.nodes[open.bundle] ?? ''
      if (node !== '') this.#ask(open, node, true, nowMs)
    }
  }

  /** Goes round the nodes, the own one first, until one has room; if none has, waits at one of them. */
  #placeAnywhere(open: OpenRequest, nodes: GroupTold['nodes'], nowMs: number): void {
    const all = [...new Set(nodes)].filter((node) => node !== '')
    const able = all.filter((node) => !open.tooSmall.has(node))
    const [tooSmall] = open.tooSmall.values()
    if (able.length === 0) {
      const isAll = nodes.every((node) => node !== '')
      if (tooSmall !== undefined && isAll) this.#refuse(open, tooSmall, nowMs)
      return
    }
    const untried = able.filter((node) => !open.tried.has(node))
    const next = untried.includes(this.#self) ? this.#self : untried[this.#turn++ % Math.max(1, untried.length)]
    if (next !== undefined && able.length > 1) this.#ask(open, next, false, nowMs)
    else this.#ask(open, able[this.#turn++ % able.length] as NodeId, true, nowMs)
  }

  #ask(open: OpenRequest, node: NodeId, mayWait: boolean, nowMs: number): void {
    if (node === this.#self) {
      open.place = { kind: 'local', sinceMs: nowMs, mayWait }
      this.#actions.push({ type: 'askLocal', request: open.request, mayWait })
    } else if (this.#links.has(node)) {
      open.place = { kind: 'remote', node, sinceMs: nowMs, askedAtMs: nowMs, mayWait }
      this.#actions.push({ type: 'askRemote', node, request: open.request, mayWait })
    } else {
      open.tried.add(node)
      open.againAtMs = nowMs + retryMs
    }
  }

  #leavePlace(open: OpenRequest): void {
    const { place, request } = open
    if (place.kind === 'local') this.#actions.push({ type: 'cancelLocal', ...idsOf(request) })
    if (place.kind === 'remote') this.#actions.push({ type: 'cancelRemote', node: place.node, ...idsOf(request) })
    open.place = { kind: 'none' }
  }

  #onRefused(open: OpenRequest, node: NodeId, refusal: Refusal, nowMs: number): void {
    open.place = { kind: 'none' }
    const { error, message } = refusal
    const isTooSmall = error === 'infeasible' && open.bundle === 'any'
    if (error !== 'busy' && !isTooSmall) {
      const where = node === this.#self ? '' : `node ${node}: `
      this.#refuse(open, { ...refusal, message: `${where}${message}` }, nowMs)
      return
    }
    if (isTooSmall) open.tooSmall.set(node, refusal)
    if (open.bundle === 'any' && !open.tried.has(node)) {
      open.tried.add(node)
      this.#place(open, nowMs)
      return
    }
    // It was not there, as the home may know by now.
    open.againAtMs = nowMs + retryMs
    const group = this.#groups.get(open.group)
    if (group !== undefined && nowMs - group.askedAtMs >= homeAgainMs) this.#askHome(group, nowMs)
  }

  #onRemoteGranted({ node, grant, ...ids }: GroupRouterEvent & { type: 'remoteGranted' }, nowMs: number): void {
    const open = this.#open.get(keyOf(ids))
    if (open?.place.kind !== 'remote' || open.place.node !== node) {
      this.#actions.push({ type: 'returnRemote', node, client: ids.client, leaseId: grant.leaseId })
      return
    }
    this.#actions.push({ type: 'accept', node, grant, job: open.request.job, ...idsOf(open.request) })
    open.place = { kind: 'none' }
    this.#close(open, nowMs)
  }

  #onTick(nowMs: number): void {
    for (const open of [...this.#open.values()]) {
      const { place } = open
      if (place.kind === 'none') {
        if (nowMs < open.againAtMs) continue
        if (open.bundle === 'any') open.tried.clear()
        this.#place(open, nowMs)
      } else if (place.mayWait && nowMs - place.sinceMs >= roundMs && this.#mayLookElsewhere(open)) {
        open.tried.clear()
        this.#leavePlace(open)
        this.#place(open, nowMs)
      } else if (place.kind === 'remote' && nowMs - place.askedAtMs >= askAgainMs) {
        place.askedAtMs = nowMs
        const { request } = open
        this.#actions.push({ type: 'askRemote', node: place.node, request, mayWait: place.mayWait })
      }
    }
    for (const group of [...this.#groups.values()]) this.#look(group, nowMs)
  }

  /** Any bundle will do, they are on several nodes, and it has none yet. */
  #mayLookElsewhere({ bundle, group, place, request }: OpenRequest): boolean {
    if (bundle !== 'any' || (place.kind === 'local' && this.#isPlacedHere(request))) return false
    const nodes = new Set(this.#groups.get(group)?.told?.nodes)
    nodes.delete('')
    return nodes.size > 1
  }

  #look(group: KnownGroup, nowMs: number): void {
    const { cutOffSinceMs, idleSinceMs } = group
    if (cutOffSinceMs !== undefined && nowMs - cutOffSinceMs >= cutOffMs) {
      const reason = `no link leads to node ${group.home}, on which it was made`
      this.#onTold({ group: group.id, state: 'removed', reason, nodes: [] }, nowMs)
    } else if (idleSinceMs !== undefined && nowMs - idleSinceMs >= idleMs) {
      this.#forget(group)
      this.#actions.push({ type: 'askHome', home: group.home, group: group.id, want: 'unwatch' })
    } else if (group.told?.state !== 'ready' && group.open.size > 0 && nowMs - group.askedAtMs >= askAgainMs) {
      this.#askHome(group, nowMs)
    }
  }

  #refuse(open: OpenRequest, refusal: Refusal, nowMs: number): void {
    this.#actions.push({ type: 'refuse', ...idsOf(open.request), refusal })
    this.#close(open, nowMs)
  }

  #close(open: OpenRequest, nowMs: number): void {
    this.#open.delete(keyOf(open.request))
    this.#leavePlace(open)
    const group = this.#groups.get(open.group)
    group?.open.delete(open)
    if (group !== undefined) this.#settle(group, nowMs)
  }

  #withOpen(key: RequestKey, then: (open: OpenRequest) => void): void {
    const open = this.#open.get(keyOf(key))
    if (open !== undefined) then(open)
  }
}

function removedRefusal(group: GroupId, reason: string): Refusal {
  return {
    error: 'groupRemoved',
    message: `placement group ${group} is there no more: ${reason}`,
    details: { group, reason },
  }
}

function keyOf({ client, requestId }: RequestKey): string {
  return `${client}|${requestId}`
}

function idsOf({ client, requestId }: RequestKey): RequestKey {
  return { client, requestId }
}
