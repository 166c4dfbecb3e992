import type { NodeId } from '../../protocols/ids.ts'
import { compareTerms, type ElectionMessage, type Rank, type Term } from '../../protocols/election.ts'

export interface ElectionTimers {
  beatMs: number
  suspectMs: number
  leaseMs: number
  probeMs: number
  jitterMs: number
  rankStepMs: number
  jumpMs: number
  clockRate: number
}
export const defaultTimers: ElectionTimers = {
  beatMs: 200,
  suspectMs: 700,
  leaseMs: 1000,
  probeMs: 150,
  jitterMs: 150,
  rankStepMs: 30,
  jumpMs: 350,
  clockRate: 0.01,
}

export interface ElectionOptions {
  self: NodeId
  rank: Rank
  fence: Term | undefined
  nowMs: number
  random(): number
  timers?: Partial<ElectionTimers>
}

export type ElectionEvent =
  | { type: 'tick' }
  | { type: 'message'; from: NodeId; message: ElectionMessage }
  | { type: 'fencePersisted'; term: Term }
  | { type: 'peersChanged'; peers: readonly NodeId[] }
  | { type: 'stop' }

export type ElectionAction =
  | { type: 'persistFence'; term: Term }
  | { type: 'startActing'; term: Term }
  | { type: 'stopActing'; term: Term; reason: string }
  | { type: 'headChanged'; head: NodeId | undefined; term: Term | undefined }
  | { type: 'reported'; node: NodeId; term: Term; report: Uint8Array }

interface Heard {
  atMs: number
  fence: Term | undefined
  head: Term | undefined
  acting: boolean
  size: number
  rank: Rank
}
interface Claim {
  term: Term
  n: number
  sentAtMs: Map<number, number>
  leases: Map<NodeId, number>
  acting: boolean
  majorityAtMs: number
}

export class Election {
  readonly self: NodeId
  readonly #t: ElectionTimers
  readonly #rank: Rank
  readonly #random: () => number
  #fence: Term | undefined
  #wanted: { term: Term; from: NodeId; n: number } | undefined
  #promise: { term: Term; untilMs: number } | undefined
  #quietUntilMs: number
  #peers: readonly NodeId[] = []
  readonly #heard = new Map<NodeId, Heard>()
  #runAtMs: number | undefined
  #holdUntilMs = 0
  #probe: { round: number; sentAtMs: number; asked: number; yes: Set<NodeId> } | undefined
  #round = 0
  #claim: Claim | undefined
  #nextBeatMs = 0
  #lastMs: number
  #head: Term | undefined
  #isStopped = false
  #messages: { to: NodeId; message: ElectionMessage }[] = []
  #actions: ElectionAction[] = []

  constructor(o: ElectionOptions) {
    this.self = o.self
    this.#t = { ...defaultTimers, ...o.timers }
    this.#rank = o.rank
    this.#random = o.random
    this.#fence = o.fence
    this.#lastMs = o.nowMs
    this.#quietUntilMs = o.fence === undefined ? o.nowMs : o.nowMs + this.#t.leaseMs * (1 + 2 * this.#t.clockRate)
  }
  get fence(): Term | undefined {
    return this.#fence
  }
  get head(): Term | undefined {
    return this.#head
  }
  get isActing(): boolean {
    return this.#claim?.acting === true
  }
  get size(): number {
    return this.#claim?.leases.size ?? 0
  }
  mayObey(from: NodeId, term: Term): boolean {
    return this.#fence !== undefined && compareTerms(term, this.#fence) === 0 && term.head === from
  }

  step(
    event: ElectionEvent,
    nowMs: number,
  ): { messages: { to: NodeId; message: ElectionMessage }[]; actions: ElectionAction[] } {
    this.#messages = []
    this.#actions = []
    if (nowMs - this.#lastMs > this.#t.jumpMs) this.#onJump(nowMs)
    this.#lastMs = nowMs
    switch (event.type) {
      case 'tick':
        break
      case 'message':
        this.#onMessage(event.from, event.message, nowMs)
        break
      case 'fencePersisted':
        this.#onPersisted(event.term, nowMs)
        break
      case 'peersChanged':
        this.#peers = event.peers
        this.#nextBeatMs = nowMs
        break
      case 'stop':
        this.#stepDown('it stops', nowMs)
        this.#isStopped = true
        break
    }
    if (!this.#isStopped) this.#advance(nowMs)
    this.#tellHead(nowMs)
    return { messages: this.#messages, actions: this.#actions }
  }

  #view(nowMs: number): NodeId[] {
    return [
      this.self,
      ...this.#peers.filter((p) => nowMs - (this.#heard.get(p)?.atMs ?? -Infinity) <= this.#t.suspectMs),
    ]
  }
  #actingInView(nowMs: number): boolean {
    return this.#view(nowMs).some((n) => n !== this.self && this.#heard.get(n)?.acting === true)
  }
  #hasPromise(nowMs: number): boolean {
    return this.#promise !== undefined && nowMs < this.#promise.untilMs
  }
  #better(a: Rank, aId: NodeId, b: Rank, bId: NodeId): boolean {
    return a.kind !== b.kind
      ? a.kind < b.kind
      : a.startedAtMs !== b.startedAtMs
        ? a.startedAtMs < b.startedAtMs
        : aId < bId
  }
  #onJump(nowMs: number): void {
    if (this.#claim !== undefined) this.#stepDown('the clock jumped', nowMs)
    this.#probe = undefined
    this.#heard.clear()
    this.#runAtMs = undefined
    this.#holdUntilMs = nowMs + this.#t.suspectMs
  }
  #stepDown(reason: string, _nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined) return
    this.#claim = undefined
    if (this.#promise?.term.head === this.self) this.#promise = undefined
    if (claim.acting) this.#actions.push({ type: 'stopActing', term: claim.term, reason })
    for (const to of this.#peers) this.#messages.push({ to, message: { type: 'release', term: claim.term } })
  }
  #advance(nowMs: number): void {
    const t = this.#t
    const claim = this.#claim
    if (claim !== undefined) {
      for (const [n, until] of claim.leases) if (until <= nowMs) claim.leases.delete(n)
      const view = this.#view(nowMs)
      const held = view.filter((n) => claim.leases.has(n)).length
      if (held * 2 > view.length) {
        claim.majorityAtMs = nowMs
        if (!claim.acting && claim.leases.has(this.self)) {
          claim.acting = true
          this.#actions.push({ type: 'startActing', term: claim.term })
          this.#nextBeatMs = nowMs
        }
      } else if (nowMs - claim.majorityAtMs >= t.leaseMs)
        this.#stepDown('it has not been supported by a majority', nowMs)
    }
    if (this.#claim === undefined && this.#probe !== undefined) {
      if (this.#probe.yes.size * 2 > this.#probe.asked) {
        this.#probe = undefined
        this.#startClaim(nowMs)
      } else if (nowMs - this.#probe.sentAtMs >= t.probeMs) {
        this.#probe = undefined
        this.#runAtMs = undefined
      }
    }
    if (this.#claim === undefined && this.#probe === undefined) this.#candidacy(nowMs)
    if (nowMs >= this.#nextBeatMs) {
      this.#nextBeatMs = nowMs + t.beatMs
      this.#beat(nowMs)
    }
  }
  #candidacy(nowMs: number): void {
    if (nowMs < this.#quietUntilMs || this.#hasPromise(nowMs) || this.#actingInView(nowMs)) {
      this.#runAtMs = undefined
      return
    }
    if (nowMs < this.#holdUntilMs) {
      this.#runAtMs = undefined
      return
    }
    const view = this.#view(nowMs)
    if (this.#runAtMs === undefined) {
      const position = view.filter(
        (n) => n !== this.self && this.#better(this.#heard.get(n)?.rank ?? this.#rank, n, this.#rank, this.self),
      ).length
      this.#runAtMs = nowMs + this.#random() * this.#t.jitterMs + this.#t.rankStepMs * position
    }
    if (nowMs < this.#runAtMs) return
    this.#probe = { round: ++this.#round, sentAtMs: nowMs, asked: view.length, yes: new Set([this.self]) }
    for (const to of view)
      if (to !== this.self)
        this.#messages.push({ to, message: { type: 'probe', round: this.#round, rank: this.#rank } })
    if (view.length === 1) {
      this.#probe = undefined
      this.#startClaim(nowMs)
    }
  }
  #startClaim(nowMs: number, above = 0): void {
    let counter = Math.max(above, this.#fence?.counter ?? 0)
    for (const h of this.#heard.values()) counter = Math.max(counter, h.fence?.counter ?? 0)
    const before = this.#claim
    const term = { counter: counter + 1, head: this.self }
    this.#runAtMs = undefined
    this.#claim = { term, n: 0, sentAtMs: new Map(), leases: new Map(), acting: false, majorityAtMs: nowMs }
    if (before?.acting === true) this.#actions.push({ type: 'stopActing', term: before.term, reason: 'a new term' })
    this.#actions.push({ type: 'persistFence', term })
    this.#sendClaims(nowMs)
  }
  #sendClaims(nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined) return
    claim.n += 1
    claim.sentAtMs.set(claim.n, nowMs)
    claim.sentAtMs.delete(claim.n - 20)
    for (const to of this.#peers) this.#messages.push({ to, message: { type: 'claim', term: claim.term, n: claim.n } })
    if (this.#fence !== undefined && compareTerms(this.#fence, claim.term) === 0) this.#supportSelf(nowMs)
  }
  #supportSelf(nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined) return
    if (this.#hasPromise(nowMs) && this.#promise?.term.head !== this.self) return
    this.#promise = { term: claim.term, untilMs: nowMs + this.#t.leaseMs }
    claim.leases.set(this.self, nowMs + this.#t.leaseMs * (1 - 2 * this.#t.clockRate))
  }
  #beat(nowMs: number): void {
    this.#sendClaims(nowMs)
    const claim = this.#claim
    const head = this.#hasPromise(nowMs) ? this.#promise?.term : undefined
    for (const to of this.#peers) {
      this.#messages.push({
        to,
        message: {
          type: 'beat',
          head,
          fence: this.#fence,
          acting: claim?.acting === true,
          size: claim?.leases.size ?? 0,
          rank: this.#rank,
        },
      })
    }
  }
  #onMessage(from: NodeId, m: ElectionMessage, nowMs: number): void {
    switch (m.type) {
      case 'beat': {
        this.#heard.set(from, {
          atMs: nowMs,
          fence: m.fence,
          head: m.head,
          acting: m.acting,
          size: m.size,
          rank: m.rank,
        })
        if (m.acting && this.#claim?.acting === true && m.head !== undefined) {
          const mine = this.#claim
          const d = mine.leases.size - m.size || compareTerms(mine.term, m.head)
          if (d < 0) this.#stepDown(`it has met a larger head, ${from}`, nowMs)
        }
        return
      }
      case 'probe': {
        const isCandidate = this.#runAtMs !== undefined || this.#probe !== undefined
        const yes =
          !this.#isStopped &&
          nowMs >= this.#quietUntilMs &&
          !this.#hasPromise(nowMs) &&
          !this.#actingInView(nowMs) &&
          this.#claim === undefined &&
          !(isCandidate && this.#better(this.#rank, this.self, m.rank, from))
        if (yes) {
          this.#runAtMs = undefined
          this.#probe = undefined
          this.#holdUntilMs = nowMs + this.#t.probeMs
        }
        this.#messages.push({ to: from, message: { type: 'probeReply', round: m.round, yes, fence: this.#fence } })
        return
      }
      case 'probeReply': {
        const h = this.#heard.get(from)
        if (h !== undefined && m.fence !== undefined) h.fence = m.fence
        if (this.#probe?.round === m.round && m.yes) this.#probe.yes.add(from)
        return
      }
      case 'claim':
        return this.#onClaim(from, m.term, m.n, nowMs)
      case 'support': {
        const claim = this.#claim
        if (claim === undefined || compareTerms(m.term, claim.term) !== 0) return
        const sentAt = claim.sentAtMs.get(m.n)
        if (sentAt === undefined) return
        claim.leases.set(
          from,
          Math.max(claim.leases.get(from) ?? 0, sentAt + this.#t.leaseMs * (1 - 2 * this.#t.clockRate)),
        )
        this.#actions.push({ type: 'reported', node: from, term: claim.term, report: m.report })
        return
      }
      case 'reject': {
        const claim = this.#claim
        if (claim === undefined || compareTerms(m.term, claim.term) !== 0) return
        if (!m.promised && compareTerms(m.fence, claim.term) > 0) this.#startClaim(nowMs, m.fence.counter)
        return
      }
      case 'release':
        if (
          this.#promise !== undefined &&
          this.#promise.term.head === from &&
          compareTerms(this.#promise.term, m.term) <= 0
        )
          this.#promise = undefined
        {
          const h = this.#heard.get(from)
          if (h !== undefined) h.acting = false
        }
        return
    }
  }
  #onClaim(from: NodeId, term: Term, n: number, nowMs: number): void {
    if (this.#isStopped || term.head !== from || nowMs < this.#quietUntilMs) return
    const { promised, allowed } = this.#mayGrant(from, term, nowMs)
    if (!allowed) {
      this.#messages.push({ to: from, message: { type: 'reject', term, fence: this.#fence ?? term, promised } })
      return
    }
    if (this.#claim !== undefined && !this.#claim.acting) this.#claim = undefined
    this.#probe = undefined
    this.#runAtMs = undefined
    if (this.#fence !== undefined && compareTerms(term, this.#fence) === 0) this.#grant(from, term, n, nowMs)
    else if (this.#wanted === undefined || compareTerms(term, this.#wanted.term) >= 0) {
      const isNew = this.#wanted === undefined || compareTerms(term, this.#wanted.term) > 0
      this.#wanted = { term, from, n }
      if (isNew) this.#actions.push({ type: 'persistFence', term })
    }
  }
  #mayGrant(from: NodeId, term: Term, nowMs: number): { promised: boolean; allowed: boolean } {
    const has = this.#hasPromise(nowMs)
    const p = this.#promise
    const free = !has || p?.term.head === from || (p?.term.head === this.self && this.#claim?.acting !== true)
    const high = this.#fence === undefined || compareTerms(term, this.#fence) >= 0
    return { promised: !free, allowed: free && high }
  }
  #grant(from: NodeId, term: Term, n: number, nowMs: number): void {
    this.#promise = { term, untilMs: nowMs + this.#t.leaseMs }
    this.#messages.push({ to: from, message: { type: 'support', term, n, report: new Uint8Array() } })
  }
  #onPersisted(term: Term, nowMs: number): void {
    if (this.#fence === undefined || compareTerms(term, this.#fence) > 0) this.#fence = term
    if (term.head === this.self) {
      if (this.#claim !== undefined && compareTerms(this.#claim.term, term) === 0) this.#supportSelf(nowMs)
      return
    }
    const wanted = this.#wanted
    if (wanted === undefined || compareTerms(wanted.term, term) !== 0) return
    this.#wanted = undefined
    if (this.#mayGrant(wanted.from, term, nowMs).allowed) this.#grant(wanted.from, term, wanted.n, nowMs)
  }
  #tellHead(nowMs: number): void {
    let head: Term | undefined
    if (this.#claim?.acting === true) head = this.#claim.term
    else if (this.#hasPromise(nowMs) && this.#promise !== undefined && this.#promise.term.head !== this.self) {
      const h = this.#heard.get(this.#promise.term.head)
      if (h?.acting === true && nowMs - h.atMs <= this.#t.suspectMs) head = this.#promise.term
    }
    const same =
      head === this.#head || (head !== undefined && this.#head !== undefined && compareTerms(head, this.#head) === 0)
    if (same) return
    this.#head = head
    this.#actions.push({ type: 'headChanged', head: head?.head, term: head })
  }
}
