import type { NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { formatResources } from '../../protocols/resources.ts'
import { matchesLabels, type Labels, type SchedulingStrategy } from '../../protocols/scheduling.ts'

export interface SchedulerNode {
  node: NodeId
  total: ResourceSet
  available: ResourceSet
  labels: Labels
  queued: number
  version: number
  isOpen: boolean
}
export interface Demand {
  key: string
  home: NodeId
  resources: ResourceSet
  strategy: SchedulingStrategy
  depth: number
  label: string
  requestedAtMs: number
}
export type SchedulerAction =
  | { type: 'place'; key: string; home: NodeId; node: NodeId; mode: 'now' | 'queue' }
  | { type: 'infeasible'; key: string; home: NodeId; reason: string; details: Record<string, unknown> }
  | { type: 'feasible'; key: string; home: NodeId }

interface Known {
  state: SchedulerNode
  free: Map<string, number>
  placed: number
  queue: number
}
interface Entry {
  demand: Demand
  place?: { node: NodeId; mode: 'now' | 'queue'; atMs: number } | undefined
  infeasible?: string | undefined
  refusedBy: Map<NodeId, number>
}

export class Scheduler {
  readonly #nodes = new Map<NodeId, Known>()
  readonly #entries = new Map<string, Entry>()
  get pendingCount(): number {
    return this.#entries.size
  }
  nodeChanged(state: SchedulerNode): void {
    const before = this.#nodes.get(state.node)
    if (before !== undefined && before.state.version > state.version) return
    this.#nodes.set(state.node, {
      state,
      free: new Map(Object.entries(state.available)),
      placed: before?.placed ?? 0,
      queue: state.queued,
    })
  }
  nodeGone(node: NodeId): void {
    this.#nodes.delete(node)
    for (const e of this.#entries.values()) if (e.place?.node === node) e.place = undefined
  }
  add(demand: Demand): void {
    if (!this.#entries.has(demand.key)) this.#entries.set(demand.key, { demand, refusedBy: new Map() })
    else {
      const e = this.#entries.get(demand.key)!
      e.place = undefined
      e.infeasible = undefined
    }
  }
  remove(key: string): void {
    this.#entries.delete(key)
  }
  granted(key: string): void {
    this.#entries.delete(key)
  }
  refused(key: string, state: SchedulerNode): void {
    const e = this.#entries.get(key)
    this.nodeChanged(state)
    if (e === undefined) return
    e.refusedBy.set(state.node, state.version)
    if (e.place?.node === state.node) e.place = undefined
  }
  step(nowMs: number): SchedulerAction[] {
    const actions: SchedulerAction[] = []
    for (const e of this.#entries.values()) {
      if (e.place?.mode === 'now') {
        if (nowMs - e.place.atMs < 3000) continue
        e.place = undefined
      }
      if (e.place?.mode === 'queue' && nowMs - e.place.atMs < 200) continue
      const { demand } = e
      const can = [...this.#nodes.values()].filter((n) => this.#never(n.state, demand) === undefined)
      if (can.length === 0) {
        const reason = `asked for ${formatResources(demand.resources)}; none of ${this.#nodes.size} nodes can ever run it`
        if (e.infeasible !== reason) {
          e.infeasible = reason
          actions.push({ type: 'infeasible', key: demand.key, home: demand.home, reason, details: {} })
        }
        continue
      }
      if (e.infeasible !== undefined) {
        e.infeasible = undefined
        actions.push({ type: 'feasible', key: demand.key, home: demand.home })
      }
      const fits = can.filter(
        (n) =>
          !((e.refusedBy.get(n.state.node) ?? -1) >= n.state.version) &&
          Object.entries(demand.resources).every(([k, v]) => (n.free.get(k) ?? 0) >= v),
      )
      if (fits.length > 0) {
        const best = fits.reduce((a, b) => (this.#cost(b, demand) < this.#cost(a, demand) ? b : a))
        for (const [k, v] of Object.entries(demand.resources)) best.free.set(k, (best.free.get(k) ?? 0) - v)
        best.placed++
        e.place = { node: best.state.node, mode: 'now', atMs: nowMs }
        actions.push({ type: 'place', key: demand.key, home: demand.home, node: best.state.node, mode: 'now' })
      } else if (e.place === undefined) {
        const best = can.reduce((a, b) => (b.queue < a.queue ? b : a))
        best.queue++
        e.place = { node: best.state.node, mode: 'queue', atMs: nowMs }
        actions.push({ type: 'place', key: demand.key, home: demand.home, node: best.state.node, mode: 'queue' })
      }
    }
    return actions
  }
  #cost(n: Known, d: Demand): number {
    if (d.strategy.kind === 'spread') return n.placed
    let busiest = 0
    for (const [k, t] of Object.entries(n.state.total))
      if (t > 0) busiest = Math.max(busiest, (t - (n.free.get(k) ?? 0)) / t)
    return busiest + (n.state.node === d.home ? -0.01 : 0)
  }
  #never(n: SchedulerNode, d: Demand): string | undefined {
    if (!n.isOpen) return 'closed'
    if (d.strategy.kind === 'node' && !d.strategy.isSoft && d.strategy.node !== n.node) return 'another node'
    if (d.strategy.kind === 'labels' && !matchesLabels(n.labels, d.strategy.selector)) return 'labels'
    for (const [k, v] of Object.entries(d.resources)) if ((n.total[k] ?? 0) < v) return k
    return undefined
  }
  explain(key: string): { node: NodeId; verdict: 'fits' | 'busy' | 'never' | 'closed'; reason: string }[] {
    const e = this.#entries.get(key)
    if (e === undefined) return []
    return [...this.#nodes.values()].map((n) => ({
      node: n.state.node,
      verdict: this.#never(n.state, e.demand) === undefined ? ('busy' as const) : ('never' as const),
      reason: this.#never(n.state, e.demand) ?? '',
    }))
  }
}
