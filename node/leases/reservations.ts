import { asksFor, type ResourceSet } from '../../protocols/resources.ts'
import type { LeaseRequest } from './lease-records.ts'
import { isAhead } from './lease-records.ts'

interface Reservation {
  names: Set<string>
  untilMs: number
}

const reservationsMax = 64

/**
 * Keeps large requests from waiting for ever while small ones slip past them. A request that has waited `starvationMs`
 * and could fit reserves the resources that it is short of: nothing behind it that needs one of them is granted. A
 * reservation keeps growing with what else turns out short, so that it ends up with all it needs. CPUs come last, when
 * nothing else is short any more: all the others need them, and they come free soonest.
 *
 * It lapses after a while, and may be renewed after at least as long a pause for twice as long: those it holds up may be
 * what the holders of the resource wait for, so no reservation may last for ever.
 */
export class Reservations {
  #starvationMs: number
  #byRequest = new Map<LeaseRequest, Reservation>()

  constructor(starvationMs: number) {
    this.#starvationMs = starvationMs
  }

  /** The first span of a reservation. */
  get spanMs(): number {
    return 4 * this.#starvationMs
  }

  /** The request for which something that this one needs is kept, if there is one. */
  against(request: LeaseRequest): LeaseRequest | undefined {
    for (const [holder, { names }] of this.#byRequest) {
      if (holder.bundle?.group !== request.bundle?.group || !isAhead(holder, request)) continue
      for (const name of names) if (asksFor(request.resources, name)) return holder
    }
    return undefined
  }

  /** True when something of this is kept for a request to the node itself. */
  keeps(resources: ResourceSet): boolean {
    for (const [holder, { names }] of this.#byRequest) {
      if (holder.bundle !== undefined) continue
      for (const name of names) if (asksFor(resources, name)) return true
    }
    return false
  }

  /** The request has been answered, or placed, or is gone. */
  drop(request: LeaseRequest): void {
    this.#byRequest.delete(request)
  }

  lapse(nowMs: number): void {
    for (const [request, { untilMs }] of this.#byRequest) {
      if (nowMs < untilMs) continue
      this.#byRequest.delete(request)
      request.reserveAtMs = nowMs + Math.max(this.#starvationMs, request.reserveSpanMs)
      request.reserveSpanMs *= 2
    }
  }

  /**
   * Reserves what these requests, each the first of its kind, have been short of for too long.
   *
   * @param couldFit false for one that waiting alone does not help: nothing is kept for it
   */
  reserveFor(heads: Iterable<LeaseRequest>, nowMs: number, couldFit: (request: LeaseRequest) => boolean): void {
    for (const request of heads) {
      const { reason } = request.wait
      if (reason.kind !== 'resources' || nowMs < request.reserveAtMs) continue
      if (!couldFit(request)) {
        this.drop(request)
        continue
      }
      let reservation = this.#byRequest.get(request)
      if (reservation === undefined) {
        if (this.#byRequest.size >= reservationsMax) continue
        reservation = { names: new Set(), untilMs: nowMs + request.reserveSpanMs }
        this.#byRequest.set(request, reservation)
      }
      const scarce = reason.names.filter((name) => name !== 'CPU')
      if (scarce.length > 0) reservation.names.delete('CPU')
      for (const name of scarce.length > 0 ? scarce : reason.names) reservation.names.add(name)
    }
  }
}
