import { holdKey, holdOf, nameKey, type NameHold, type NamedActor } from '../../protocols/actor-names.ts'
import { compareTerms, type Term } from '../../protocols/election.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import type { DirectoryAnswer, DirectoryQuestion } from './actor-directory.ts'

/** The answer to a client. */
export type NameAnswer = Omit<MessageBody<'actorNameAnswer'>, 'requestId' | 'code'>

export type BookEvent =
  | {
      readonly [N in DirectoryAnswer]: { readonly type: N; readonly from: NodeId; readonly body: PeerMessageBody<N> }
    }[DirectoryAnswer]
  /**
   * Whom this node obeys, itself included; undefined while there is nobody, or no link to it. A head to which the link was
   * down has forgotten this node.
   */
  | { readonly type: 'head'; readonly term: Term | undefined }
  /** `named` is of a client here: it wants the name. */
  | { readonly type: 'claim'; readonly requestId: number; readonly named: NamedActor; readonly handedBy: ClientId }
  | {
      readonly type: 'find'
      readonly client: ClientId
      readonly requestId: number
      readonly isId: boolean
      readonly namespace: string
      readonly name: string
    }
  /** `mayReturn`: the actor is not dead, only not in these hands any more. */
  | { readonly type: 'release'; readonly hold: NameHold; readonly mayReturn: boolean }
  /** The actor is about to get another manager: the next head hears of it from that one. To be released in the end. */
  | { readonly type: 'yield'; readonly hold: NameHold }
  | { readonly type: 'clientGone'; readonly client: ClientId }
  | { readonly type: 'tick' }

export type BookAction =
  | {
      readonly [N in DirectoryQuestion]: { readonly type: N; readonly to: NodeId; readonly body: PeerMessageBody<N> }
    }[DirectoryQuestion]
  | { readonly type: 'answer'; readonly client: ClientId; readonly requestId: number; readonly answer: NameAnswer }
  /** The name has gone to another actor, so the one of this client is to end. */
  | { readonly type: 'lost'; readonly named: NamedActor; readonly holder: NamedActor | undefined }
  /** Nobody leads an actor that a client here has in reserve: it is to start it again. */
  | { readonly type: 'lead'; readonly named: NamedActor }

/** What has no answer is asked again after this time. */
const askAgainMs = 250
/** How long a client waits for an answer at the most: several changes of the head fit in. */
const answerMsMax = 15_000
/** Names that the clients of one node may have, and questions that may wait. */
const heldMax = 10_000
const waitingMax = 10_000
/** One message of a report has so many names, and so many bytes of descriptions. */
const partNamesMax = 1000
const partBytesMax = 1024 * 1024

interface Waiting {
  readonly requestId: number
  readonly untilMs: number
  /** When the head was asked last. */
  askedAtMs: number
}
type Claim = Waiting & { readonly named: NamedActor; readonly handedBy: ClientId }
type Find = Waiting & Pick<Extract<BookEvent, { type: 'find' }>, 'client' | 'isId' | 'namespace' | 'name'>
interface Release {
  readonly named: NamedActor
  readonly mayReturn: boolean
  askedAtMs: number
}

/**
 * The names that actors of this node's clients have, and what those clients ask of the directory, which is the head's
 * (`ActorDirectory`). Every head is told all names first; then what waits for an answer is asked, and again and again until
 * there is one. So no name is lost with a head, and the next one knows them all. Only answers of the head that this node
 * obeys count.
 *
 * Pure, like the directory.
 */
export class NameBook {
  readonly self: NodeId
  #head: Term | undefined
  #isReported = false
  #reportId = 0
  #reportedAtMs = Number.NEGATIVE_INFINITY
  /** By actor and manager. */
  readonly #held = new Map<string, NamedActor>()
  readonly #yielded = new Map<string, NamedActor>()
  readonly #claims = new Map<string, Claim>()
  readonly #finds = new Map<number, Find>()
  readonly #releases = new Map<string, Release>()
  #lastAskId = 0
  #actions: BookAction[] = []

  constructor(self: NodeId) {
    this.self = self
  }

  /** Those that its clients have. */
  held(): Iterable<NamedActor> {
    return this.#held.values()
  }

  /** True while it waits for something. */
  get wantsTick(): boolean {
    const waits = this.#claims.size + this.#finds.size + this.#releases.size > 0
    return waits || (this.#head !== undefined && !this.#isReported)
  }

  step(event: BookEvent, nowMs: number): BookAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  #on(event: BookEvent, nowMs: number): void {
    switch (event.type) {
      case 'head':
        return this.#onHead(event.term, nowMs)
      case 'claim':
        return this.#onClaim(event, nowMs)
      case 'find':
        return this.#onFind(event, nowMs)
      case 'release':
        return this.#onRelease(holdKey(event.hold), event.mayReturn, nowMs)
      case 'yield':
        return this.#onYield(holdKey(event.hold))
      case 'clientGone':
        return this.#onClientGone(event.client, nowMs)
      case 'tick':
        return this.#onTick(nowMs)
      case 'nameUnreported':
        if (!this.#isOfHead(event) || !this.#isReported) return
        this.#isReported = false
        return this.#report(nowMs)
      case 'nameReported':
        if (!this.#isOfHead(event) || event.body.id !== this.#reportId || this.#isReported) return
        this.#isReported = true
        return this.#askAll(nowMs, true)
      case 'nameClaimed':
        if (this.#isOfHead(event)) this.#onClaimed(event.body, nowMs)
        return
      case 'nameFound':
        if (this.#isOfHead(event)) this.#onFound(event.body)
        return
      case 'nameReleased':
        if (this.#isOfHead(event)) this.#releases.delete(holdKey(event.body))
        return
      case 'nameLost':
        if (this.#isOfHead(event)) this.#onLost(event.body, nowMs)
        return
      case 'nameLead': {
        const named = this.#held.get(holdKey(event.body))
        if (this.#isOfHead(event) && named !== undefined) this.#do({ type: 'lead', named })
      }
    }
  }

  #isOfHead({ from, body }: { from: NodeId; body: { term: Term } }): boolean {
    return this.#head?.head === from && compareTerms(this.#head, body.term) === 0
  }

  // --- the head

  #onHead(term: Term | undefined, nowMs: number): void {
    const isSame = term !== undefined && this.#head !== undefined && compareTerms(term, this.#head) === 0
    this.#head = term
    if (isSame) return
    this.#isReported = false
    this.#report(nowMs)
  }

  #report(nowMs: number): void {
    const head = this.#head
    if (head === undefined) return
    this.#reportedAtMs = nowMs
    const id = ++this.#reportId
    const parts = partsOf(this.#held.values())
    for (const [part, names] of parts.entries()) {
      this.#do({ type: 'nameReport', to: head.head, body: { term: head, id, part, parts: parts.length, names } })
    }
  }

  #onTick(nowMs: number): void {
    if (this.#head !== undefined && !this.#isReported && nowMs - this.#reportedAtMs >= askAgainMs) this.#report(nowMs)
    this.#giveUp(nowMs)
    this.#askAll(nowMs, false)
  }

  #askAll(nowMs: number, isFirst: boolean): void {
    const isDue = (asked: { askedAtMs: number }): boolean => isFirst || nowMs - asked.askedAtMs >= askAgainMs
    // In this order: a name that is given back and wanted again is free then.
    for (const release of this.#releases.values()) if (isDue(release)) this.#askRelease(release, nowMs)
    for (const claim of this.#claims.values()) if (isDue(claim)) this.#askClaim(claim, nowMs)
    for (const [askId, find] of this.#finds) if (isDue(find)) this.#askFind(askId, find, nowMs)
  }

  #giveUp(nowMs: number): void {
    const text = `no head of the mesh has answered for ${answerMsMax} ms`
    for (const [key, { named, requestId, untilMs }] of this.#claims) {
      if (nowMs < untilMs) continue
      this.#claims.delete(key)
      this.#answer(named.manager, requestId, { outcome: 'unavailable', holder: [], text })
      // It may have been given, and the answer lost.
      this.#giveBack(named, nowMs)
    }
    for (const [askId, { client, requestId, untilMs }] of this.#finds) {
      if (nowMs < untilMs) continue
      this.#finds.delete(askId)
      this.#answer(client, requestId, { outcome: 'unavailable', holder: [], text })
    }
  }

  // --- clients

  #onClaim({ named, requestId, handedBy }: Extract<BookEvent, { type: 'claim' }>, nowMs: number): void {
    const key = holdKey(named)
    if (this.#held.has(key) || this.#claims.has(key)) return
    if (this.#held.size + this.#claims.size >= heldMax) {
      const text = `the programs of this node have ${heldMax} names for actors, which is the most that is possible`
      this.#answer(named.manager, requestId, { outcome: 'full', holder: [], text })
      return
    }
    const claim = { named, requestId, handedBy, untilMs: nowMs + answerMsMax, askedAtMs: nowMs }
    this.#claims.set(key, claim)
    this.#askClaim(claim, nowMs)
  }

  #onFind({ client, requestId, isId, namespace, name }: Extract<BookEvent, { type: 'find' }>, nowMs: number): void {
    if (this.#finds.size >= waitingMax) {
      const text = `${waitingMax} questions for actors wait for the head already`
      this.#answer(client, requestId, { outcome: 'unavailable', holder: [], text })
      return
    }
    const askId = (this.#lastAskId = (this.#lastAskId + 1) % 0xffff_ffff)
    const find = { client, requestId, isId, namespace, name, untilMs: nowMs + answerMsMax, askedAtMs: nowMs }
    this.#finds.set(askId, find)
    this.#askFind(askId, find, nowMs)
  }

  #onRelease(key: string, mayReturn: boolean, nowMs: number): void {
    const named = this.#held.get(key) ?? this.#yielded.get(key) ?? this.#claims.get(key)?.named
    if (named === undefined) return
    this.#held.delete(key)
    this.#endYield(key, nowMs)
    this.#claims.delete(key)
    this.#giveBack(named, nowMs, mayReturn)
  }

  #onYield(key: string): void {
    const named = this.#held.get(key)
    if (named === undefined) return
    this.#held.delete(key)
    this.#yielded.set(key, named)
    // A head that comes meanwhile keeps the name for it.
    const reserve = { ...named, isReserve: true }
    this.#held.set(holdKey(reserve), reserve)
  }

  /** Whoever was to get it has it, or will not. */
  #endYield(key: string, nowMs: number): void {
    const named = this.#yielded.get(key)
    if (named === undefined) return
    this.#yielded.delete(key)
    const reserve = { ...named, isReserve: true }
    if (this.#held.delete(holdKey(reserve))) this.#giveBack(reserve, nowMs)
  }

  #onClientGone(client: ClientId, nowMs: number): void {
    const names = [...this.#held.values(), ...Array.from(this.#claims.values(), ({ named }) => named)]
    for (const named of names) if (named.manager === client) this.#onRelease(holdKey(named), false, nowMs)
    for (const [askId, find] of this.#finds) if (find.client === client) this.#finds.delete(askId)
  }

  #giveBack(named: NamedActor, nowMs: number, mayReturn = false): void {
    const release = { named, mayReturn, askedAtMs: nowMs }
    this.#releases.set(holdKey(named), release)
    this.#askRelease(release, nowMs)
  }

  #askClaim(claim: Claim, nowMs: number): void {
    if (!this.#isReported || this.#head === undefined) return
    claim.askedAtMs = nowMs
    this.#do({ type: 'nameClaim', to: this.#head.head, body: { named: claim.named, handedBy: claim.handedBy } })
  }

  #askFind(askId: number, find: Find, nowMs: number): void {
    if (!this.#isReported || this.#head === undefined) return
    find.askedAtMs = nowMs
    const { isId, namespace, name } = find
    this.#do({ type: 'nameFind', to: this.#head.head, body: { askId, isId, namespace, name } })
  }

  #askRelease(release: Release, nowMs: number): void {
    if (!this.#isReported || this.#head === undefined) return
    release.askedAtMs = nowMs
    const { namespace, name } = release.named
    const body = { namespace, name, ...holdOf(release.named), mayReturn: release.mayReturn }
    this.#do({ type: 'nameRelease', to: this.#head.head, body })
  }

  // --- what the head says

  #onClaimed({ outcome, holder: [holder], ...hold }: PeerMessageBody<'nameClaimed'>, nowMs: number): void {
    const key = holdKey(hold)
    const claim = this.#claims.get(key)
    if (claim === undefined) {
      // An old claim that came late: nobody here has the actor any more.
      const isHeld = this.#held.has(key) || this.#yielded.has(key) || this.#releases.has(key)
      if (outcome === 'given' && holder !== undefined && holdKey(holder) === key && !isHeld) {
        this.#giveBack(holder, nowMs)
      }
      return
    }
    if (outcome === 'given' && holder === undefined) return
    this.#claims.delete(key)
    if (outcome === 'given') {
      this.#endYield(key, nowMs)
      this.#held.set(key, { ...claim.named, term: holder?.term ?? 0 })
    }
    const text = outcome === 'full' ? 'the mesh has as many names for actors as are possible' : ''
    this.#answer(hold.manager, claim.requestId, { outcome, holder: holder === undefined ? [] : [holder], text })
  }

  #onFound({ askId, holder }: PeerMessageBody<'nameFound'>): void {
    const find = this.#finds.get(askId)
    if (find === undefined) return
    this.#finds.delete(askId)
    const { client, requestId } = find
    this.#answer(client, requestId, { outcome: holder.length > 0 ? 'found' : 'none', holder, text: '' })
  }

  #onLost({ namespace, name, holder, ...whose }: PeerMessageBody<'nameLost'>, nowMs: number): void {
    const key = holdKey(whose)
    const named = this.#held.get(key)
    if (named !== undefined && nameKey(named) === nameKey({ namespace, name, actor: whose.actor })) {
      this.#held.delete(key)
      this.#do({ type: 'lost', named, holder: holder[0] })
      this.#giveBack(named, nowMs)
      return
    }
    const released = { namespace, name, ...holdOf(whose), term: 0, description: '' }
    if (named === undefined && !this.#claims.has(key)) this.#giveBack(released, nowMs)
  }

  #answer(client: ClientId, requestId: number, answer: NameAnswer): void {
    this.#do({ type: 'answer', client, requestId, answer })
  }

  #do(action: BookAction): void {
    this.#actions.push(action)
  }
}

/** Always at least one part: a node without names says so. */
function partsOf(names: Iterable<NamedActor>): NamedActor[][] {
  let part: NamedActor[] = []
  const parts = [part]
  let bytes = 0
  for (const named of names) {
    const size = named.description.length * 3
    if (part.length >= partNamesMax || (part.length > 0 && bytes + size > partBytesMax)) {
      parts.push((part = []))
      bytes = 0
    }
    part.push(named)
    bytes += size
  }
  return parts
}
