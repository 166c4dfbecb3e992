import type { LeaseRequest, WaitReason } from './lease-records.ts'

/** Requests of one class, job and depth, first come first. All of them can be served, or none. */
export class RequestLine {
  readonly key: string
  readonly requests = new Map<number, LeaseRequest>()
  /** What holds up the head holds up all. */
  readonly wait: { reason: WaitReason } = { reason: { kind: 'turn' } }

  constructor(key: string) {
    this.key = key
  }

  /** The next to be served. A line in `WaitingRequests` is never empty. */
  get head(): LeaseRequest | undefined {
    return this.requests.values().next().value
  }
}

/**
 * The requests that hold nothing yet, by depth, class and job. Only the head of a line needs to be looked at: what does not
 * fit it does not fit those behind. So looking for work costs as much as there are different requests, not requests.
 */
export class WaitingRequests {
  #linesByDepth = new Map<number, Map<string, RequestLine>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  has(request: LeaseRequest): boolean {
    return this.lineOf(request)?.requests.has(request.sequence) === true
  }

  lineOf(request: LeaseRequest): RequestLine | undefined {
    return this.#linesByDepth.get(request.depth)?.get(request.lineKey)
  }

  /** Adds a new request at the end of its line. Returns true when it is the head. */
  add(request: LeaseRequest): boolean {
    const line = this.#line(request)
    line.requests.set(request.sequence, request)
    request.wait = line.wait
    this.#size++
    return line.requests.size === 1
  }

  /** Puts a request that had been taken out back at the place that its age gives it. */
  putBack(request: LeaseRequest): void {
    const line = this.#line(request)
    const later = [...line.requests.values()].filter(({ sequence }) => sequence > request.sequence)
    for (const { sequence } of later) line.requests.delete(sequence)
    for (const each of [request, ...later]) line.requests.set(each.sequence, each)
    request.wait = line.wait
    this.#size++
  }

  remove(request: LeaseRequest): void {
    const lines = this.#linesByDepth.get(request.depth)
    const line = lines?.get(request.lineKey)
    if (lines === undefined || line === undefined || !line.requests.delete(request.sequence)) return
    this.#size--
    if (line.requests.size > 0) return
    lines.delete(request.lineKey)
    if (lines.size === 0) this.#linesByDepth.delete(request.depth)
  }

  depthsDeepestFirst(): number[] {
    return [...this.#linesByDepth.keys()].sort((a, b) => b - a)
  }

  linesAt(depth: number): RequestLine[] {
    return [...(this.#linesByDepth.get(depth)?.values() ?? [])]
  }

  /** The first request of every line, in no order. */
  *heads(): Generator<LeaseRequest> {
    for (const lines of this.#linesByDepth.values()) {
      for (const { head } of lines.values()) if (head !== undefined) yield head
    }
  }

  /** Every request, the deepest first, line by line. */
  *all(): Generator<LeaseRequest> {
    for (const depth of this.depthsDeepestFirst()) {
      for (const line of this.linesAt(depth)) yield* line.requests.values()
    }
  }

  #line(request: LeaseRequest): RequestLine {
    let lines = this.#linesByDepth.get(request.depth)
    if (lines === undefined) this.#linesByDepth.set(request.depth, (lines = new Map()))
    let line = lines.get(request.lineKey)
    if (line === undefined) lines.set(request.lineKey, (line = new RequestLine(request.lineKey)))
    return line
  }
}
