import type { Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import type { SchedulerNode } from '../scheduler/scheduler-types.ts'
import type { GroupSend } from './group-desk.ts'
import { GroupPlanner } from './group-planner.ts'

export interface GroupOfficeOptions {
  readonly self: NodeId
  readonly send: GroupSend
  /** How this node stands at this moment. */
  ownState(): Omit<SchedulerNode, 'node' | 'version'>
  now(): number
}

/** What has become free may be looked at so much later, */
const lookMs = 5
/** and so many times as long as the last look took: a head has other things to do. */
const restFactor = 10

/** The head's work for placement groups. All that it knows was told since it took office. */
export class GroupOffice {
  readonly #with: GroupOfficeOptions
  #office: { readonly term: Term; readonly planner: GroupPlanner } | undefined
  #timer: NodeJS.Timeout | undefined
  #lookTookMs = 0
  #isStepPlanned = false

  constructor(options: GroupOfficeOptions) {
    this.#with = options
  }

  start(term: Term): void {
    this.stop()
    this.#office = { term, planner: new GroupPlanner() }
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#office = undefined
  }

  /** A node says how it stands. What this one says of itself is not needed: it is looked at. */
  onState(state: SchedulerNode): void {
    if (state.node === this.#with.self) return
    this.#office?.planner.nodeChanged(state)
    this.lookLater()
  }

  nodeGone(node: NodeId): void {
    this.#office?.planner.nodeGone(node)
    this.lookLater()
  }

  onPlan(home: NodeId, { bundles, ...wish }: PeerMessageBody<'groupPlan'>): void {
    if (this.#office === undefined) return
    const wanted = bundles.map(({ index, spec }) => ({ index, ...spec }))
    this.#office.planner.want({ ...wish, bundles: wanted, home })
    this.#stepSoon()
  }

  onPlanEnd({ group, tryNumber, isServed }: PeerMessageBody<'groupPlanEnd'>): void {
    this.#office?.planner.end(group, tryNumber, isServed)
    this.lookLater()
  }

  /** Something may have become free. */
  lookLater(): void {
    if (this.#office?.planner.isWaited !== true || this.#timer !== undefined) return
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#step(true)
      },
      Math.max(lookMs, restFactor * this.#lookTookMs),
    )
  }

  #stepSoon(): void {
    if (this.#isStepPlanned) return
    this.#isStepPlanned = true
    queueMicrotask(() => {
      this.#isStepPlanned = false
      this.#step(false)
      this.lookLater()
    })
  }

  #step(isForAll: boolean): void {
    if (this.#office === undefined) return
    const { term, planner } = this.#office
    const { self, ownState, now, send } = this.#with
    const beganMs = now()
    planner.lookAtSelf({ ...ownState(), node: self, version: 0 })
    for (const { home, nodes, ...plan } of planner.step(beganMs, isForAll)) {
      send(home, 'groupPlanned', { ...plan, term, nodes: [...nodes] })
    }
    if (isForAll) this.#lookTookMs = now() - beganMs
  }
}
