import type { NodeId } from '../../protocols/ids.ts'
import { wireBytes } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import type { TaskRecord } from './task-record.ts'

/** Does not keep its target alive: a WeakRef, or what a test makes of it. */
export interface Weak<T> {
  deref(): T | undefined
}

export interface LineageHost {
  weakly(record: ObjectRecord): Weak<ObjectRecord>
  /** A record for a result that nobody had a ref to any more, with no value: it is made when somebody asks for it. */
  recreate(sequence: number): ObjectRecord
}

/**
 * What a task was given. Of results that can be made again only the way to do so is kept, or else a loop that makes each
 * value from the one before would keep them all in the store. The rest is kept itself.
 */
type Input = ObjectRef | { lineage: Lineage; sequence: number }

/** About what a task and its lineage take in memory, apart from values. */
const recordBytes = 1024
const inputBytes = 64

/**
 * How the stored results of one finished task are made again: the task itself, ready to be submitted once more, and what it
 * was given. Lives as long as one of the results does, or the lineage of something that was made of them.
 */
export class Lineage {
  readonly name: string
  readonly isStream: boolean
  readonly #host: LineageHost
  readonly #firstSequence: number
  /** Of a stream, its items that are in a store. */
  readonly #returns: (Weak<ObjectRecord> | undefined)[]
  /** Which items of a stream these are. */
  readonly #items = new WeakMap<ObjectRecord, number>()
  #task: TaskRecord | undefined
  #isRunning = true
  #tries = 0
  #dropReason = ''
  #resolved: readonly { position: number; input: Input }[] = []
  #holds: readonly Input[] | undefined
  /** Where results were lost for which the task runs now. */
  readonly #suspects = new Set<NodeId>()
  /** What was made again for the last time is kept: others count on it, because it could be made again when they came. */
  #last: readonly (ObjectRecord | undefined)[] = []

  constructor(task: TaskRecord, host: LineageHost) {
    this.name = task.name
    this.isStream = task.stream !== undefined
    this.#host = host
    this.#task = task
    this.#firstSequence = task.sequence
    this.#returns = task.returns.map((record) => host.weakly(record as ObjectRecord))
  }

  /** An item of the stream that the task makes. */
  addItem(index: number, record: ObjectRecord): void {
    this.#returns[index] = this.#host.weakly(record)
    this.#items.set(record, index)
  }

  /** The first of a stream's items that are not where they should be, and the one after the last of them. */
  rangeOf(isLost: (record: ObjectRecord) => boolean): { first: number; end: number } | undefined {
    let range: { first: number; end: number } | undefined
    for (const [index, weak] of this.#returns.entries()) {
      const record = weak?.deref()
      if (record !== undefined && isLost(record)) range = { first: range?.first ?? index, end: index + 1 }
    }
    return range
  }

  /** How often the task has run, as far as is known. */
  get tries(): number {
    return this.#task === undefined ? this.#tries : this.#task.attempt + 1
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  /** Why this result cannot be made again; undefined when it can. */
  refusalFor(record: ObjectRecord): string | undefined {
    const { stream } = this.#task ?? {}
    // It would come after the end, for which the consumer of the stream has to go on.
    const isHeldUp = stream !== undefined && !stream.isOver && this.#isRunning
    if (isHeldUp && this.#indexOf(record) < stream.next) {
      return `it is an item of a stream, and task ${this.name}, which made it, is past it already: once that has ended it can run again`
    }
    return this.refusal
  }

  /** Why results cannot be made again; undefined when they can. */
  get refusal(): string | undefined {
    if (this.#task === undefined) return this.#dropReason
    if (this.#isRunning || this.#task.retriesLeft > 0) return undefined
    return `task ${this.name}, which made it, has no retries left after ${triesText(this.tries)}`
  }

  /**
   * A result is lost that lay on this node. The others there are suspected until the run that makes it again has ended: they
   * were written at the same time, so that on the disk they lie in one file.
   */
  suspect(node: NodeId): void {
    this.#suspects.add(node)
  }

  isSuspect(node: NodeId): boolean {
    return this.#suspects.has(node)
  }

  /**
   * The task has ended. Keeps what it takes to run it again, and lets go of the rest. Gives the bytes that this takes in
   * memory, about.
   */
  rest(): number {
    const task = this.#task as TaskRecord
    this.#isRunning = false
    this.#suspects.clear()
    this.#resolved = task.resolvedRefs.map(({ position, ref }) => ({ position, input: inputOf(ref) }))
    this.#holds = task.holds?.map(inputOf)
    task.resolvedRefs = []
    task.holds = undefined
    const isLast = task.stream === undefined && task.attempt > 0 && task.retriesLeft === 0
    if (isLast) this.#last = this.#returns.map((weak) => weak?.deref())
    task.returns = []
    // Its end is not the end of what its results are for.
    task.parent = undefined
    if (task.stream !== undefined) task.stream.isOver = true
    let bytes = recordBytes + (task.stream === undefined ? 0 : inputBytes * this.#returns.length)
    bytes += task.args.kind === 'inline' ? wireBytes(task.args) : 0
    for (const { input } of this.#resolved) bytes += bytesOf(input)
    for (const input of this.#holds ?? []) bytes += bytesOf(input)
    return bytes
  }

  /**
   * A result is to be made again. Gives the task, ready to be submitted; undefined when it runs already, for others of its
   * results. Only while there is no `refusal`.
   */
  run(record: ObjectRecord): TaskRecord | undefined {
    const task = this.#task as TaskRecord
    const index = this.#indexOf(record)
    if (this.#isRunning) {
      task.returns[index] = record
      record.task = task
      return undefined
    }
    this.#isRunning = true
    task.returns = Array.from({ length: this.#returns.length }, (_, i) => (i === index ? record : undefined))
    task.stream?.rewind()
    record.task = task
    task.resolvedRefs = this.#resolved.map(({ position, input }) => ({ position, ref: this.#refOf(input) }))
    task.holds = this.#holds?.map((input) => this.#refOf(input))
    task.retriesLeft -= 1
    task.attempt += 1
    task.state = 'waiting'
    task.leaseId = undefined
    return task
  }

  #indexOf(record: ObjectRecord): number {
    return this.#items.get(record) ?? record.sequence - this.#firstSequence
  }

  #refOf(input: Input): ObjectRef {
    return input instanceof ObjectRef ? input : new ObjectRef(input.lineage.recordAt(input.sequence))
  }

  /** The record of a result, if somebody still has a ref to it. */
  known(index: number): ObjectRecord | undefined {
    return this.#last[index] ?? this.#returns[index]?.deref()
  }

  /** The record of a result, made anew when it is gone. */
  recordAt(sequence: number): ObjectRecord {
    const index = sequence - this.#firstSequence
    const known = this.known(index)
    if (known !== undefined) return known
    const record = this.#host.recreate(sequence)
    record.lineage = this
    this.#returns[index] = this.#host.weakly(record)
    return record
  }

  /** True while one of the results is somewhere in a store. */
  get hasStored(): boolean {
    return this.#returns.some((weak) => weak?.deref()?.value?.kind === 'stored')
  }

  /** What is kept so that it can be made again. */
  get inputRefs(): ObjectRef[] {
    const inputs = [...this.#resolved.map(({ input }) => input), ...(this.#holds ?? [])]
    return inputs.filter((input) => input instanceof ObjectRef)
  }

  /** Nothing of it can be made again from now on. */
  drop(reason: string): void {
    this.#tries = this.tries
    this.#task = undefined
    this.#isRunning = false
    this.#dropReason = reason
    this.#resolved = []
    this.#holds = undefined
  }
}

function inputOf(ref: ObjectRef): Input {
  const { lineage, sequence } = recordOf(ref)
  // Items of a stream are not made one by one, so they are kept.
  const isRemade = lineage instanceof Lineage && !lineage.isStream && lineage.refusal === undefined
  return isRemade ? { lineage, sequence } : ref
}

function bytesOf(input: Input): number {
  const value = input instanceof ObjectRef ? recordOf(input).value : undefined
  return inputBytes + (value?.kind === 'inline' ? wireBytes(value) : 0)
}

export function triesText(tries: number): string {
  return `${tries} ${tries === 1 ? 'try' : 'tries'}`
}
