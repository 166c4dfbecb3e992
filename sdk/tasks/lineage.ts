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

/**
 * How the stored results of one finished task are made again: the task itself, ready to be submitted once more, and what it
 * was given. Lives as long as one of the results does, or the lineage of something that was made of them.
 */
export class Lineage {
  readonly name: string
  readonly #host: LineageHost
  readonly #firstSequence: number
  readonly #returns: Weak<ObjectRecord>[]
  #task: TaskRecord | undefined
  #isRunning = true
  #tries = 0
  #dropReason = ''
  #resolved: readonly { position: number; input: Input }[] = []
  #holds: readonly Input[] | undefined

  constructor(task: TaskRecord, host: LineageHost) {
    this.name = task.name
    this.#host = host
    this.#task = task
    this.#firstSequence = task.sequence
    this.#returns = task.returns.map((record) => host.weakly(record as ObjectRecord))
  }

  /** How often the task has run, as far as is known. */
  get tries(): number {
    return this.#task === undefined ? this.#tries : this.#task.attempt + 1
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  /** Why a result cannot be made again; undefined when it can. */
  get refusal(): string | undefined {
    if (this.#task === undefined) return this.#dropReason
    if (this.#isRunning || this.#task.retriesLeft > 0) return undefined
    return `task ${this.name}, which made it, has no retries left after ${triesText(this.tries)}`
  }

  /**
   * The task has ended. Keeps what it takes to run it again, and lets go of the rest. Gives the bytes that this takes in
   * memory, about.
   */
  rest(): number {
    const task = this.#task as TaskRecord
    this.#isRunning = false
    this.#resolved = task.resolvedRefs.map(({ position, ref }) => ({ position, input: inputOf(ref) }))
    this.#holds = task.holds?.map(inputOf)
    task.resolvedRefs = []
    task.holds = undefined
    task.returns = []
    // Its end is not the end of what its results are for.
    task.parent = undefined
    let bytes = recordBytes + (task.args.kind === 'inline' ? wireBytes(task.args) : 0)
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
    const index = record.sequence - this.#firstSequence
    if (this.#isRunning) {
      task.returns[index] = record
      record.task = task
      return undefined
    }
    this.#isRunning = true
    task.returns = this.#returns.map((_, i) => (i === index ? record : undefined))
    record.task = task
    task.resolvedRefs = this.#resolved.map(({ position, input }) => ({ position, ref: this.#refOf(input) }))
    task.holds = this.#holds?.map((input) => this.#refOf(input))
    task.retriesLeft -= 1
    task.attempt += 1
    task.state = 'waiting'
    task.leaseId = undefined
    return task
  }

  #refOf(input: Input): ObjectRef {
    return input instanceof ObjectRef ? input : new ObjectRef(input.lineage.recordAt(input.sequence))
  }

  /** The record of a result, if somebody still has a ref to it. */
  known(index: number): ObjectRecord | undefined {
    return this.#returns[index]?.deref()
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
    return this.#returns.some((weak) => weak.deref()?.value?.kind === 'stored')
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
  return lineage instanceof Lineage && lineage.refusal === undefined ? { lineage, sequence } : ref
}

function bytesOf(input: Input): number {
  const value = input instanceof ObjectRef ? recordOf(input).value : undefined
  return 64 + (value?.kind === 'inline' ? wireBytes(value) : 0)
}

export function triesText(tries: number): string {
  return `${tries} ${tries === 1 ? 'try' : 'tries'}`
}
