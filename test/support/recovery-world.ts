import assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ObjectLostError, ShoalError } from '../../protocols/errors.ts'
import { nodeOf, sequenceOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { TaskSpec } from '../../protocols/task-messages.ts'
import type { InlineValue, StoredValue, WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../../sdk/objects/object-record.ts'
import { ObjectRef, recordOf } from '../../sdk/objects/object-ref.ts'
import { OwnedObjects } from '../../sdk/objects/owned-objects.ts'
import { ObjectReader } from '../../sdk/runtime/object-reader.ts'
import { Recovery } from '../../sdk/runtime/recovery.ts'
import { StoredValues } from '../../sdk/runtime/stored-values.ts'
import { TaskResults } from '../../sdk/runtime/task-results.ts'
import { StreamRecord } from '../../sdk/tasks/stream-record.ts'
import type { TaskRecord } from '../../sdk/tasks/task-record.ts'
import { LineageBook } from '../../sdk/tasks/lineage-book.ts'
import { TaskSubmitter } from '../../sdk/tasks/task-submitter.ts'
import { seededRandom } from './seeded-random.ts'
import { inlineValue, storedValue, taskOf } from './task-records.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const itemsAheadMax = 4
const home: NodeId = 'f'.repeat(16)
const driver: ClientId = home.padEnd(32, '0')

/** An object of the program, and what its value must be. */
export interface Held {
  ref: ObjectRef
  value: number
}

export interface WorldOptions {
  seed: number
  lineageBytesMax?: number
  /** How often a value that is stored is damaged, at a step. @default 0 */
  damages?: number
}

/** A call of a task. */
interface Call {
  /** Arguments whose values go with the task. */
  given?: Held[]
  /** Refs within its arguments, that it reads by itself. */
  inside?: Held[]
  maxRetries: number
  /** Its arguments are in the store. */
  isStored?: boolean
}

/** A stream of the program, and what its items must be. */
export interface HeldStream {
  task: TaskRecord
  stream: StreamRecord
  values: number[]
}

interface Worker {
  leaseId: number
  node: NodeId
  queue: TaskSpec[]
  isBusy: boolean
  /** What its task waits for. */
  waits: number
  /** Items of its stream that it has leave to be ahead of. */
  consumed: number
  wake: () => void
}

/**
 * One owner of objects, nodes that die with all that is stored there, and workers on them. What it does when values are lost
 * is the real thing; the rest behaves as the real one does, one event at a time, in an order that the seed makes.
 */
export class RecoveryWorld {
  readonly random: () => number
  readonly recovery: Recovery
  readonly lineages: LineageBook
  readonly submitter: TaskSubmitter
  /** How often the code of each task was called. */
  readonly runs = new Map<number, number>()
  /** Where each stored value is. */
  readonly store = new Map<string, { value: number; at: Set<NodeId> }>()
  /** Reads of the program that have not ended. */
  reading = 0
  readonly #damages: number
  readonly #owned = new OwnedObjects(driver)
  readonly #stored: StoredValues
  readonly #results: TaskResults
  readonly #reader: ObjectReader
  readonly #errors: unknown[] = []
  readonly #events: (() => void)[] = []
  readonly #toWorkers: (() => void)[] = []
  readonly #toOwners: (() => void)[] = []
  readonly #workers = new Map<number, Worker>()
  readonly #requests = new Set<number>()
  readonly #streams = new Map<number, TaskRecord>()
  readonly #itemCounts = new Map<number, number>()
  readonly #nodes = new Set<NodeId>([home])
  readonly #dying = new Set<NodeId>()
  #nodeCount = 0
  #leaseCount = 0
  #nameCount = 0

  constructor({ seed, lineageBytesMax = 1e6, damages = 0 }: WorldOptions) {
    this.random = seededRandom(seed)
    this.#damages = damages
    const free = (name: string): void => this.#stored.free(name)
    const encodeError = (error: unknown): WireValue => this.#error(error as Error)
    this.#stored = new StoredValues((names) => {
      for (const name of names) this.store.delete(name)
    }, Infinity)
    this.lineages = new LineageBook({ bytesMax: lineageBytesMax, free })
    this.recovery = new Recovery({
      lineages: this.lineages,
      probe: ({ name }) => this.#read(name),
      submit: (task) => this.#submit(task),
      free,
      encodeError,
      defer: queueMicrotask,
    })
    this.#results = new TaskResults({
      lineages: this.lineages,
      recovery: this.recovery,
      encodeError,
      adopt: () => undefined,
      attach: (record, wire) => this.#stored.attach(record, wire),
      replicate: () => {},
      create: () => this.#owned.create(),
      free,
      weakly: (record) => new WeakRef(record),
      recreate: (sequence) => {
        const record = this.#owned.recreate(sequence)
        record.fetch = () => this.recovery.remake(record)
        return record
      },
    })
    this.#reader = new ObjectReader({ isOwn: () => true, refetch: () => false }, this.recovery)
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId) => {
          this.#requests.add(requestId)
          this.#toOwner(() => this.#grant(requestId))
        },
        cancelRequest: (requestId) => void this.#requests.delete(requestId),
        returnLease: (leaseId) => this.#toWorker(leaseId, () => this.#workers.delete(leaseId)),
        killLease: (leaseId) => this.#toWorker(leaseId, (worker) => this.#die(worker)),
        push: ({ id }, tasks) => this.#toWorker(id, (worker) => this.#push(worker, tasks)),
        cancelTask: (leaseId, sequence) => this.#toWorker(leaseId, (worker) => this.#cancelled(worker, sequence)),
      },
      {
        idleLeaseMs: 0,
        nowMs: () => 0,
        defer: queueMicrotask,
        after: (_, callback) => this.#later(callback),
        settle: (task, result, worker) => {
          this.#streams.delete(task.sequence)
          this.#results.settle(task, result, worker)
        },
        discard: ({ values }, worker) => {
          for (const value of values) this.#results.drop(value, worker)
        },
        fail: (task, error) => {
          this.#streams.delete(task.sequence)
          this.#results.fail(task, error)
        },
        failWith: (task, argument) => {
          this.#streams.delete(task.sequence)
          this.#results.failWith(task, argument)
        },
        isRetriable: () => false,
        named: (record) => this.#owned.share(record),
        streamPart: (task, stream) => this.recovery.streamPart(task, stream),
        moveToStore: (_, value) => value,
      },
    )
  }

  // --- what the program does

  submit({ results = 1, ...call }: Call & { results?: number }): Held[] {
    const returns = Array.from({ length: results }, () => this.#owned.create())
    const { sequence } = returns[0] as ObjectRecord
    this.#submit(this.#task(sequence, returns, call))
    const values = argumentsOf(call)
    return returns.map((record) => ({ ref: new ObjectRef(record), value: valueOf(record.sequence, values) }))
  }

  /** A call of a generator. */
  submitStream({ items, ...call }: Call & { items: number }): HeldStream {
    const sequence = this.#owned.takeSequence()
    const stream = new StreamRecord()
    const task = this.#task(sequence, [], call, stream)
    const values = Array.from({ length: items }, (_, i) => valueOf(sequence * 1000 + i, argumentsOf(call)))
    this.#itemCounts.set(sequence, items)
    this.#submit(task)
    return { task, stream, values }
  }

  #submit(task: TaskRecord): void {
    if (task.stream !== undefined) this.#streams.set(task.sequence, task)
    this.submitter.submit(task)
  }

  /** The next item, when it is there; undefined at the end. Rejects with the error of the task. */
  async next({ task, stream, values }: HeldStream): Promise<Held | undefined> {
    for (;;) {
      const value = values[stream.consumed] as number
      const record = stream.take()
      if (record !== undefined) {
        this.#consumed(task, stream.consumed)
        return { ref: new ObjectRef(record), value }
      }
      if (stream.end?.error !== undefined) throw await this.#decode(stream.end.error)
      if (stream.end !== undefined) return undefined
      await new Promise<void>((resolve) => stream.onChange(resolve))
    }
  }

  stopStream({ task, stream }: HeldStream): void {
    stream.discard()
    if (stream.end !== undefined) return
    stream.finish()
    this.submitter.cancel(task, { force: false, recursive: true })
  }

  #task(sequence: number, returns: ObjectRecord[], call: Call, stream?: StreamRecord): TaskRecord {
    const { given = [], inside = [], maxRetries, isStored = false } = call
    for (const { ref } of inside) this.#owned.share(recordOf(ref))
    const args = isStored ? this.#write(home, sequence) : this.#inline(sequence)
    return taskOf(sequence, returns, {
      job: driver,
      args: { ...args, refs: inside.map(({ ref }) => ref.id) },
      holds: inside.map(({ ref }) => ref),
      resolvedRefs: given.map(({ ref }, position) => ({ position, ref })),
      retriesLeft: maxRetries,
      stream,
    })
  }

  put(): Held {
    const record = this.#owned.create()
    const wire = this.#write(home, valueOf(record.sequence, []))
    this.#stored.attach(record, wire)
    record.lineage = 'put'
    record.settle(wire)
    return { ref: new ObjectRef(record), value: valueOf(record.sequence, []) }
  }

  /** Rejects as `get` does. Checks that a value is the right one. */
  async get({ ref, value: expected }: Held): Promise<void> {
    this.reading += 1
    try {
      const value = await this.#reader.read(recordOf(ref), {
        decode: (wire) => this.#decode(wire),
        ready: (record) => ready(record),
      })
      assert.equal(value, expected, `the value of ${ref.id}`)
    } finally {
      this.reading -= 1
    }
  }

  cancel({ ref }: Held, force: boolean): void {
    const { task } = recordOf(ref)
    if (task !== undefined) this.submitter.cancel(task, { force, recursive: true })
  }

  // --- what happens to it

  /** The oldest of the nodes goes, but for the program's own, with all that is there. */
  killNode(): void {
    const node = [...this.#nodes][1]
    if (node === undefined) return
    this.#nodes.delete(node)
    for (const [name, { at }] of this.store) if (at.delete(node) && at.size === 0) this.store.delete(name)
    for (const worker of this.#workers.values()) if (worker.node === node) this.#die(worker)
    this.#dying.add(node)
    this.#toOwner(() => {
      this.#dying.delete(node)
      this.recovery.nodeGone(node)
    })
  }

  addNode(): void {
    this.#nodes.add((++this.#nodeCount).toString(16).padStart(16, '0'))
  }

  /** One event, and all that follows at once. False when nothing is left to happen. */
  async step(): Promise<boolean> {
    if (this.random() < this.#damages) this.store.delete(pick([...this.store.keys()], this.random) ?? '')
    const at = Math.floor(this.random() * this.#events.length)
    const [event] = this.#events.splice(at, 1)
    event?.()
    await new Promise(setImmediate)
    return event !== undefined
  }

  /** Lets go of what nothing refers to, and of what that has held, and so on. */
  async collect(rounds = 1): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      collectGarbage()
      // What was collected is told in a turn of its own.
      await new Promise((resolve) => setTimeout(resolve, 0))
      await new Promise(setImmediate)
    }
  }

  // --- the others

  #later(callback: () => void): void {
    this.#events.push(callback)
  }

  /** What goes the same way comes in its order. */
  #send(way: (() => void)[], callback: () => void): void {
    way.push(callback)
    this.#later(() => way.shift()?.())
  }

  #toWorker(leaseId: number, tell: (worker: Worker) => void): void {
    this.#send(this.#toWorkers, () => {
      const worker = this.#workers.get(leaseId)
      if (worker !== undefined) tell(worker)
    })
  }

  #toOwner(tell: () => void): void {
    this.#send(this.#toOwners, tell)
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#events.push(resolve))
  }

  #inline(value: number, isError = false): InlineValue {
    const head = Buffer.alloc(4)
    head.writeUInt32LE(value)
    return { ...inlineValue(0, isError), head }
  }

  #error(error: Error): InlineValue {
    // An error whose stack has not been looked at keeps alive what was on it.
    for (let each: unknown = error; each instanceof Error; each = each.cause) String(each.stack)
    return this.#inline(this.#errors.push(error) - 1, true)
  }

  #write(node: NodeId, value: number): StoredValue {
    const name = node.padEnd(32, '0') + (++this.#nameCount).toString(16).padStart(12, '0')
    this.store.set(name, { value, at: new Set([node]) })
    return storedValue(name)
  }

  async #read(name: string): Promise<number> {
    await this.#turn()
    // Nodes say that a value is lost when they know, as the owner does then, that those who had it are gone.
    while (!this.store.has(name) && this.#dying.has(nodeOf(name))) await this.#turn()
    const found = this.store.get(name)
    if (found === undefined) throw new ObjectLostError(`the value ${name} is nowhere`, { name })
    if (this.random() < 0.3) found.at.add(home)
    return found.value
  }

  async #decode(wire: WireValue): Promise<unknown> {
    if (wire.kind === 'stored') return this.#read(wire.name)
    const value = Buffer.from(wire.head).readUInt32LE()
    return wire.isError ? this.#errors[value] : value
  }

  #grant(requestId: number): void {
    if (!this.#requests.delete(requestId)) return
    const leaseId = ++this.#leaseCount
    const node = pick([...this.#nodes], this.random) as NodeId
    this.#workers.set(leaseId, { leaseId, node, queue: [], isBusy: false, waits: 0, consumed: 0, wake: () => {} })
    this.submitter.onGrant({ requestId, leaseId, workerId: node.padEnd(32, '0'), workerPid: 1, nodesAble: 1 })
  }

  #die({ leaseId, wake }: Worker): void {
    this.#workers.delete(leaseId)
    wake()
    this.#toOwner(() => this.submitter.onLost(leaseId, 'signal SIGKILL'))
  }

  #push(worker: Worker, tasks: readonly TaskSpec[]): void {
    worker.queue.push(...tasks)
    if (worker.waits > 0) this.#handBack(worker)
    else if (!worker.isBusy) void this.#work(worker)
  }

  #handBack({ leaseId, queue }: Worker): void {
    const sequences = queue.splice(0).map(({ sequence }) => sequence)
    if (sequences.length > 0) this.#toOwner(() => this.submitter.onHandBack(leaseId, sequences))
  }

  #cancelled(worker: Worker, sequence: number): void {
    const { leaseId, queue } = worker
    // If it is a stream that runs, it ends.
    worker.consumed = Infinity
    worker.wake()
    const at = queue.findIndex((spec) => spec.sequence === sequence)
    if (at < 0) return
    queue.splice(at, 1)
    const result = { sequence, status: 'cancelled' as const, durationUs: 0, values: [] }
    this.#toOwner(() => this.submitter.onDone(leaseId, [result]))
  }

  async #work(worker: Worker): Promise<void> {
    worker.isBusy = true
    for (let spec = worker.queue.shift(); spec !== undefined; spec = worker.queue.shift()) {
      const values = await this.#run(worker, spec)
      await this.#turn()
      if (!this.#isAlive(worker)) {
        for (const value of values) if (value.kind === 'stored') this.store.delete(value.name)
        return
      }
      const isError = values.some((value) => value.isError)
      const status = isError ? 'error' : spec.returnCount === 0 ? 'streamEnd' : 'ok'
      const result = { sequence: spec.sequence, status, durationUs: 10, values } as const
      this.#toOwner(() => this.submitter.onDone(worker.leaseId, [result]))
    }
    worker.isBusy = false
  }

  #isAlive({ leaseId }: Worker): boolean {
    return this.#workers.has(leaseId)
  }

  async #run(worker: Worker, spec: TaskSpec): Promise<WireValue[]> {
    const { sequence, resolved, args, returnCount } = spec
    try {
      if (args.kind === 'stored') await this.#read(args.name)
      const given = resolved.map(({ object, value }) => this.#argument(worker, object, value))
      const inside = args.refs.map(async (id) => this.#argument(worker, id, await this.#ask(worker, id, '')))
      const values = await Promise.all([...given, ...inside])
      if (!this.#isAlive(worker)) return []
      this.runs.set(sequence, (this.runs.get(sequence) ?? 0) + 1)
      if (returnCount === 0) await this.#sendItems(worker, spec, values)
      return Array.from({ length: returnCount }, (_, i) => {
        const value = valueOf(sequence + i, values)
        return (sequence + i) % 5 === 0 ? this.#inline(value) : this.#write(worker.node, value)
      })
    } catch (error) {
      return [this.#error(error as Error)]
    }
  }

  async #sendItems(worker: Worker, spec: TaskSpec, values: readonly number[]): Promise<void> {
    const { sequence, streamSkip, streamLimit } = spec
    const count = streamLimit === 0 ? (this.#itemCounts.get(sequence) as number) : streamLimit
    worker.consumed = streamSkip
    for (let index = 0; index < count; index++) {
      if (index < streamSkip) continue
      const value = valueOf(sequence * 1000 + index, values)
      const wire = index % 5 === 0 ? this.#inline(value) : this.#write(worker.node, value)
      this.#toOwner(() => this.#onItem(worker.leaseId, sequence, index, wire))
      await this.#turn()
      while (this.#isAlive(worker) && index + 1 - worker.consumed >= itemsAheadMax) {
        await new Promise<void>((resolve) => (worker.wake = resolve))
      }
      if (!this.#isAlive(worker)) return
    }
  }

  #onItem(leaseId: number, sequence: number, index: number, wire: WireValue): void {
    const worker = this.submitter.workerOf(leaseId)
    const task = this.#streams.get(sequence)
    if (worker === undefined || task?.stream === undefined || task.leaseId !== leaseId) {
      this.#results.drop(wire, worker)
      return
    }
    const { stream } = task
    const isAgain = index < stream.received
    this.#results.settleItem(task, stream, index, wire, worker)
    if (isAgain) this.#consumed(task, Math.max(index + 1, stream.consumed))
  }

  #consumed({ leaseId }: TaskRecord, count: number): void {
    if (leaseId === undefined) return
    this.#toWorker(leaseId, (worker) => {
      worker.consumed = Math.max(worker.consumed, count)
      worker.wake()
    })
  }

  /** As workers read arguments, and borrowers objects. */
  async #argument(worker: Worker, id: ObjectId, wire: WireValue): Promise<number> {
    for (let reported = ''; ;) {
      if (wire.isError) throw await this.#decode(wire)
      try {
        return (await this.#decode(wire)) as number
      } catch (error) {
        if (wire.kind !== 'stored' || wire.name === reported) throw error
        reported = wire.name
      }
      if (!this.#isAlive(worker)) throw new Error('nobody hears this')
      wire = await this.#ask(worker, id, reported)
    }
  }

  async #ask(worker: Worker, id: ObjectId, lostName: string): Promise<WireValue> {
    worker.waits += 1
    this.#handBack(worker)
    this.#toOwner(() => this.submitter.onBlocked(worker.leaseId, true))
    try {
      await this.#turn()
      return await this.#serve(id, lostName)
    } finally {
      worker.waits -= 1
      if (worker.waits === 0) this.#toOwner(() => this.submitter.onBlocked(worker.leaseId, false))
    }
  }

  /** As owners answer to those who borrow. */
  async #serve(id: ObjectId, lostName: string): Promise<WireValue> {
    const record = this.#owned.find(id)
    if (record === undefined) throw new ShoalError('OBJECT_FREED', `the object ${sequenceOf(id)} is not known`)
    const lost = lostName === '' ? undefined : await this.recovery.check(record, lostName)
    if (lost !== undefined) return this.#error(lost)
    await ready(record)
    return record.value as WireValue
  }
}

function argumentsOf({ given = [], inside = [] }: Call): number[] {
  return [...given, ...inside].map(({ value }) => value)
}

function ready(record: ObjectRecord): Promise<void> {
  return new Promise((resolve) => record.whenReady(resolve))
}

/** What a task gives for these arguments, or `put` for none. */
function valueOf(sequence: number, values: readonly number[]): number {
  return values.reduce((sum, value) => (Math.imul(sum, 31) + value) >>> 0, sequence)
}

export function pick<T>(items: readonly T[], random: () => number): T | undefined {
  return items[Math.floor(random() * items.length)]
}
