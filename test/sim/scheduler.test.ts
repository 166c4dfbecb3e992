import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ResourceLedger, type Allocation } from '../../node/resources/ledger.ts'
import { Scheduler } from '../../node/scheduler/scheduler.ts'
import type { Demand, SchedulerNode } from '../../node/scheduler/scheduler-types.ts'
import { seededRandom } from '../support/seeded-random.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 100)

interface SimNode {
  id: string
  ledger: ResourceLedger
  version: number
  queue: Demand[]
  isUp: boolean
}

/** Nodes that grant and refuse by their own books, and a head that hears of it late, out of order, or not at all. */
class World {
  readonly scheduler = new Scheduler()
  readonly #random: () => number
  readonly #nodes: SimNode[]
  #events: { atMs: number; run: () => void }[] = []
  nowMs = 0
  readonly granted = new Set<string>()
  readonly #open = new Map<string, Demand>()

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.#nodes = Array.from({ length: 2 + Math.floor(this.#random() * 6) }, (_, index) => ({
      id: (index + 1).toString(16).padStart(16, '0'),
      ledger: new ResourceLedger({ CPU: 1 + Math.floor(this.#random() * 4) }),
      version: 1,
      queue: [],
      isUp: true,
    }))
  }

  #after(delayMs: number, run: () => void): void {
    this.#events.push({ atMs: this.nowMs + delayMs, run })
  }

  #stateOf(node: SimNode): SchedulerNode {
    const { total, available } = node.ledger
    return {
      node: node.id,
      total,
      available,
      labels: {},
      queued: node.queue.length,
      version: ++node.version,
      isOpen: true,
    }
  }

  #tell(node: SimNode): void {
    const state = this.#stateOf(node)
    if (this.#random() < 0.2) return
    this.#after(this.#random() * 30, () => node.isUp && this.scheduler.nodeChanged(state))
  }

  #hold(node: SimNode, demand: Demand, allocation: Allocation): void {
    assert.ok(!this.granted.has(demand.key), `${demand.key} was granted twice`)
    this.granted.add(demand.key)
    this.#open.delete(demand.key)
    this.#after(this.#random() * 5, () => this.scheduler.granted(demand.key))
    this.#after(5 + this.#random() * 200, () => {
      node.ledger.release(allocation)
      this.#serveQueue(node)
      this.#tell(node)
    })
    this.#tell(node)
  }

  #serveQueue(node: SimNode): void {
    for (const demand of [...node.queue]) {
      const allocation = node.ledger.tryAcquire(demand.resources)
      if (allocation === undefined) continue
      node.queue.splice(node.queue.indexOf(demand), 1)
      this.#hold(node, demand, allocation)
    }
  }

  /** The home asks the node that was named; if it had asked another before, it asks that no more. */
  #ask(demand: Demand, id: string, mode: 'now' | 'queue'): void {
    if (!this.#open.has(demand.key)) return
    for (const { queue } of this.#nodes) {
      const at = queue.indexOf(demand)
      if (at !== -1) queue.splice(at, 1)
    }
    const node = this.#nodes.find((each) => each.id === id)
    if (node?.isUp !== true) {
      this.#after(5, () => this.scheduler.unplaced(demand.key))
      return
    }
    const allocation = node.ledger.tryAcquire(demand.resources)
    if (allocation !== undefined) this.#hold(node, demand, allocation)
    else if (mode === 'queue') node.queue.push(demand)
    else {
      const state = this.#stateOf(node)
      this.#after(this.#random() * 10, () => this.#open.has(demand.key) && this.scheduler.refused(demand.key, state))
    }
  }

  #goDown(node: SimNode): void {
    node.isUp = false
    const lost = node.queue.splice(0)
    this.scheduler.nodeGone(node.id)
    // Their homes see the link go down, too, and ask the head again.
    for (const demand of lost) this.#after(5, () => this.#open.has(demand.key) && this.scheduler.add(demand))
    this.#after(100 + this.#random() * 1000, () => {
      node.isUp = true
      this.scheduler.nodeChanged(this.#stateOf(node))
    })
  }

  run(): void {
    for (const node of this.#nodes) this.scheduler.nodeChanged(this.#stateOf(node))
    const count = 20 + Math.floor(this.#random() * 80)
    for (let index = 0; index < count; index++) {
      const home = this.#nodes[Math.floor(this.#random() * this.#nodes.length)] as SimNode
      const demand: Demand = {
        key: `d${index}`,
        home: home.id,
        resources: { CPU: this.#random() < 0.3 ? 0.5 : 1 },
        strategy: this.#random() < 0.3 ? { kind: 'spread' } : { kind: 'default' },
        depth: Math.floor(this.#random() * 3),
        label: 'task',
        requestedAtMs: 0,
      }
      this.#open.set(demand.key, demand)
      this.#after(this.#random() * 1000, () => this.scheduler.add(demand))
    }
    for (const node of this.#nodes) {
      if (this.#random() < 0.3) this.#after(this.#random() * 1500, () => this.#goDown(node))
    }
    // What nodes say is repeated at rest, so that lost news is made good.
    for (let atMs = 500; atMs < 30_000; atMs += 500) {
      this.#after(atMs, () => {
        for (const node of this.#nodes) if (node.isUp) this.scheduler.nodeChanged(this.#stateOf(node))
      })
    }
    for (this.nowMs = 0; this.nowMs < 30_000 && this.granted.size < count; this.nowMs += 10) this.#turn()
    assert.equal(this.granted.size, count, `${count - this.granted.size} of ${count} were never granted`)
  }

  #turn(): void {
    const due = this.#events.filter(({ atMs }) => atMs <= this.nowMs)
    this.#events = this.#events.filter(({ atMs }) => atMs > this.nowMs)
    for (const { run } of due) run()
    for (const action of this.scheduler.step(this.nowMs)) {
      if (action.type !== 'place') continue
      const demand = this.#open.get(action.key)
      if (demand !== undefined) this.#after(this.#random() * 10, () => this.#ask(demand, action.node, action.mode))
    }
  }
}

describe('scheduler, simulated', () => {
  test(`${runs} random runs: every demand is granted once, whatever is lost, late or refused`, () => {
    for (let seed = 1; seed <= runs; seed++) {
      try {
        new World(seed).run()
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  })
})
