import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import type { SchedulingStrategy } from '../../protocols/scheduling.ts'

/** What names a request in the whole mesh: who asks, and the number that it gave. */
export interface RequestKey {
  readonly client: ClientId
  readonly requestId: number
}

/** A client of this node wants a worker, somewhere. */
export interface RoutedRequest extends RequestKey {
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  readonly envKey: string
  readonly envVars: Readonly<Record<string, string>>
  readonly depth: number
  /** The driver at the root of the work. */
  readonly job: ClientId
  readonly label: string
  /** Its tasks can be tried again. @default false */
  readonly isRetriable?: boolean
  /** The worker is kept for as long as its owner wants it. */
  readonly isActor: boolean
}

/** `forbidden`: the work's node may not submit. `groupRemoved`: the placement group is there no more. The others are those of a lease book. */
export type RefusalKind = 'infeasible' | 'workerLimit' | 'workerStart' | 'busy' | 'forbidden' | 'groupRemoved'

/** A worker of another node that a client of this one may use. */
export interface RemoteGrant {
  /** The other node's number of the lease. */
  readonly leaseId: number
  readonly workerId: ClientId
  readonly workerPid: number
  readonly gpuIds: readonly number[]
  /** So many nodes could run what was asked for, as the other node sees it. */
  readonly nodesAble: number
}

/** Why a node, or the mesh, does not give what was asked for. */
export interface Refusal {
  readonly error: RefusalKind
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

/** What happens to the router. News about requests that are not open any more is ignored. */
export type RouterEvent =
  | { type: 'requested'; request: RoutedRequest }
  | ({ type: 'cancelled' } & RequestKey)
  /** Its requests are forgotten, and those of others for its work are refused. */
  | { type: 'clientGone'; client: ClientId }
  /** The own lease book has answered. */
  | ({ type: 'localGranted' } & RequestKey)
  | ({ type: 'localRefused'; refusal: Refusal } & RequestKey)
  /** The head has named a place: this node or another. */
  | ({ type: 'placed'; node: NodeId; mayWait: boolean } & RequestKey)
  /** The head sees no node that could ever serve it. */
  | ({ type: 'infeasible'; reason: string; details: Readonly<Record<string, unknown>> } & RequestKey)
  | ({ type: 'feasible' } & RequestKey)
  | ({ type: 'remoteGranted'; node: NodeId; grant: RemoteGrant } & RequestKey)
  | ({ type: 'remoteRefused'; node: NodeId; refusal: Refusal } & RequestKey)
  | { type: 'linkUp'; node: NodeId }
  | { type: 'linkDown'; node: NodeId }
  /** Undefined: there is none that can be reached. */
  | { type: 'headChanged'; head: NodeId | undefined }
  | { type: 'tick' }

/** What the host is to do, in this order. */
export type RouterAction =
  /** Ask the own lease book. */
  | { type: 'askLocal'; request: RoutedRequest; mayWait: boolean }
  | ({ type: 'cancelLocal' } & RequestKey)
  | { type: 'askRemote'; node: NodeId; request: RoutedRequest; mayWait: boolean }
  | ({ type: 'cancelRemote'; node: NodeId } & RequestKey)
  /** A lease that came too late: it goes back. */
  | { type: 'returnRemote'; node: NodeId; client: ClientId; leaseId: number }
  /** The client gets the lease that the node has granted. */
  | ({ type: 'accept'; node: NodeId; grant: RemoteGrant; job: ClientId } & RequestKey)
  | ({ type: 'refuse'; refusal: Refusal } & RequestKey)
  | { type: 'demandAdd'; head: NodeId; request: RoutedRequest; waitedMs: number }
  | ({ type: 'demandRemove'; head: NodeId; isGranted: boolean } & RequestKey)
  /** The node that the head had named does not take it. */
  | ({ type: 'demandRefused'; head: NodeId; node: NodeId } & RequestKey)
