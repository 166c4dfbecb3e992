import type { ResourceLedger } from '../resources/ledger.ts'
import type { HeldBundles } from './held-bundles.ts'
import type { Lease, LeaseRequest } from './lease-records.ts'

/**
 * Tells which requests would be met if all came back that does so by itself: actors and placement groups keep what they
 * have for as long as somebody wants. To be made anew whenever leases may have changed.
 */
export function couldFit(leases: ReadonlyMap<number, Lease>, bundles: HeldBundles): (request: LeaseRequest) => boolean {
  const rests = new Map<ResourceLedger, ResourceLedger>()
  const restOf = (ledger: ResourceLedger): ResourceLedger => {
    let rest = rests.get(ledger)
    if (rest === undefined) {
      const kept = bundles.claimedFrom(ledger)
      for (const { isActor, from, allocation } of leases.values()) if (isActor && from === ledger) kept.push(allocation)
      rests.set(ledger, (rest = ledger.without(kept)))
    }
    return rest
  }
  return (request) => bundles.ledgersFor(request).some((ledger) => restOf(ledger).fits(request.resources))
}
