import { TooManyTasksError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { CostHeap } from './cost-heap.ts'
import { classKeyOf, DemandClass, type DemandRecord } from './demand-class.ts'
import { PlannedNode } from './planned-node.ts'
import type { Demand, SchedulerAction, SchedulerNode, Verdict } from './scheduler-types.ts'

/** Demands that are kept; more are refused. */
const demandsMax = 200_000
/** What stands in a queue so long may move to a node that has become free. */
const quantumMs = 200
/** A place of which nothing is heard for so long is given up. */
const answerMs = 3000

/**
 * The head's view of the mesh, and where in it each demand should go. It proposes: nodes grant or refuse, and what it knows
 * of them is always a little old.
 *
 * Pure: no sockets, no clock.
 *
 * @example
 * scheduler.nodeChanged({ node, total: { CPU: 4 }, available: { CPU: 4 }, labels: {}, queued: 0, version: 1, isOpen: true })
 * scheduler.add(demand)
 * for (const action of scheduler.step(performance.now())) perform(action)
 */
export class Scheduler {
  readonly #nodes = new Map<NodeId, PlannedNode>()
  #nodeList: PlannedNode[] | undefined
  /** Changes when nodes come, go, or are no longer what they were in all. */
  #generation = 0
  readonly #demands = new Map<string, DemandRecord>()
  readonly #classes = new Map<string, DemandClass>()
  /** Placed to be served at once, and not answered yet: the oldest first. */
  readonly #asked = new Map<string, DemandRecord>()

  get pendingCount(): number {
    return this.#demands.size
  }

  nodeChanged(state: SchedulerNode): void {
    const known = this.#nodes.get(state.node)
    if (known === undefined) {
      this.#nodes.set(state.node, new PlannedNode(state))
      this.#nodesChanged()
      return
    }
    const before = known.state
    if (state.version < before.version) return
    known.update(state)
    if (!isSameInAll(before, state)) this.#nodesChanged()
  }

  /** What was to be served there has no place any more. */
  nodeGone(node: NodeId): void {
    if (!this.#nodes.delete(node)) return
    this.#nodesChanged()
    for (const record of this.#demands.values()) if (record.place?.node === node) this.#unplace(record)
  }

  /** Takes a demand in. One that is known has lost its place, or its home has not heard of it. */
  add(demand: Demand): void {
    const known = this.#demands.get(demand.key)
    if (known !== undefined) {
      known.infeasible = undefined
      this.#unplace(known)
      return
    }
    if (this.#demands.size >= demandsMax) {
      throw new TooManyTasksError(`${demandsMax} requests wait at the head already`, { demandsMax })
    }
    const classKey = classKeyOf(demand)
    let of = this.#classes.get(classKey)
    if (of === undefined) this.#classes.set(classKey, (of = new DemandClass(demand)))
    const record: DemandRecord = { demand, of, place: undefined, infeasible: undefined, refusedBy: undefined }
    this.#demands.set(demand.key, record)
    of.waiting.set(demand.key, record)
  }

  /** The demand is there no more, served or not. */
  remove(key: string): void {
    const record = this.#demands.get(key)
    if (record === undefined) return
    const { place, of } = record
    this.#demands.delete(key)
    this.#leave(record)
    // It was not served there: what was taken for it is free.
    if (place?.mode === 'now') this.#nodes.get(place.node)?.giveBack(of.resources)
  }

  /** The demand has been served where it was placed. */
  granted(key: string): void {
    const record = this.#demands.get(key)
    if (record === undefined) return
    this.#demands.delete(key)
    this.#leave(record)
  }

  /** A node did not take it, and says how it stands: it is asked again when that has changed. */
  refused(key: string, state: SchedulerNode): void {
    const record = this.#demands.get(key)
    if (record?.place?.node === state.node) {
      if (record.place.mode === 'now') this.#nodes.get(state.node)?.giveBack(record.of.resources)
      this.#unplace(record, false)
    }
    this.nodeChanged(state)
    if (record !== undefined) (record.refusedBy ??= new Map()).set(state.node, state.version)
  }

  /** The demand has lost its place for another reason than a refusal. */
  unplaced(key: string): void {
    const record = this.#demands.get(key)
    if (record !== undefined) this.#unplace(record)
  }

  /** Gives out places. */
  step(nowMs: number): SchedulerAction[] {
    this.#giveUpSilent(nowMs)
    const actions: SchedulerAction[] = []
    const nodes = (this.#nodeList ??= [...this.#nodes.values()])
    const active: DemandClass[] = []
    for (const [key, of] of this.#classes) {
      if (of.isEmpty) this.#classes.delete(key)
      if (of.waiting.size + of.queued.size === 0) continue
      of.look(nodes, this.#generation)
      if (of.infeasible === undefined) active.push(of)
      this.#tellFeasibility(of, actions)
    }
    active.sort((a, b) => b.depth - a.depth || ageOf(a) - ageOf(b))
    this.#placeNow(active, nowMs, actions)
    for (const of of active) this.#placeInQueues(of, nowMs, actions)
    return actions
  }

  /** What each node has to say to a demand; nothing for one that is not known. */
  explain(key: string): Verdict[] {
    const record = this.#demands.get(key)
    if (record === undefined) return []
    return Array.from(this.#nodes.values(), (node): Verdict => {
      const { of } = record
      const id = node.state.node
      const never = of.whyNever(node)
      if (never !== undefined) return { node: id, verdict: node.state.isOpen ? 'never' : 'closed', reason: never }
      const fits = node.fits(of.resources)
      return { node: id, verdict: fits ? 'fits' : 'busy', reason: node.describeShortage(of.resources) }
    })
  }

  #nodesChanged(): void {
    this.#generation++
    this.#nodeList = undefined
  }

  /** Takes it off all lists. */
  #leave(record: DemandRecord): void {
    const { key } = record.demand
    record.of.waiting.delete(key)
    record.of.queued.delete(key)
    if (this.#asked.delete(key)) record.of.askedCount--
    record.place = undefined
  }

  #unplace(record: DemandRecord, givesBack = true): void {
    const { place, of, demand } = record
    if (givesBack && place?.mode === 'now') this.#nodes.get(place.node)?.giveBack(of.resources)
    this.#leave(record)
    of.waiting.set(demand.key, record)
    this.#classes.set(classKeyOf(demand), of)
  }

  #giveUpSilent(nowMs: number): void {
    for (const record of this.#asked.values()) {
      if (nowMs - (record.place?.atMs ?? nowMs) < answerMs) return
      this.#unplace(record)
    }
  }

  #tellFeasibility(of: DemandClass, actions: SchedulerAction[]): void {
    const reason = of.infeasible
    for (const record of of.waiting.values()) {
      if (record.infeasible === reason) {
        // All that came before have been told the same.
        if (reason === undefined) break
        continue
      }
      record.infeasible = reason
      const { key, home } = record.demand
      if (reason === undefined) actions.push({ type: 'feasible', key, home })
      else actions.push({ type: 'infeasible', key, home, reason, details: { asked: of.resources } })
    }
  }

  /** One place to each class in turn, as long as something is free: no class takes all. */
  #placeNow(classes: readonly DemandClass[], nowMs: number, actions: SchedulerAction[]): void {
    let turns = classes.map((of) => ({
      of,
      heap: new CostHeap(of.feasible, of.costNow),
      candidates: candidatesOf(of, nowMs),
    }))
    while (turns.length > 0) {
      turns = turns.filter(({ heap, candidates }) => {
        const next = candidates.next()
        if (next.done === true) return false
        const record = next.value
        const { refusedBy } = record
        const isRefused =
          refusedBy && ((node: PlannedNode) => (refusedBy.get(node.state.node) ?? -1) >= node.state.version)
        const node = this.#homeFor(record, isRefused) ?? heap.best(isRefused)
        // Without refusals of its own, what is nothing for this one is nothing for the rest.
        if (node === undefined) return refusedBy !== undefined
        this.#place(record, node, 'now', nowMs, actions)
        return true
      })
    }
  }

  /** The node whose client asks, if that is where it should be served. */
  #homeFor({ demand, of }: DemandRecord, isRefused?: (node: PlannedNode) => boolean): PlannedNode | undefined {
    const home = this.#nodes.get(demand.home)
    if (home === undefined || !of.isFeasible(home) || isRefused?.(home) === true) return undefined
    return home.fits(of.resources) && of.policy.prefersHome?.(of, home) === true ? home : undefined
  }

  #placeInQueues(of: DemandClass, nowMs: number, actions: SchedulerAction[]): void {
    if (of.waiting.size === 0) return
    const heap = new CostHeap(of.feasible, of.costQueued)
    for (const record of [...of.waiting.values()]) {
      const best = heap.best()
      if (best === undefined) return
      const home = this.#nodes.get(record.demand.home)
      const isHomeAsGood = home !== undefined && of.isFeasible(home) && of.costQueued(home) <= of.costQueued(best)
      this.#place(record, isHomeAsGood ? home : best, 'queue', nowMs, actions)
    }
  }

  #place(
    record: DemandRecord,
    node: PlannedNode,
    mode: 'now' | 'queue',
    nowMs: number,
    actions: SchedulerAction[],
  ): void {
    const { demand, of } = record
    this.#leave(record)
    record.place = { node: node.state.node, mode, atMs: nowMs }
    if (mode === 'now') {
      node.take(of.resources)
      of.noteGiven(node.state.node)
      this.#asked.set(demand.key, record)
      of.askedCount++
    } else {
      node.queued++
      of.queued.set(demand.key, record)
    }
    actions.push({ type: 'place', key: demand.key, home: demand.home, node: node.state.node, mode })
  }
}

/** Those without a place, then those that have stood in a queue for a while. */
function* candidatesOf(of: DemandClass, nowMs: number): Generator<DemandRecord> {
  yield* [...of.waiting.values()]
  for (const record of [...of.queued.values()]) {
    if (nowMs - (record.place?.atMs ?? nowMs) < quantumMs) return
    yield record
  }
}

function ageOf(of: DemandClass): number {
  const [first] = of.waiting.values()
  return first?.demand.requestedAtMs ?? Infinity
}

/** What a device is, however much of it is free. */
const gpuFields = ['type', 'memoryBytes']

function isSameInAll(a: SchedulerNode, b: SchedulerNode): boolean {
  return (
    a.isOpen === b.isOpen &&
    JSON.stringify(a.total) === JSON.stringify(b.total) &&
    JSON.stringify(a.gpus, gpuFields) === JSON.stringify(b.gpus, gpuFields) &&
    JSON.stringify(a.labels) === JSON.stringify(b.labels)
  )
}
