import type { GpuAdvert } from '../../protocols/advert.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Term } from '../../protocols/election.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageBody, PeerMessageHandlers, PeerMessageName } from '../../protocols/peer-messages.ts'
import type { GroupId, GroupReport } from '../../protocols/placement-groups.ts'
import { withinBytes } from '../../protocols/within-bytes.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { BundleEvent, LeaseAction } from '../leases/lease-events.ts'
import type { RequestKey, RouterAction, RouterEvent } from '../routing/router-events.ts'
import type { SchedulerNode } from '../scheduler/scheduler-types.ts'
import type { Client } from '../server/client.ts'
import type { ClientDirectory } from '../server/client-directory.ts'
import { GroupBook } from './group-book.ts'
import type { GroupAction, GroupEvent, GroupTold } from './group-events.ts'
import { GroupOffice } from './group-office.ts'
import { GroupRouter, type GroupRouterEvent } from './group-router.ts'

/** Sends to a node, this one included. False when there is no link to it. */
export type GroupSend = <N extends GroupMessageName>(to: NodeId, name: N, body: PeerMessageBody<N>) => boolean

type GroupMessageName = Extract<PeerMessageName, `group${string}` | `bundle${string}`>
export type GroupMessageHandlers = Pick<PeerMessageHandlers, Exclude<GroupMessageName, 'groupsAsk'>>

/** What the groups need of the mesh. */
export interface GroupMesh {
  readonly send: GroupSend
  /** True when the command is one of the head that this node obeys. */
  obeys(from: NodeId, term: Term): boolean
  /** This node takes work. */
  readonly isOpen: boolean
  /** The groups of the other nodes' programs. */
  others(): Promise<readonly GroupReport[]>
}

export interface GroupDeskOptions {
  readonly self: NodeId
  readonly labels: SchedulerNode['labels']
  readonly book: LeaseBook
  /** Its devices, and how much of each is free. */
  gpus(): readonly GpuAdvert[]
  readonly directory: ClientDirectory
  /** Why work of this client may not be submitted; undefined when it may. */
  whyForbidden(job: ClientId): string | undefined
  expectsOthers(): boolean
  now(): number
}

const tickMs = 250
const bundlesTickMs = 1000
const reportsMax = 1000

/**
 * Placement groups at one node, in all of its parts: the home of its programs' groups, the router of its programs' requests
 * for bundles, the keeper of bundles reserved here, and the head's planner when this node is the head. Tells these what
 * happens and does what they answer. A node on its own is its own head and talks to itself, so there is one way for both.
 */
export class GroupDesk {
  readonly office: GroupOffice
  readonly #with: GroupDeskOptions
  readonly #book: GroupBook
  readonly #router: GroupRouter
  #mesh: GroupMesh
  #timer: NodeJS.Timeout | undefined
  #bundlesAtMs = 0
  #isClosed = false
  /** Has the lease book take an event. */
  tellBook: (event: BundleEvent) => void = () => {}
  /** Has the router of this desk take an event, in its turn. */
  route: (event: GroupRouterEvent) => void = () => {}

  constructor(options: GroupDeskOptions) {
    this.#with = options
    const { self, now, labels, book, gpus, expectsOthers } = options
    this.#book = new GroupBook({ self, expectsOthers })
    this.#router = new GroupRouter({ self, isPlacedHere: (key) => book.isPlaced(key) })
    this.office = new GroupOffice({
      self,
      send: (...message) => this.#mesh.send(...message),
      ownState: () => ({ ...book.load(), gpus: gpus(), labels, isOpen: this.#mesh.isOpen && !book.isClosed }),
      now,
    })
    this.#mesh = this.#alone()
  }

  /** This node is on its own. */
  openAlone(): void {
    const head = this.#with.self
    this.office.start({ counter: 0, head })
    this.#tell({ type: 'headChanged', head })
  }

  /** From now on there are others. */
  openMesh(mesh: GroupMesh): void {
    this.#mesh = mesh
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.office.stop()
  }

  // --- clients of this node

  create(client: Client, { group, job, name, strategy, bundles }: MessageBody<'groupCreate'>): void {
    if (ownerOf(group) !== client.id) throw new ProtocolError('a client makes a placement group in the name of another')
    if (bundles.length === 0) throw new ProtocolError('a placement group has no bundles')
    const { directory, whyForbidden } = this.#with
    const why = directory.get(job) === undefined ? 'the program for which it was made has ended' : whyForbidden(job)
    if (why !== undefined) {
      client.send('groupState', { group, state: 'refused', reason: why, nodes: [] })
      return
    }
    this.route({ type: 'watched', client: client.id, group, isMaker: true })
    this.#tell({ type: 'created', group, job, name, strategy, bundles })
  }

  watch(client: Client, { group, isOn }: MessageBody<'groupWatch'>): void {
    const { id } = client
    this.route(isOn ? { type: 'watched', client: id, group, isMaker: false } : { type: 'unwatched', client: id, group })
  }

  remove(client: Client, { group }: MessageBody<'groupRemove'>): void {
    const home = nodeOf(group)
    if (this.#mesh.send(home, 'groupAsk', { group, want: 'remove' })) return
    const reason = `node ${home}, on which it was made, is gone`
    client.send('groupState', { group, state: 'removed', reason, nodes: [] })
  }

  // --- the lease desk

  has(key: RequestKey): boolean {
    return this.#router.has(key)
  }

  get wantsTick(): boolean {
    return this.#router.wantsTick
  }

  /** What waits for bundles, and where. */
  waiting(): ReturnType<GroupRouter['waiting']> {
    return this.#router.waiting()
  }

  /** Takes what concerns groups; gives what the lease desk is to do about requests. */
  step(event: GroupRouterEvent): RouterAction[] {
    this.#concerns(event)
    const actions: RouterAction[] = []
    for (const action of this.#router.step(event, this.#with.now())) {
      switch (action.type) {
        case 'askHome':
          this.#mesh.send(action.home, 'groupAsk', { group: action.group, want: action.want })
          break
        case 'tellClient':
          this.#with.directory.get(action.client)?.send('groupState', stateOf(action.told))
          break
        default:
          actions.push(action)
      }
    }
    return actions
  }

  /** What befalls clients and nodes befalls their groups, too. */
  #concerns(event: RouterEvent | GroupRouterEvent): void {
    switch (event.type) {
      case 'clientGone': {
        this.#tell(event)
        const reason = 'the program that made it has ended'
        if (this.#with.book.bundleCount > 0) this.tellBook({ type: 'groupsGone', prefix: event.client, reason })
        return
      }
      case 'linkDown': {
        this.#tell(event)
        const reason = `node ${event.node}, on which it was made, is gone`
        if (this.#with.book.bundleCount > 0) this.tellBook({ type: 'groupsGone', prefix: event.node, reason })
        return
      }
      case 'linkUp':
      case 'headChanged':
        return this.#tell(event)
      default:
    }
  }

  /** The lease book has an answer for the home of a group. */
  answer({ group, bundles, outcome, reason }: LeaseAction & { type: 'bundlesAnswer' }): void {
    const keys = bundles.map(({ index, tryNumber }) => ({ index, tryNumber }))
    this.#mesh.send(nodeOf(group), 'bundleReply', { group, bundles: keys, outcome, reason: reason.slice(0, 4096) })
  }

  /** Something has changed at the lease book. */
  bookChanged(): void {
    this.office.lookLater()
    this.#arm()
  }

  // --- other nodes, and this one when it talks to itself

  handlers(): GroupMessageHandlers {
    return {
      groupPlan: (from, body) => {
        if (nodeOf(body.group) === from) this.office.onPlan(from, body)
      },
      groupPlanEnd: (from, body) => {
        if (nodeOf(body.group) === from) this.office.onPlanEnd(body)
      },
      groupPlanned: (from, { term, group, tryNumber, outcome, nodes, reason }) => {
        if (!this.#mesh.obeys(from, term)) return
        if (outcome === 'placed') this.#tell({ type: 'placed', group, tryNumber, nodes })
        else this.#tell({ type: 'unplaced', group, tryNumber, isInfeasible: outcome === 'infeasible', reason })
      },
      bundleReserve: (from, { group, tryNumber, bundles }) => {
        if (!this.#isHome(from, group)) return
        const why = this.#with.whyForbidden(ownerOf(group))
        if (why === undefined) this.tellBook({ type: 'bundlesReserve', group, tryNumber, bundles })
        else {
          const keys = bundles.map(({ index }) => ({ index, tryNumber }))
          this.answer({ type: 'bundlesAnswer', group, bundles: keys, outcome: 'refused', reason: why })
        }
      },
      bundleReply: (from, { group, bundles, outcome, reason }) => {
        this.#tell({ type: outcome, node: from, group, bundles, reason })
      },
      bundleClaim: (from, { groups }) => {
        for (const { group, bundles } of groups) {
          if (this.#isHome(from, group)) this.tellBook({ type: 'bundlesClaim', group, bundles })
        }
      },
      bundleRelease: (from, { group, bundles, isRemoved, reason }) => {
        if (this.#isHome(from, group)) this.tellBook({ type: 'bundlesRelease', group, bundles, isRemoved, reason })
      },
      groupAsk: (from, { group, want }) => {
        if (want === 'remove') this.#tell({ type: 'removed', group, by: from === this.#with.self ? 'its owner' : from })
        else this.#tell({ type: 'asked', node: from, group, want })
      },
      groupTold: (from, told) => {
        if (this.#isHome(from, told.group)) this.route({ type: 'told', told })
      },
    }
  }

  /** Only the node of the program that made it speaks for a group. */
  #isHome(node: NodeId, group: GroupId): boolean {
    return nodeOf(group) === node
  }

  // --- for people

  /** The groups of this node's programs, for another node: as many as fit into one message. */
  ownReports(): readonly GroupReport[] {
    return withinBytes([...this.#book.reports(this.#with.now())].slice(0, reportsMax), limits.groupsListBytesMax)
  }

  /** All groups of the mesh, the oldest first, as many as fit into one answer. */
  async reports(): Promise<{ groups: readonly GroupReport[]; more: number }> {
    const groups = [...this.#book.reports(this.#with.now()), ...(await this.#mesh.others())]
    groups.sort((a, b) => b.ageMs - a.ageMs)
    const shown = withinBytes(groups.slice(0, reportsMax), limits.adminListBytesMax)
    return { groups: shown, more: groups.length - shown.length }
  }

  // ---

  #tell(event: GroupEvent): void {
    for (const action of this.#book.step(event, this.#with.now())) this.#do(action)
    this.#arm()
  }

  #do(action: GroupAction): void {
    const { send } = this.#mesh
    switch (action.type) {
      case 'plan': {
        const { type: _, head, bundles, placed, refusedBy, ...wish } = action
        send(head, 'groupPlan', { ...wish, bundles: [...bundles], placed: [...placed], refusedBy: [...refusedBy] })
        return
      }
      case 'planEnd': {
        const { type: _, head, ...end } = action
        send(head, 'groupPlanEnd', end)
        return
      }
      case 'reserve': {
        const { node, group, tryNumber, bundles } = action
        const wanted = bundles.map(({ index, resources }) => ({ index, resources: { ...resources } }))
        send(node, 'bundleReserve', { group, tryNumber, bundles: wanted })
        return
      }
      case 'claim':
        send(action.node, 'bundleClaim', {
          groups: action.groups.map(({ group, bundles }) => ({ group, bundles: [...bundles] })),
        })
        return
      case 'release': {
        const { node, group, bundles, isRemoved, reason } = action
        send(node, 'bundleRelease', { group, bundles: [...bundles], isRemoved, reason })
        return
      }
      case 'tell':
        send(action.node, 'groupTold', stateOf(action.told))
    }
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#isClosed) return
    if (!this.#book.wantsTick && this.#with.book.bundleCount === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const nowMs = this.#with.now()
      this.#tell({ type: 'tick' })
      if (nowMs - this.#bundlesAtMs < bundlesTickMs) return
      this.#bundlesAtMs = nowMs
      if (this.#with.book.bundleCount > 0) this.tellBook({ type: 'bundlesTick' })
    }, tickMs)
  }

  #alone(): GroupMesh {
    const { self } = this.#with
    const handlers = this.handlers()
    return {
      isOpen: true,
      obeys: () => true,
      others: () => Promise.resolve([]),
      send: (to, name, body) => {
        if (to !== self) return false
        const handler = (handlers as Partial<PeerMessageHandlers>)[name] as
          | ((from: NodeId, body: unknown) => void)
          | undefined
        queueMicrotask(() => this.#isClosed || handler?.(self, body))
        return true
      },
    }
  }
}

function stateOf({ group, state, reason, nodes }: GroupTold): MessageBody<'groupState'> {
  return { group, state, reason, nodes: [...nodes] }
}
