import assert from 'node:assert/strict'
import { packBundles } from '../../node/groups/pack-bundles.ts'
import { Room } from '../../node/groups/room.ts'
import { nodeOf, ownerOf, type NodeId } from '../../protocols/ids.ts'
import {
  placementStrategies,
  type BundleSpec,
  type GroupId,
  type GroupReport,
} from '../../protocols/placement-groups.ts'
import { GroupNode, type GroupClient } from './group-node.ts'
import { VirtualClock } from './routing-clock.ts'
import { SimulatedNetwork } from './routing-network.ts'
import { pick, randomOffer, type NodeOffer } from './routing-wishes.ts'
import { seededRandom } from './seeded-random.ts'

export interface GroupWorldSettings {
  readonly seed: number
  /** How often single messages are lost, or come twice, on links that are up. */
  readonly lossShare?: number
  readonly doubleShare?: number
  /** Messages of this name are lost, all of them, to see that it is found out. */
  readonly neverArrives?: string
}

const stormMs = 6_000
/** Reservations that nobody claims any more are given up by then, and everything has come to rest. */
const restMs = 36_000

/**
 * Some nodes with programs that make placement groups, run tasks in them and remove them, and what befalls them, all by
 * chance from one seed: a storm, then calm. In every moment no node has given out more than it has; in the end every group
 * has all of its bundles, or none could be placed, and nothing else is reserved.
 */
export class GroupWorld {
  readonly settings: GroupWorldSettings
  readonly clock = new VirtualClock()
  readonly random: () => number
  readonly network: SimulatedNetwork
  readonly nodes = new Map<NodeId, GroupNode>()
  readonly counts = new Map<string, number>()
  readonly #offers = new Map<NodeId, NodeOffer>()
  /** Nodes that were cut off from others, or died: groups of theirs may end for that. */
  readonly #brokenHomes = new Set<string>()
  readonly #removed = new Set<GroupId>()
  #termCounter = 0
  #isCalm = false

  constructor(settings: GroupWorldSettings) {
    this.settings = settings
    const random = (this.random = seededRandom(settings.seed))
    this.network = new SimulatedNetwork({ ...settings, clock: this.clock, random, onLost: () => this.count('lost') })
    const count = 1 + Math.floor(random() * 5)
    for (let index = 1; index <= count; index++) {
      this.#offers.set(index.toString(16).padStart(16, '0'), randomOffer(random))
    }
  }

  /** Throws AssertionError when a rule is broken. */
  run(): void {
    this.clock.installed(() => {
      try {
        this.#run()
      } finally {
        for (const node of this.nodes.values()) node.crash()
      }
    })
  }

  #run(): void {
    for (const id of this.#offers.keys()) this.#start(id)
    this.#elect()
    this.#storm()
    this.clock.run(stormMs)
    this.#calmDown()
    this.clock.run(restMs)
    this.#checkRest()
    // Now with single faults no more: what can be placed is, and all ends with the programs.
    for (const client of this.#clients()) this.#nodeOf(client).clientGone(client.id)
    this.clock.run(1_000)
    for (const node of this.nodes.values()) {
      assert.deepEqual(node.book.load().available, node.book.load().total, `all of ${node.id} is free`)
      assert.deepEqual(node.desk.ownReports(), [])
      assert.deepEqual(node.book.snapshot().bundles, [])
      assert.deepEqual([...node.desk.waiting()], [])
    }
  }

  // --- the storm

  #storm(): void {
    const isFine = this.random() < 0.2
    const kinds: { share: number; everyMs: number; happen: () => void }[] = [
      { share: 1, everyMs: 80, happen: () => this.#createGroup() },
      { share: 1, everyMs: 120, happen: () => this.#removeGroup() },
      { share: 1, everyMs: 40, happen: () => this.#runTask() },
      { share: 0.5, everyMs: 60, happen: () => this.#anyNode()?.runOther() },
      { share: isFine ? 0 : 0.5, everyMs: 600, happen: () => this.#endClient() },
      { share: isFine ? 0 : 0.5, everyMs: 500, happen: () => this.#breakLink() },
      { share: isFine ? 0 : 0.4, everyMs: 1500, happen: () => this.#crash() },
      { share: isFine ? 0 : 0.5, everyMs: 900, happen: () => this.#changeHead() },
    ]
    for (const { share, everyMs, happen } of kinds) if (this.random() < share) this.#goOn(everyMs, happen)
  }

  #goOn(everyMs: number, happen: () => void): void {
    this.clock.after(this.random() * 2 * everyMs, () => {
      if (this.#isCalm) return
      happen()
      this.#goOn(everyMs, happen)
    })
  }

  #createGroup(): void {
    const { random } = this
    const client = pick(random, this.#clients())
    if (client === undefined || client.groups.size > 6) return
    const bundles = Array.from({ length: 1 + Math.floor(random() * 4) }, (): BundleSpec => {
      const gpu = random() < 0.15 ? { GPU: random() < 0.5 ? 1 : 0.5 } : {}
      const labels = random() < 0.2 ? { zone: { in: ['lab1'] } } : {}
      return { resources: { CPU: pick(random, [0.5, 1, 1, 2]) ?? 1, ...gpu }, labels }
    })
    const strategy = pick(random, placementStrategies) ?? 'PACK'
    this.#nodeOf(client).createGroup(client, strategy, bundles)
    this.count('created')
  }

  #removeGroup(): void {
    const client = pick(this.random, this.#clients())
    const group = pick(this.random, client?.groups.keys() ?? [])
    if (client === undefined || group === undefined) return
    this.#removed.add(group)
    this.#nodeOf(client).removeGroup(client, group)
  }

  /** In a group of its own, or one that it was handed. */
  #runTask(): void {
    const { random } = this
    const client = pick(random, this.#clients())
    const owner = random() < 0.7 ? client : pick(random, this.#clients())
    const group = pick(random, owner?.groups.keys() ?? [])
    if (client === undefined || group === undefined) return
    this.#nodeOf(client).runTask(client, group, random() < 0.5 ? 'any' : 0)
  }

  #endClient(): void {
    const client = pick(this.random, this.#clients())
    if (client === undefined) return
    const node = this.#nodeOf(client)
    for (const group of client.groups.keys()) this.#removed.add(group)
    node.clientGone(client.id)
    node.addClient()
  }

  #breakLink(): void {
    const [a, b] = [this.#anyNode(), this.#anyNode()]
    if (a === undefined || b === undefined || a === b) return
    this.count('links broken')
    this.network.cut(a.id, b.id)
    this.clock.after(this.random() * 1500, () => {
      if (!a.isDead && !b.isDead) this.network.connect(a, b)
    })
  }

  #crash(): void {
    const node = this.#anyNode()
    if (node === undefined || this.nodes.size < 2) return
    this.count('crashes')
    for (const { groups } of node.clients.values()) for (const group of groups.keys()) this.#removed.add(group)
    this.nodes.delete(node.id)
    node.crash()
    this.network.cutAll(node.id)
    this.clock.after(this.random() * 1500, () => this.#start(node.id))
  }

  #changeHead(): void {
    this.count('heads changed')
    const hasGap = this.random() < 0.4
    if (hasGap) this.#elect(true)
    this.clock.after(hasGap ? 300 + this.random() * 700 : 0, () => this.#elect())
  }

  #calmDown(): void {
    this.#isCalm = true
    this.network.isCalm = true
    for (const id of this.#offers.keys()) this.#start(id)
    for (const a of this.nodes.values()) {
      for (const b of this.nodes.values()) if (a.id < b.id) this.network.connect(a, b)
    }
    this.clock.run(500)
    this.#elect()
  }

  #start(id: NodeId): void {
    const offer = this.#offers.get(id)
    if (offer === undefined || this.nodes.has(id)) return
    const node = new GroupNode(this, id, offer)
    for (const other of this.nodes.values()) this.network.connect(node, other)
    this.nodes.set(id, node)
    node.open()
    node.addClient()
    node.addClient()
    if (this.#termCounter > 0) this.clock.after(200, () => this.#elect())
  }

  #elect(isNone = false): void {
    const head = isNone ? undefined : this.#anyNode()
    const term = head === undefined ? undefined : { counter: ++this.#termCounter, head: head.id }
    for (const node of this.nodes.values()) {
      this.clock.after(node === head ? 0 : this.random() * 100, () => {
        if (!node.isDead) node.onElected(term)
      })
    }
  }

  // --- what must hold

  /** Looked at after whatever has happened at a node. */
  look({ id, book }: GroupNode): void {
    const { available } = book.load()
    for (const [name, amount] of Object.entries(available)) {
      assert.ok(amount >= 0, `node ${id} has given out more ${name} than it has: ${amount} is free`)
    }
  }

  refused(group: GroupId, error: string): void {
    this.count(`refused: ${error}`)
    if (error === 'infeasible' || error === 'workerLimit') return
    assert.equal(error, 'groupRemoved')
    const isKnown = this.#removed.has(group) || this.#brokenHomes.has(nodeOf(group))
    assert.ok(isKnown, `a task was refused because group ${group} is gone, and nobody has removed it`)
  }

  linkDown(node: GroupNode, other: NodeId): void {
    this.#brokenHomes.add(node.id)
    this.#brokenHomes.add(other)
  }

  #checkRest(): void {
    const held = new Set<string>()
    for (const node of this.nodes.values()) {
      for (const { group, index, isClaimed } of node.book.snapshot().bundles) {
        assert.ok(isClaimed, `bundle ${index} of ${group} is reserved at ${node.id} and was never claimed`)
        held.add(`${group}|${index}|${node.id}`)
      }
    }
    for (const node of this.nodes.values()) {
      for (const report of node.desk.ownReports()) this.#checkGroup(node, report, held)
    }
    assert.deepEqual([...held], [], 'bundles are reserved for nobody')
    for (const client of this.#clients()) {
      for (const [requestId, group] of client.open) this.#checkWaiting(this.#nodeOf(client), requestId, group)
      const made = new Set([...this.#nodeOf(client).desk.ownReports()].map(({ id }) => id))
      for (const group of client.groups.keys()) assert.ok(made.has(group), `group ${group} has vanished`)
    }
  }

  /** It has all of its bundles where it says, or there is no way to place what is missing. */
  #checkGroup(home: GroupNode, report: GroupReport, held: Set<string>): void {
    const { id, strategy, bundles, state, reason } = report
    const client = home.clients.get(ownerOf(id))
    assert.ok(client !== undefined && client.groups.has(id), `group ${id} is there, and should have been removed`)
    assert.equal(client.groups.get(id)?.told?.state, state, 'its program has been told how it stands')
    bundles.forEach(({ node }, index) => {
      if (node === undefined) return
      assert.ok(held.delete(`${id}|${index}|${node}`), `bundle ${index} of ${id} is not at ${node}, as its home says`)
    })
    const places = bundles.flatMap(({ node }) => (node === undefined ? [] : [node]))
    const nodeCount = new Set(places).size
    if (strategy === 'STRICT_PACK') assert.ok(nodeCount <= 1, `${id}, STRICT_PACK, is on ${nodeCount} nodes`)
    if (strategy === 'STRICT_SPREAD') assert.equal(nodeCount, places.length, `${id}, STRICT_SPREAD, shares nodes`)
    this.count(`at rest: ${state}`)
    if (state === 'ready') {
      assert.equal(places.length, bundles.length)
      return
    }
    const missing = bundles.flatMap(({ node, ...bundle }, index) => (node === undefined ? [{ index, ...bundle }] : []))
    const rooms = Array.from(this.nodes.values(), ({ id: node, offer, book }) => {
      const { total, available } = book.load()
      return new Room({ node, labels: offer.labels, total, free: available })
    })
    // GPUs may be free in parts that do not make a whole one.
    if (missing.some(({ resources }) => (resources['GPU'] ?? 0) > 0)) return
    const packing = packBundles({ strategy, bundles: missing, placed: places, home: home.id }, rooms)
    assert.equal(typeof packing, 'string', `group ${id} is ${state} (${reason}), and there is room for it`)
  }

  /** Tasks wait only for groups that wait. */
  #checkWaiting({ id: node, desk }: GroupNode, requestId: number, group: GroupId): void {
    const [waiting] = [...desk.waiting()].filter(({ request }) => request.requestId === requestId)
    const what = `task ${requestId} of ${node} (at ${waiting?.at ?? 'no place'}, ${waiting?.reason ?? 'forgotten'})`
    const home = this.nodes.get(nodeOf(group))
    const report = home?.desk.ownReports().find(({ id }) => id === group)
    assert.ok(report, `${what} waits for group ${group}, which is not there`)
    assert.equal(report.state, 'pending', `${what} waits for group ${group}`)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  #clients(): GroupClient[] {
    return [...this.nodes.values()].flatMap(({ clients }) => [...clients.values()])
  }

  #nodeOf({ id }: GroupClient): GroupNode {
    const node = this.nodes.get(nodeOf(id))
    assert.ok(node)
    return node
  }

  #anyNode(): GroupNode | undefined {
    return pick(this.random, this.nodes.values())
  }
}
