import { compareTerms, type ElectionMessage, type Rank, type Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { Claim } from './claim.ts'
import type { ElectionAction, ElectionEvent, ElectionStep, OutgoingMessage } from './election-events.ts'
import { settingsOf, type ElectionOptions, type ElectionTimers } from './election-options.ts'
import type { ElectionRules } from './election-rules.ts'

/** What a peer has said last. */
interface Heard {
  readonly atMs: number
  /** By then it was to be heard again. */
  readonly nextMs: number
  readonly head: Term | undefined
  readonly fence: Term | undefined
  readonly isActing: boolean
  readonly rank: Rank
}

/** Whoever says that it is silent for longer is not believed. */
const nextMsMax = 60_000

type Message<T extends ElectionMessage['type']> = Extract<ElectionMessage, { type: T }>

/**
 * The election of a head, by support leases: each node is the only authority over its own resources, so each node is a
 * lock, and the head is whoever holds most of those in reach. A node supports one head at a time, for a second; heads have
 * their support renewed five times in that. Terms only rise, and the highest that a node has accepted is on its disk.
 *
 * Pure: no timers, sockets, files or chance. What it holds changes only in `step`.
 *
 * @example
 * const election = new Election({ self, rank, fence: undefined, nowMs: clock.nowMs(), random: Math.random })
 * const { messages, actions } = election.step({ type: 'tick' }, clock.nowMs())
 */
export class Election {
  readonly self: NodeId
  readonly #timers: ElectionTimers
  readonly #rules: ElectionRules
  readonly #rank: Rank
  readonly #random: () => number
  #fence: Term | undefined
  /** A claim that is granted as soon as its term is on the disk. */
  #wanted:
    | {
        readonly term: Term
        readonly round: number
        readonly wantsReport: boolean
        /** When it was claimed first, and last. */
        readonly sinceMs: number
        readonly atMs: number
      }
    | undefined
  #promise: { readonly term: Term; readonly untilMs: number } | undefined
  readonly #quietUntilMs: number
  #peers: readonly NodeId[] = []
  readonly #heard = new Map<NodeId, Heard>()
  /** When this candidate runs; undefined while it has no reason to. */
  #runAtMs: number | undefined
  /** It does not run before this: it has said yes to another, or has to listen first. */
  #holdUntilMs = Number.NEGATIVE_INFINITY
  #yesTo: { readonly node: NodeId; readonly rank: Rank } | undefined
  #probe:
    | { readonly round: number; readonly sentAtMs: number; readonly asked: number; readonly yes: Set<NodeId> }
    | undefined
  #lastRound = 0
  #claim: Claim | undefined
  /** No term is claimed twice: an answer to the first claim would count for the second. */
  #lastClaimed = 0
  #nextBeatMs: number
  readonly #beatAtMs = new Map<NodeId, number>()
  /** Since when it follows no head; undefined while it does, or is one. */
  #unsettledSinceMs: number | undefined
  #lastStepMs: number
  #head: Term | undefined
  #isStopped = false
  #messages: OutgoingMessage[] = []
  #actions: ElectionAction[] = []

  constructor(options: ElectionOptions) {
    const { timers, rules } = settingsOf(options)
    this.self = options.self
    this.#timers = timers
    this.#rules = rules
    this.#rank = options.rank
    this.#random = options.random
    this.#fence = options.fence
    this.#lastStepMs = options.nowMs
    this.#nextBeatMs = options.nowMs
    this.#quietUntilMs = options.nowMs + rules.quietMs(timers, options.fence)
  }

  /** The highest term that this node has accepted and that is on its disk. */
  get fence(): Term | undefined {
    return this.#fence
  }

  /** The term of the head that this node obeys. */
  get head(): Term | undefined {
    return this.#head
  }

  get isActing(): boolean {
    return this.#claim?.isActing === true
  }

  /** When it has to be stepped at the latest, if nothing comes before that. */
  wakeAtMs(nowMs: number): number {
    const { beatMs, jumpMs, suspectMs } = this.#timers
    const promise = this.#promised(nowMs)
    const heard = promise === undefined ? undefined : this.#heard.get(promise.head)
    // Who is a head, or wants to be, or has none, has something to do all the time.
    if (this.#claim !== undefined || this.#head === undefined || heard === undefined) return nowMs + beatMs / 2
    return Math.min(nowMs + jumpMs * 0.7, this.#promise?.untilMs ?? nowMs, heard.atMs + suspectMs + 1)
  }

  /** The nodes that this one believes to hold. */
  heldNodes(nowMs: number): NodeId[] {
    const claim = this.#claim
    return claim === undefined ? [] : [this.self, ...this.#peers].filter((node) => claim.holds(node, nowMs))
  }

  /** True when a command of this node in this term is to be obeyed. */
  mayObey(from: NodeId, term: Term): boolean {
    return term.head === from && this.#fence !== undefined && compareTerms(term, this.#fence) === 0
  }

  step(event: ElectionEvent, nowMs: number): ElectionStep {
    this.#messages = []
    this.#actions = []
    if (nowMs - this.#lastStepMs > this.#timers.jumpMs) this.#onJump(nowMs)
    this.#lastStepMs = nowMs
    this.#on(event, nowMs)
    if (!this.#isStopped) this.#advance(nowMs)
    this.#tellHead(nowMs)
    return { messages: this.#messages, actions: this.#actions }
  }

  #on(event: ElectionEvent, nowMs: number): void {
    switch (event.type) {
      case 'tick':
        return
      case 'message':
        return this.#onMessage(event.from, event.message, nowMs)
      case 'fencePersisted':
        return this.#onPersisted(event.term, nowMs)
      case 'fenceFailed':
        return this.#onWriteFailed(event.term, nowMs)
      case 'peersChanged':
        this.#peers = event.peers
        for (const node of this.#beatAtMs.keys()) if (!event.peers.includes(node)) this.#beatAtMs.delete(node)
        this.#nextBeatMs = nowMs
        return
      case 'linkDown':
        this.#claim?.linkDown(event.node)
        return
      case 'stop':
        this.#stepDown('it stops')
        this.#isStopped = true
    }
  }

  /** The machine was suspended, or the process stalled: whatever was held may be held by others by now. */
  #onJump(nowMs: number): void {
    this.#stepDown('its clock has jumped')
    this.#probe = undefined
    this.#runAtMs = undefined
    this.#heard.clear()
    this.#yesTo = undefined
    this.#holdUntilMs = nowMs + this.#timers.suspectMs
  }

  // --- what it sees

  #view(nowMs: number): NodeId[] {
    const { beatMs, suspectMs } = this.#timers
    // When the head is lost, all say so at once to all: who has not by now is lost, too.
    const isUnsettled = this.#unsettledSinceMs !== undefined && nowMs - this.#unsettledSinceMs > suspectMs - 2 * beatMs
    const isHeard = (node: NodeId): boolean => {
      const heard = this.#heard.get(node)
      if (heard === undefined) return false
      const silentMsMax = isUnsettled ? suspectMs : 2 * heard.nextMs + suspectMs - 2 * beatMs
      return nowMs - heard.atMs <= silentMsMax
    }
    return [this.self, ...this.#peers.filter(isHeard)]
  }

  #seesActingHead(nowMs: number): boolean {
    return this.#view(nowMs).some((node) => this.#heard.get(node)?.isActing === true)
  }

  /** The unexpired promise. */
  #promised(nowMs: number): Term | undefined {
    return this.#promise !== undefined && nowMs < this.#promise.untilMs ? this.#promise.term : undefined
  }

  // --- time

  #advance(nowMs: number): void {
    if (this.#obeyed(nowMs) !== undefined) this.#unsettledSinceMs = undefined
    else this.#unsettledSinceMs ??= nowMs
    this.#checkSupport(nowMs)
    this.#checkProbe(nowMs)
    if (this.#claim === undefined && this.#probe === undefined) this.#considerRunning(nowMs)
    if (nowMs < this.#nextBeatMs) return
    this.#nextBeatMs = nowMs + this.#timers.beatMs
    this.#sendClaims(nowMs)
    this.#sendBeats(nowMs)
  }

  /** A head acts once it holds more than half of what it sees, and gives up when it has not held that for a while. */
  #checkSupport(nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined) return
    claim.dropExpired(nowMs)
    const view = this.#view(nowMs)
    const held = view.filter((node) => claim.holds(node, nowMs)).length
    const silentMs = nowMs - claim.majorityAtMs
    if (!claim.isWritten) {
      if (silentMs >= this.#timers.writeMs) this.#giveWay('its term does not get to the disk', nowMs)
      return
    }
    if (held * 2 <= view.length || !claim.holds(this.self, nowMs)) {
      if (silentMs >= this.#timers.leaseMs) this.#stepDown('fewer than half of the nodes support it')
      return
    }
    claim.majorityAtMs = nowMs
    if (claim.isActing) return
    claim.isActing = true
    this.#actions.push({ type: 'startActing', term: claim.term })
    // Others hear of it at once.
    this.#nextBeatMs = nowMs
  }

  #checkProbe(nowMs: number): void {
    const probe = this.#probe
    if (probe === undefined || this.#claim !== undefined) return
    if (probe.yes.size * 2 > probe.asked) this.#startClaim(nowMs)
    else if (nowMs - probe.sentAtMs >= this.#timers.probeMs) {
      this.#probe = undefined
      this.#runAtMs = undefined
    }
  }

  #considerRunning(nowMs: number): void {
    const mustWait =
      nowMs < this.#quietUntilMs ||
      nowMs < this.#holdUntilMs ||
      this.#promised(nowMs) !== undefined ||
      this.#isAboutToPromise(nowMs) ||
      this.#seesActingHead(nowMs)
    if (mustWait) {
      this.#runAtMs = undefined
      return
    }
    const view = this.#view(nowMs)
    if (this.#runAtMs === undefined) {
      const better = view.filter((node) => this.#isBetter(node)).length
      this.#runAtMs = nowMs + this.#random() * this.#timers.jitterMs + better * this.#timers.rankStepMs
    }
    if (nowMs < this.#runAtMs) return
    const round = ++this.#lastRound
    this.#probe = { round, sentAtMs: nowMs, asked: view.length, yes: new Set([this.self]) }
    for (const to of view) if (to !== this.self) this.#send(to, { type: 'probe', round, rank: this.#rank })
    this.#checkProbe(nowMs)
  }

  #isBetter(node: NodeId): boolean {
    const rank = this.#heard.get(node)?.rank
    return node !== this.self && rank !== undefined && isBetter(rank, node, this.#rank, this.self)
  }

  // --- being head

  #startClaim(nowMs: number, above = 0): void {
    let counter = Math.max(above, this.#lastClaimed, this.#fence?.counter ?? 0, this.#wanted?.term.counter ?? 0)
    for (const { fence } of this.#heard.values()) counter = Math.max(counter, fence?.counter ?? 0)
    const before = this.#claim
    if (before?.isActing === true) {
      this.#actions.push({ type: 'stopActing', term: before.term, reason: 'it needs a higher term' })
    }
    this.#probe = undefined
    this.#runAtMs = undefined
    this.#lastClaimed = counter + 1
    this.#claim = new Claim({ counter: counter + 1, head: this.self }, nowMs)
    this.#actions.push({ type: 'persistFence', term: this.#claim.term })
    this.#sendClaims(nowMs)
  }

  #sendClaims(nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined) return
    const n = claim.send(nowMs)
    for (const to of this.#peers)
      this.#send(to, { type: 'claim', term: claim.term, n, wantsReport: claim.wantsReport(to) })
    this.#supportSelf(claim, nowMs)
  }

  /** A head's own support is like that of any other: only for a term that is on the disk, and not while promised away. */
  #supportSelf(claim: Claim, nowMs: number): void {
    const isPersisted = this.#fence !== undefined && compareTerms(this.#fence, claim.term) === 0
    const promise = this.#promised(nowMs)
    if (!isPersisted || (promise !== undefined && promise.head !== this.self)) return
    const { leaseMs } = this.#timers
    this.#promise = { term: claim.term, untilMs: nowMs + leaseMs }
    claim.hold(this.self, nowMs + this.#safeLeaseMs)
  }

  /** What a head may count on, whatever the two clocks do. */
  get #safeLeaseMs(): number {
    return this.#timers.leaseMs * (1 - 2 * this.#timers.clockRate)
  }

  #stepDown(reason: string): void {
    const claim = this.#claim
    if (claim === undefined) return
    this.#claim = undefined
    if (this.#promise?.term.head === this.self) this.#promise = undefined
    if (claim.isActing) this.#actions.push({ type: 'stopActing', term: claim.term, reason })
    for (const to of this.#peers) this.#send(to, { type: 'release', term: claim.term })
  }

  /** This node cannot be the head as things are: it lets others run first, whatever their rank. */
  #giveWay(reason: string, nowMs: number): void {
    this.#stepDown(reason)
    this.#yesTo = undefined
    this.#holdUntilMs = nowMs + this.#timers.leaseMs
  }

  // --- messages

  #sendBeats(nowMs: number): void {
    const beat = {
      head: this.#claim?.isActing === true ? this.#claim.term : this.#promised(nowMs),
      fence: this.#fence,
      acting: this.isActing,
      size: this.#claim?.size ?? 0,
      rank: this.#rank,
    } as const
    const { beatMs } = this.#timers
    const calmMs = this.#calmMs
    const head = this.#obeyed(nowMs)
    for (const to of this.#peers) {
      const isCalm = head !== undefined && this.#isCalmWith(to, head)
      const atMs = this.#beatAtMs.get(to)
      if (isCalm && atMs !== undefined && nowMs - atMs < calmMs - beatMs / 2) continue
      this.#beatAtMs.set(to, nowMs)
      // The head hears from those who support it with every answer to its claims.
      this.#send(to, { type: 'beat', ...beat, nextMs: isCalm && to !== head.head ? calmMs : beatMs })
    }
  }

  get #calmMs(): number {
    const { calmMs, calmPerNodeMs } = this.#timers
    return Math.max(calmMs, calmPerNodeMs * this.#peers.length)
  }

  /** Two that follow the same head have little to tell each other; a head itself has to be heard by all. */
  #isCalmWith(peer: NodeId, head: Term): boolean {
    if (head.head === this.self) return false
    const theirs = this.#heard.get(peer)?.head
    return theirs !== undefined && compareTerms(theirs, head) === 0
  }

  #send(to: NodeId, message: ElectionMessage): void {
    this.#messages.push({ to, message })
  }

  #onMessage(from: NodeId, message: ElectionMessage, nowMs: number): void {
    switch (message.type) {
      case 'beat':
        return this.#onBeat(from, message, nowMs)
      case 'probe':
        return this.#onProbe(from, message, nowMs)
      case 'probeReply':
        return this.#onProbeReply(from, message)
      case 'claim':
        return this.#onClaim(from, message, nowMs)
      case 'support':
        return this.#onSupport(from, message, nowMs)
      case 'reject':
        return this.#onReject(message, nowMs)
      case 'release':
        return this.#onRelease(from, message)
    }
  }

  #onBeat(from: NodeId, { head, fence, acting, size, rank, nextMs }: Message<'beat'>, nowMs: number): void {
    this.#heard.set(from, { atMs: nowMs, nextMs: Math.min(nextMs, nextMsMax), head, fence, isActing: acting, rank })
    const claim = this.#claim
    if (!acting || head === undefined || claim?.isActing !== true) return
    // The size first: a lone laptop with an inflated term must not win against a lab.
    if ((claim.size - size || compareTerms(claim.term, head)) < 0) this.#stepDown(`it has met a larger head, ${from}`)
  }

  #onProbe(from: NodeId, { round, rank }: Message<'probe'>, nowMs: number): void {
    const isCandidate = this.#runAtMs !== undefined || this.#probe !== undefined
    const yes =
      !this.#isStopped &&
      nowMs >= this.#quietUntilMs &&
      this.#promised(nowMs) === undefined &&
      !this.#isAboutToPromise(nowMs) &&
      !this.#seesActingHead(nowMs) &&
      this.#claim === undefined &&
      // Of candidates that run at the same time the best is to win: else each may get a part, and none the most.
      (nowMs >= this.#holdUntilMs ||
        this.#yesTo === undefined ||
        !isBetter(this.#yesTo.rank, this.#yesTo.node, rank, from)) &&
      !(isCandidate && isBetter(this.#rank, this.self, rank, from))
    if (yes) {
      this.#runAtMs = undefined
      this.#probe = undefined
      this.#yesTo = { node: from, rank }
      this.#holdUntilMs = Math.max(this.#holdUntilMs, nowMs + this.#timers.probeMs)
    }
    this.#send(from, { type: 'probeReply', round, yes, fence: this.#fence })
  }

  #onProbeReply(from: NodeId, { round, yes, fence }: Message<'probeReply'>): void {
    const heard = this.#heard.get(from)
    if (heard !== undefined && fence !== undefined) this.#heard.set(from, { ...heard, fence })
    if (yes && this.#probe?.round === round) this.#probe.yes.add(from)
  }

  #onClaim(from: NodeId, { term, n, wantsReport }: Message<'claim'>, nowMs: number): void {
    if (this.#isStopped || term.head !== from || nowMs < this.#quietUntilMs) return
    if (!this.#mayGrant(term, nowMs)) {
      const promise = this.#promised(nowMs)
      const promised = promise !== undefined && promise.head !== from
      this.#send(from, { type: 'reject', term, fence: this.#fence ?? term, promised })
      return
    }
    // Whoever supports another does not run itself.
    if (this.#claim?.isActing === false) this.#claim = undefined
    this.#probe = undefined
    this.#runAtMs = undefined
    if (this.#fence !== undefined && compareTerms(term, this.#fence) === 0) this.#grant(term, n, wantsReport, nowMs)
    else this.#grantWhenPersisted(term, n, wantsReport, nowMs)
  }

  #grantWhenPersisted(term: Term, round: number, wantsReport: boolean, nowMs: number): void {
    const order = this.#wanted === undefined ? 1 : compareTerms(term, this.#wanted.term)
    if (order < 0) return
    const sinceMs = order === 0 ? (this.#wanted?.sinceMs ?? nowMs) : nowMs
    this.#wanted = { term, round, wantsReport, sinceMs, atMs: nowMs }
    if (order > 0) this.#actions.push({ type: 'persistFence', term })
  }

  /** A claim that is still renewed waits for a slow disk: to run against it would only cost another write. */
  #isAboutToPromise(nowMs: number): boolean {
    const { probeMs, beatMs } = this.#timers
    const wanted = this.#wanted
    return wanted !== undefined && nowMs - wanted.sinceMs >= probeMs && nowMs - wanted.atMs < 2 * beatMs
  }

  #mayGrant(term: Term, nowMs: number): boolean {
    const { self, isActing } = this
    const facts = { self, term, fence: this.#fence, promise: this.#promised(nowMs), isActing }
    return this.#rules.isFree(facts) && this.#rules.isHighEnough(facts)
  }

  #grant(term: Term, n: number, wantsReport: boolean, nowMs: number): void {
    this.#promise = { term, untilMs: nowMs + this.#timers.leaseMs }
    const message = { type: 'support', term, n, report: new Uint8Array() } as const
    this.#messages.push({ to: term.head, message, wantsReport })
  }

  #onPersisted(term: Term, nowMs: number): void {
    if (this.#fence === undefined || compareTerms(term, this.#fence) > 0) this.#fence = term
    const wanted = this.#wanted
    if (wanted !== undefined && compareTerms(wanted.term, term) <= 0) this.#wanted = undefined
    if (term.head === this.self) {
      const claim = this.#claim
      if (claim === undefined || compareTerms(claim.term, term) !== 0) return
      claim.written(nowMs)
      this.#supportSelf(claim, nowMs)
    } else if (wanted !== undefined && compareTerms(wanted.term, term) === 0) {
      if (!this.#isStopped && this.#mayGrant(term, nowMs)) this.#grant(term, wanted.round, wanted.wantsReport, nowMs)
    }
  }

  /** What waits for it is given up; the next claim has it written again. */
  #onWriteFailed(term: Term, nowMs: number): void {
    if (this.#wanted !== undefined && compareTerms(this.#wanted.term, term) <= 0) this.#wanted = undefined
    const claim = this.#claim
    if (claim === undefined || claim.isWritten || compareTerms(claim.term, term) > 0) return
    this.#giveWay('its term could not be written', nowMs)
  }

  #onSupport(from: NodeId, { term, n, report }: Message<'support'>, nowMs: number): void {
    const heard = this.#heard.get(from)
    if (heard !== undefined) this.#heard.set(from, { ...heard, atMs: nowMs, nextMs: this.#timers.beatMs })
    const claim = this.#claim
    if (claim === undefined || compareTerms(term, claim.term) !== 0) return
    if (!claim.supported(from, n, this.#safeLeaseMs) || report.length === 0) return
    claim.reported(from)
    this.#actions.push({ type: 'reported', node: from, term, report })
  }

  /** A node that is free but has accepted a higher term: the head rises above it, and claims everyone again. */
  #onReject({ term, fence, promised }: Message<'reject'>, nowMs: number): void {
    const claim = this.#claim
    if (claim === undefined || promised || compareTerms(term, claim.term) !== 0) return
    if (compareTerms(fence, claim.term) > 0) this.#startClaim(nowMs, fence.counter)
  }

  #onRelease(from: NodeId, { term }: Message<'release'>): void {
    const promise = this.#promise?.term
    if (promise !== undefined && promise.head === from && compareTerms(promise, term) <= 0) this.#promise = undefined
    const heard = this.#heard.get(from)
    if (heard !== undefined) this.#heard.set(from, { ...heard, isActing: false })
  }

  // --- whom it obeys

  #tellHead(nowMs: number): void {
    const head = this.#obeyed(nowMs)
    const isSame =
      head === this.#head || (head !== undefined && this.#head !== undefined && compareTerms(head, this.#head) === 0)
    if (isSame) return
    this.#head = head
    this.#actions.push({ type: 'headChanged', head: head?.head, term: head })
  }

  #obeyed(nowMs: number): Term | undefined {
    if (this.#claim?.isActing === true) return this.#claim.term
    const promise = this.#promised(nowMs)
    if (promise === undefined || promise.head === this.self) return undefined
    const heard = this.#heard.get(promise.head)
    const isActing = heard?.isActing === true && nowMs - heard.atMs <= this.#timers.suspectMs
    return isActing ? promise : undefined
  }
}

function isBetter(a: Rank, aNode: NodeId, b: Rank, bNode: NodeId): boolean {
  return (a.kind - b.kind || a.startedAtMs - b.startedAtMs || (aNode < bNode ? -1 : 1)) < 0
}
