import type { ResourceSet } from '../../protocols/resources.ts'
import type { Allocation, ResourceLedger } from '../resources/ledger.ts'
import type { BundleRef } from './lease-events.ts'

/** A request that has had no answer yet. */
export interface LeaseRequest {
  readonly client: string
  readonly requestId: number
  /** The client at the root of the work. */
  readonly job: string
  readonly resources: ResourceSet
  /** Of a placement group; undefined for the node's own resources. */
  readonly bundle: BundleRef | undefined
  readonly envKey: string
  readonly envVars: Readonly<Record<string, string>>
  readonly depth: number
  readonly label: string
  readonly isRetriable: boolean
  readonly isActor: boolean
  /** Its place in the order of arrival. */
  readonly sequence: number
  /** Equal for requests that the same leases could serve. */
  readonly classKey: string
  /** Equal for those of one class and job: they are served in the order of their arrival. */
  readonly lineKey: string
  readonly requestedAtMs: number
  /** Set while it holds its resources and a worker is being started for it. */
  placement: { allocation: Allocation; from: ResourceLedger; workerKey: string } | undefined
  /** Why its line was passed over when it was last looked at. One object for the whole line. */
  wait: { reason: WaitReason }
  /** When it may first (or again) have resources kept for it, and how long then: see `Reservations`. */
  reserveAtMs: number
  reserveSpanMs: number
}

export type WaitReason =
  | { kind: 'turn' }
  /** The node takes no new work. */
  | { kind: 'closed' }
  /** Too little of these is free. */
  | { kind: 'resources'; names: readonly string[] }
  /** What it needs is kept for a request that has waited too long. */
  | { kind: 'reserved'; by: LeaseRequest }
  /** The node has as many workers as it may. */
  | { kind: 'workers' }
  /** The last worker failed to start, and the next try has to wait. */
  | { kind: 'start'; reason: string }

/** A worker that is an owner's own until it returns it. */
export interface Lease {
  readonly leaseId: number
  readonly client: string
  readonly job: string
  readonly classKey: string
  readonly depth: number
  readonly label: string
  readonly isRetriable: boolean
  /** It lasts for as long as its owner wants. */
  readonly isActor: boolean
  readonly allocation: Allocation
  /** From which it was taken: the node's own, or that of a bundle. */
  readonly from: ResourceLedger
  /** The placement group of that bundle. */
  readonly group: string | undefined
  readonly worker: WorkerRecord
  readonly grantedAtMs: number
  isBlocked: boolean
  isReclaimed: boolean
}

/** A worker process, from the order to start it until the news of its end. */
export interface WorkerRecord {
  readonly workerId: number
  readonly key: string
  readonly envKey: string
  readonly gpuIds: readonly number[]
  state: 'starting' | 'idle' | 'leased' | 'stopping'
  /** Since when it is in that state. */
  sinceMs: number
  lease: Lease | undefined
  /** False until its first lease: a worker that ends before that counts as a failed start. */
  hasServed: boolean
  /** Others need what it owns, so that it is not stopped while there is another way. */
  isNeeded: boolean
}

/** True when `a` is to be served before `b`. */
export function isAhead(a: LeaseRequest, b: LeaseRequest): boolean {
  return a.depth > b.depth || (a.depth === b.depth && a.sequence < b.sequence)
}
