import type { ActorLifecycle, ActorPlace } from '../../protocols/actor-lifecycle.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import { checkResources } from '../../protocols/resources.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'

/** What becomes of an actor that a node was asked to take. */
export type KeepAnswer = Omit<PeerMessageBody<'keepAnswer'>, 'actor'>
/** What is told of an actor, but to whom. */
export type KeptState = Omit<MessageBody<'actorState'>, 'to' | 'from'>

/** Who is told what becomes of an actor that is to be made. */
export type Asker =
  | { readonly client: ClientId; readonly requestId: number }
  /** The node that found out that the actor is to be here, and its keeper. */
  | { readonly node: NodeId; readonly manager: ClientId }
  /** Nobody: it was led by a node that is gone. */
  | 'nobody'

/**
 * `claiming`: it wants its name, or to be found by its id. `placing`: it looks for a node. `handing`: another node has a
 * worker for it, and is to lead it. `leading`: it is here. `gone`: it is not, any more.
 */
type Phase = 'claiming' | 'placing' | 'handing' | 'leading' | 'gone'

/** An actor that a keeper leads, or is about to. */
export interface Kept {
  kept: KeptActor
  phase: Phase
  readonly asker: Asker
  /** Nobody was told yet. */
  isAnswered: boolean
  /** Nodes that are to be able to start it again, and whether they are. */
  readonly reserves: Map<NodeId, { isReady: boolean; saidAtMs: number }>
  ledSinceMs: number
  /** The restarts of which those nodes know. */
  toldIncarnation: number
  placings: number
  lifecycle: ActorLifecycle
  readonly watchers: Set<ClientId>
  /** Of a lease. */
  requestId: number | undefined
  /** A worker that was there before the actor was to be started. */
  readyPlace: ActorPlace | undefined
  /** While `handing`: where to, and the lease that shows that there is room. */
  handing: { readonly node: NodeId; readonly leaseId: number; saidAtMs: number } | undefined
  /** Why it is to be dead as soon as it has its name, and the head can be told so. */
  killed: string | undefined
  /** What its constructor has thrown. */
  error: WireValue | undefined
}

/** What another process has sent must be such that it can be asked for. */
export function checkKept({ named, resources, settings, creation }: KeptActor, from?: NodeId): void {
  if (from !== undefined && nodeOf(named.manager) !== from) {
    throw new ProtocolError('a node passes on an actor that it does not lead')
  }
  try {
    checkResources(resources, `actor ${settings.className}`)
  } catch (error) {
    throw new ProtocolError((error as Error).message)
  }
  if (creation.args.kind !== 'inline') throw new ProtocolError('the arguments of a detached actor are in a store')
}

/** What an actor takes here, about. */
export function bytesOfKept({ creation, functions }: KeptActor): number {
  let bytes = 1024 + wireBytes(creation.args)
  for (const { value } of [...creation.resolved, ...functions]) bytes += wireBytes(value)
  return bytes
}

/** Codes of the errors for which an actor gets no worker. */
export const refusalCodes: Record<MessageBody<'leaseRefuse'>['error'], string> = {
  infeasible: 'INFEASIBLE',
  workerLimit: 'WORKER_LIMIT',
  workerStart: 'WORKER_START_FAILED',
  busy: 'UNREACHABLE',
  forbidden: 'MEMBERSHIP',
  groupRemoved: 'PLACEMENT_GROUP_REMOVED',
}

/** How an actor is of which nothing is known here. */
export function unknownState(actor: ObjectId): KeptState {
  return { actor, state: 'restarting', worker: '', incarnation: 0, target: actor, reason: '', error: [] }
}
