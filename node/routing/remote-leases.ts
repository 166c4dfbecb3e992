import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import type { RemoteGrant } from './router-events.ts'

/** A lease of a client of this node on a worker of another. */
export interface RemoteLease {
  /** Its number here, which the client knows; the worker's node has given another. */
  readonly alias: number
  readonly node: NodeId
  readonly leaseId: number
  readonly owner: LeaseEnd
  readonly job: ClientId
}

/** Numbers of the own lease book stay below, so that one look tells where a lease is. */
const aliasMin = 0x8000_0000
const aliasMax = 0xffff_ffff

/** True for the number of a lease on another node. */
export function isRemoteLease(leaseId: number): boolean {
  return leaseId >= aliasMin
}

/** The leases that clients of this node hold on other nodes, by both of their numbers. */
export class RemoteLeases {
  readonly #byAlias = new Map<number, RemoteLease>()
  readonly #byNode = new Map<NodeId, Map<number, RemoteLease>>()
  #lastAlias = aliasMin - 1

  get count(): number {
    return this.#byAlias.size
  }

  add(node: NodeId, grant: RemoteGrant, owner: LeaseEnd, job: ClientId): RemoteLease {
    do this.#lastAlias = this.#lastAlias >= aliasMax ? aliasMin : this.#lastAlias + 1
    while (this.#byAlias.has(this.#lastAlias))
    const lease = { alias: this.#lastAlias, node, leaseId: grant.leaseId, owner, job }
    this.#byAlias.set(lease.alias, lease)
    let ofNode = this.#byNode.get(node)
    if (ofNode === undefined) this.#byNode.set(node, (ofNode = new Map()))
    ofNode.set(lease.leaseId, lease)
    return lease
  }

  get(alias: number): RemoteLease | undefined {
    return this.#byAlias.get(alias)
  }

  /** The lease to which the other node gave this number. */
  at(node: NodeId, leaseId: number): RemoteLease | undefined {
    return this.#byNode.get(node)?.get(leaseId)
  }

  remove(lease: RemoteLease): void {
    this.#byAlias.delete(lease.alias)
    const ofNode = this.#byNode.get(lease.node)
    ofNode?.delete(lease.leaseId)
    if (ofNode?.size === 0) this.#byNode.delete(lease.node)
  }

  ofNode(node: NodeId): RemoteLease[] {
    return [...(this.#byNode.get(node)?.values() ?? [])]
  }

  /** Those that a client owns, or that run its work. */
  ofClient(client: ClientId): RemoteLease[] {
    return [...this.#byAlias.values()].filter(({ owner, job }) => owner.id === client || job === client)
  }
}
