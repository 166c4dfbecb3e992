import { ObjectLostError, UnreachableError, type ShoalError } from '../../protocols/errors.ts'
import type { ClientId, NodeId, ObjectId } from '../../protocols/ids.ts'
import type { BulkStream, PeerNetwork } from '../network/network.ts'
import type { TransferStore } from '../store/transfer-store.ts'
import { ActivePull } from './active-pull.ts'
import type { NearWay } from './near-reader.ts'
import type { PullPriority } from './pull.ts'
import { priorities } from './pull.ts'
import { ValueServer } from './value-server.ts'
import { ValueStreams } from './value-streams.ts'

export interface TransfersOptions {
  self: NodeId
  network: Pick<PeerNetwork, 'openBulk'>
  store: TransferStore
  /** How values of nodes on the same machine are read; undefined when they are to come over the network, too. */
  near?: NearWay | undefined
  /** Nodes that have the value, when those that were thought to have it do not. Never rejects. */
  locate(name: string, signal: AbortSignal): Promise<readonly NodeId[]>
  /** True when there is a link to the node. */
  isLinked(node: NodeId): boolean
  /** A node has asked for a value and will have a copy. */
  onAsked(node: NodeId, name: string): void
  /** Nodes that are known to have a value, besides those that have asked for it here. */
  holders(name: string): readonly NodeId[]
  random(): number
  now(): number
  log(text: string): void
  /** A transfer without progress for so long is given up, and others are asked. @default 10_000 */
  stallMs?: number
}

export interface TransferFigures {
  bytesIn: number
  /** So many of those were read from the memory of other nodes of this machine. */
  bytesInNear: number
  /** Over the network. */
  bytesOut: number
  pullsDone: number
  pullsFailed: number
  /** Parts of values that had to be asked for again, mostly since their source was gone. */
  chunksRetried: number
  /** Values that came from where they were thought to be, so that the DHT was not asked. */
  hintHits: number
  /** How often the DHT was asked. */
  locates: number
  pulling: { name: string; bytes: number; bytesHere: number; sources: number }[]
}

export interface PullOptions {
  owner: ClientId
  /** Whose value it is; '' when that is not known. */
  object: ObjectId
  /** Nodes that are likely to have it, the likeliest first. */
  hints: readonly NodeId[]
  priority: PullPriority
  /** It is to stand for its value from the moment that it is here, and not to go as a mere copy. @default false */
  isReplica?: boolean
  /** So long nothing may come of it, nor anybody be found who could have it, before it is given up. @default 30_000 */
  timeoutMs?: number
  signal?: AbortSignal
}

/** Pulls that go on at once; the others wait for their turn, by what they are for. */
const activeMax = 16
const waitingMax = 100_000

interface Waiting {
  pull: ActivePull
  priority: PullPriority
  begin(): void
}

/** Values on their way between this node and others. One transfer per value, however many ask for it. */
export class Transfers {
  readonly #with: TransfersOptions
  readonly #streams: ValueStreams
  readonly #server: ValueServer
  readonly #pulls = new Map<string, ActivePull>()
  readonly #waiting: Waiting[] = []
  #running = 0
  #isClosed = false
  readonly counters = {
    bytesIn: 0,
    bytesInNear: 0,
    pullsDone: 0,
    pullsFailed: 0,
    chunksRetried: 0,
    hintHits: 0,
    locates: 0,
  }

  constructor(options: TransfersOptions) {
    this.#with = options
    const { stallMs = 10_000, near } = options
    this.#streams = new ValueStreams(options.network, stallMs)
    this.#server = new ValueServer({
      ...options,
      mark: near?.mark ?? '',
      stallMs,
      partial: (name) => this.#pulls.get(name)?.partial,
    })
  }

  get bytesOut(): number {
    return this.#server.bytesOut
  }

  /** What has been moved since the start, and what is being brought here now. */
  figures(): TransferFigures {
    return { ...this.counters, bytesOut: this.bytesOut, pulling: this.progress() }
  }

  /** What is under way, for reports. */
  progress(): { name: string; bytes: number; bytesHere: number; sources: number }[] {
    return Array.from(this.#pulls.values(), (pull) => pull.progress())
  }

  /**
   * Brings a value into the store here.
   *
   * Rejects with ObjectLostError when no node has it, UnreachableError when nodes that could have it do not answer in time,
   * ObjectStoreFullError when there is no room, and with the signal's reason.
   */
  async pull(name: string, bytes: number, options: PullOptions): Promise<void> {
    const { signal, priority, hints } = options
    signal?.throwIfAborted()
    let pull = this.#pulls.get(name)
    if (pull === undefined || pull.isGivenUp) {
      if (this.#isClosed) throw new UnreachableError('this node is stopping')
      if (this.#waiting.length >= waitingMax)
        throw new UnreachableError(`${waitingMax} values are on their way already`)
      pull = this.#begin(name, bytes, options)
    } else {
      pull.addSources(hints)
      const waiting = this.#waiting.find((each) => each.pull === pull)
      if (waiting !== undefined && isBefore(priority, waiting.priority)) waiting.priority = priority
    }
    if (options.isReplica === true) pull.keep()
    try {
      await pull.wait(signal)
    } finally {
      if (pull.isGivenUp) this.#forget(pull)
    }
  }

  #begin(name: string, bytes: number, { owner, object, hints, timeoutMs = 30_000, priority }: PullOptions): ActivePull {
    const { self, store, near, locate, isLinked, random, now, log, stallMs = 10_000 } = this.#with
    const pull = new ActivePull(
      { name, bytes, owner, object, hints: hints.filter((node) => node !== self), timeoutMs },
      {
        self,
        store,
        streams: this.#streams,
        near,
        isLinked,
        stallMs,
        random,
        now,
        log,
        locate: (value, signal) => {
          this.counters.locates += 1
          return locate(value, signal)
        },
        onBytes: (count, way) => {
          this.counters.bytesIn += count
          if (way === 'near') this.counters.bytesInNear += count
        },
      },
    )
    this.#pulls.set(name, pull)
    const begin = (): void => {
      this.#running += 1
      void pull.run().finally(() => this.#ended(pull))
    }
    if (this.#running < activeMax) begin()
    else this.#waiting.push({ pull, priority, begin })
    return pull
  }

  #ended(pull: ActivePull): void {
    this.#running -= 1
    this.#forget(pull)
    this.counters.chunksRetried += pull.chunksRetried
    if (!pull.isDone) this.counters.pullsFailed += 1
    else {
      this.counters.pullsDone += 1
      if (!pull.hasLocated) this.counters.hintHits += 1
    }
    let best = 0
    for (const [i, { priority }] of this.#waiting.entries()) {
      if (isBefore(priority, (this.#waiting[best] as Waiting).priority)) best = i
    }
    this.#waiting.splice(best, 1)[0]?.begin()
  }

  /** Answers on a stream for values that another node has opened. */
  serve(from: NodeId, stream: BulkStream): void {
    void this.#server.serve(from, stream)
  }

  /** These are needed no more: what was to be brought here of them is not. */
  freed(names: Iterable<string>): void {
    for (const name of names) {
      this.#stop(name, new ObjectLostError(`the value ${name} was freed while it was brought here`, { name }))
    }
  }

  #stop(name: string, reason: ShoalError): void {
    const pull = this.#pulls.get(name)
    if (pull === undefined) return
    pull.stop(reason)
    if (this.#waiting.some((each) => each.pull === pull)) this.#forget(pull)
  }

  /** It has ended, or will never begin. Another one for the same value may have taken its place. */
  #forget(pull: ActivePull): void {
    if (this.#pulls.get(pull.name) === pull) this.#pulls.delete(pull.name)
    const at = this.#waiting.findIndex((each) => each.pull === pull)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    this.counters.pullsFailed += 1
  }

  nodeGone(node: NodeId): void {
    this.#streams.nodeGone(node)
    this.#server.nodeGone(node)
    for (const pull of this.#pulls.values()) pull.nodeGone(node)
  }

  close(): void {
    this.#isClosed = true
    for (const name of [...this.#pulls.keys()]) this.#stop(name, new UnreachableError('this node is stopping'))
    this.#streams.close()
  }
}

function isBefore(a: PullPriority, b: PullPriority): boolean {
  return priorities.indexOf(a) < priorities.indexOf(b)
}
