import { ObjectLostError, ShoalError, UnreachableError } from '../../protocols/errors.ts'
import { nodeOf, type NodeId } from '../../protocols/ids.ts'
import type { StoredValue, WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { recordOf } from '../objects/object-ref.ts'
import type { LineageBook } from '../tasks/lineage-book.ts'
import { Lineage } from '../tasks/lineage.ts'
import type { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { objectLost, refusalOf, type Loss } from './lost-object.ts'

export interface RecoveryHost {
  readonly lineages: LineageBook
  /** Reads the value here, from wherever there is a copy. Rejects with ObjectLostError when there is none. */
  probe(value: StoredValue): Promise<unknown>
  submit(task: TaskRecord): void
  /** Lets go of what is left of a value. */
  free(name: string): void
  encodeError(error: unknown): WireValue
  /** Calls back once, soon. */
  defer(callback: () => void): void
  /** For people to read: an object is lost for good, or was lost and has been made again. */
  tell?(what: 'lost' | 'remade', record: ObjectRecord, reason: string): void
}

/** Nodes that are remembered as gone. */
const goneMax = 1000

/**
 * What the owner of objects does when their values are lost: has them made again, by the tasks that made them, once
 * however many ask. While that goes on a record has no value, so whoever wants it waits as for any result. Knows no
 * socket and no clock.
 */
export class Recovery {
  /** Objects that were made again, and that were lost for good although their tasks ran again. */
  readonly counters = { recovered: 0, failed: 0 }
  readonly #host: RecoveryHost
  readonly #losses = new Map<ObjectRecord, Loss>()
  readonly #checks = new Map<string, Promise<string | undefined>>()
  readonly #gone = new Set<NodeId>()

  constructor(host: RecoveryHost) {
    this.#host = host
  }

  nodeGone(node: NodeId): void {
    this.#gone.delete(node)
    this.#gone.add(node)
    if (this.#gone.size <= goneMax) return
    const [oldest] = this.#gone
    this.#gone.delete(oldest as NodeId)
  }

  /** Why the value is lost, when the error says that reading it failed for that; else undefined. */
  lossIn(error: unknown, name: string): string | undefined {
    if (!(error instanceof ShoalError) || error.details['name'] !== name) return undefined
    // That a node does not answer may pass; unless the node is known to be gone.
    const isLost =
      error instanceof ObjectLostError || (error instanceof UnreachableError && this.#gone.has(nodeOf(name)))
    return isLost ? error.message : undefined
  }

  /**
   * The value of that name can be had nowhere. Has it made again, if it still is what the record has. Gives an error when that
   * cannot be; the record stays as it is then, since a node that was cut off may come back with the value.
   */
  lost(record: ObjectRecord, name: string, reason: string): ObjectLostError | undefined {
    const { value } = record
    if (value?.kind !== 'stored' || value.name !== name) return undefined
    const refusal = refusalOf(record, value)
    if (refusal !== undefined) {
      this.#host.tell?.('lost', record, reason)
      return objectLost(record, { value, reason }, refusal)
    }
    record.lose()
    this.#make(record, { value, reason })
    return undefined
  }

  /**
   * Another process could not read that value. It is looked for here first: the way to the other process may be at fault.
   * Resolves when the record has a value that is worth another try, or is being made again; with an error when it is lost for
   * good. Never rejects.
   */
  async check(record: ObjectRecord, name: string): Promise<ObjectLostError | undefined> {
    const { value } = record
    if (value?.kind !== 'stored' || value.name !== name) return undefined
    let check = this.#checks.get(name)
    if (check === undefined) {
      check = this.#probe(value).finally(() => this.#checks.delete(name))
      this.#checks.set(name, check)
    }
    const reason = await check
    return reason === undefined ? undefined : this.lost(record, name, reason)
  }

  /** Why the value is lost; undefined when it is not, or nobody knows. */
  async #probe(value: StoredValue): Promise<string | undefined> {
    try {
      await this.#host.probe(value)
      return undefined
    } catch (error) {
      return this.lossIn(error, value.name)
    }
  }

  /** Somebody asks for a result of which there was not even a record any more. */
  remake(record: ObjectRecord): void {
    const loss = { value: undefined, reason: 'it had been freed, because nothing referred to it' }
    // A chain of such results may be long, and each is asked for by the next.
    this.#host.defer(() => {
      if (record.value !== undefined || this.#losses.has(record)) return
      const refusal = refusalOf(record, undefined)
      if (refusal === undefined) this.#make(record, loss)
      else record.settle(this.#host.encodeError(objectLost(record, loss, refusal)))
    })
  }

  /** The task of a stream has ended, and was past this item already when that was lost. */
  remakeItem(record: ObjectRecord): void {
    const loss = this.#losses.get(record)
    if (loss === undefined) return
    const refusal = refusalOf(record, loss.value)
    if (refusal === undefined) this.#make(record, loss)
    else {
      this.ended(record, false)
      record.settle(this.#host.encodeError(objectLost(record, loss, refusal)))
    }
  }

  #make(record: ObjectRecord, loss: Loss): void {
    const { lineages, submit, free } = this.#host
    const lineage = record.lineage as Lineage
    this.#losses.set(record, loss)
    if (loss.value !== undefined) {
      free(loss.value.name)
      lineage.suspect(nodeOf(loss.value.name))
    }
    const task = lineage.run(record)
    if (task === undefined) return
    lineages.take(lineage)
    for (const { ref } of task.resolvedRefs) this.#suspect(recordOf(ref))
    submit(task)
  }

  /**
   * An argument that was on a node that is gone is most likely lost, too. Found out before its task has a worker, so that a
   * long chain does not block a worker for each of its links.
   */
  #suspect(record: ObjectRecord): void {
    const { value } = record
    if (value?.kind !== 'stored' || !this.#isGone(value)) return
    if (!(record.lineage instanceof Lineage) || refusalOf(record, value) !== undefined) return
    record.lose()
    void this.#probe(value).then((reason) => {
      // Its task has run meanwhile, for another of its results.
      if (record.value !== undefined) this.#host.free(value.name)
      else if (reason === undefined || refusalOf(record, value) !== undefined) record.settle(value, record.holds)
      else this.#make(record, { value, reason })
    })
  }

  /**
   * The task of this result has run again, for others. True when the value of this one was on a node that is gone, or that has
   * lost one of the others, so that it takes what has come: sooner or later somebody would miss it, and the retries would be
   * used up one by one.
   */
  lostToo(record: ObjectRecord): boolean {
    const { value, lineage } = record
    if (value === undefined) return true
    if (value.kind !== 'stored') return false
    const isSuspect = lineage instanceof Lineage && lineage.isSuspect(nodeOf(value.name))
    if (!isSuspect && !this.#isGone(value)) return false
    this.#host.free(value.name)
    record.lose()
    this.counters.recovered += 1
    return true
  }

  /** Which items of a stream its task is to send now that it is tried: what is new, and from the first that is lost on. */
  streamPart({ lineage, replicas }: TaskRecord, stream: StreamRecord): { skip: number; limit: number } {
    const { received, isOver } = stream
    // What is kept on several nodes is most likely there.
    const isLikelyLost = (value: WireValue): boolean =>
      value.kind === 'stored' &&
      ((replicas === 1 && this.#isGone(value)) || lineage?.isSuspect(nodeOf(value.name)) === true)
    const lost = lineage?.rangeOf(({ value }) => value === undefined || isLikelyLost(value))
    const skip = Math.min(received, lost?.first ?? received)
    stream.next = skip
    stream.limit = isOver ? (lost?.end ?? received) : 0
    return { skip, limit: stream.limit }
  }

  #isGone({ name }: StoredValue): boolean {
    return this.#gone.has(nodeOf(name))
  }

  /** A record is about to get what its task gave. Gives the loss for which the task ran again, if it was one. */
  ended(record: ObjectRecord, isMade: boolean): Loss | undefined {
    const loss = this.#losses.get(record)
    if (loss === undefined) return undefined
    this.#losses.delete(record)
    if (isMade) this.counters.recovered += 1
    else this.counters.failed += 1
    this.#host.tell?.(isMade ? 'remade' : 'lost', record, loss.reason)
    return loss
  }
}
