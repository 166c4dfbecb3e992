import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { ClientTable } from './client-table.ts'
import type { LeaseEnd } from './lease-end.ts'

/** Clients of other nodes, for as long as a link leads there. */
export interface RemoteClients {
  get(id: ClientId): LeaseEnd | undefined
  isGone(id: ClientId): boolean
}

/** Finds clients by id, wherever they are. */
export class ClientDirectory {
  readonly self: NodeId
  readonly #local: ClientTable
  readonly #remote: RemoteClients | undefined
  /** Parts of this node that act as clients. */
  readonly #own = new Map<ClientId, LeaseEnd>()

  constructor(self: NodeId, local: ClientTable, remote?: RemoteClients) {
    this.self = self
    this.#local = local
    this.#remote = remote
  }

  /** A part of this node acts as a client. */
  addOwn(end: LeaseEnd): void {
    this.#own.set(end.id, end)
  }

  isLocal(id: ClientId): boolean {
    return nodeOf(id) === this.self
  }

  get(id: ClientId): LeaseEnd | undefined {
    return this.isLocal(id) ? (this.#local.get(id) ?? this.#own.get(id)) : this.#remote?.get(id)
  }

  /** True when it is known to have ended, or cannot be reached. What others still say of it may come all the same. */
  isGone(id: ClientId): boolean {
    return this.isLocal(id) ? this.get(id) === undefined : (this.#remote?.isGone(id) ?? true)
  }
}
