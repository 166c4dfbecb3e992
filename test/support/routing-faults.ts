import { LeaseRouter, type LeaseRouterOptions } from '../../node/routing/lease-router.ts'
import type { RouterAction, RouterEvent } from '../../node/routing/router-events.ts'
import type { LeaseDesk } from '../../node/server/lease-desk.ts'

/** Ways to break a node on purpose: the simulation must find each out. */
export type Fault =
  | 'late grants are kept'
  | 'broken links keep leases'
  | 'asked twice, granted twice'
  | 'moved, not cancelled'
  | 'grants are said once'
  | 'a node reports once in a term'

/** A router that forgets some of what is to be done, if it has a fault. */
export class FaultyRouter extends LeaseRouter {
  readonly #fault: Fault | undefined
  readonly #onLateGrant: () => void

  constructor(options: LeaseRouterOptions, fault: Fault | undefined, onLateGrant: () => void) {
    super(options)
    this.#fault = fault
    this.#onLateGrant = onLateGrant
  }

  override step(event: RouterEvent, nowMs: number): RouterAction[] {
    const actions = super.step(event, nowMs)
    if (actions.some(({ type }) => type === 'returnRemote')) this.#onLateGrant()
    if (this.#fault === 'late grants are kept') return actions.filter(({ type }) => type !== 'returnRemote')
    if (this.#fault === 'moved, not cancelled') return actions.filter(({ type }) => type !== 'cancelLocal')
    return actions
  }
}

/** Makes the desk forget which requests it has granted: their numbers are below zero from now on. */
export function hideGrants(desk: LeaseDesk): void {
  const routes = desk.routes as unknown as Map<number, { requestId: number }>
  for (const [leaseId, route] of routes) {
    if (route.requestId > 0) routes.set(leaseId, { ...route, requestId: -route.requestId })
  }
}
