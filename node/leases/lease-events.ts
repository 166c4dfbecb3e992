import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import type { ResourceSet } from '../../protocols/resources.ts'

/** What happens to the lease book. Ids that it does not know (late or repeated news) are ignored. */
export type LeaseEvent =
  | RequestedEvent
  /** The owner needs the lease no more. Too late once it is granted: the owner then hands the lease back. */
  | { type: 'requestCancelled'; client: string; requestId: number }
  | { type: 'returned'; client: string; leaseId: number }
  /** The task on the leased worker waits in `get()`. */
  | { type: 'blocked'; leaseId: number }
  | { type: 'unblocked'; leaseId: number }
  | { type: 'workerReady'; workerId: number }
  /** Others need what the worker owns, or do so no more. */
  | { type: 'workerNeeded'; workerId: number; isNeeded: boolean }
  | WorkerExitedEvent
  /** With it go the requests and leases of which it is the owner or the job. */
  | { type: 'clientGone'; client: string }
  | BundleEvent
  /** The node takes no new work, or does so again. What waits is sent away, and all leases are asked back. */
  | { type: 'opened'; isOpen: boolean }
  | { type: 'tick' }

/** A bundle as it was reserved in one try. */
export interface BundleKey {
  readonly index: number
  readonly tryNumber: number
}

/** What happens to the bundles of placement groups on this node. */
export type BundleEvent =
  /** All of them are to be reserved, or none. */
  | {
      type: 'bundlesReserve'
      group: string
      tryNumber: number
      bundles: readonly { readonly index: number; readonly resources: ResourceSet }[]
    }
  /** They belong to a group that is there. */
  | { type: 'bundlesClaim'; group: string; bundles: readonly BundleKey[] }
  /** They are not needed any more, nor are those of earlier tries. `isRemoved`: nor is their group. */
  | { type: 'bundlesRelease'; group: string; bundles: readonly BundleKey[]; isRemoved: boolean; reason: string }
  /** All groups whose ids begin so have ended. */
  | { type: 'groupsGone'; prefix: string; reason: string }
  | { type: 'bundlesTick' }

/** An owner asks for a worker with resources of its own. */
export interface RequestedEvent {
  type: 'requested'
  client: string
  /** Chosen by the client, and unique among its requests. */
  requestId: number
  resources: ResourceSet
  /** Hash of the runtime environment; '' for none. Workers are shared only within one. */
  envKey: string
  envVars?: Readonly<Record<string, string>>
  /** How many tasks the owner is nested in: 0 for a driver. */
  depth: number
  /**
   * The client at the root of the work. When it goes, all of its work ends, and shares are fair between jobs.
   * @default the client itself
   */
  job?: string
  /** Name of the task, for status. */
  label: string
  /** A bundle of a placement group, from whose resources it is to be served; by default those of the node. */
  bundle?: BundleRef | undefined
  /**
   * Its tasks can be tried again.
   * @default false
   */
  isRetriable?: boolean
  /**
   * Its lease lasts for as long as the owner wants, and is not asked back for others.
   * @default false
   */
  isActor?: boolean
  /**
   * False: refuse it as `busy` if it cannot be served at once (starting a worker for it counts as that).
   * @default true
   */
  mayWait?: boolean
}

/** A bundle of a group, or any that has room. */
export interface BundleRef {
  readonly group: string
  readonly index: number | 'any'
}

/** Told once for every worker that was started, however it ended. */
export interface WorkerExitedEvent {
  type: 'workerExited'
  workerId: number
  reason: string
  /** It never became ready. */
  startFailed: boolean
  /** It was killed by somebody else's signal, which says nothing about whether workers can start. */
  isOutside?: boolean
  /** It was ended because memory ran out. */
  outOfMemory?: OutOfMemoryDetails | undefined
}

/** What the host is to do, in this order. */
export type LeaseAction =
  | { type: 'grant'; client: string; requestId: number; leaseId: number; workerId: number; gpuIds: readonly number[] }
  | RefuseAction
  | {
      type: 'startWorker'
      workerId: number
      envKey: string
      envVars: Readonly<Record<string, string>>
      gpuIds: readonly number[]
    }
  | { type: 'stopWorker'; workerId: number; reason: string }
  /** Others wait: the owner is to return the lease when what it has in flight on it is done. */
  | { type: 'reclaim'; client: string; leaseId: number }
  /** The worker died under the lease, or is stopped; there is nothing left to return. */
  | {
      type: 'lost'
      client: string
      leaseId: number
      reason: string
      outOfMemory?: OutOfMemoryDetails
      isGroupRemoved?: boolean
    }
  /** To the home of a group, about bundles of its that were to be reserved here, or are claimed and not here. */
  | {
      type: 'bundlesAnswer'
      group: string
      bundles: readonly BundleKey[]
      outcome: 'reserved' | 'refused' | 'lost'
      reason: string
    }

/** The answer to a request that gets no lease. `details` holds the figures of the message. */
export interface RefuseAction {
  type: 'refuse'
  client: string
  requestId: number
  /** `infeasible`: never on this node. `workerLimit`, `workerStart`, `busy`: not now. `groupRemoved`: never again. */
  error: 'infeasible' | 'workerLimit' | 'workerStart' | 'busy' | 'groupRemoved'
  message: string
  details: Record<string, unknown>
}
