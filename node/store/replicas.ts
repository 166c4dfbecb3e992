import { ObjectLostError, ProtocolError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import type { Transfers } from '../transfer/transfers.ts'
import type { ObjectStore } from './object-store.ts'
import { ReplicaBook, type ReplicaAsk, type ReplicaPlace, type ReplicatedValue } from './replica-book.ts'
import { isStoredName } from './stored-name.ts'

export interface ReplicasOptions {
  store: Pick<ObjectStore, 'has' | 'keep'>
  transfers: Pick<Transfers, 'pull' | 'freed'>
  /** Nodes that can be asked to take a replica. */
  places(): readonly ReplicaPlace[]
  ask(node: NodeId, body: PeerMessageBody<'replicaAsk'>): void
  answer(node: NodeId, body: PeerMessageBody<'replicaAnswer'>): void
  /** Tells a node that values are needed no more. */
  free(node: NodeId, names: string[]): void
  /** This node is about to end, and takes nothing for others. */
  isClosed(): boolean
  log(text: string): void
}

/** A value that comes here for a client of another node, or of this one. */
interface Coming {
  readonly from: NodeId
  readonly owner: ClientId
}

const sourcesMax = 64
const problemMax = 1000

/**
 * Values that are kept on several nodes. The node of a value's owner sees to it, for as long as the owner lives: it asks
 * others to take one, and asks again when one of them, or the node that made the value, is gone.
 */
export class Replicas {
  readonly #options: ReplicasOptions
  readonly #book: ReplicaBook
  readonly #coming = new Map<string, Coming>()

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#book = new ReplicaBook(() => options.places())
  }

  // --- for the clients of this node

  /** A value of a client of this node is to be on so many nodes. */
  keep(value: ReplicatedValue): void {
    this.#ask(this.#book.keep(value))
  }

  /**
   * A node that has values of clients of this one is about to leave: others are to take them. Throws ProtocolError when they
   * are not of clients of this node. Tells how each of them stands.
   */
  evacuate(
    from: NodeId,
    self: NodeId,
    values: PeerMessageBody<'evacuateAsk'>['values'],
  ): PeerMessageBody<'evacuateReply'>['standings'] {
    return values.map(({ name, bytes, owner, object }) => {
      const isRight = isStoredName(name) && Number.isSafeInteger(bytes) && bytes >= 0 && nodeOf(owner) === self
      if (!isRight) throw new ProtocolError(`it cannot ask for another place for '${name}'`)
      const { standing, asks } = this.#book.evacuate({ name, bytes, owner, object, copies: 1 }, from)
      this.#ask(asks)
      return { name, standing, problem: standing === 'nowhere' ? 'no other node has room for it' : '' }
    })
  }

  /** Nodes that have a value of a client of this node, as far as is known. */
  holdersOf(name: string): readonly NodeId[] {
    return this.#book.holdersOf(name)
  }

  onAnswer(from: NodeId, { name, problem }: PeerMessageBody<'replicaAnswer'>): void {
    const { log, free } = this.#options
    const isKept = problem === ''
    if (!isKept) log(`node ${from} has no replica of ${name}: ${problem}`)
    const { asks, isWanted } = this.#book.answered(from, name, isKept)
    if (isKept && !isWanted) free(from, [name])
    this.#ask(asks)
  }

  #ask(asks: readonly ReplicaAsk[]): void {
    for (const { node, value, sources } of asks) {
      const { name, bytes, owner, object } = value
      this.#options.ask(node, { name, bytes, owner, object, sources: sources.slice(0, sourcesMax) })
    }
  }

  // --- for others

  /**
   * A node asks this one to keep a value of one of its clients. It may not have heard yet that this one is about to end.
   * Throws ProtocolError when it is not of one of those.
   */
  onAsk(from: NodeId, { name, bytes, owner, object, sources }: PeerMessageBody<'replicaAsk'>): void {
    const isRight = isStoredName(name) && Number.isSafeInteger(bytes) && bytes >= 0
    if (!isRight || nodeOf(owner) !== from) throw new ProtocolError(`it cannot ask for a replica of '${name}'`)
    if (this.#options.isClosed()) {
      this.#options.answer(from, { name, problem: 'the node takes nothing for others any more' })
      return
    }
    if (this.#coming.has(name)) return
    const coming = { from, owner }
    this.#coming.set(name, coming)
    void this.#bring(name, bytes, { owner, object, hints: sources }).then((problem) => {
      if (this.#coming.get(name) === coming) this.#coming.delete(name)
      this.#options.answer(from, { name, problem })
    })
  }

  /** Gives '' when the value is here and stays, else what is in the way. */
  async #bring(
    name: string,
    bytes: number,
    whose: { owner: ClientId; object: string; hints: readonly NodeId[] },
  ): Promise<string> {
    const { store, transfers } = this.#options
    try {
      if (!store.has(name)) await transfers.pull(name, bytes, { ...whose, priority: 'replica', isReplica: true })
      if (!store.keep(name)) throw new ObjectLostError('it has come, and has had to go again')
      return ''
    } catch (error) {
      return (error as Error).message.slice(0, problemMax)
    }
  }

  /** True for a value that comes here because that node has asked for it. */
  isComingFor(node: NodeId, name: string): boolean {
    return this.#coming.get(name)?.from === node
  }

  // --- what ends, and what begins

  /** A node can be asked from now on. */
  nodeUp(node: NodeId): void {
    this.#ask(this.#book.nodeUp(node))
  }

  /** Values are needed no more: tells those that have replicas. */
  freed(names: readonly string[]): void {
    for (const [node, held] of this.#book.take(names)) this.#options.free(node, held)
  }

  /** A client, of this node or another, is gone, and what it owned is needed no more. */
  ownerGone(owner: ClientId): void {
    this.#book.ownerGone(owner)
    this.#stop((coming) => coming.owner === owner)
  }

  nodeGone(node: NodeId): void {
    this.#stop(({ from }) => from === node)
    this.#ask(this.#book.nodeGone(node))
  }

  #stop(isMeant: (coming: Coming) => boolean): void {
    this.#options.transfers.freed([...this.#coming].filter(([, coming]) => isMeant(coming)).map(([name]) => name))
  }
}
