import { ObjectLostError, ProtocolError, UnreachableError, type ShoalError } from '../../protocols/errors.ts'
import type { ClientId, NodeId, ObjectId } from '../../protocols/ids.ts'
import type { BulkStream } from '../network/network.ts'
import type { IncomingRoom, TransferStore } from '../store/transfer-store.ts'
import type { NearWay } from './near-reader.ts'
import { Pull, type PullSource } from './pull.ts'
import { SourceReader } from './source-reader.ts'
import type { PartialValue } from './value-server.ts'
import type { ValueStreams } from './value-streams.ts'

export interface PullSpec {
  name: string
  bytes: number
  owner: ClientId
  object: ObjectId
  hints: readonly NodeId[]
  timeoutMs: number
}

export interface ActivePullParts {
  self: NodeId
  store: TransferStore
  streams: ValueStreams
  near: NearWay | undefined
  stallMs: number
  random(): number
  now(): number
  locate(name: string, signal: AbortSignal): Promise<readonly NodeId[]>
  /** True when there is a link to the node. */
  isLinked(node: NodeId): boolean
  onBytes(bytes: number, way: 'network' | 'near'): void
  log(text: string): void
}

const locateRestMs = 250
const locateRestMsMax = 3000
/** Others are looked for when none of the sources has had more to give for so long. */
const stuckMs = 2000
/** Others may know later than this node that one is gone. If it is not, its link is back within this time. */
const cutOffMs = 2000

/** One value on its way here: asks for room, reads from its sources, and looks for others when those do not have it. */
export class ActivePull {
  readonly name: string
  readonly #spec: PullSpec
  readonly #parts: ActivePullParts
  readonly #pull: Pull
  readonly #abort = new AbortController()
  readonly #outcome = Promise.withResolvers<void>()
  readonly #reading = new Map<NodeId, { source: PullSource; stream?: BulkStream }>()
  #changed = Promise.withResolvers<void>()
  /** Fulfilled when there are more chunks than these. */
  #grown = Promise.withResolvers<void>()
  #grownFrom = 0
  #room: IncomingRoom | undefined
  #waiters = 0
  /** Others are being given parts of it, or it is written to by others than this thread. */
  #uses = 0
  #stopReason: ShoalError | undefined
  /** Since when only nodes are left that this one has no link to. */
  #cutOffSinceMs: number | undefined
  /** When it went on last: bytes came, or there was more to ask for. */
  #newsMs = -Infinity
  #isReplica = false
  hasLocated = false
  isDone = false
  /** Nobody has waited for it any more: who wants it now has to begin anew. */
  isGivenUp = false

  constructor(spec: PullSpec, parts: ActivePullParts) {
    this.name = spec.name
    this.#spec = spec
    this.#parts = parts
    this.#pull = new Pull(spec.name, spec.bytes, parts.random)
    this.#outcome.promise.catch(() => {})
    this.addSources(spec.hints)
  }

  get chunksRetried(): number {
    return this.#pull.chunksRetried
  }

  /** What others can have of it meanwhile. */
  get partial(): PartialValue | undefined {
    const room = this.#room
    if (room === undefined || this.isDone) return undefined
    return {
      bytes: this.#spec.bytes,
      have: this.#pull.have,
      use: (offset, length, work) => this.#use(() => work(room.slice(offset, length))),
      more: () => this.#grown.promise,
    }
  }

  /** The room stays as it is while this goes on. */
  async #use(work: () => Promise<void>): Promise<void> {
    this.#uses += 1
    try {
      await work()
    } finally {
      this.#uses -= 1
      if (this.#uses === 0) this.#tell()
    }
  }

  progress(): { name: string; bytes: number; bytesHere: number; sources: number } {
    const { have, sources } = this.#pull
    const { name, bytes } = this.#spec
    return { name, bytes, bytesHere: Math.round((bytes * have.count) / have.size), sources: sources.size }
  }

  addSources(nodes: readonly NodeId[]): void {
    const { self, isLinked } = this.#parts
    for (const node of nodes) if (node !== self && isLinked(node) && this.#pull.addSource(node)) this.#noteNews()
    this.#tell()
  }

  /** It is to stay once it is here. */
  keep(): void {
    this.#isReplica = true
  }

  nodeGone(node: NodeId): void {
    this.#pull.removeSource(node)
    this.#reading.get(node)?.stream?.abort('the node is gone')
    this.#tell()
  }

  /**
   * Waits for the value. When nobody waits any more it is given up, unless there is room for it already and it comes: who
   * waits for a short time, again and again, gets it in the end.
   */
  async wait(signal?: AbortSignal): Promise<void> {
    this.#waiters += 1
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await (signal === undefined ? this.#outcome.promise : Promise.race([this.#outcome.promise, aborted]))
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#waiters -= 1
      if (this.#waiters === 0 && !this.isDone && this.#room === undefined) {
        this.isGivenUp = true
        this.stop(new UnreachableError(`nobody waits for the value ${this.name} any more`))
      }
    }
  }

  stop(reason: ShoalError): void {
    if (this.isDone || this.#stopReason !== undefined) return
    this.#stopReason = reason
    this.#outcome.reject(reason)
    this.#abort.abort(reason)
    this.#abortAll(reason.message)
    this.#tell()
  }

  /** Brings it here, or fails. Never rejects: who waits is told. */
  async run(): Promise<void> {
    const { store, log } = this.#parts
    const { name, bytes, owner, object } = this.#spec
    try {
      if (this.#stopReason !== undefined) throw this.#stopReason
      // For what is nowhere nothing else is to make room, and that there is none is not what is wrong with it.
      if (this.#pull.sources.size === 0 && !(await this.#locate()) && this.#cutOffSinceMs === undefined)
        throw this.#lost()
      this.#room = await store.begin({ name, bytes, owner, object }, { signal: this.#abort.signal })
      await this.#fill(this.#room)
      // What still comes from others for the same parts must not be written there any more.
      this.#abortAll('it is there')
      this.isDone = true
      // From then on it may be dropped again, and what is being sent of it must stay. Whoever takes nothing is left behind.
      while (this.#uses > 0) await this.#change()
      // Others may wait for its room.
      if (this.#isReplica) store.keep(name)
      this.#room.commit()
      this.#tell()
      this.#outcome.resolve()
    } catch (error) {
      this.#abortAll('it has failed')
      while (this.#uses > 0) await this.#change()
      this.#room?.abort()
      this.#stopReason ??= error as ShoalError
      this.#outcome.reject(error)
      if (!this.isGivenUp) log(`the value ${name} was not brought here: ${(error as Error).message}`)
    }
  }

  async #fill(room: IncomingRoom): Promise<void> {
    const { now, stallMs } = this.#parts
    const { timeoutMs, hints } = this.#spec
    const pull = this.#pull
    this.#noteNews()
    let locateMs = locateRestMs
    let locateAtMs = -Infinity
    for (;;) {
      if (this.#stopReason !== undefined) throw this.#stopReason
      if (pull.have.isFull) return
      for (const source of pull.sources.values()) this.#start(source, room)
      const atMs = now()
      const restsUntilMs = pull.nextAtMs(atMs) ?? Infinity
      const isNobodyLeft = this.#reading.size === 0 && restsUntilMs === Infinity
      const lookAtMs = Math.max(
        locateAtMs,
        isNobodyLeft ? -Infinity : pull.isStuck ? this.#newsMs + Math.min(stuckMs, stallMs) : Infinity,
      )
      const turnAtMs = Math.min(restsUntilMs, lookAtMs, this.#newsMs + timeoutMs)
      if (turnAtMs > atMs) {
        await this.#change(turnAtMs - atMs)
        continue
      }
      const isNew = await this.#locate()
      if (pull.have.isFull || isNew) continue
      if (pull.isNowhere && this.#cutOffSinceMs === undefined) throw this.#lost()
      const cutOffEndMs = (this.#cutOffSinceMs ?? Infinity) + Math.min(cutOffMs, stallMs)
      if (now() >= Math.min(this.#newsMs + timeoutMs, cutOffEndMs)) throw this.#unreachable()
      locateAtMs = now() + locateMs
      locateMs = Math.min(locateRestMsMax, locateMs * 2)
      this.addSources(hints)
    }
  }

  #noteNews(): void {
    this.#newsMs = this.#parts.now()
    this.#cutOffSinceMs = undefined
  }

  /** Looks for other nodes that have it. True when there is one that could be asked. */
  async #locate(): Promise<boolean> {
    this.hasLocated = true
    const { self, isLinked, locate, now } = this.#parts
    const others = (await locate(this.name, this.#abort.signal)).filter((node) => node !== self)
    if (this.#stopReason !== undefined) throw this.#stopReason
    const linked = others.filter(isLinked)
    const isNew = linked.some((node) => !this.#pull.sources.has(node))
    this.addSources(linked)
    const isCutOff = this.#pull.isNowhere && linked.length < others.length
    this.#cutOffSinceMs = isCutOff ? (this.#cutOffSinceMs ?? now()) : undefined
    return isNew
  }

  /** Reads from a source, if there is something to ask it and that is not being done already. */
  #start(source: PullSource, room: IncomingRoom): void {
    const { node } = source
    if (this.#reading.has(node) || source.isWithout || !this.#pull.mayAsk(source, this.#parts.now())) return
    this.#reading.set(node, { source })
    void this.#read(source, room).finally(() => {
      this.#reading.delete(node)
      this.#tell()
    })
  }

  async #read(source: PullSource, room: IncomingRoom): Promise<void> {
    const { streams, near, stallMs, now, onBytes, log } = this.#parts
    const { node } = source
    let stream: BulkStream | undefined
    try {
      const taken = await streams.take(node)
      stream = taken.stream
      this.#reading.set(node, { source, stream })
      if (this.#stopReason !== undefined || this.isDone) throw new UnreachableError('it is not needed any more')
      const reader = new SourceReader({
        pull: this.#pull,
        room,
        source,
        stream,
        stallMs,
        near,
        use: (work) => this.#use(work),
        isStopped: () => this.#stopReason !== undefined || this.isDone,
        log,
        now,
        onBytes,
        onPeers: (peers) => this.addSources(peers),
        onNews: () => this.#noteNews(),
        onChange: () => this.#tell(),
      })
      await reader.run()
      // An answer that is still to come belongs to this pull.
      if (source.asked.size > 0) stream.abort('it is there')
      else streams.giveBack(node, stream)
    } catch (error) {
      stream?.abort((error as Error).message)
      this.#pull.failed(source, now())
      if (error instanceof ProtocolError) log(error.message)
    }
  }

  /** Ends the streams on which something is still to come. */
  #abortAll(reason: string): void {
    for (const { source, stream } of this.#reading.values()) if (source.asked.size > 0) stream?.abort(reason)
  }

  #lost(): ObjectLostError {
    const { name, bytes } = this.#spec
    const asked = [...this.#pull.sources.keys()]
    const whom = asked.length === 0 ? 'no node that is left has it' : `no node has it, neither ${asked.join(' nor ')}`
    return new ObjectLostError(`the value ${name} (${bytes} bytes) is lost: ${whom}`, { name, bytes, asked })
  }

  #unreachable(): UnreachableError {
    const { name, bytes, timeoutMs } = this.#spec
    if (this.#cutOffSinceMs !== undefined) {
      return new UnreachableError(`the value ${name} (${bytes} bytes) is on nodes that this one has no link to`, {
        details: { name, bytes },
      })
    }
    const asked = [...this.#pull.sources.keys()]
    return new UnreachableError(
      `the value ${name} (${bytes} bytes) could not be had within ${timeoutMs} ms: ${asked.join(', ') || 'no node'} did not give it`,
      { details: { name, bytes, asked } },
    )
  }

  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
    const { count } = this.#pull.have
    if (count === this.#grownFrom) return
    this.#grownFrom = count
    this.#grown.resolve()
    this.#grown = Promise.withResolvers()
  }

  async #change(timeoutMs?: number): Promise<void> {
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.#tell(), Math.ceil(timeoutMs))
    await this.#changed.promise
    clearTimeout(timer)
  }
}
