import { compareNamed, holdKey, holdOf, nameKey, type NamedActor } from '../../protocols/actor-names.ts'
import { compareTerms, type Term } from '../../protocols/election.ts'
import { nodeOf, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'

/** What nodes ask of the head, by the names of their messages. */
export type DirectoryQuestion = 'nameReport' | 'nameClaim' | 'nameFind' | 'nameRelease'
/** What the head says to nodes. */
export type DirectoryAnswer =
  | 'nameUnreported'
  | 'nameReported'
  | 'nameClaimed'
  | 'nameFound'
  | 'nameReleased'
  | 'nameLost'
  | 'nameLead'

type MessagesOf<N extends DirectoryQuestion | DirectoryAnswer> = {
  [K in N]: { readonly type: K; readonly body: PeerMessageBody<K> }
}[N]

export type DirectoryEvent =
  | (MessagesOf<DirectoryQuestion> & { readonly from: NodeId })
  /** A link leads to the node, or leads there no more. */
  | { readonly type: 'nodeUp' | 'nodeDown'; readonly node: NodeId }
  /** Time has passed. */
  | { readonly type: 'tick' }

/** A message to a node. */
export type DirectoryAction = MessagesOf<DirectoryAnswer> & { readonly to: NodeId }

/** How long a node with which there is a link may take to report its names, until names are given without having heard it. */
const reportMsMax = 5000
/** How often a manager is told that its actor has lost its name, until it has given it up. */
const sayAgainMs = 500
/** The same for who is to start an actor again. Before that its node has so much time to come back. */
const leadAgainMs = 1000
/** How soon it is asked for its report. */
const askReportMs = 300
/** Parts of one report. */
const partsMax = 1000
/** Names given back that are remembered of one node, so that a claim that comes late, or again, does not bring them back. */
const givenBackMax = 10_000
/** Dead actors that are remembered. */
const endedMax = 10_000
/** Names that the mesh may have. */
const namesMax = 100_000

interface NodeRecord {
  readonly upSinceMs: number
  askedAtMs: number
  hasReported: boolean
  /** The report that has come last, or of which parts have. */
  reportId: number
  readonly parts: Map<number, readonly NamedActor[]>
  readonly held: Set<NamedActor>
  readonly givenBack: Set<string>
}

interface Loser {
  readonly named: NamedActor
  saidAtMs: number
}

/**
 * The head's directory of the actors that have names, for one term. All that it knows the nodes have told it since the term
 * began: so it gives a name that it does not know, or says that there is no such actor, only when every node that a link
 * leads to has reported, or has had its time to. Of two actors that come with the same name, after a partition, one keeps
 * it (`compareNamed`), and the manager of the other is told. Of a detached actor it knows, too, who could start it again: when
 * nobody leads it any more, and all have reported, one of those is told to.
 *
 * Pure. Messages may be lost, or come twice: who asks asks again until there is an answer, and an answer to what cannot be
 * answered yet is none.
 */
export class ActorDirectory {
  readonly term: Term
  readonly #nodes = new Map<NodeId, NodeRecord>()
  readonly #byName = new Map<string, NamedActor>()
  readonly #byId = new Map<ObjectId, NamedActor>()
  /** Who could start an actor again: by the actor's id, and by its name. */
  readonly #reserves = new Map<string, Set<NamedActor>>()
  /** Dead actors: they are not to be started again by those who do not know that yet. */
  readonly #ended = new Set<ObjectId>()
  /** When somebody was told to lead an actor that nobody leads. */
  readonly #orphans = new Map<ObjectId, number>()
  readonly #losers = new Set<Loser>()
  #actions: DirectoryAction[] = []
  #nowMs = 0

  constructor(term: Term) {
    this.term = term
  }

  /** All that have names. */
  names(): Iterable<NamedActor> {
    return this.#byName.values()
  }

  /** True while time matters: there is something to say again. */
  get wantsTick(): boolean {
    if (this.#losers.size + this.#orphans.size > 0) return true
    for (const { hasReported } of this.#nodes.values()) if (!hasReported) return true
    return false
  }

  step(event: DirectoryEvent, nowMs: number): DirectoryAction[] {
    this.#actions = []
    this.#nowMs = nowMs
    this.#on(event, nowMs)
    if (this.#orphans.size > 0) this.#findLeaders(nowMs)
    return this.#actions
  }

  #on(event: DirectoryEvent, nowMs: number): void {
    switch (event.type) {
      case 'nodeUp':
        this.#forget(event.node)
        this.#nodes.set(event.node, {
          upSinceMs: nowMs,
          askedAtMs: nowMs,
          hasReported: false,
          reportId: -1,
          parts: new Map(),
          held: new Set(),
          givenBack: new Set(),
        })
        return
      case 'nodeDown':
        return this.#forget(event.node)
      case 'tick':
        return this.#sayAgain(nowMs)
      case 'nameReport':
        if (compareTerms(event.body.term, this.term) === 0) this.#onReport(event.from, event.body, nowMs)
        return
      case 'nameClaim':
        if (this.#hasReported(event.from)) this.#onClaim(event.from, event.body, nowMs)
        return
      case 'nameFind':
        if (this.#hasReported(event.from)) this.#onFind(event.from, event.body, nowMs)
        return
      case 'nameRelease':
        if (this.#hasReported(event.from)) this.#onRelease(event.from, event.body, nowMs)
    }
  }

  #hasReported(node: NodeId): boolean {
    return this.#nodes.get(node)?.hasReported === true
  }

  /** What its clients had is gone, as far as this side of the mesh goes. */
  #forget(node: NodeId): void {
    const record = this.#nodes.get(node)
    if (record === undefined) return
    this.#nodes.delete(node)
    for (const named of record.held) this.#remove(named)
    for (const loser of this.#losers) if (nodeOf(loser.named.manager) === node) this.#losers.delete(loser)
  }

  #remove(named: NamedActor): void {
    this.#nodes.get(nodeOf(named.manager))?.held.delete(named)
    const keys = [named.actor, nameKey(named)]
    if (named.isReserve) {
      for (const key of keys) {
        const reserves = this.#reserves.get(key)
        reserves?.delete(named)
        if (reserves?.size === 0) this.#reserves.delete(key)
      }
      return
    }
    if (this.#byName.get(nameKey(named)) === named) this.#byName.delete(nameKey(named))
    if (this.#byId.get(named.actor) === named) this.#byId.delete(named.actor)
    if (this.#reserves.has(named.actor)) this.#orphans.set(named.actor, this.#nowMs)
  }

  /** Has actors that nobody leads started again, once it is certain that nobody does. */
  #findLeaders(nowMs: number): void {
    if (!this.#isComplete(nowMs)) return
    for (const [actor, saidAtMs] of this.#orphans) {
      const [reserve] = [...(this.#reserves.get(actor) ?? [])].toSorted(compareNamed)
      if (reserve === undefined || this.#byId.has(actor)) {
        this.#orphans.delete(actor)
        continue
      }
      if (nowMs - saidAtMs < leadAgainMs) continue
      this.#orphans.set(actor, nowMs)
      this.#send({ type: 'nameLead', to: nodeOf(reserve.manager), body: { term: this.term, ...holdOf(reserve) } })
    }
  }

  /** True when what is not known here is nowhere. */
  #isComplete(nowMs: number): boolean {
    for (const { hasReported, upSinceMs } of this.#nodes.values()) {
      if (!hasReported && nowMs - upSinceMs < reportMsMax) return false
    }
    return true
  }

  #onReport(from: NodeId, { id, part, parts, names }: PeerMessageBody<'nameReport'>, nowMs: number): void {
    const record = this.#nodes.get(from)
    if (record === undefined || id < record.reportId || part >= parts || parts > partsMax) return
    if (id > record.reportId) {
      record.reportId = id
      record.parts.clear()
    }
    record.parts.set(part, names)
    if (record.parts.size < parts) return
    if (!record.hasReported) {
      // Only once: what has changed since the node tells by itself, and an old report must not undo that.
      record.hasReported = true
      for (const named of [...record.parts.values()].flat())
        if (nodeOf(named.manager) === from) this.#adopt(named, nowMs)
    }
    record.parts.clear()
    this.#send({ type: 'nameReported', to: from, body: { term: this.term, id } })
  }

  /** A node has had this name before this term. */
  #adopt(named: NamedActor, nowMs: number): void {
    if (named.isReserve) {
      this.#reserve(named, nowMs)
      return
    }
    const other = this.#byName.get(nameKey(named))
    if (other === undefined) this.#add(named, nowMs)
    else if (holdKey(other) === holdKey(named)) return
    else if (compareNamed(named, other) < 0) {
      this.#add(named, nowMs)
      this.#lose(other, nowMs)
    } else this.#lose(named, nowMs)
  }

  /** In the place of who has the name now, if somebody has. */
  #add(named: NamedActor, nowMs: number): void {
    const other = this.#byName.get(nameKey(named))
    if (other !== undefined) this.#remove(other)
    this.#byName.set(nameKey(named), named)
    this.#byId.set(named.actor, named)
    this.#nodes.get(nodeOf(named.manager))?.held.add(named)
    // Who would start it from what it was before is not to do so any more, nor who would start another one by its name.
    const reserves = [...(this.#reserves.get(named.actor) ?? []), ...(this.#reserves.get(nameKey(named)) ?? [])]
    for (const reserve of new Set(reserves)) {
      if (reserve.actor !== named.actor || reserve.epoch <= named.epoch) this.#loseReserve(reserve, nowMs)
    }
  }

  #reserve(named: NamedActor, nowMs: number): void {
    const leader = this.#byId.get(named.actor)
    const holder = this.#byName.get(nameKey(named))
    const isLate = leader !== undefined && named.epoch <= leader.epoch
    if (isLate || this.#ended.has(named.actor) || (holder !== undefined && holder.actor !== named.actor)) {
      this.#lose(named, nowMs)
      return
    }
    this.#nodes.get(nodeOf(named.manager))?.held.add(named)
    for (const key of new Set([named.actor, nameKey(named)])) {
      let reserves = this.#reserves.get(key)
      if (reserves === undefined) this.#reserves.set(key, (reserves = new Set()))
      reserves.add(named)
    }
    if (leader === undefined) this.#orphans.set(named.actor, this.#nowMs)
  }

  #loseReserve(reserve: NamedActor, nowMs: number): void {
    this.#remove(reserve)
    this.#lose(reserve, nowMs)
  }

  #lose(named: NamedActor, nowMs: number): void {
    const loser = { named, saidAtMs: nowMs }
    this.#losers.add(loser)
    this.#tell(loser)
  }

  #tell({ named }: Loser): void {
    const { namespace, name, manager } = named
    const winner = this.#byName.get(nameKey(named))
    const holder = winner === undefined ? [] : [winner]
    const body = { term: this.term, namespace, name, ...holdOf(named), holder }
    this.#send({ type: 'nameLost', to: nodeOf(manager), body })
  }

  #sayAgain(nowMs: number): void {
    for (const [node, record] of this.#nodes) {
      if (record.hasReported || nowMs - record.askedAtMs < askReportMs) continue
      record.askedAtMs = nowMs
      this.#send({ type: 'nameUnreported', to: node, body: { term: this.term } })
    }
    for (const loser of this.#losers) {
      if (nowMs - loser.saidAtMs < sayAgainMs) continue
      loser.saidAtMs = nowMs
      this.#tell(loser)
    }
  }

  #onClaim(from: NodeId, { named, handedBy }: PeerMessageBody<'nameClaim'>, nowMs: number): void {
    const { actor, manager } = named
    const record = this.#nodes.get(from)
    if (nodeOf(manager) !== from || record === undefined) return
    // What is in reserve may be so again.
    if (!named.isReserve && record.givenBack.has(holdKey(named))) return
    const other = this.#byName.get(nameKey(named))
    const answer = (outcome: PeerMessageBody<'nameClaimed'>['outcome'], holder?: NamedActor): void => {
      const body = { term: this.term, ...holdOf(named), outcome, holder: holder === undefined ? [] : [holder] }
      this.#send({ type: 'nameClaimed', to: from, body })
    }
    if (named.isReserve) {
      const known = [...(this.#reserves.get(actor) ?? [])].find((each) => holdKey(each) === holdKey(named))
      if (known === undefined) this.#reserve(named, nowMs)
      answer('given', known ?? named)
      return
    }
    if (other !== undefined && other.actor === actor && other.manager === handedBy) {
      const handed = { ...named, term: other.term }
      this.#add(handed, nowMs)
      answer('given', handed)
      return
    }
    if (other !== undefined) {
      answer(holdKey(other) === holdKey(named) ? 'given' : 'taken', other)
      return
    }
    if (!this.#isComplete(nowMs)) return
    // It has no leader for the moment, but it is to have one again.
    const [absent] = this.#reserves.get(nameKey(named)) ?? []
    if (absent !== undefined && absent.actor !== actor) {
      answer('taken', absent)
      return
    }
    if (this.#byName.size >= namesMax) {
      answer('full')
      return
    }
    const given = { ...named, term: this.term.counter }
    this.#add(given, nowMs)
    answer('given', given)
  }

  #onFind(from: NodeId, { askId, isId, namespace, name }: PeerMessageBody<'nameFind'>, nowMs: number): void {
    const key = isId ? name : nameKey({ namespace, name, actor: '' })
    const [reserve] = this.#reserves.get(key) ?? []
    const found = (isId ? this.#byId : this.#byName).get(key) ?? reserve
    if (found === undefined && !this.#isComplete(nowMs)) return
    const body = { term: this.term, askId, holder: found === undefined ? [] : [found] }
    this.#send({ type: 'nameFound', to: from, body })
  }

  #onRelease(from: NodeId, body: PeerMessageBody<'nameRelease'>, nowMs: number): void {
    const { namespace, name, mayReturn } = body
    const released = holdOf(body)
    const { actor, manager } = released
    if (nodeOf(manager) !== from) return
    const { givenBack } = this.#nodes.get(from) as NodeRecord
    givenBack.add(holdKey(released))
    if (givenBack.size > givenBackMax) givenBack.delete(givenBack.values().next().value as string)
    const key = nameKey({ namespace, name, actor })
    const held = released.isReserve ? [...(this.#reserves.get(actor) ?? [])] : [this.#byName.get(key)]
    for (const named of held) {
      if (named === undefined || holdKey(named) !== holdKey(released)) continue
      this.#remove(named)
      if (!named.isReserve && !mayReturn) this.#end(actor, nowMs)
    }
    for (const loser of this.#losers) if (holdKey(loser.named) === holdKey(released)) this.#losers.delete(loser)
    this.#send({ type: 'nameReleased', to: from, body: { term: this.term, ...released } })
  }

  /** It is dead: it is not to be started again. */
  #end(actor: ObjectId, nowMs: number): void {
    this.#ended.add(actor)
    if (this.#ended.size > endedMax) this.#ended.delete(this.#ended.values().next().value as ObjectId)
    for (const each of this.#reserves.get(actor) ?? []) this.#loseReserve(each, nowMs)
  }

  #send(action: DirectoryAction): void {
    this.#actions.push(action)
  }
}
