import { ownerOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import {
  groupsMax,
  type BundleSpec,
  type GroupId,
  type GroupReport,
  type GroupState,
  type PlacementStrategy,
} from '../../protocols/placement-groups.ts'
import type { BundleKey, GroupAction, GroupEvent, GroupTold } from './group-events.ts'

export interface GroupBookOptions {
  readonly self: NodeId
  /** Other nodes are known, so that one may come that has what is asked for. */
  expectsOthers(): boolean
}

/** The reservations of one try, which count only if all of them are made. */
interface Attempt {
  readonly askedAtMs: number
  readonly byNode: Map<NodeId, { readonly indices: number[]; isReserved: boolean }>
}

interface Group {
  readonly id: GroupId
  readonly job: ClientId
  readonly name: string
  readonly strategy: PlacementStrategy
  readonly bundles: readonly BundleSpec[]
  readonly createdAtMs: number
  readonly watchers: Set<NodeId>
  /** Where each bundle is, in which try it came there. */
  readonly places: ({ readonly node: NodeId; readonly tryNumber: number } | undefined)[]
  tryNumber: number
  attempt: Attempt | undefined
  /** When the head was told of this try; undefined when it was not. */
  toldHeadAtMs: number | undefined
  hasHeadAnswered: boolean
  refusedBy: NodeId[]
  infeasibleSinceMs: number | undefined
  state: GroupState
  reason: string
  isReady: boolean
  hasBeenReady: boolean
}

/** A head that has not answered by then may not have heard. */
const headPatienceMs = 1000
/** A wish that waits is told again now and then: the head may have forgotten it. */
const headReminderMs = 2000
/** A node that has not answered by then is taken as one that refuses. */
const reserveMs = 3000
/** For so long a group that fits nowhere waits for nodes that may be joining, before it is called infeasible. */
const infeasibleGraceMs = 2000
/** Nodes are told so often what is held there, or they give it up. */
const claimMs = 5000
const claimGroupsMax = 500
const reasonCharsMax = 4000

/**
 * The placement groups of this node's programs. This node alone knows all about them, so whatever else dies, they go on: a
 * new head is told again what wants a place, bundles of a node that is gone are placed anew.
 *
 * Bundles are reserved in two steps: the nodes that the head has named are asked to reserve, and only when all have done so
 * the reservations are claimed; else all are taken back. What is not claimed, the nodes give up after a while.
 *
 * Pure: no sockets, no clock. What it holds changes only in `step`.
 */
export class GroupBook {
  readonly #options: GroupBookOptions
  readonly #groups = new Map<GroupId, Group>()
  readonly #links = new Set<NodeId>()
  #head: NodeId | undefined
  #actions: GroupAction[] = []
  #claimedAtMs = -Infinity

  constructor(options: GroupBookOptions) {
    this.#options = options
  }

  /** True while time alone can bring something about. */
  get wantsTick(): boolean {
    return this.#groups.size > 0
  }

  step(event: GroupEvent, nowMs: number): GroupAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  /** All groups, the oldest first. */
  *reports(nowMs: number): Generator<GroupReport> {
    for (const { id, name, strategy, bundles, places, createdAtMs, state, reason } of this.#groups.values()) {
      const placed = bundles.map((bundle, index) => {
        const node = places[index]?.node
        return node === undefined ? bundle : { ...bundle, node }
      })
      const ageMs = Math.max(0, Math.round(nowMs - createdAtMs))
      yield { id, name, strategy, state, reason, ageMs, bundles: placed }
    }
  }

  #on(event: GroupEvent, nowMs: number): void {
    switch (event.type) {
      case 'created':
        return this.#onCreated(event, nowMs)
      case 'removed':
        return this.#withGroup(event.group, (group) => this.#remove(group, `it was removed by ${event.by}`))
      case 'clientGone':
        return this.#onClientGone(event.client)
      case 'placed':
        return this.#withTry(event, (group) => this.#onPlaced(group, event.nodes, nowMs))
      case 'unplaced':
        return this.#withTry(event, (group) => this.#onUnplaced(group, event, nowMs))
      case 'reserved':
        return this.#onReserved(event, nowMs)
      case 'refused':
        return this.#onRefused(event, nowMs)
      case 'lost':
        return this.#withGroup(event.group, (group) => this.#onLost(group, event, nowMs))
      case 'linkUp':
        this.#links.add(event.node)
        return
      case 'linkDown':
        return this.#onLinkDown(event.node, nowMs)
      case 'headChanged':
        return this.#onHeadChanged(event.head, nowMs)
      case 'asked':
        return this.#onAsked(event)
      case 'tick':
        return this.#onTick(nowMs)
    }
  }

  #onCreated({ group: id, ...made }: GroupEvent & { type: 'created' }, nowMs: number): void {
    if (this.#groups.has(id)) return
    const { self } = this.#options
    if (this.#groups.size >= groupsMax) {
      const reason = `${groupsMax} placement groups of programs of this node are there already; remove some first`
      this.#actions.push({ type: 'tell', node: self, told: { group: id, state: 'refused', reason, nodes: [] } })
      return
    }
    const group: Group = {
      id,
      ...made,
      createdAtMs: nowMs,
      watchers: new Set([self]),
      places: made.bundles.map(() => undefined),
      tryNumber: 0,
      attempt: undefined,
      toldHeadAtMs: undefined,
      hasHeadAnswered: false,
      refusedBy: [],
      infeasibleSinceMs: undefined,
      state: 'pending',
      reason: '',
      isReady: false,
      hasBeenReady: false,
    }
    this.#groups.set(id, group)
    this.#plan(group, [], nowMs)
  }

  #onClientGone(client: ClientId): void {
    for (const group of [...this.#groups.values()]) {
      if (ownerOf(group.id) === client) this.#remove(group, 'the program that made it has ended')
      else if (group.job === client) this.#remove(group, 'the program for which it was made has ended')
    }
  }

  #remove(group: Group, reason: string): void {
    this.#groups.delete(group.id)
    this.#endPlan(group, false)
    const byNode = new Map<NodeId, BundleKey[]>()
    const add = (node: NodeId, key: BundleKey): void => {
      const keys = byNode.get(node)
      if (keys === undefined) byNode.set(node, [key])
      else keys.push(key)
    }
    group.places.forEach((place, index) => {
      if (place !== undefined) add(place.node, { index, tryNumber: place.tryNumber })
    })
    for (const [node, { indices }] of group.attempt?.byNode ?? []) {
      for (const index of indices) add(node, { index, tryNumber: group.tryNumber })
    }
    for (const [node, bundles] of byNode) {
      this.#actions.push({ type: 'release', node, group: group.id, bundles, isRemoved: true, reason })
    }
    group.state = 'removed'
    group.reason = reason
    this.#tell(group)
  }

  // --- places

  /** Asks the head for places of the bundles that have none. */
  #plan(group: Group, refusedBy: NodeId[], nowMs: number): void {
    group.tryNumber++
    group.attempt = undefined
    group.refusedBy = refusedBy
    group.hasHeadAnswered = false
    group.toldHeadAtMs = undefined
    group.infeasibleSinceMs = undefined
    this.#tellHead(group, nowMs)
  }

  #tellHead(group: Group, nowMs: number): void {
    if (this.#head === undefined) {
      this.#setState(group, 'pending', 'there is no head at this moment to find room for it')
      return
    }
    group.toldHeadAtMs = nowMs
    const { id, tryNumber, strategy, refusedBy } = group
    this.#actions.push({
      type: 'plan',
      head: this.#head,
      group: id,
      tryNumber,
      strategy,
      bundles: missing(group).map((index) => ({ index, spec: group.bundles[index] as BundleSpec })),
      placed: [...new Set(group.places.flatMap((place) => (place === undefined ? [] : [place.node])))],
      refusedBy,
    })
  }

  #endPlan({ id, tryNumber, toldHeadAtMs }: Group, isServed: boolean): void {
    if (this.#head === undefined || toldHeadAtMs === undefined) return
    this.#actions.push({ type: 'planEnd', head: this.#head, group: id, tryNumber, isServed })
  }

  #onPlaced(group: Group, nodes: readonly NodeId[], nowMs: number): void {
    group.hasHeadAnswered = true
    const indices = missing(group)
    // A head's second answer to one question changes nothing: the nodes are asked already.
    if (group.attempt !== undefined || indices.length === 0 || nodes.length !== indices.length) return
    group.infeasibleSinceMs = undefined
    const byNode: Attempt['byNode'] = new Map()
    indices.forEach((index, at) => {
      const node = nodes[at] as NodeId
      const asked = byNode.get(node)
      if (asked === undefined) byNode.set(node, { indices: [index], isReserved: false })
      else asked.indices.push(index)
    })
    const shut = [...byNode.keys()].filter((node) => !this.#isReachable(node))
    if (shut.length > 0) {
      this.#setState(group, 'pending', `there is no link to node ${shut[0]}, which the head has named`)
      this.#planLater(group, shut, nowMs)
      return
    }
    group.attempt = { askedAtMs: nowMs, byNode }
    const { id, tryNumber, bundles } = group
    for (const [node, asked] of byNode) {
      const wanted = asked.indices.map((index) => ({ index, resources: bundles[index]?.resources ?? {} }))
      this.#actions.push({ type: 'reserve', node, group: id, tryNumber, bundles: wanted })
    }
  }

  /** The head knows no better than to name a node again that cannot be reached: it is asked again after a while. */
  #planLater(group: Group, refusedBy: NodeId[], nowMs: number): void {
    this.#endPlan(group, false)
    group.tryNumber++
    group.refusedBy = refusedBy
    group.hasHeadAnswered = false
    group.toldHeadAtMs = nowMs
  }

  #onUnplaced(group: Group, { isInfeasible, reason }: GroupEvent & { type: 'unplaced' }, nowMs: number): void {
    group.hasHeadAnswered = true
    if (group.attempt !== undefined) return
    if (!isInfeasible) group.infeasibleSinceMs = undefined
    else group.infeasibleSinceMs ??= nowMs
    const isSure = isInfeasible && this.#isInfeasible(group, nowMs)
    this.#setState(group, isSure ? 'infeasible' : 'pending', reason)
  }

  /** One that had its place and lost it waits for the node to come back, or for another one. */
  #isInfeasible({ infeasibleSinceMs, hasBeenReady }: Group, nowMs: number): boolean {
    if (infeasibleSinceMs === undefined || hasBeenReady) return false
    return nowMs - infeasibleSinceMs >= infeasibleGraceMs || (this.#links.size === 0 && !this.#options.expectsOthers())
  }

  #onReserved({ node, group: id, bundles }: GroupEvent & { type: 'reserved' }, nowMs: number): void {
    const group = this.#groups.get(id)
    const stale = bundles.filter((key) => group === undefined || !isHere(group, node, key))
    if (stale.length > 0) {
      const reason = 'the group has no use for it any more'
      this.#actions.push({ type: 'release', node, group: id, bundles: stale, isRemoved: group === undefined, reason })
    }
    const asked = group?.attempt?.byNode.get(node)
    if (group?.attempt === undefined || asked === undefined || stale.length > 0) return
    if (!bundles.some(({ tryNumber }) => tryNumber === group.tryNumber)) return
    asked.isReserved = true
    for (const { isReserved } of group.attempt.byNode.values()) if (!isReserved) return
    this.#commit(group, group.attempt, nowMs)
  }

  #commit(group: Group, { byNode }: Attempt, nowMs: number): void {
    const { id, tryNumber } = group
    group.attempt = undefined
    for (const [node, { indices }] of byNode) {
      for (const index of indices) group.places[index] = { node, tryNumber }
      const bundles = indices.map((index) => ({ index, tryNumber }))
      this.#actions.push({ type: 'claim', node, groups: [{ group: id, bundles }] })
    }
    this.#endPlan(group, true)
    if (missing(group).length > 0) {
      // Some that it had were lost meanwhile.
      this.#plan(group, [], nowMs)
      return
    }
    group.isReady = true
    group.hasBeenReady = true
    this.#setState(group, 'ready', '')
  }

  #onRefused({ node, group: id, bundles, reason }: GroupEvent & { type: 'refused' }, nowMs: number): void {
    const group = this.#groups.get(id)
    if (group?.attempt?.byNode.has(node) !== true) return
    if (!bundles.some(({ tryNumber }) => tryNumber === group.tryNumber)) return
    this.#setState(group, 'pending', `node ${node} had no room for it: ${reason}`)
    this.#giveUp(group, [node], nowMs)
  }

  /** Takes back what was reserved in this try, and begins another. */
  #giveUp(group: Group, refusedBy: NodeId[], nowMs: number): void {
    for (const [node, { indices }] of group.attempt?.byNode ?? []) {
      const bundles = indices.map((index) => ({ index, tryNumber: group.tryNumber }))
      const reason = 'other bundles of the group found no room'
      this.#actions.push({ type: 'release', node, group: group.id, bundles, isRemoved: false, reason })
    }
    this.#plan(group, refusedBy, nowMs)
  }

  #onLost(group: Group, { node, bundles, reason }: GroupEvent & { type: 'lost' }, nowMs: number): void {
    let isHit = false
    for (const { index, tryNumber } of bundles) {
      const place = group.places[index]
      if (place?.node !== node || place.tryNumber !== tryNumber) continue
      group.places[index] = undefined
      isHit = true
    }
    if (isHit) this.#placeAnew(group, `bundles on node ${node} were lost: ${reason}`, nowMs)
  }

  #onLinkDown(node: NodeId, nowMs: number): void {
    this.#links.delete(node)
    if (this.#head === node) this.#onHeadChanged(undefined, nowMs)
    for (const group of this.#groups.values()) {
      group.watchers.delete(node)
      const isHit = group.places.some((place) => place?.node === node)
      const isAsked = group.attempt?.byNode.delete(node) === true
      if (isHit) group.places.forEach((place, index) => place?.node === node && (group.places[index] = undefined))
      const reason = `node ${node} is gone`
      if (isAsked) {
        this.#setState(group, 'pending', reason)
        this.#giveUp(group, [], nowMs)
      } else if (isHit) this.#placeAnew(group, reason, nowMs)
    }
  }

  #placeAnew(group: Group, reason: string, nowMs: number): void {
    group.isReady = false
    this.#setState(group, 'pending', reason)
    // One try is for all that is missing.
    if (group.attempt === undefined) this.#plan(group, [], nowMs)
    else this.#giveUp(group, [], nowMs)
  }

  #onHeadChanged(head: NodeId | undefined, nowMs: number): void {
    this.#head = head
    for (const group of this.#groups.values()) {
      group.toldHeadAtMs = undefined
      if (group.isReady) continue
      group.hasHeadAnswered = false
      group.infeasibleSinceMs = undefined
      // Whoever is the head: the nodes that are asked answer to this one.
      if (group.attempt === undefined) this.#tellHead(group, nowMs)
    }
  }

  #onTick(nowMs: number): void {
    for (const group of this.#groups.values()) {
      if (group.isReady) continue
      const { attempt, toldHeadAtMs = -Infinity, hasHeadAnswered } = group
      if (attempt !== undefined) {
        if (nowMs - attempt.askedAtMs < reserveMs) continue
        const silent = [...attempt.byNode].flatMap(([node, { isReserved }]) => (isReserved ? [] : [node]))
        this.#setState(group, 'pending', `node ${silent[0]} has not answered for ${reserveMs} ms`)
        this.#giveUp(group, silent, nowMs)
      } else if (nowMs - toldHeadAtMs >= (hasHeadAnswered ? headReminderMs : headPatienceMs)) {
        this.#tellHead(group, nowMs)
      }
      if (this.#isInfeasible(group, nowMs)) this.#setState(group, 'infeasible', group.reason)
    }
    if (nowMs - this.#claimedAtMs < claimMs) return
    this.#claimedAtMs = nowMs
    this.#claimAll()
  }

  /** Says again what is held on each node: what those do not know is lost, what they are not told of they give up. */
  #claimAll(): void {
    const byNode = new Map<NodeId, Map<GroupId, BundleKey[]>>()
    for (const { id, places } of this.#groups.values()) {
      places.forEach((place, index) => {
        if (place === undefined) return
        let groups = byNode.get(place.node)
        if (groups === undefined) byNode.set(place.node, (groups = new Map()))
        const keys = groups.get(id)
        const key = { index, tryNumber: place.tryNumber }
        if (keys === undefined) groups.set(id, [key])
        else keys.push(key)
      })
    }
    for (const [node, groups] of byNode) {
      const claims = Array.from(groups, ([group, bundles]) => ({ group, bundles }))
      for (let at = 0; at < claims.length; at += claimGroupsMax) {
        this.#actions.push({ type: 'claim', node, groups: claims.slice(at, at + claimGroupsMax) })
      }
    }
  }

  // --- those who watch

  #onAsked({ node, group: id, want }: GroupEvent & { type: 'asked' }): void {
    const group = this.#groups.get(id)
    if (group === undefined) {
      const told: GroupTold = { group: id, state: 'removed', reason: 'there is no such group (any more)', nodes: [] }
      if (want === 'watch') this.#actions.push({ type: 'tell', node, told })
      return
    }
    if (want === 'unwatch') {
      // Its own programs may watch it as long as it is there.
      if (node !== this.#options.self) group.watchers.delete(node)
      return
    }
    group.watchers.add(node)
    this.#actions.push({ type: 'tell', node, told: toldOf(group) })
  }

  #setState(group: Group, state: GroupState, reason: string): void {
    if (group.state === state && group.reason === reason) return
    group.state = state
    group.reason = reason.slice(0, reasonCharsMax)
    this.#tell(group)
  }

  #tell(group: Group): void {
    for (const node of group.watchers) this.#actions.push({ type: 'tell', node, told: toldOf(group) })
  }

  #isReachable(node: NodeId): boolean {
    return node === this.#options.self || this.#links.has(node)
  }

  #withGroup(id: GroupId, then: (group: Group) => void): void {
    const group = this.#groups.get(id)
    if (group !== undefined) then(group)
  }

  #withTry({ group: id, tryNumber }: { group: GroupId; tryNumber: number }, then: (group: Group) => void): void {
    const group = this.#groups.get(id)
    if (group !== undefined && !group.isReady && group.tryNumber === tryNumber) then(group)
  }
}

/** The bundles that have no place. */
function missing({ places }: Group): number[] {
  const indices: number[] = []
  places.forEach((place, index) => {
    if (place === undefined) indices.push(index)
  })
  return indices
}

/** True for a reservation that the group holds, or is about to. */
function isHere({ places, attempt, tryNumber }: Group, node: NodeId, key: BundleKey): boolean {
  const place = places[key.index]
  if (place?.node === node && place.tryNumber === key.tryNumber) return true
  return key.tryNumber === tryNumber && attempt?.byNode.get(node)?.indices.includes(key.index) === true
}

function toldOf({ id, state, reason, places }: Group): GroupTold {
  return { group: id, state, reason, nodes: places.map((place) => place?.node ?? '') }
}
