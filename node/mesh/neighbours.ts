import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { Advert } from '../../protocols/advert.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import type { Refusal, RequestKey, RoutedRequest, RouterAction } from '../routing/router-events.ts'
import type { LeaseNeighbours } from '../server/lease-desk.ts'
import type { PeerPost } from './peer-post.ts'
import { packFrame } from './remote-clients.ts'

export interface NeighboursOptions {
  post: PeerPost
  /** The state of this node, for those whom it refuses. */
  state(): Advert
  /** What another node has said of itself last. */
  stateOf(node: NodeId): Advert | undefined
  /** How many nodes could run what needs these resources. */
  nodesAble(resources: ResourceSet): number
  /** Why a node may not submit work; undefined when it may. */
  whyMayNotSubmit(node: NodeId): string | undefined
}

/** What the lease desk says to other nodes, as messages. A node on its own has nobody to talk to, and says nothing. */
export class Neighbours implements LeaseNeighbours {
  #with: NeighboursOptions | undefined

  /** From now on there are others. */
  open(options: NeighboursOptions): void {
    this.#with = options
  }

  askLease(node: NodeId, request: RoutedRequest, mayWait: boolean): void {
    const { resources, envVars, isRetriable = false, ...rest } = request
    const terms = { resources: { ...resources }, envVars: { ...envVars }, isRetriable }
    this.#with?.post.send(node, 'leaseAsk', { ...rest, ...terms, mayWait })
  }

  cancelAsk(node: NodeId, { client, requestId }: RequestKey): void {
    this.#with?.post.send(node, 'leaseAskCancel', { client, requestId })
  }

  refuseAsk(node: NodeId, { client, requestId }: RequestKey, { error, message, details }: Refusal): void {
    const state = this.#with?.state()
    if (state === undefined) return
    this.#with?.post.send(node, 'leaseAskRefuse', { client, requestId, error, message, details, state })
  }

  returnLease(node: NodeId, client: ClientId, leaseId: number): void {
    this.#with?.post.send(node, 'fromClient', { client, frame: packFrame('leaseReturn', { leaseId }) })
  }

  killLease(node: NodeId, client: ClientId, leaseId: number, reason: string): void {
    this.#with?.post.send(node, 'fromClient', { client, frame: packFrame('leaseKill', { leaseId, reason }) })
  }

  tellHead(action: Extract<RouterAction, { type: `demand${string}` }>): void {
    if (this.#with === undefined) return
    const { post, stateOf } = this.#with
    switch (action.type) {
      case 'demandAdd': {
        const { client, requestId, resources, depth, label, strategy } = action.request
        const waitedMs = Math.max(0, action.waitedMs)
        const demand = { client, requestId, resources: { ...resources }, depth, label, strategy, waitedMs }
        post.send(action.head, 'demandAdd', demand)
        return
      }
      case 'demandRemove': {
        const { client, requestId, isGranted } = action
        post.send(action.head, 'demandRemove', { client, requestId, isGranted })
        return
      }
      case 'demandRefused': {
        const { client, requestId, node } = action
        const state = stateOf(node)
        post.send(action.head, 'demandRefused', { client, requestId, node, state: state === undefined ? [] : [state] })
      }
    }
  }

  nodesAble(resources: ResourceSet): number {
    return this.#with?.nodesAble(resources) ?? 1
  }

  whyForbidden(job: ClientId): string | undefined {
    return this.#with?.whyMayNotSubmit(nodeOf(job))
  }
}
