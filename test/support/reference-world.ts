import assert from 'node:assert/strict'
import { OwnerDiedError } from '../../protocols/errors.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { MessageBody, MessageHandlers, MessageName } from '../../protocols/messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { Collector } from '../../sdk/objects/collector.ts'
import type { ObjectRecord } from '../../sdk/objects/object-record.ts'
import { ObjectRef, recordOf } from '../../sdk/objects/object-ref.ts'
import { ObjectExchange } from '../../sdk/runtime/object-exchange.ts'
import { ownerDied, Requests } from '../../sdk/runtime/requests.ts'
import { seededRandom } from './seeded-random.ts'

/** The link between two nodes is broken. */
interface Break {
  readonly nodes: readonly [NodeId, NodeId]
  /** Which of them know so. */
  readonly heard: Set<NodeId>
  /** Once it is mended: who has still to hear so. */
  waiting: Set<Process> | undefined
}

/** What is on its way from one place to another; it arrives in order. */
class Way {
  readonly messages: (() => void)[] = []
  /** How often it is chosen, by comparison with others: some ways are slow. */
  weight = 1
  isClosed = false

  push(arrive: () => void): void {
    if (!this.isClosed) this.messages.push(arrive)
  }
}

/** Garbage collection that finds what nothing refers to when the simulation wants it to. */
class SimulatedCollector implements Collector {
  readonly #registered = new Map<ObjectRecord, (() => void)[]>()
  readonly #dead = new WeakSet<ObjectRecord>()

  weakly(record: ObjectRecord): { deref(): ObjectRecord | undefined } {
    return { deref: () => (this.#dead.has(record) ? undefined : record) }
  }

  onCollected<T>(callback: (said: T) => void): (record: ObjectRecord, said: T) => void {
    return (record, said) => {
      const callbacks = this.#registered.get(record) ?? []
      this.#registered.set(record, callbacks)
      callbacks.push(() => callback(said))
    }
  }

  /** Records that have not been found to be garbage. */
  get count(): number {
    return this.#registered.size
  }

  /** Gives those that are garbage, with what is to be called for each, later. */
  collect(reached: ReadonlySet<ObjectRecord>): [ObjectRecord, (() => void)[]][] {
    const garbage = [...this.#registered].filter(([record]) => !reached.has(record))
    for (const [record] of garbage) {
      this.#registered.delete(record)
      this.#dead.add(record)
    }
    return garbage
  }
}

interface Task {
  readonly owner: Process
  readonly args: readonly ObjectRef[]
  readonly record: ObjectRecord
  worker: Process
  isDone: boolean
}

/** After how many breaks something was lent, and what of it the receiver can rely on. */
interface Lent {
  readonly after: number
  readonly ids: ReadonlySet<ObjectId>
}

interface Running {
  readonly task: Task
  readonly holds: readonly ObjectRef[]
}

/** A driver or a worker, as far as it has to do with objects. */
class Process {
  readonly id: ClientId
  readonly exchange: ObjectExchange
  readonly handlers: MessageHandlers
  readonly collector = new SimulatedCollector()
  /** What its user's code has in its hands, from task to task. */
  readonly variables: ObjectRef[] = []
  readonly gets = new Set<ObjectRef>()
  readonly tasks = new Set<Task>()
  readonly running = new Set<Running>()
  readonly gone = new Set<ClientId>()
  readonly goneNodes = new Set<NodeId>()
  /** What it was lent when no link was broken, and since when: the rule is strict for these until the next one breaks. */
  readonly sure = new WeakMap<ObjectRecord, number>()
  readonly toNode: Way
  readonly fromNode: Way
  /** Callbacks of collected records. */
  readonly finalizers: Way
  isAlive = true

  constructor(world: ReferenceWorld, id: ClientId) {
    this.id = id
    this.toNode = world.newWay()
    this.fromNode = world.newWay()
    this.finalizers = world.newWay()
    const requests = new Requests()
    const send = (name: MessageName, body: unknown): void => world.send(this, name, body as { to: ClientId })
    this.exchange = new ObjectExchange(
      {
        connection: { welcome: { clientId: id } as MessageBody<'welcome'>, send },
        requests,
        encodeError: (error) => world.errorValue(error as Error),
        onReleased: () => undefined,
        checkLost: () => Promise.resolve(undefined),
        sendLent: () => undefined,
      },
      this.collector,
    )
    this.handlers = {
      ...this.exchange.handlers(),
      undeliverable: ({ requestId, client }) => requests.fail(requestId, ownerDied(client)),
    }
  }

  handle(name: MessageName, body: unknown): void {
    if (this.isAlive) (this.handlers[name] as (body: unknown) => void)(body)
  }

  /** All that the process can come to by itself. */
  reached(): Set<ObjectRecord> {
    const reached = new Set<ObjectRecord>()
    const open: ObjectRecord[] = [...this.exchange.owned.borrowed()]
    const roots = [this.variables, this.gets, ...Array.from(this.running, ({ holds }) => holds)]
    for (const task of this.tasks) {
      open.push(task.record)
      roots.push(task.args)
    }
    for (const refs of roots) for (const ref of refs) open.push(recordOf(ref))
    for (let record = open.pop(); record !== undefined; record = open.pop()) {
      if (reached.has(record)) continue
      reached.add(record)
      for (const ref of record.holds ?? []) open.push(recordOf(ref))
    }
    return reached
  }

  /** A value with these refs inside, as it is sent. */
  encode(refs: readonly ObjectRef[]): WireValue {
    for (const ref of refs) if (this.exchange.isOwn(ref.id)) this.exchange.owned.share(recordOf(ref))
    return inline(refs.map(({ id }) => id))
  }
}

function inline(refs: readonly ObjectId[], isError = false): WireValue {
  return { kind: 'inline', isError, format: 1, head: new Uint8Array(), buffers: [], refs, classes: [] }
}

export interface WorldOptions {
  seed: number
  /** How often a process is killed, of all that happens. */
  deaths: number
  /**
   * How often it is a whole node. What it had sent arrives at some nodes and not at others then, so that a ref may come whose
   * owner has not heard of it, and has freed its object: the rule is not strict. @default 0
   */
  nodeDeaths?: number
  /**
   * How often the link between two nodes breaks, to come back some time later. What was lent by then is lost, or not, on both
   * sides; the rule is strict for all that is lent afterwards. @default 0
   */
  breaks?: number
  /** How many nodes there are. Default: one to three. */
  nodes?: number
}

/**
 * Processes on some nodes that make objects, run tasks for each other, keep and pass on what refs they get, and die. Messages
 * take the ways that they take in a mesh: in order between a process and its node and between two nodes, each way as slow as
 * it likes. The processes have the real bookkeeping; only their garbage collection is a simulated one.
 */
export class ReferenceWorld {
  readonly random: () => number
  readonly counters = {
    puts: 0,
    tasks: 0,
    handBacks: 0,
    retries: 0,
    values: 0,
    ownerDied: 0,
    freed: 0,
    deaths: 0,
    nodeDeaths: 0,
    breaks: 0,
    lentByOthers: 0,
    settled: 0,
  }
  readonly #deaths: number
  readonly #nodeDeaths: number
  readonly #breaks: number
  readonly #ways: Way[] = []
  readonly #links = new Map<string, Way>()
  readonly #nodes: NodeId[]
  readonly #processes = new Map<ClientId, Process>()
  /** As the nodes know them. */
  readonly #connected = new Set<Process>()
  /** What each node knows to be gone. */
  readonly #gone = new Map<NodeId, Set<ClientId>>()
  /** To which other nodes each node has no link any more. */
  readonly #cutOff = new Map<NodeId, Set<NodeId>>()
  /** Links that are broken, or of which somebody has not heard yet that they are not. */
  readonly #broken = new Set<Break>()
  /** Every object's place in the order in which they were made. */
  readonly #made = new Map<ObjectId, number>()
  readonly #errors = new WeakMap<WireValue, Error>()
  #lastProcess = 0

  constructor({ seed, deaths, nodeDeaths = 0, breaks = 0, nodes }: WorldOptions) {
    this.random = seededRandom(seed)
    this.#deaths = deaths
    this.#nodeDeaths = nodeDeaths
    this.#breaks = breaks
    const nodeCount = nodes ?? 1 + this.#below(3)
    this.#nodes = Array.from({ length: nodeCount }, (_, i) => String(i + 1).padStart(16, '0'))
    for (const node of this.#nodes) {
      this.#gone.set(node, new Set())
      this.#cutOff.set(node, new Set())
    }
    for (let i = 0; i < 3 + this.#below(4); i++) this.#start()
  }

  #below(count: number): number {
    return Math.floor(this.random() * count)
  }

  #pick<T>(from: Iterable<T>): T | undefined {
    const all = [...from]
    return all[this.#below(all.length)]
  }

  newWay(): Way {
    const way = new Way()
    way.weight = [1, 0.3, 0.01][this.#below(3)] as number
    this.#ways.push(way)
    return way
  }

  #start(node = this.#nodes[this.#below(this.#nodes.length)] as NodeId): Process {
    const process = new Process(this, node + (++this.#lastProcess).toString(16).padStart(16, '0'))
    for (const { id } of this.#processes.values()) if (this.#gone.get(node)?.has(id) === true) process.gone.add(id)
    for (const cutOff of this.#cutOff.get(node) ?? []) process.goneNodes.add(cutOff)
    this.#processes.set(process.id, process)
    this.#connected.add(process)
    return process
  }

  /** As far as that node knows. */
  #isGone(node: NodeId, client: ClientId): boolean {
    return this.#gone.get(node)?.has(client) === true || this.#cutOff.get(node)?.has(nodeOf(client)) === true
  }

  get #alive(): Process[] {
    return [...this.#processes.values()].filter(({ isAlive }) => isAlive)
  }

  errorValue(error: Error): WireValue {
    const value = inline([], true)
    this.#errors.set(value, error)
    return value
  }

  // --- messages

  send(from: Process, name: MessageName, body: { to: ClientId }): void {
    if (name === 'borrowAdd' && (body as MessageBody<'borrowAdd'>).borrower !== from.id) this.counters.lentByOthers += 1
    if (name === 'borrowSettle') this.counters.settled += 1
    this.#carry(
      from,
      body.to,
      this.#arrivalOf(from, name, body),
      // It has heard of their end, or came after it.
      (node) => name === 'borrowAdd' && this.#isGone(node, (body as MessageBody<'borrowAdd'>).borrower),
      (node) => {
        if (name !== 'objectGet') return
        const { requestId } = body as MessageBody<'objectGet'>
        this.#toProcess(node, from, () => from.handle('undeliverable', { client: body.to, requestId }))
      },
    )
  }

  #arrivalOf(from: Process, name: MessageName, body: unknown): (receiver: Process) => void {
    if (name !== 'objectReply') return (receiver) => receiver.handle(name, body)
    const { refs } = (body as MessageBody<'objectReply'>).value
    const lent = this.#lent(from, refs)
    return (receiver) => {
      receiver.handle(name, body)
      // What it has adopted is what is known there by that id.
      const records = new Map(Array.from(receiver.exchange.borrowed(), (record) => [record.id, record]))
      this.#adopted(
        receiver,
        lent,
        refs.flatMap((id) => records.get(id) ?? []),
      )
    }
  }

  /** What a process lends now that the receiver can rely on. */
  #lent(from: Process, refs: readonly ObjectId[]): Lent {
    const isCalm = ![...this.#broken].some((each) => this.#isOpen(each))
    const known = new Map(Array.from(from.exchange.borrowed(), (record) => [record.id, record]))
    const isSure = (id: ObjectId): boolean => {
      const record = known.get(id)
      return ownerOf(id) === from.id || (record !== undefined && this.#isSure(from, record))
    }
    return { after: this.counters.breaks, ids: new Set(isCalm ? refs.filter(isSure) : []) }
  }

  #adopted(receiver: Process, { after, ids }: Lent, records: readonly ObjectRecord[]): void {
    if (after !== this.counters.breaks) return
    // Its own that come back to it may be void ones that it has passed on, and what it asks for already it may ask in vain.
    const isAsked = ({ value, fetch }: ObjectRecord): boolean => value === undefined && fetch === undefined
    const lent = records.filter((each) => ids.has(each.id) && ownerOf(each.id) !== receiver.id && !isAsked(each))
    for (const record of lent) receiver.sure.set(record, after)
  }

  #isSure(process: Process, record: ObjectRecord): boolean {
    return this.counters.breaks === 0 || process.sure.get(record) === this.counters.breaks
  }

  #isOpen({ waiting }: Break): boolean {
    return waiting === undefined || [...waiting].some(({ isAlive }) => isAlive)
  }

  /** From a process to its node, from there to the node of the receiver, from there to the receiver. */
  #carry(
    from: Process,
    to: ClientId,
    arrive: (receiver: Process) => void,
    isVoid: (node: NodeId) => boolean = () => false,
    onMissing: (node: NodeId) => void = () => undefined,
  ): void {
    if (!from.isAlive) return
    const receiver = this.#processes.get(to) as Process
    from.toNode.push(() => {
      const atNode = (): void => {
        if (isVoid(nodeOf(to))) return
        if (this.#connected.has(receiver)) receiver.fromNode.push(() => arrive(receiver))
        else onMissing(nodeOf(to))
      }
      const node = nodeOf(from.id)
      if (node === nodeOf(to)) atNode()
      else if (this.#cutOff.get(node)?.has(nodeOf(to)) === true) onMissing(node)
      else this.#link(node, nodeOf(to)).push(atNode)
    })
  }

  #toProcess(node: NodeId, process: Process, arrive: () => void): void {
    const atNode = (): void => process.fromNode.push(arrive)
    if (nodeOf(process.id) === node) atNode()
    else this.#link(node, nodeOf(process.id)).push(atNode)
  }

  #link(from: NodeId, to: NodeId): Way {
    const key = `${from} ${to}`
    let link = this.#links.get(key)
    if (link === undefined) this.#links.set(key, (link = this.newWay()))
    return link
  }

  /** One message arrives; several, in a row, when they came together. */
  async #arrive(): Promise<boolean> {
    const ways = this.#ways.filter(({ messages }) => messages.length > 0)
    let at = this.random() * ways.reduce((sum, { weight }) => sum + weight, 0)
    const way = ways.find(({ weight }) => (at -= weight) < 0) ?? ways[0]
    if (way === undefined) return false
    const count = this.random() < 0.2 ? 1 + this.#below(4) : 1
    for (let i = 0; i < count; i++) way.messages.shift()?.()
    await new Promise(setImmediate)
    return true
  }

  // --- what processes do

  /** One thing happens. */
  async act(): Promise<void> {
    const dice = this.random()
    if (dice < 0.55) {
      await this.#arrive()
      return
    }
    const process = this.#pick(this.#alive)
    if (process === undefined) return
    if (dice < 0.6) this.#put(process)
    else if (dice < 0.68) this.#submit(process)
    else if (dice < 0.76) this.#finishOne(process)
    else if (dice < 0.78) this.#handBack(process)
    else if (dice < 0.84) this.#get(process)
    else if (dice < 0.92) process.variables.splice(this.#below(process.variables.length + 1), 1 + this.#below(2))
    else if (dice < 0.97) this.collect(process)
    else if (dice < 0.98 && this.#alive.length < 8) this.#start()
    else if (this.random() < this.#nodeDeaths && this.#nodes.length > 1) this.#killNode()
    else if (this.random() < this.#breaks && this.#nodes.length > 1) this.#breakOrMend()
    else if (this.random() < this.#deaths && this.#alive.length > 2) this.#kill(this.#victim())
    await new Promise(setImmediate)
  }

  /**
   * A process lends a second one an object, and that one is lending it on to a third when it dies, or its node does: what of
   * this has come to whom is chance. Each of them is on a node of its own.
   */
  async dieLending(): Promise<void> {
    const [owner, lender, borrower] = this.#nodes.map((node) => this.#start(node)) as [Process, Process, Process]
    this.#put(owner)
    const lend = (from: Process, to: Process, args: readonly ObjectRef[]): void => {
      this.counters.tasks += 1
      const task: Task = { owner: from, args, record: this.#make(from), worker: to, isDone: false }
      from.tasks.add(task)
      this.#push(task)
    }
    lend(owner, lender, owner.variables.slice(-1))
    while (lender.running.size === 0) await this.#arrive()
    const [{ holds }] = lender.running as unknown as [Running]
    lend(lender, borrower, holds)
    for (let arrived = this.#below(12); arrived > 0; arrived--) await this.#arrive()
    if (this.random() < 0.7) this.#killNode(this.#nodes.indexOf(nodeOf(lender.id)))
    else this.#kill(lender)
  }

  /** Rather one that has just said something. */
  #victim(): Process {
    const talking = this.#alive.filter(({ toNode }) => toNode.messages.length > 0)
    return this.#pick(talking.length > 0 ? talking : this.#alive) as Process
  }

  #some(refs: readonly ObjectRef[]): ObjectRef[] {
    return Array.from({ length: Math.min(refs.length, this.#below(4)) }, () => this.#pick(refs) as ObjectRef)
  }

  #make(process: Process): ObjectRecord {
    const record = process.exchange.owned.create()
    this.#made.set(record.id, this.#made.size)
    return record
  }

  #put(process: Process): void {
    this.counters.puts += 1
    const record = this.#make(process)
    const refs = this.#some(process.variables)
    record.settle(process.encode(refs), refs)
    process.variables.push(new ObjectRef(record))
  }

  #get(process: Process): void {
    const ref = this.#pick(process.variables)
    if (ref !== undefined && !process.gets.has(ref)) this.#read(process, ref)
  }

  #read(process: Process, ref: ObjectRef): void {
    process.gets.add(ref)
    recordOf(ref).whenReady(() => {
      process.gets.delete(ref)
      const { value, holds = [] } = recordOf(ref)
      const error = this.#errors.get(value as WireValue)
      if (error === undefined) {
        this.counters.values += 1
        if (this.random() < 0.5) process.variables.push(...holds)
        return
      }
      const owner = this.#processes.get(ownerOf(ref.id)) as Process
      if (error.message === 'the worker died') return
      if (this.counters.nodeDeaths > 0 && (error as { code?: string }).code === 'OBJECT_FREED') return
      if (!this.#isSure(process, recordOf(ref))) return
      assert.ok(error instanceof OwnerDiedError, `${process.id} wants ${ref.id}: ${error.message}`)
      this.counters.ownerDied += 1
      assert.ok(!owner.isAlive, `${owner.id} is said to be dead`)
    })
  }

  #submit(process: Process): void {
    const worker = this.#workerFor(process)
    if (worker === undefined) return
    this.counters.tasks += 1
    const record = this.#make(process)
    const task: Task = { owner: process, args: this.#some(process.variables), record, worker, isDone: false }
    process.tasks.add(task)
    process.variables.push(new ObjectRef(record))
    this.#push(task)
  }

  /** One that its owner does not know to be gone. */
  #workerFor({ gone, goneNodes, id }: Process): Process | undefined {
    const isKnown = (each: Process): boolean => !gone.has(each.id) && !goneNodes.has(nodeOf(each.id))
    return this.#pick([...this.#processes.values()].filter((each) => each.id !== id && isKnown(each)))
  }

  #push(task: Task): void {
    const { owner, worker } = task
    const wire = owner.encode(task.args)
    owner.exchange.lend(wire, worker.id)
    const lent = this.#lent(owner, wire.refs)
    this.#carry(owner, worker.id, (receiver) => {
      if (!receiver.isAlive) return
      const holds = receiver.exchange.adopt(wire, owner.id) ?? []
      this.#adopted(receiver, lent, holds.map(recordOf))
      receiver.running.add({ task, holds })
    })
  }

  #finishOne(process: Process): void {
    const running = this.#pick(process.running)
    if (running !== undefined) this.#finish(process, running)
  }

  #finish(process: Process, running: Running): void {
    const { task, holds } = running
    process.running.delete(running)
    if (this.random() < 0.3) process.variables.push(...holds)
    // Counting does not find rings of objects that lead to each other over several processes.
    const isOlder = ({ id }: ObjectRef): boolean => (this.#made.get(id) ?? 0) < (this.#made.get(task.record.id) ?? 0)
    const wire = process.encode(this.#some([...holds, ...process.variables].filter(isOlder)))
    process.exchange.lend(wire, task.owner.id)
    const lent = this.#lent(process, wire.refs)
    this.#carry(process, task.owner.id, (owner) => {
      if (!owner.isAlive) return
      const refs = owner.exchange.adopt(wire, process.id)
      this.#adopted(owner, lent, refs?.map(recordOf) ?? [])
      if (task.isDone || task.worker !== process) return
      this.#settle(task, wire, refs)
    })
  }

  #settle(task: Task, wire: WireValue, holds?: readonly ObjectRef[]): void {
    task.isDone = true
    task.owner.tasks.delete(task)
    task.record.settle(wire, holds)
  }

  #handBack(process: Process): void {
    const running = this.#pick(process.running)
    if (running === undefined) return
    this.counters.handBacks += 1
    process.running.delete(running)
    const { task } = running
    this.#carry(process, task.owner.id, (owner) => {
      if (owner.isAlive && !task.isDone && task.worker === process) this.#again(task)
    })
  }

  #again(task: Task): void {
    const worker = this.random() < 0.7 ? this.#workerFor(task.owner) : undefined
    if (worker === undefined) {
      this.#settle(task, this.errorValue(new Error('the worker died')))
      return
    }
    this.counters.retries += 1
    task.worker = worker
    this.#push(task)
  }

  /** Finds what nothing in the process refers to. What it owned is freed: nobody else may be able to come to it. */
  collect(process: Process): void {
    const reached = process.reached()
    for (const [record, callbacks] of process.collector.collect(reached)) {
      if (record.owner === process.id) {
        this.counters.freed += 1
        for (const other of this.counters.nodeDeaths > 0 ? [] : this.#alive) {
          const has = [...other.reached()].some(
            (each) => each !== record && each.id === record.id && this.#isSure(other, each),
          )
          assert.ok(!has, `${record.id} is freed, and ${other.id} has a ref to it`)
        }
      }
      process.finalizers.push(() => {
        if (process.isAlive) for (const callback of callbacks) callback()
      })
    }
  }

  /** The process is no more. Some of what it said last is lost; then its node sees its end and tells everybody. */
  #kill(process: Process): void {
    this.counters.deaths += 1
    process.isAlive = false
    const { messages } = process.toNode
    messages.splice(this.#below(messages.length + 1))
    process.toNode.push(() => {
      this.#connected.delete(process)
      const node = nodeOf(process.id)
      this.#tellGone(node, process.id)
      for (const other of this.#nodes) {
        if (other !== node) this.#link(node, other).push(() => this.#tellGone(other, process.id))
      }
    })
    process.fromNode.messages.length = 0
    process.fromNode.isClosed = true
    process.finalizers.messages.length = 0
  }

  /** A node and all its processes. Each of the others gets some of what was sent to it, and sees its link end then. */
  #killNode(at = this.#below(this.#nodes.length)): void {
    this.counters.nodeDeaths += 1
    const [node] = this.#nodes.splice(at, 1) as [NodeId]
    for (const process of this.#processes.values()) {
      if (nodeOf(process.id) !== node) continue
      process.isAlive = false
      this.#connected.delete(process)
      for (const way of [process.toNode, process.fromNode, process.finalizers]) {
        way.messages.length = 0
        way.isClosed = true
      }
    }
    for (const other of this.#nodes) {
      const there = this.#link(other, node)
      there.messages.length = 0
      there.isClosed = true
      const back = this.#link(node, other)
      back.messages.splice(this.#below(back.messages.length + 1))
      back.push(() => {
        this.#cutOff.get(other)?.add(node)
        for (const process of this.#connected) {
          if (nodeOf(process.id) === other) process.fromNode.push(() => this.#hearsNodeGone(process, node))
        }
      })
    }
  }

  #breakOrMend(): void {
    const mendable = [...this.#broken].filter(({ waiting, heard }) => waiting === undefined && heard.size === 2)
    const broken = this.#pick(mendable)
    if (broken === undefined || this.random() < 0.4) this.#break()
    else this.#mend(broken)
  }

  /** Each side gets some of what was sent to it, and sees the link end then; what it still sends is lost. */
  #break(): void {
    const [one, other] = [this.#pick(this.#nodes), this.#pick(this.#nodes)] as [NodeId, NodeId]
    const isBroken = [...this.#broken].some(
      (each) => this.#isOpen(each) && each.nodes.includes(one) && each.nodes.includes(other),
    )
    if (one === other || isBroken) return
    this.counters.breaks += 1
    const broken: Break = { nodes: [one, other], heard: new Set(), waiting: undefined }
    this.#broken.add(broken)
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      const way = this.#link(from, to)
      way.messages.splice(this.#below(way.messages.length + 1))
      way.push(() => {
        broken.heard.add(to)
        this.#cutOff.get(to)?.add(from)
        for (const process of this.#connected) {
          if (nodeOf(process.id) === to) process.fromNode.push(() => this.#hearsNodeGone(process, from))
        }
      })
      way.isClosed = true
    }
  }

  #mend(broken: Break): void {
    const [one, other] = broken.nodes
    const waiting = (broken.waiting = new Set<Process>())
    // Until both sides have it.
    for (const process of this.#connected) if (broken.nodes.includes(nodeOf(process.id))) waiting.add(process)
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      const way = this.#link(from, to)
      way.isClosed = false
      way.push(() => {
        this.#cutOff.get(to)?.delete(from)
        for (const process of this.#connected) {
          if (nodeOf(process.id) !== to) continue
          process.fromNode.push(() => {
            waiting.delete(process)
            this.#hearsNodeBack(process, from)
          })
        }
        // Who has ended meanwhile.
        for (const gone of this.#gone.get(to) ?? []) {
          if (nodeOf(gone) === to) this.#link(to, from).push(() => this.#tellGone(from, gone))
        }
      })
    }
  }

  #hearsNodeBack(process: Process, node: NodeId): void {
    if (!process.isAlive) return
    process.goneNodes.delete(node)
    process.handle('nodeBack', { node })
  }

  #hearsNodeGone(process: Process, node: NodeId): void {
    if (!process.isAlive) return
    const gone = [...this.#processes.keys()].filter((id) => nodeOf(id) === node)
    process.goneNodes.add(node)
    process.handle('nodeGone', { node, reason: 'it died' })
    for (const id of gone) this.#loses(process, id)
  }

  #tellGone(node: NodeId, client: ClientId): void {
    this.#gone.get(node)?.add(client)
    for (const process of this.#connected) {
      if (nodeOf(process.id) === node) process.fromNode.push(() => this.#hearsGone(process, client))
    }
  }

  #hearsGone(process: Process, client: ClientId): void {
    if (!process.isAlive) return
    process.gone.add(client)
    process.handle('clientGone', { client })
    this.#loses(process, client)
  }

  /** A worker of its tasks, or the owner of what it runs. */
  #loses(process: Process, client: ClientId): void {
    for (const task of process.tasks) if (task.worker.id === client) this.#again(task)
    for (const running of process.running) if (running.task.owner.id === client) process.running.delete(running)
  }

  // --- the end

  async #settleDown(): Promise<void> {
    while (await this.#arrive());
  }

  /** All work is done, all that is left can be read, and when it is dropped nothing stays behind. */
  async end(): Promise<void> {
    await this.#settleDown()
    for (const broken of this.#broken) if (broken.waiting === undefined) this.#mend(broken)
    for (let open = true; open;) {
      await this.#settleDown()
      open = false
      for (const process of this.#alive) {
        for (const running of process.running) {
          open = true
          this.#finish(process, running)
        }
      }
    }
    for (const process of this.#alive) for (const ref of [...process.variables]) this.#read(process, ref)
    await this.#settleDown()
    for (const { id, gets, tasks } of this.#alive) {
      assert.equal(gets.size, 0, `${id} waits for values that do not come`)
      assert.equal(tasks.size, 0, `${id} waits for tasks that do not end`)
    }
    for (const process of this.#alive) process.variables.length = 0
    // A ref inside of a value is let go of when the value is: that takes one round for each level.
    for (let rounds = 0; this.#alive.some(({ collector }) => collector.count > 0); rounds++) {
      assert.ok(rounds < 200, `there is garbage that is never collected: ${this.#left()}`)
      for (const process of this.#alive) this.collect(process)
      await this.#settleDown()
    }
    for (const { exchange, id } of this.#alive) {
      assert.equal(exchange.owned.borrowedCount, 0, `${id} has objects that nobody borrows any more`)
      assert.equal(exchange.owned.countedCount, 0, `${id} counts borrows of what is no more`)
      assert.equal(exchange.borrowingCount, 0, `${id} borrows objects that it does not have any more`)
    }
  }

  #left(): string {
    return this.#alive
      .flatMap(({ id, exchange }) => Array.from(exchange.owned.borrowed(), (record) => `${record.id} of ${id}`))
      .join(', ')
  }
}
