import { PlacementGroupRemovedError } from '../../protocols/errors.ts'
import { objectId, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import type { BundleSpec, GroupId, PlacementStrategy } from '../../protocols/placement-groups.ts'
import type { NodeConnection } from '../client/node-connection.ts'

export interface GroupCallsHost {
  readonly connection: Pick<NodeConnection, 'send' | 'welcome'>
  /** The driver at the root of the work that runs now. */
  job(): ClientId
  takeSequence(): number
  /** Gives back the workers in the group that have nothing to do for this process. */
  returnIdle(group: GroupId): void
}

export interface GroupDefinition {
  readonly name: string
  readonly strategy: PlacementStrategy
  readonly bundles: readonly BundleSpec[]
}

/** How a group stands, as the node has said last. */
export type GroupStatus = Omit<MessageBody<'groupState'>, 'group'>

interface KnownGroup {
  /** This process has made it, and is told of it as long as it is there. */
  readonly isOwn: boolean
  status: GroupStatus | undefined
  readonly waiters: Set<{ onStatus(status: GroupStatus): void; onFailed(error: unknown): void }>
}

/** The placement groups that this process has made, or wants to hear of. */
export class GroupCalls {
  readonly #host: GroupCallsHost
  readonly #groups = new Map<GroupId, KnownGroup>()
  #ownCount = 0
  /** Why nothing is heard of any group any more. */
  #end: { readonly error: unknown } | undefined

  constructor(host: GroupCallsHost) {
    this.#host = host
  }

  handlers(): MessageHandlers {
    return { groupState: ({ group, ...status }) => this.#onState(group, status) }
  }

  /** Groups that this process has made and that are there. */
  get ownCount(): number {
    return this.#ownCount
  }

  create({ bundles, ...definition }: GroupDefinition): GroupId {
    const { connection, job, takeSequence } = this.#host
    const group = objectId(connection.welcome.clientId, takeSequence())
    this.#groups.set(group, { isOwn: true, status: undefined, waiters: new Set() })
    this.#ownCount++
    connection.send('groupCreate', { group, job: job(), ...definition, bundles: [...bundles] })
    return group
  }

  /** Where its bundles are, as far as this process has heard; empty for one that is nowhere. */
  nodesOf(group: GroupId): readonly NodeId[] | undefined {
    return this.#groups.get(group)?.status?.nodes
  }

  /**
   * Calls `onStatus` with what is known of the group and what is told later, until it returns true. Rejects when the node is
   * gone, and with the signal's reason.
   */
  async until(group: GroupId, onStatus: (status: GroupStatus) => boolean, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#end !== undefined) throw this.#end.error
    const known = this.#watched(group)
    if (known.status !== undefined && onStatus(known.status)) {
      this.#unwatch(group, known)
      return
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter = {
      onFailed: reject,
      onStatus(status: GroupStatus) {
        try {
          if (onStatus(status)) resolve()
        } catch (error) {
          reject(error)
        }
      },
    }
    known.waiters.add(waiter)
    const onAbort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      known.waiters.delete(waiter)
      this.#unwatch(group, known)
    }
  }

  /** Resolves when the group's home has removed it. */
  async remove(group: GroupId): Promise<void> {
    const removed = this.until(group, ({ state }) => state === 'removed' || state === 'refused')
    // Workers that are still leased there when it goes are killed.
    this.#host.returnIdle(group)
    this.#host.connection.send('groupRemove', { group })
    await removed
  }

  /** The node is gone, or this process has taken leave of it: what waits fails, and so does whoever asks later. */
  failAll(error: unknown): void {
    this.#end ??= { error }
    for (const { waiters } of this.#groups.values()) for (const waiter of waiters) waiter.onFailed(error)
    this.#groups.clear()
  }

  #watched(group: GroupId): KnownGroup {
    let known = this.#groups.get(group)
    if (known === undefined) {
      // One that this process has made is there no more.
      known = { isOwn: false, status: undefined, waiters: new Set() }
      this.#groups.set(group, known)
      this.#host.connection.send('groupWatch', { group, isOn: true })
    }
    return known
  }

  #unwatch(group: GroupId, known: KnownGroup): void {
    if (known.waiters.size > 0 || known.isOwn || this.#groups.get(group) !== known) return
    this.#groups.delete(group)
    this.#host.connection.send('groupWatch', { group, isOn: false })
  }

  #onState(group: GroupId, status: GroupStatus): void {
    const known = this.#groups.get(group)
    if (known === undefined) return
    known.status = status
    if (status.state === 'removed' || status.state === 'refused') {
      this.#groups.delete(group)
      if (known.isOwn) this.#ownCount--
    }
    for (const { onStatus } of [...known.waiters]) onStatus(status)
  }
}

export function groupRemoved(group: GroupId, name: string, reason: string): PlacementGroupRemovedError {
  const what = name === '' ? group : `${name} (${group})`
  return new PlacementGroupRemovedError(`placement group ${what} is there no more: ${reason}`, { group, name, reason })
}
