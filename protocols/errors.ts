/**
 * The one family of errors that Shoal throws. Every error has a stable `code`, says whether trying the same call again
 * can help (`retryable`), and carries in `details` the figures that its message is made of.
 *
 * @example
 * try { await get(ref, { timeoutMs: 500 }) } catch (error) {
 *   if (error instanceof ShoalError && error.retryable) await get(ref)
 * }
 */
export class ShoalError extends Error {
  /** Stable, machine-readable name of the case. */
  readonly code: string
  /** True when the same call may succeed later without a change by the caller. */
  readonly retryable: boolean
  /** The facts behind the message: plain data only, so that it can cross the wire. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, options: ShoalErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? false
    this.details = options.details ?? {}
    this.name = new.target.name
  }
}

export interface ShoalErrorOptions {
  cause?: unknown
  retryable?: boolean
  details?: Record<string, unknown>
}

type Details = Record<string, unknown>

/** Thrown when an argument or an option has a wrong name, type or value. The message names it and what is accepted. */
export class InvalidArgumentError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('INVALID_ARGUMENT', message, { details })
  }
}

/** Thrown when something is asked for that this version does not have yet. */
export class NotSupportedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('NOT_SUPPORTED', message, { details })
  }
}

/** Thrown when a call needs a node and `init()` has not been called, or `shutdown()` has. */
export class NotInitializedError extends ShoalError {
  constructor(message = 'this program is not attached to a node; call `await init()` first') {
    super('NOT_INITIALIZED', message)
  }
}

/** Thrown when a value cannot be copied to another process. The message holds the path to the part that cannot. */
export class NotCloneableError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('NOT_CLONEABLE', message, { details })
  }
}

/** Thrown at the call when a function or class cannot travel to a worker: which, where, through what, and the way out. */
export class FunctionNotShippableError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('FUNCTION_NOT_SHIPPABLE', message, { details })
  }
}

/** Thrown by `get` when `timeoutMs` passed before the values were there. The tasks go on. */
export class GetTimeoutError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('GET_TIMEOUT', message, { retryable: true, details })
  }
}

/** Thrown by `get` on the result of a task that was cancelled. */
export class TaskCancelledError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('TASK_CANCELLED', message, { details })
  }
}

/** Thrown by `get` when the worker process died under the task and no retries were left. */
export class WorkerCrashedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('WORKER_CRASHED', message, { retryable: true, details })
  }
}

/**
 * Thrown by `get` when the task's worker was ended because its machine ran out of memory, and no retries were left. `details`
 * tells how much was used, by which workers. Way out: `memoryBytes`, so that fewer such tasks run on a machine at a time, or
 * smaller parts.
 */
export class OutOfMemoryError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('OUT_OF_MEMORY', message, { retryable: true, details })
  }
}

/** Thrown by `get` when a task threw something that is not an Error; the thrown value is the `cause`. */
export class TaskError extends ShoalError {
  constructor(message: string, options: { cause?: unknown; details?: Details } = {}) {
    super('TASK_FAILED', message, options)
  }
}

/**
 * Thrown by `get` on a call of an actor that cannot be reached now, or that is being started again. Whether the call has run
 * is not known; the actor may answer later ones.
 */
export class ActorUnavailableError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('ACTOR_UNAVAILABLE', message, { retryable: true, details })
  }
}

/**
 * Thrown by `get` on a call of an actor that is dead and does not come back: why, when and where it died is in `details`. An
 * error of its constructor is the `cause`.
 */
export class ActorDiedError extends ShoalError {
  constructor(message: string, options: { cause?: unknown; details?: Details } = {}) {
    super('ACTOR_DIED', message, options)
  }
}

/**
 * The `cause` of the ActorDiedError that calls of a new actor give when its name is taken: `details` names the actor that has
 * it. `getIfExists` gives a handle of that one instead, and so does `getActor`.
 */
export class ActorNameTakenError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('ACTOR_NAME_TAKEN', message, { details })
  }
}

/** Thrown by `getActor` when no actor has that name in that namespace. */
export class ActorNotFoundError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('ACTOR_NOT_FOUND', message, { details })
  }
}

/** Thrown by a call of an actor of which `maxPendingCalls` calls have no result yet: wait for some of them first. */
export class PendingCallsLimitError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('PENDING_CALLS_LIMIT', message, { retryable: true, details })
  }
}

/** Thrown when a queue has no room: by `putNowait` at once, by `put` when its `timeoutMs` has passed. */
export class QueueFullError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('QUEUE_FULL', message, { retryable: true, details })
  }
}

/** Thrown when a queue has too little in it: by `getNowait` at once, by `get` when its `timeoutMs` has passed. */
export class QueueEmptyError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('QUEUE_EMPTY', message, { retryable: true, details })
  }
}

/** Thrown by a put into a queue that was closed, and by a get from one that was closed and has nothing left. */
export class QueueClosedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('QUEUE_CLOSED', message, { details })
  }
}

/** Thrown when no actor of a pool is left for an item: all have died, or were taken out. `push()` brings new ones. */
export class PoolEmptyError extends ShoalError {
  constructor(message: string, options: { cause?: unknown; details?: Details } = {}) {
    super('POOL_EMPTY', message, options)
  }
}

/** Thrown by calls of a pool that was closed or ended. */
export class PoolClosedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('POOL_CLOSED', message, { details })
  }
}

/**
 * Thrown for one item of many whose call has failed: `details.index` says which, counted from 0; the error itself is the
 * `cause`.
 */
export class ItemFailedError extends ShoalError {
  constructor(message: string, options: { cause?: unknown; retryable?: boolean; details?: Details } = {}) {
    super('ITEM_FAILED', message, options)
  }
}

/** Thrown by `get` when every copy of a value is gone. */
export class ObjectLostError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('OBJECT_LOST', message, { details })
  }
}

/**
 * Thrown by `get` when a value is there and could not be read this time, such as for a fault of the disk or for want of open
 * files: nothing is lost. `details` names the value and its object. Way out: the same call again.
 */
export class ObjectUnavailableError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('OBJECT_UNAVAILABLE', message, { retryable: true, details })
  }
}

/** Thrown by `get` when the process that owned the object ended before the object was read. */
export class OwnerDiedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('OWNER_DIED', message, { details })
  }
}

/** Thrown when the object store has no room for a value. */
export class ObjectStoreFullError extends ShoalError {
  /** @param options.retryable false when the value would find no room in an empty store either. @default true */
  constructor(message: string, details: Details = {}, { retryable = true }: { retryable?: boolean } = {}) {
    super('OBJECT_STORE_FULL', message, { retryable, details })
  }
}

/** Thrown by `get` on a task whose request no node could ever meet: what was asked, and what there is. */
export class InfeasibleError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('INFEASIBLE', message, { details })
  }
}

/** Thrown by `get` on a task of a placement group that was removed, and by what is asked of such a group. */
export class PlacementGroupRemovedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('PLACEMENT_GROUP_REMOVED', message, { details })
  }
}

/** Thrown by a call when this process has submitted so many tasks that it must wait for some of them first. */
export class TooManyTasksError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('TOO_MANY_TASKS', message, { retryable: true, details })
  }
}

/** Thrown when a worker process could not be started. */
export class WorkerStartError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('WORKER_START_FAILED', message, { retryable: true, details })
  }
}

/** Thrown when every worker the node may have is blocked in `get()`, so that nothing could ever run again. */
export class WorkerLimitError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('WORKER_LIMIT', message, { retryable: true, details })
  }
}

/** Thrown when the node that this program is attached to has gone away. */
export class NodeDiedError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('NODE_DIED', message, { details })
  }
}

/** Thrown when a node cannot be started or reached. */
export class NodeUnavailableError extends ShoalError {
  constructor(message: string, options: { cause?: unknown; details?: Details; retryable?: boolean } = {}) {
    super('NODE_UNAVAILABLE', message, { retryable: true, ...options })
  }
}

/** Thrown when a peer sends bytes that are not what the protocol allows. */
export class ProtocolError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('PROTOCOL', message, { details })
  }
}

/** Thrown when another machine does not answer. Trying again may help: it may come back, or the network may. */
export class UnreachableError extends ShoalError {
  constructor(message: string, options: Partial<ShoalErrorOptions> = {}) {
    super('UNREACHABLE', message, { retryable: true, ...options })
  }
}

/** Thrown when a node is not out of service in time; it goes on with that. */
export class DrainIncompleteError extends ShoalError {
  constructor(message: string, details: Details = {}) {
    super('DRAIN_INCOMPLETE', message, { retryable: true, details })
  }
}

/** Thrown when a node does not belong to the mesh, may not do what it asks, or cannot be admitted; the message says why. */
export class MembershipError extends ShoalError {
  constructor(message: string, details: Record<string, unknown> = {}) {
    super('MEMBERSHIP', message, { details })
  }
}

/** The classes of the family by name, for errors that come back from another process. */
export const shoalErrorClasses = {
  ShoalError,
  InvalidArgumentError,
  NotSupportedError,
  NotInitializedError,
  NotCloneableError,
  FunctionNotShippableError,
  GetTimeoutError,
  TaskCancelledError,
  WorkerCrashedError,
  OutOfMemoryError,
  TaskError,
  ActorUnavailableError,
  ActorDiedError,
  ActorNameTakenError,
  ActorNotFoundError,
  PendingCallsLimitError,
  QueueFullError,
  QueueEmptyError,
  QueueClosedError,
  PoolEmptyError,
  PoolClosedError,
  ItemFailedError,
  ObjectLostError,
  ObjectUnavailableError,
  OwnerDiedError,
  ObjectStoreFullError,
  InfeasibleError,
  PlacementGroupRemovedError,
  TooManyTasksError,
  WorkerStartError,
  WorkerLimitError,
  NodeDiedError,
  NodeUnavailableError,
  ProtocolError,
  UnreachableError,
  MembershipError,
  DrainIncompleteError,
} as const
