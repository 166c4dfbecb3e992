import { asksFor } from '../../protocols/resources.ts'
import type { Lease, LeaseRequest } from './lease-records.ts'

const requestsLookedAtMax = 1024

/**
 * Which leases to ask back so that those who wait get their turn: for every waiting request at most one, the oldest
 * that holds what the request lacks. A lease that has been asked back already counts for the first request that it
 * helps, so that no more are asked back than wait.
 *
 * @param waiting in the order in which they will be served
 * @param leases the oldest first
 */
export function chooseReclaims(
  waiting: Iterable<LeaseRequest>,
  leases: Iterable<Lease>,
  quantumMs: number,
  nowMs: number,
): Lease[] {
  const open = new Set(leases)
  const chosen: Lease[] = []
  // Requests of one owner and line are helped by the same leases: where one found none, the rest need not look.
  const helpless = new Set<string>()
  let lookedAt = 0
  for (const request of waiting) {
    if (open.size === 0 || ++lookedAt > requestsLookedAtMax) break
    const kind = `${request.depth} ${request.classKey} ${request.client}`
    if (helpless.has(kind)) continue
    const lease = findLease(open, request, quantumMs, nowMs)
    if (lease === undefined) {
      helpless.add(kind)
      continue
    }
    open.delete(lease)
    if (!lease.isReclaimed) chosen.push(lease)
  }
  return chosen
}

function findLease(
  leases: Iterable<Lease>,
  request: LeaseRequest,
  quantumMs: number,
  nowMs: number,
): Lease | undefined {
  let oldest: Lease | undefined
  for (const lease of leases) {
    if (!isWorthReclaiming(lease, request)) continue
    if (lease.isReclaimed) return lease
    // Between leases of its own the owner loses nothing by handing one over at once, if it is idle.
    if (lease.client !== request.client && nowMs - lease.grantedAtMs < quantumMs) continue
    oldest ??= lease
  }
  return oldest
}

/** True when the return of the lease would bring the request nearer to its grant, and the request goes first. */
export function isWorthReclaiming(lease: Lease, request: LeaseRequest): boolean {
  if (lease.isActor) return false
  // Deeper tasks are what shallower ones wait for.
  if (lease.depth > request.depth) return false
  // An owner that asks for one more of the same would hand over one to get one.
  if (lease.client === request.client && lease.classKey === request.classKey) return false
  const { reason } = request.wait
  if (reason.kind === 'workers') return !lease.isBlocked
  if (reason.kind !== 'resources' || lease.group !== request.bundle?.group) return false
  return reason.names.some((name) => {
    if (name === 'CPU' && lease.isBlocked) return false
    return asksFor(lease.allocation.resources, name)
  })
}
