import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { matchesLabels, type Labels, type SchedulingStrategy } from '../../protocols/scheduling.ts'
import type { Refusal, RequestKey, RoutedRequest, RouterAction, RouterEvent } from './router-events.ts'

export interface LeaseRouterOptions {
  readonly self: NodeId
  readonly labels: Labels
  /** Other nodes are known, so that a link to one may come up at any moment. */
  expectsOthers?(): boolean
  /** What the own lease book says of a request. */
  readonly local: {
    /** Names of which this node as a whole has too little. */
    missing(resources: ResourceSet): readonly string[]
    /** It would be served at once, with plenty left. */
    hasAmpleRoom(resources: ResourceSet): boolean
    /** It takes no new work: what it is given all the same waits there. */
    readonly isClosed?: boolean
  }
}

/** Where a request stands: nowhere yet (the head is to say), in the own lease book, or with another node. */
type Place =
  | { kind: 'none'; sinceMs: number }
  | { kind: 'local' }
  | { kind: 'remote'; node: NodeId; askedAtMs: number; mayWait: boolean }

interface OpenRequest {
  readonly request: RoutedRequest
  readonly openedAtMs: number
  place: Place
  /** The head knows of it. */
  isAtHead: boolean
  infeasible: { sinceMs: number; refusal: Refusal } | undefined
  /** Nodes that it cannot go to, and when the head was told. */
  shut: Map<NodeId, number> | undefined
}

/** What waits here for a lease; more is refused. */
const openMax = 100_000
/** A request that its own node has not served by then is told to the head. */
const localPatienceMs = 200
/** A head that has not answered by then may be gone: the own node does what it can. */
const headPatienceMs = 1000
/** For so long a request that no node can serve waits for one that can: nodes may be joining. */
const infeasibleGraceMs = 2000
/** An unanswered question to another node is asked again: answers may be lost. */
const askAgainMs = 2000

/**
 * Where the requests of this node's clients go: to the own lease book, or to the node that the head names. This node is
 * the only one that knows all about a request of its own client, so whatever else dies, the request goes on: a new head
 * is told again, another node is asked.
 *
 * A request is in one place at a time. A lease that arrives from a place which it has left goes back.
 *
 * Pure: no sockets, no clock. What it holds changes only in `step`.
 */
export class LeaseRouter {
  readonly #options: LeaseRouterOptions
  readonly #open = new Map<string, OpenRequest>()
  readonly #links = new Set<NodeId>()
  #head: NodeId | undefined
  #actions: RouterAction[] = []

  constructor(options: LeaseRouterOptions) {
    this.#options = options
  }

  /** True while time alone can bring something about. */
  get wantsTick(): boolean {
    return this.#open.size > 0
  }

  has(key: RequestKey): boolean {
    return this.#open.has(keyOf(key))
  }

  step(event: RouterEvent, nowMs: number): RouterAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  /** What waits, and where, for status pages. */
  *waiting(): Generator<{
    request: RoutedRequest
    sinceMs: number
    at: NodeId | undefined
    infeasible: string | undefined
  }> {
    for (const { request, openedAtMs, place, infeasible } of this.#open.values()) {
      const at = place.kind === 'remote' ? place.node : place.kind === 'local' ? this.#options.self : undefined
      yield { request, sinceMs: openedAtMs, at, infeasible: infeasible?.refusal.message }
    }
  }

  #on(event: RouterEvent, nowMs: number): void {
    switch (event.type) {
      case 'requested':
        return this.#onRequested(event.request, nowMs)
      case 'cancelled':
        return this.#withOpen(event, (open) => this.#close(open, false))
      case 'clientGone':
        return this.#onClientGone(event.client)
      case 'localGranted':
        return this.#withOpen(event, (open) => {
          if (open.place.kind === 'local') open.place = { kind: 'none', sinceMs: nowMs }
          this.#close(open, true)
        })
      case 'localRefused':
        return this.#withOpen(event, (open) => this.#onLocalRefused(open, event.refusal, nowMs))
      case 'placed':
        return this.#onPlaced(event, nowMs)
      case 'infeasible':
        return this.#withOpen(event, (open) => this.#onInfeasible(open, event, nowMs))
      case 'feasible':
        return this.#withOpen(event, (open) => {
          open.infeasible = undefined
        })
      case 'remoteGranted':
        return this.#onRemoteGranted(event)
      case 'remoteRefused':
        return this.#withOpen(event, (open) => this.#onRemoteRefused(open, event.node, event.refusal, nowMs))
      case 'linkUp':
        this.#links.add(event.node)
        return
      case 'linkDown':
        return this.#onLinkDown(event.node, nowMs)
      case 'headChanged':
        return this.#onHeadChanged(event.head, nowMs)
      case 'tick':
        return this.#onTick(nowMs)
    }
  }

  #onRequested(request: RoutedRequest, nowMs: number): void {
    const key = keyOf(request)
    if (this.#open.has(key)) return
    if (this.#open.size >= openMax) {
      const message = `${openMax} requests wait for workers already; ask again when some have been answered`
      this.#actions.push({ type: 'refuse', ...idsOf(request), refusal: { error: 'workerLimit', message, details: {} } })
      return
    }
    const open: OpenRequest = {
      request,
      openedAtMs: nowMs,
      place: { kind: 'none', sinceMs: nowMs },
      isAtHead: false,
      infeasible: undefined,
      shut: undefined,
    }
    this.#open.set(key, open)
    if (this.#links.size === 0) this.#whenAlone(open, nowMs)
    else if (this.#isForHere(request)) this.#askLocal(open, true)
    else if (this.#head === undefined) this.#doWithoutHead(open)
    else this.#tellHead(open, nowMs)
  }

  /** Without other nodes the own one serves what it can, and what it cannot is refused at once. */
  #whenAlone(open: OpenRequest, nowMs: number): void {
    const { self, labels } = this.#options
    const why = unfit(open.request.strategy, self, labels)
    if (why === undefined) this.#askLocal(open, true)
    else
      this.#refuseAlone(
        open,
        { error: 'infeasible', message: why, details: { strategy: open.request.strategy } },
        nowMs,
      )
  }

  /** What this node can never serve is refused: at once if there is nobody else, or when nobody has come after a while. */
  #refuseAlone(open: OpenRequest, refusal: Refusal, nowMs: number): void {
    if (this.#options.expectsOthers?.() !== true) this.#refuse(open, refusal)
    else open.infeasible ??= { sinceMs: nowMs, refusal }
  }

  /** True for what the own node serves without asking the head. */
  #isForHere({ strategy, resources }: RoutedRequest): boolean {
    const { self, local } = this.#options
    // Whether there is another node for it the head knows.
    if (local.isClosed === true || strategy.avoid?.includes(self) === true) return false
    if (strategy.kind === 'node') return strategy.node === self && local.missing(resources).length === 0
    return strategy.kind === 'default' && local.hasAmpleRoom(resources)
  }

  /** True when the own node could serve it, now or later. */
  #canServe({ strategy, resources }: RoutedRequest): boolean {
    const { self, labels, local } = this.#options
    return (
      local.isClosed !== true && unfit(strategy, self, labels) === undefined && local.missing(resources).length === 0
    )
  }

  #doWithoutHead(open: OpenRequest): void {
    if (open.place.kind === 'none' && this.#canServe(open.request)) this.#askLocal(open, true)
  }

  #askLocal(open: OpenRequest, mayWait: boolean): void {
    open.place = { kind: 'local' }
    this.#actions.push({ type: 'askLocal', request: open.request, mayWait })
  }

  #tellHead(open: OpenRequest, nowMs: number): void {
    if (this.#head === undefined || open.isAtHead) return
    open.isAtHead = true
    const { request, openedAtMs } = open
    this.#actions.push({ type: 'demandAdd', head: this.#head, request, waitedMs: nowMs - openedAtMs })
  }

  #onPlaced({ node, mayWait, ...ids }: Extract<RouterEvent, { type: 'placed' }>, nowMs: number): void {
    const { self } = this.#options
    const open = this.#open.get(keyOf(ids))
    if (open === undefined) {
      // The head has not heard that it is served, or given up.
      if (this.#head !== undefined) {
        this.#actions.push({ type: 'demandRemove', head: this.#head, isGranted: false, ...idsOf(ids) })
      }
      return
    }
    open.infeasible = undefined
    if (node === self) {
      if (open.place.kind === 'local') return
      if (this.#options.local.isClosed === true) {
        this.#tellShut(open, node, nowMs)
        return
      }
      this.#leavePlace(open, nowMs)
      this.#askLocal(open, mayWait)
      return
    }
    if (open.place.kind === 'remote' && open.place.node === node && open.place.mayWait === mayWait) return
    if (!this.#links.has(node)) {
      this.#tellShut(open, node, nowMs)
      return
    }
    this.#leavePlace(open, nowMs)
    this.#askRemote(open, node, mayWait, nowMs)
  }

  #askRemote(open: OpenRequest, node: NodeId, mayWait: boolean, nowMs: number): void {
    open.place = { kind: 'remote', node, askedAtMs: nowMs, mayWait }
    this.#actions.push({ type: 'askRemote', node, request: open.request, mayWait })
  }

  #leavePlace(open: OpenRequest, nowMs: number): void {
    const { place, request } = open
    if (place.kind === 'local') this.#actions.push({ type: 'cancelLocal', ...idsOf(request) })
    if (place.kind === 'remote') this.#actions.push({ type: 'cancelRemote', node: place.node, ...idsOf(request) })
    open.place = { kind: 'none', sinceMs: nowMs }
  }

  /**
   * The request cannot even wait at this node. The head may know no better one and name it again at once, so it is told
   * once in a while only; between that the request counts as one that the head does not answer.
   */
  #tellShut(open: OpenRequest, node: NodeId, nowMs: number): void {
    const shut = (open.shut ??= new Map<NodeId, number>())
    if (nowMs - (shut.get(node) ?? -Infinity) < headPatienceMs) return
    shut.set(node, nowMs)
    this.#tellRefused(open, node)
  }

  #tellRefused(open: OpenRequest, node: NodeId): void {
    if (this.#head === undefined || !open.isAtHead) return
    this.#actions.push({ type: 'demandRefused', head: this.#head, node, ...idsOf(open.request) })
  }

  #onLocalRefused(open: OpenRequest, refusal: Refusal, nowMs: number): void {
    if (open.place.kind !== 'local') return
    open.place = { kind: 'none', sinceMs: nowMs }
    const isAlone = this.#links.size === 0
    // The head had named this node before the last link went down.
    if (refusal.error === 'busy' && isAlone) this.#whenAlone(open, nowMs)
    else if (refusal.error === 'infeasible' && isAlone) this.#refuseAlone(open, refusal, nowMs)
    else if (refusal.error === 'busy' || refusal.error === 'infeasible') {
      this.#sendOn(open, this.#options.self, nowMs)
    } else {
      this.#refuse(open, refusal)
    }
  }

  #onRemoteRefused(open: OpenRequest, node: NodeId, refusal: Refusal, nowMs: number): void {
    if (open.place.kind !== 'remote' || open.place.node !== node) return
    const { mayWait } = open.place
    open.place = { kind: 'none', sinceMs: nowMs }
    const isElsewhere = refusal.error === 'busy' || refusal.error === 'infeasible'
    if (isElsewhere && mayWait && open.isAtHead && this.#head !== undefined) this.#tellShut(open, node, nowMs)
    else if (isElsewhere) this.#sendOn(open, node, nowMs)
    else this.#refuse(open, { ...refusal, message: `node ${node}: ${refusal.message}` })
  }

  /** A node did not take it: the head is to name another. */
  #sendOn(open: OpenRequest, refusedBy: NodeId, nowMs: number): void {
    if (this.#head === undefined) this.#doWithoutHead(open)
    else if (open.isAtHead) this.#tellRefused(open, refusedBy)
    else this.#tellHead(open, nowMs)
  }

  #onRemoteGranted({ node, grant, ...ids }: Extract<RouterEvent, { type: 'remoteGranted' }>): void {
    const open = this.#open.get(keyOf(ids))
    if (open?.place.kind !== 'remote' || open.place.node !== node) {
      this.#actions.push({ type: 'returnRemote', node, client: ids.client, leaseId: grant.leaseId })
      return
    }
    this.#actions.push({ type: 'accept', node, grant, job: open.request.job, ...idsOf(open.request) })
    open.place = { kind: 'none', sinceMs: 0 }
    this.#close(open, true)
  }

  #onInfeasible(open: OpenRequest, event: Extract<RouterEvent, { type: 'infeasible' }>, nowMs: number): void {
    // What stands in a queue has found a node that can serve it, whatever the head sees.
    if (open.place.kind !== 'none') return
    const refusal: Refusal = { error: 'infeasible', message: event.reason, details: event.details }
    open.infeasible = { sinceMs: open.infeasible?.sinceMs ?? nowMs, refusal }
  }

  #onClientGone(client: ClientId): void {
    for (const open of [...this.#open.values()]) {
      const { request } = open
      if (request.client === client) this.#close(open, false)
      else if (request.job === client) {
        this.#refuse(open, {
          error: 'workerLimit',
          message: 'the program for which it was to run has ended',
          details: {},
        })
      }
    }
  }

  #onLinkDown(node: NodeId, nowMs: number): void {
    this.#links.delete(node)
    if (this.#head === node) this.#onHeadChanged(undefined, nowMs)
    for (const open of this.#open.values()) {
      if (open.place.kind !== 'remote' || open.place.node !== node) continue
      open.place = { kind: 'none', sinceMs: nowMs }
      this.#sendOn(open, node, nowMs)
    }
  }

  #onHeadChanged(head: NodeId | undefined, nowMs: number): void {
    this.#head = head
    for (const open of this.#open.values()) {
      open.shut = undefined
      open.isAtHead = false
      open.infeasible = undefined
      if (open.place.kind === 'none') open.place = { kind: 'none', sinceMs: nowMs }
      if (head === undefined) this.#doWithoutHead(open)
      else if (this.#links.size > 0) this.#tellHead(open, nowMs)
    }
  }

  #onTick(nowMs: number): void {
    for (const open of [...this.#open.values()]) {
      const { place, infeasible } = open
      if (infeasible !== undefined && nowMs - infeasible.sinceMs >= infeasibleGraceMs) {
        this.#refuse(open, infeasible.refusal)
      } else if (place.kind === 'local') {
        if (this.#links.size > 0 && nowMs - open.openedAtMs >= localPatienceMs) this.#tellHead(open, nowMs)
      } else if (place.kind === 'remote') {
        if (nowMs - place.askedAtMs >= askAgainMs) this.#askRemote(open, place.node, place.mayWait, nowMs)
      } else if (infeasible === undefined && nowMs - place.sinceMs >= headPatienceMs) {
        if (this.#links.size === 0) this.#whenAlone(open, nowMs)
        else this.#doWithoutHead(open)
        if (!this.#open.has(keyOf(open.request))) continue
        // What was told may have been lost.
        open.isAtHead = false
        this.#tellHead(open, nowMs)
        if (open.place.kind === 'none') open.place = { kind: 'none', sinceMs: nowMs }
      }
    }
  }

  #refuse(open: OpenRequest, refusal: Refusal): void {
    this.#actions.push({ type: 'refuse', ...idsOf(open.request), refusal })
    this.#close(open, false)
  }

  #close(open: OpenRequest, isGranted: boolean): void {
    const { request } = open
    this.#open.delete(keyOf(request))
    this.#leavePlace(open, 0)
    if (this.#head !== undefined && open.isAtHead) {
      this.#actions.push({ type: 'demandRemove', head: this.#head, isGranted, ...idsOf(request) })
    }
  }

  #withOpen(key: RequestKey, then: (open: OpenRequest) => void): void {
    const open = this.#open.get(keyOf(key))
    if (open !== undefined) then(open)
  }
}

/** Why a node with these labels is not one for the strategy; undefined when it is. */
function unfit(strategy: SchedulingStrategy, self: NodeId, labels: Labels): string | undefined {
  if (strategy.kind === 'node' && strategy.node !== self && !strategy.isSoft) {
    return `asked for node ${strategy.node}, which this node (${self}) cannot reach`
  }
  // Requests for bundles go another way.
  if (strategy.kind === 'group') return `asked for a bundle of placement group ${strategy.group}`
  if (strategy.kind === 'labels' && !matchesLabels(labels, strategy.selector)) {
    return `asked for labels ${JSON.stringify(strategy.selector)}, and the only node in reach has ${JSON.stringify(labels)}`
  }
  return undefined
}

function keyOf({ client, requestId }: RequestKey): string {
  return `${client}|${requestId}`
}

function idsOf({ client, requestId }: RequestKey): RequestKey {
  return { client, requestId }
}
