import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { compareTerms, electionMessage, type ElectionMessage, type Term } from '../../protocols/election.ts'
import { Election } from '../../node/election/election.ts'
import type { ElectionEvent } from '../../node/election/election-events.ts'
import type { ElectionRules } from '../../node/election/election-rules.ts'
import { FenceQueue } from '../../node/election/fence-queue.ts'
import { seededRandom } from './seeded-random.ts'

/** What is wrong with the protocol in a run: for tests that show that the simulator would notice. */
export interface Mutation {
  readonly rules?: Partial<ElectionRules>
  /** The fence does not outlive a crash. */
  readonly isFenceVolatile?: boolean
  /** The clock stands still while the machine is suspended. */
  readonly isClockBlind?: boolean
  /** A write that has failed is taken for done. */
  readonly isFailureHidden?: boolean
}

export interface SimulatorOptions {
  readonly seed: number
  readonly mutation?: Mutation
  /** Faults while the clock is below this. */
  readonly faultsMs?: number
  /** Nodes; 2 to 9 by the seed else. */
  readonly size?: number
  /** A network as in a building: messages take some milliseconds, none is lost. */
  readonly isCalm?: boolean
  /** How the disks are; by the seed else, and in order once it is calm. */
  readonly disk?: SimDisk
}

interface SimDisk {
  /** A write takes up to this. */
  readonly writeMsMax: number
  /** So many writes fail: half of these have reached the disk all the same. */
  readonly failureShare: number
}

const goodDisk: SimDisk = { writeMsMax: 30, failureShare: 0 }

const tickMs = 50
const calmMs = 6000
const clockRate = 0.01

interface SimNode {
  readonly id: string
  readonly index: number
  readonly rate: number
  readonly offsetMs: number
  readonly startedAtMs: number
  election: Election
  /** Goes up with every crash: what was under way before is forgotten. */
  life: number
  isUp: boolean
  /** While its process does not run, by a stall or because its machine sleeps. */
  isFrozen: boolean
  frozenSinceMs: number
  /** What a clock that is blind to suspends has missed. */
  missedMs: number
  disk: Term | undefined
  /** What its present life has to write. */
  fences: FenceQueue
  /** The highest term that it has supported, in all its lives. */
  supported: Term | undefined
  reportedTo: Set<string>
  backlog: { from: string; bytes: Uint8Array }[]
}

/** A run that has broken one of the guarantees. */
export class Violation extends Error {}

/**
 * Nodes that elect a head, in virtual time: the very reducer of the product, on clocks that run apart, over links that lose,
 * delay and are cut, on machines that crash, sleep and stall. Everything comes from the seed.
 */
export class ElectionSimulator {
  readonly nodes: SimNode[] = []
  readonly #random: () => number
  readonly #mutation: Mutation
  #lossShare: number
  #isCalm: boolean
  #disk: SimDisk
  readonly #cuts = new Set<string>()
  /** Ways of links that are down, and known to be. */
  readonly #down = new Set<string>()
  readonly #queue: { atMs: number; order: number; run: () => void }[] = []
  #order = 0
  nowMs = 0
  /** Who began to act, and when. */
  readonly heads: { node: string; term: Term; atMs: number }[] = []

  constructor({ seed, mutation = {}, size, isCalm = false, disk }: SimulatorOptions) {
    this.#random = seededRandom(seed)
    this.#mutation = mutation
    this.#isCalm = isCalm
    this.#lossShare = isCalm ? 0 : this.#random() * 0.1
    this.#disk = disk ?? (isCalm ? goodDisk : this.#anyDisk())
    const count = size ?? 2 + Math.floor(this.#random() * 8)
    for (let index = 0; index < count; index++) this.#addNode(index)
    for (const node of this.nodes) this.#after(this.#random() * 300, () => this.#boot(node))
  }

  /** Half of the meshes have good ones. */
  #anyDisk(): SimDisk {
    if (this.#random() < 0.5) return goodDisk
    return { writeMsMax: 30 + this.#random() ** 3 * 1500, failureShare: this.#random() * 0.4 }
  }

  #addNode(index: number): void {
    const node: SimNode = {
      id: (index + 1).toString(16).padStart(16, '0'),
      index,
      rate: 1 + (this.#random() * 2 - 1) * clockRate * 0.99,
      offsetMs: this.#random() * 1e6,
      startedAtMs: Math.floor(this.#random() * 1e6),
      election: undefined as never,
      life: 0,
      isUp: false,
      isFrozen: false,
      frozenSinceMs: 0,
      missedMs: 0,
      disk: undefined,
      fences: new FenceQueue(),
      supported: undefined,
      reportedTo: new Set(),
      backlog: [],
    }
    this.nodes.push(node)
  }

  // --- the world

  #after(delayMs: number, run: () => void): void {
    const entry = { atMs: this.nowMs + delayMs, order: this.#order++, run }
    const queue = this.#queue
    let at = queue.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(queue[parent] as typeof entry, entry)) break
      queue[at] = queue[parent] as typeof entry
      at = parent
    }
    queue[at] = entry
  }

  #pop(): { atMs: number; run: () => void } | undefined {
    const queue = this.#queue
    const first = queue[0]
    const last = queue.pop()
    if (first === undefined || last === undefined || queue.length === 0) return first
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= queue.length) break
      if (child + 1 < queue.length && isBefore(queue[child + 1] as typeof last, queue[child] as typeof last)) child++
      if (isBefore(last, queue[child] as typeof last)) break
      queue[at] = queue[child] as typeof last
      at = child
    }
    queue[at] = last
    return first
  }

  runUntil(endMs: number): void {
    while (this.#queue.length > 0 && (this.#queue[0]?.atMs ?? Infinity) <= endMs) {
      const next = this.#pop()
      if (next === undefined) break
      this.nowMs = next.atMs
      next.run()
    }
    this.nowMs = endMs
  }

  localMs(node: SimNode): number {
    return node.offsetMs + (this.nowMs - node.missedMs) * node.rate
  }

  // --- machines

  #boot(node: SimNode): void {
    node.life++
    node.isUp = true
    node.isFrozen = false
    node.fences = new FenceQueue()
    node.backlog = []
    const fence = this.#mutation.isFenceVolatile === true ? undefined : node.disk
    node.election = new Election({
      self: node.id,
      rank: { kind: node.index % 2, startedAtMs: node.startedAtMs },
      fence,
      nowMs: this.localMs(node),
      random: this.#random,
      rules: {
        ...this.#mutation.rules,
        ...(this.#mutation.isFenceVolatile === true ? { quietMs: () => 1020 } : {}),
      },
    })
    this.#tellPeers(node)
    this.#tick(node, node.life)
  }

  #tellPeers(node: SimNode): void {
    const peers = this.nodes
      .filter(({ id }) => id !== node.id && !this.#down.has(`${node.id}>${id}`))
      .map(({ id }) => id)
    this.#step(node, { type: 'peersChanged', peers })
  }

  #tick(node: SimNode, life: number): void {
    if (!node.isUp || node.life !== life || node.isFrozen) return
    this.#step(node, { type: 'tick' })
    this.#after(tickMs * (0.8 + this.#random() * 0.4), () => this.#tick(node, life))
  }

  crash(node: SimNode): void {
    node.isUp = false
    node.life++
  }

  /** An orderly end. */
  stop(node: SimNode): void {
    this.#step(node, { type: 'stop' })
    this.crash(node)
  }

  restart(node: SimNode): void {
    if (!node.isUp) this.#boot(node)
  }

  freeze(node: SimNode): void {
    if (!node.isUp || node.isFrozen) return
    node.isFrozen = true
    node.frozenSinceMs = this.nowMs
  }

  /** `isSleep`: the machine was suspended, which some clocks do not see. */
  thaw(node: SimNode, isSleep: boolean): void {
    if (!node.isUp || !node.isFrozen) return
    node.isFrozen = false
    if (isSleep && this.#mutation.isClockBlind === true) node.missedMs += this.nowMs - node.frozenSinceMs
    // A process that goes on finds its messages waiting, and its timers late.
    const backlog = node.backlog.splice(0)
    for (const { from, bytes } of backlog) this.#deliver(node, from, bytes)
    this.#tick(node, node.life)
  }

  cut(from: SimNode, to: SimNode): void {
    this.#cuts.add(`${from.id}>${to.id}`)
  }

  /** The link between two nodes is down for a while, or another takes its place at once. Both see it. */
  breakLink(a: SimNode, b: SimNode, forMs: number): void {
    const ends = [
      [a, b],
      [b, a],
    ] as const
    for (const [from, to] of ends) {
      if (forMs > 0) this.#down.add(`${from.id}>${to.id}`)
      if (!from.isUp) continue
      this.#tellPeers(from)
      from.reportedTo.delete(to.id)
      this.#step(from, { type: 'linkDown', node: to.id })
    }
    this.#after(forMs, () => {
      for (const [from, to] of ends) {
        this.#down.delete(`${from.id}>${to.id}`)
        if (from.isUp) this.#tellPeers(from)
      }
    })
  }

  healAll(): void {
    this.#cuts.clear()
  }

  partition(side: ReadonlySet<SimNode>): void {
    for (const a of this.nodes) {
      for (const b of this.nodes) if (side.has(a) !== side.has(b)) this.cut(a, b)
    }
  }

  // --- the protocol

  #step(node: SimNode, event: ElectionEvent): void {
    const { messages, actions } = node.election.step(event, this.localMs(node))
    for (const { to, message, wantsReport } of messages) {
      if (message.type === 'support') this.#onSupport(node, message.term)
      const isReport = wantsReport === true && message.type === 'support'
      this.#transmit(node, to, isReport ? { ...message, report: Uint8Array.of(1) } : message)
    }
    for (const action of actions) {
      if (action.type === 'persistFence') this.#write(node, node.fences.want(action.term))
      else if (action.type === 'startActing') {
        this.heads.push({ node: node.id, term: action.term, atMs: this.nowMs })
        node.reportedTo.clear()
      } else if (action.type === 'reported') node.reportedTo.add(action.node)
    }
    this.#checkDisjoint(node)
  }

  #write(node: SimNode, term: Term | undefined): void {
    if (term === undefined) return
    const { life } = node
    const { writeMsMax, failureShare } = this.#disk
    this.#after(1 + this.#random() * writeMsMax, () => {
      if (node.life !== life || !node.isUp) return
      const isWritten = this.#random() >= failureShare
      if (isWritten || this.#random() < 0.5) node.disk = term
      const ended = (): void => {
        if (node.life !== life || !node.isUp) return
        if (node.isFrozen) {
          this.#after(20, ended)
          return
        }
        const isDone = isWritten || this.#mutation.isFailureHidden === true
        this.#step(node, { type: isDone ? 'fencePersisted' : 'fenceFailed', term })
        this.#write(node, node.fences.ended(isDone))
      }
      ended()
    })
  }

  #transmit(node: SimNode, to: string, message: ElectionMessage): void {
    const writer = new ByteWriter(64)
    electionMessage.write(writer, message)
    const bytes = writer.take()
    const target = this.nodes.find(({ id }) => id === to) as SimNode
    if (this.#random() < this.#lossShare) return
    const delayMs = this.#isCalm ? 0.3 + this.#random() * 5 : 0.5 + this.#random() * (this.#random() < 0.05 ? 150 : 15)
    this.#after(delayMs, () => {
      const way = `${node.id}>${to}`
      if (this.#cuts.has(way) || this.#down.has(way) || !target.isUp) return
      if (target.isFrozen) {
        if (target.backlog.length < 1000) target.backlog.push({ from: node.id, bytes })
      } else this.#deliver(target, node.id, bytes)
    })
  }

  #deliver(node: SimNode, from: string, bytes: Uint8Array): void {
    if (!node.isUp) return
    const message = electionMessage.read(new ByteReader(Buffer.from(bytes)))
    this.#step(node, { type: 'message', from, message })
  }

  // --- the guarantees

  /** G1: the terms that a node obeys never go back. */
  #onSupport(node: SimNode, term: Term): void {
    if (node.supported !== undefined && compareTerms(term, node.supported) < 0) {
      throw new Violation(`G1: node ${node.id} supported term ${show(node.supported)} and then ${show(term)}`)
    }
    node.supported = term
  }

  /** G2: no two heads believe at once that they hold the same node. */
  #checkDisjoint(node: SimNode): void {
    const held = this.#held(node)
    if (held.length === 0) return
    for (const other of this.nodes) {
      if (other === node || !other.isUp || other.isFrozen) continue
      const common = this.#held(other).find((id) => held.includes(id))
      if (common !== undefined) throw new Violation(`G2: ${node.id} and ${other.id} both hold ${common}`)
    }
  }

  #held(node: SimNode): string[] {
    return node.isUp ? node.election.heldNodes(this.localMs(node)) : []
  }

  acting(): SimNode[] {
    return this.nodes.filter(({ isUp, isFrozen, election }) => isUp && !isFrozen && election.isActing)
  }

  /** G3: those that all reach each other have one head, and all of them obey it; G6: all of them have reported to it. */
  assertOneHead(among: readonly SimNode[]): SimNode {
    const up = among.filter(({ isUp }) => isUp)
    const heads = up.filter(({ election }) => election.isActing)
    const [head] = heads
    if (head === undefined || heads.length > 1) throw new Violation(`G3: ${up.length} nodes have ${heads.length} heads`)
    for (const node of up) {
      if (node.election.head?.head !== head.id) {
        throw new Violation(`G3: node ${node.id} obeys ${node.election.head?.head ?? 'nobody'}, not ${head.id}`)
      }
      if (node !== head && !head.reportedTo.has(node.id)) throw new Violation(`G6: ${node.id} has not reported`)
    }
    return head
  }

  /** Random faults until `faultsMs`, then calm; checks the guarantees all along. */
  runRandom(faultsMs: number): void {
    this.#planFaults(faultsMs)
    this.runUntil(faultsMs)
    this.#lossShare = 0
    this.#isCalm = true
    this.#disk = goodDisk
    this.healAll()
    for (const node of this.nodes) {
      if (node.isFrozen) this.thaw(node, true)
      if (!node.isUp) this.restart(node)
    }
    this.runUntil(faultsMs + calmMs)
    this.assertOneHead(this.nodes)
  }

  #planFaults(untilMs: number): void {
    let atMs = 500 + this.#random() * 2500
    while (atMs < untilMs) {
      const kind = Math.floor(this.#random() * 7)
      this.#after(atMs - this.nowMs, () => this.#fault(kind))
      atMs += 200 + this.#random() * 3000
    }
  }

  /** Heads are hit more often: that is where it hurts. */
  #victim(): SimNode {
    const acting = this.acting()
    const from = acting.length > 0 && this.#random() < 0.5 ? acting : this.nodes
    return from[Math.floor(this.#random() * from.length)] as SimNode
  }

  #fault(kind: number): void {
    const node = this.#victim()
    const other = this.nodes[Math.floor(this.#random() * this.nodes.length)] as SimNode
    switch (kind) {
      case 0: {
        this.crash(node)
        this.#after(this.#random() < 0.5 ? this.#random() * 300 : this.#random() * 4000, () => this.restart(node))
        return
      }
      case 1: {
        this.freeze(node)
        this.#after(300 + this.#random() * 5000, () => this.thaw(node, true))
        return
      }
      case 2: {
        this.freeze(node)
        this.#after(100 + this.#random() * 1500, () => this.thaw(node, false))
        return
      }
      case 3:
        if (node !== other) this.cut(node, other)
        return
      case 4: {
        this.partition(new Set(this.nodes.filter(() => this.#random() < 0.5)))
        return
      }
      case 5:
        for (const each of this.nodes) if (each !== node) this.cut(each, node)
        return
      default:
        this.healAll()
    }
  }
}

function isBefore(a: { atMs: number; order: number }, b: { atMs: number; order: number }): boolean {
  return (a.atMs - b.atMs || a.order - b.order) < 0
}

function show({ counter, head }: Term): string {
  return `(${counter}, ${head})`
}
