import type { Advert } from '../../protocols/advert.ts'
import type { Term } from '../../protocols/election.ts'
import { TooManyTasksError } from '../../protocols/errors.ts'
import { nodeOf, type NodeId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import type { GroupOffice } from '../groups/group-office.ts'
import type { PeerPost } from '../mesh/peer-post.ts'
import { Scheduler } from '../scheduler/scheduler.ts'
import type { SchedulerAction, SchedulerNode } from '../scheduler/scheduler-types.ts'

export interface HeadOfficeOptions {
  post: PeerPost
  /** The placement groups' part of the work. */
  groups?: Pick<GroupOffice, 'start' | 'stop' | 'onState' | 'nodeGone'>
  now(): number
  log(text: string): void
}

/** While something waits for a place, it is looked at again so often. */
const tickMs = 50

interface Office {
  readonly term: Term
  readonly scheduler: Scheduler
  /** Nodes that have reported in this term, and how they stand: only these are given work. */
  readonly reported: Map<NodeId, Advert>
  readonly keysByHome: Map<NodeId, Set<string>>
}

/**
 * The work of the head: it starts and stops in here. All that it knows was told by the nodes since it took office, and they
 * tell it again to the next one.
 */
export class HeadOffice {
  readonly #with: HeadOfficeOptions
  #office: Office | undefined
  #timer: NodeJS.Timeout | undefined
  #isStepPlanned = false

  constructor(options: HeadOfficeOptions) {
    this.#with = options
  }

  get term(): Term | undefined {
    return this.#office?.term
  }

  get scheduler(): Scheduler | undefined {
    return this.#office?.scheduler
  }

  start(term: Term): void {
    this.stop()
    this.#office = { term, scheduler: new Scheduler(), reported: new Map(), keysByHome: new Map() }
    this.#with.groups?.start(term)
    this.#with.log(`this node is the head now (term ${term.counter})`)
  }

  stop(reason = 'it has ended'): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#office === undefined) return
    this.#with.log(`this node is no longer the head (term ${this.#office.term.counter}): ${reason}`)
    this.#office = undefined
    this.#with.groups?.stop()
  }

  /** A node has reported to the head of this term. */
  onReported(state: Advert): void {
    const { reported } = this.#office ?? {}
    if (reported?.has(state.node) === false) reported.set(state.node, state)
    this.onState(state)
  }

  /** A node says how it stands. */
  onState(state: Advert): void {
    const known = this.#office?.reported.get(state.node)
    if (this.#office === undefined || known === undefined || known.version > state.version) return
    this.#office.reported.set(state.node, state)
    this.#office.scheduler.nodeChanged(schedulerNode(state))
    this.#with.groups?.onState(schedulerNode(state))
    this.#stepSoon()
  }

  onLinkDown(node: NodeId): void {
    const office = this.#office
    if (office === undefined) return
    office.reported.delete(node)
    for (const key of office.keysByHome.get(node) ?? []) office.scheduler.remove(key)
    office.keysByHome.delete(node)
    office.scheduler.nodeGone(node)
    this.#with.groups?.nodeGone(node)
    this.#stepSoon()
  }

  onDemandAdd(home: NodeId, demand: PeerMessageBody<'demandAdd'>): void {
    const office = this.#office
    if (office === undefined || nodeOf(demand.client) !== home) return
    const { waitedMs, resources, strategy, depth, label } = demand
    const key = keyOf(demand)
    const requestedAtMs = this.#with.now() - waitedMs
    try {
      office.scheduler.add({ key, home, resources, strategy, depth, label, requestedAtMs })
    } catch (error) {
      // The home tells it again when it has waited for an answer.
      if (error instanceof TooManyTasksError) return
      throw error
    }
    let keys = office.keysByHome.get(home)
    if (keys === undefined) office.keysByHome.set(home, (keys = new Set()))
    keys.add(key)
    this.#stepSoon()
  }

  onDemandRemove(home: NodeId, demand: PeerMessageBody<'demandRemove'>): void {
    const office = this.#office
    const key = keyOf(demand)
    if (office?.keysByHome.get(home)?.delete(key) !== true) return
    if (demand.isGranted) office.scheduler.granted(key)
    else office.scheduler.remove(key)
    this.#stepSoon()
  }

  onDemandRefused(home: NodeId, { state, ...demand }: PeerMessageBody<'demandRefused'>): void {
    const office = this.#office
    const key = keyOf(demand)
    if (office?.keysByHome.get(home)?.has(key) !== true) return
    // What waited for a node that is gone was taken back with it, and what is said of it must not bring it back.
    const known = office.reported.get(demand.node)
    if (known === undefined) return
    // A home that has no link to the node may have heard nothing of it, or nothing for long.
    const newest = state.find((said) => said.node === demand.node && said.version > known.version) ?? known
    office.reported.set(demand.node, newest)
    office.scheduler.refused(key, schedulerNode(newest))
    this.#stepSoon()
  }

  /** What each node says to a request that waits; undefined when it is not known here. */
  explain(client: string, requestId: number): ReturnType<Scheduler['explain']> | undefined {
    return this.#office?.scheduler.explain(keyOf({ client, requestId }))
  }

  /** Many things may happen in one turn; the places are given out once, at its end. */
  #stepSoon(): void {
    if (this.#isStepPlanned) return
    this.#isStepPlanned = true
    queueMicrotask(() => {
      this.#isStepPlanned = false
      this.#step()
    })
  }

  #step(): void {
    const office = this.#office
    if (office === undefined) return
    for (const action of office.scheduler.step(this.#with.now())) this.#send(office.term, action)
    if (this.#timer !== undefined || office.scheduler.pendingCount === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#step()
    }, tickMs)
  }

  #send(term: Term, action: SchedulerAction): void {
    const { post } = this.#with
    const [client, requestId] = action.key.split('|') as [string, string]
    const ids = { client, requestId: Number(requestId), term }
    switch (action.type) {
      case 'place':
        post.send(action.home, 'demandPlace', { ...ids, node: action.node, mayWait: action.mode === 'queue' })
        return
      case 'infeasible':
        post.send(action.home, 'demandInfeasible', { ...ids, reason: action.reason, details: action.details })
        return
      case 'feasible':
        post.send(action.home, 'demandFeasible', ids)
    }
  }
}

function keyOf({ client, requestId }: { client: string; requestId: number }): string {
  return `${client}|${requestId}`
}

function schedulerNode(state: Advert): SchedulerNode {
  const { node, total, available, gpus, labels, queued, leases, version, isOpen } = state
  return { node, total, available, gpus, labels, queued, leases, version, isOpen }
}
