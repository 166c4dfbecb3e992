import { AsyncLocalStorage } from 'node:async_hooks'
import { TaskCancelledError } from '../../protocols/errors.ts'
import { objectId, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { TaskSpec } from '../../protocols/task-messages.ts'
import { OwnGroup } from '../api/own-group.ts'
import type { TaskContext } from '../api/task-context.ts'
import type { AnyFunction } from '../functions/function-table.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { StreamSender } from './stream-sender.ts'

/** The task in whose code this is called, also after an await and in callbacks. */
export const taskStorage = new AsyncLocalStorage<RunningTask>()

/** What {@link RunningTask.cancel} has interrupted waits with, for whoever finds it later. */
const cancelReasons = new WeakSet<object>()

/** Whether this is what a wait was interrupted with, or was made of that by somebody else. */
export function isCancelReason(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return cancelReasons.has(error) || (error.cause instanceof Error && cancelReasons.has(error.cause))
}

let lastGroup: { text: string; own: OwnGroup } | undefined

/** Of many tasks in a row, one. */
function ownGroupOf(text: string): OwnGroup {
  if (lastGroup?.text !== text) lastGroup = { text, own: new OwnGroup(text) }
  return lastGroup.own
}

/** A task on this worker, from its start to its end. */
export class RunningTask implements TaskContext {
  readonly spec: TaskSpec
  readonly nodeId: NodeId
  readonly gpuIds: readonly number[]
  /** The driver at the root of it. */
  readonly job: ClientId
  /** How deep it is nested. */
  readonly depth: number
  /** The placement group that it runs in, as text; empty for none. */
  readonly #group: string
  #ownGroup: OwnGroup | undefined
  /** Refs inside the arguments, alive while the task runs. */
  readonly holds: readonly (readonly ObjectRef[] | undefined)[]
  /** Arguments that were lost, and that the task has by their own refs therefore. */
  readonly recovered: ObjectRef[] = []
  stream: StreamSender | undefined
  /** When its function was called; 0 before. */
  calledAtMs = 0
  /** What it calls; undefined for the function that its spec names. */
  readonly method: AnyFunction | undefined
  /** Whose task it is, and who gets the result. */
  readonly caller: ClientId
  /** Calls of `get` and `wait` that it waits in. */
  waits = 0
  isCancelled = false
  /** Nobody takes its result any more. */
  isAbandoned = false
  /** End what it waits for now. */
  readonly #interrupts = new Set<(reason: TaskCancelledError) => void>()
  #abort: AbortController | undefined

  constructor(
    spec: TaskSpec,
    lease: { owner: ClientId; gpuIds: readonly number[]; job: ClientId; depth: number; group?: string },
    holds: readonly (readonly ObjectRef[] | undefined)[],
    nodeId: NodeId,
    method?: AnyFunction,
  ) {
    this.method = method
    this.caller = lease.owner
    this.spec = spec
    this.nodeId = nodeId
    this.gpuIds = lease.gpuIds
    this.job = lease.job
    this.depth = lease.depth
    this.holds = holds
    this.#group = lease.group ?? spec.group
  }

  /** The placement group that it runs in. */
  get ownGroup(): OwnGroup | undefined {
    if (this.#group === '') return undefined
    return (this.#ownGroup ??= ownGroupOf(this.#group))
  }

  /** That of its first result. */
  get id(): ObjectId {
    return objectId(this.caller, this.spec.sequence)
  }

  get taskName(): string {
    return this.spec.name
  }

  get attempt(): number {
    return this.spec.attempt
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.isCancelled || this.isAbandoned) this.#abort.abort(this.#reason())
    return this.#abort.signal
  }

  /** What the promise gives; rejects when the task is cancelled before. Nothing is kept of waits that are over. */
  async interruptible<T>(promise: Promise<T>): Promise<T> {
    const { promise: result, resolve, reject } = Promise.withResolvers<T>()
    promise.then(resolve, reject)
    if (this.isCancelled) reject(this.#reason())
    this.#interrupts.add(reject)
    try {
      return await result
    } finally {
      this.#interrupts.delete(reject)
    }
  }

  cancel(): void {
    this.isCancelled = true
    this.#abort?.abort(this.#reason())
    for (const interrupt of this.#interrupts) interrupt(this.#reason())
    this.stream?.stop()
  }

  /** Nobody takes the result any more: who looks at its signal may stop, and everything else goes on. */
  abandon(): void {
    this.isAbandoned = true
    this.#abort?.abort(this.#reason())
    this.stream?.stop()
  }

  #reason(): TaskCancelledError {
    const { name } = this.spec
    const text = this.isCancelled ? `task ${name} was cancelled` : `who has called ${name} is gone`
    const reason = new TaskCancelledError(text, { task: name })
    cancelReasons.add(reason)
    return reason
  }
}
