import { compareNamed, isSameNamed, nameKey, type NamedActor } from '../../protocols/actor-names.ts'
import { compareTerms, type Term } from '../../protocols/election.ts'
import { nodeOf, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'

/** What nodes ask of the head, by the names of their messages. */
export type DirectoryQuestion = 'nameReport' | 'nameClaim' | 'nameFind' | 'nameRelease'
/** What the head says to nodes. */
export type DirectoryAnswer = 'nameReported' | 'nameClaimed' | 'nameFound' | 'nameReleased' | 'nameLost'

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
/** Parts of one report. */
const partsMax = 1000
/** Names given back that are remembered of one node, so that a claim that comes late, or again, does not bring them back. */
const givenBackMax = 10_000
/** Names that the mesh may have. */
const namesMax = 100_000

interface NodeRecord {
  readonly upSinceMs: number
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
 * it (`compareNamed`), and the manager of the other is told.
 *
 * Pure. Messages may be lost, or come twice: who asks asks again until there is an answer, and an answer to what cannot be
 * answered yet is none.
 */
export class ActorDirectory {
  readonly term: Term
  readonly #nodes = new Map<NodeId, NodeRecord>()
  readonly #byName = new Map<string, NamedActor>()
  readonly #byId = new Map<ObjectId, NamedActor>()
  readonly #losers = new Set<Loser>()
  #actions: DirectoryAction[] = []

  constructor(term: Term) {
    this.term = term
  }

  /** All that have names. */
  names(): Iterable<NamedActor> {
    return this.#byName.values()
  }

  /** True while time matters: there is something to say again. */
  get wantsTick(): boolean {
    return this.#losers.size > 0
  }

  step(event: DirectoryEvent, nowMs: number): DirectoryAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  #on(event: DirectoryEvent, nowMs: number): void {
    switch (event.type) {
      case 'nodeUp':
        this.#forget(event.node)
        this.#nodes.set(event.node, {
          upSinceMs: nowMs,
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
        if (this.#hasReported(event.from)) this.#onClaim(event.from, event.body.named, nowMs)
        return
      case 'nameFind':
        if (this.#hasReported(event.from)) this.#onFind(event.from, event.body, nowMs)
        return
      case 'nameRelease':
        if (this.#hasReported(event.from)) this.#onRelease(event.from, event.body)
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
    const key = nameKey(named)
    if (this.#byName.get(key) === named) this.#byName.delete(key)
    if (this.#byId.get(named.actor) === named) this.#byId.delete(named.actor)
    this.#nodes.get(nodeOf(named.manager))?.held.delete(named)
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
    const other = this.#byName.get(nameKey(named))
    if (other === undefined) this.#add(named)
    else if (isSameNamed(other, named)) return
    else if (compareNamed(named, other) < 0) {
      this.#remove(other)
      this.#add(named)
      this.#lose(other, nowMs)
    } else this.#lose(named, nowMs)
  }

  #add(named: NamedActor): void {
    this.#byName.set(nameKey(named), named)
    this.#byId.set(named.actor, named)
    this.#nodes.get(nodeOf(named.manager))?.held.add(named)
  }

  #lose(named: NamedActor, nowMs: number): void {
    const loser = { named, saidAtMs: nowMs }
    this.#losers.add(loser)
    this.#tell(loser)
  }

  #tell({ named }: Loser): void {
    const { namespace, name, actor, manager } = named
    const winner = this.#byName.get(nameKey(named))
    const body = { term: this.term, namespace, name, actor, manager, holder: winner === undefined ? [] : [winner] }
    this.#send({ type: 'nameLost', to: nodeOf(manager), body })
  }

  #sayAgain(nowMs: number): void {
    for (const loser of this.#losers) {
      if (nowMs - loser.saidAtMs < sayAgainMs) continue
      loser.saidAtMs = nowMs
      this.#tell(loser)
    }
  }

  #onClaim(from: NodeId, named: NamedActor, nowMs: number): void {
    const { actor, manager } = named
    const record = this.#nodes.get(from)
    if (nodeOf(manager) !== from || record === undefined || record.givenBack.has(keyOf(named))) return
    const other = this.#byName.get(nameKey(named))
    const answer = (outcome: PeerMessageBody<'nameClaimed'>['outcome'], holder?: NamedActor): void => {
      const body = { term: this.term, actor, manager, outcome, holder: holder === undefined ? [] : [holder] }
      this.#send({ type: 'nameClaimed', to: from, body })
    }
    if (other !== undefined && other.actor === actor && other.epoch < named.epoch) {
      // Its manager has handed it over.
      const taken = { ...named, term: other.term }
      this.#remove(other)
      this.#add(taken)
      answer('given', taken)
      return
    }
    if (other !== undefined) {
      answer(isSameNamed(other, named) ? 'given' : 'taken', other)
      return
    }
    if (!this.#isComplete(nowMs)) return
    if (this.#byName.size >= namesMax) {
      answer('full')
      return
    }
    const given = { ...named, term: this.term.counter }
    this.#add(given)
    answer('given', given)
  }

  #onFind(from: NodeId, { askId, isId, namespace, name }: PeerMessageBody<'nameFind'>, nowMs: number): void {
    const found = isId ? this.#byId.get(name) : this.#byName.get(nameKey({ namespace, name, actor: '' }))
    if (found === undefined && !this.#isComplete(nowMs)) return
    const body = { term: this.term, askId, holder: found === undefined ? [] : [found] }
    this.#send({ type: 'nameFound', to: from, body })
  }

  #onRelease(from: NodeId, { namespace, name, actor, manager }: PeerMessageBody<'nameRelease'>): void {
    if (nodeOf(manager) !== from) return
    const released = { actor, manager }
    const { givenBack } = this.#nodes.get(from) as NodeRecord
    givenBack.add(keyOf(released))
    if (givenBack.size > givenBackMax) givenBack.delete(givenBack.values().next().value as string)
    const key = nameKey({ namespace, name, actor })
    const named = this.#byName.get(key)
    if (named !== undefined && isSameNamed(named, released)) this.#remove(named)
    for (const loser of this.#losers) {
      if (nameKey(loser.named) === key && isSameNamed(loser.named, released)) this.#losers.delete(loser)
    }
    this.#send({ type: 'nameReleased', to: from, body: { term: this.term, actor, manager } })
  }

  #send(action: DirectoryAction): void {
    this.#actions.push(action)
  }
}

function keyOf({ actor, manager }: Pick<NamedActor, 'actor' | 'manager'>): string {
  return `${actor} ${manager}`
}
