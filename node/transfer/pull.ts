import type { NodeId } from '../../protocols/ids.ts'
import { chunkCountOf, ChunkSet } from './chunks.ts'

/** What those who wait want it for: the first come first. */
export const priorities = ['get', 'wait', 'args', 'replica'] as const
export type PullPriority = (typeof priorities)[number]

/** A node from which chunks may come. */
export interface PullSource {
  readonly node: NodeId
  /** Undefined while it has not said what it has. */
  have: ChunkSet | undefined
  /** The most chunks that it has ever said it has. */
  mostTold: number
  /** Chunks that it was asked for, by the number of the request; -1 for a question what it has. */
  readonly asked: Map<number, number>
  /** So often in a row something went wrong. */
  failures: number
  /** It is not asked before. */
  restsUntilMs: number
  /** It has said that it does not have the value. */
  isWithout: boolean
  /** The value may be read from its memory, if that is on this machine. */
  mayBeNear: boolean
}

const requestsPerSource = 2
const restMs = 100
const restMsMax = 3000
/** A source that has failed so often in a row is given up until it is named anew. */
const failuresMax = 5
const sourcesMax = 32

/** One value on its way here, from as many nodes as have some of it. Decides what is asked of whom; knows no stream. */
export class Pull {
  readonly name: string
  readonly bytes: number
  readonly have: ChunkSet
  readonly sources = new Map<NodeId, PullSource>()
  /** Chunks that were asked for and have not come, and how often. */
  readonly #underWay = new Map<number, number>()
  readonly #random: () => number
  #lastRequestId = 0
  chunksRetried = 0

  constructor(name: string, bytes: number, random: () => number) {
    this.name = name
    this.bytes = bytes
    this.have = new ChunkSet(chunkCountOf(bytes))
    this.#random = random
  }

  /** A node may have it. True when that is new. */
  addSource(node: NodeId): boolean {
    const known = this.sources.get(node)
    if (known !== undefined) {
      if (known.failures >= failuresMax) known.failures = failuresMax - 1
      return false
    }
    if (this.sources.size >= sourcesMax) return false
    this.sources.set(node, {
      node,
      have: undefined,
      mostTold: -1,
      asked: new Map(),
      failures: 0,
      restsUntilMs: -Infinity,
      isWithout: false,
      mayBeNear: true,
    })
    return true
  }

  removeSource(node: NodeId): void {
    const source = this.sources.get(node)
    if (source === undefined) return
    this.sources.delete(node)
    for (const index of source.asked.values()) this.#cameBack(index)
    source.asked.clear()
  }

  /** True when nothing is on its way, and none of those who may still be asked has any of what is missing. */
  get isStuck(): boolean {
    return this.#everySource((source) => source.failures >= failuresMax || this.#hasNothing(source))
  }

  /** True when every node that was asked has said that it does not have it, or nothing of what is missing. */
  get isNowhere(): boolean {
    return this.#everySource((source) => source.isWithout || (source.failures === 0 && this.#hasNothing(source)))
  }

  #everySource(isSo: (source: PullSource) => boolean): boolean {
    return this.#underWay.size === 0 && [...this.sources.values()].every(isSo)
  }

  #hasNothing({ isWithout, have }: PullSource): boolean {
    if (isWithout) return true
    if (have === undefined) return false
    for (let index = 0; index < this.have.size; index++) if (have.has(index) && !this.have.has(index)) return false
    return true
  }

  /** False when it was removed, though another one may be there for the same node. */
  #isSource(source: PullSource): boolean {
    return this.sources.get(source.node) === source
  }

  /** What is to be asked of a source now: a chunk, or what it has (-1); undefined for nothing. */
  next(source: PullSource, nowMs: number): { requestId: number; index: number } | undefined {
    if (!this.#isSource(source) || source.isWithout || source.failures >= failuresMax) return undefined
    if (source.restsUntilMs > nowMs) return undefined
    if (this.have.isFull || source.asked.size >= requestsPerSource) return undefined
    // Before it is known what a source has, it is asked for one chunk, and answers with what it has.
    if (source.have === undefined && source.asked.size > 0) return undefined
    const index = this.#pick(source)
    if (index === undefined) {
      // It is asked what there is of new, unless it has said that it has all.
      if (source.have?.isFull !== false || source.asked.size > 0) return undefined
      return this.#ask(source, -1)
    }
    return this.#ask(source, index)
  }

  /** True when `next` would ask something of it, now. */
  mayAsk(source: PullSource, nowMs: number): boolean {
    const { isWithout, failures, restsUntilMs, have } = source
    if (!this.#isSource(source) || isWithout || failures >= failuresMax) return false
    if (restsUntilMs > nowMs || this.have.isFull) return false
    return this.#lacksSomeOf(source) || (have?.isFull === false && source.asked.size === 0)
  }

  /**
   * Takes all that is still wanted of one source, from the first chunk to the last, to copy it from its memory. Nobody else
   * is asked for it until {@link copied} is told, whatever becomes of the source: what is copied late is written late.
   */
  takeRest(source: PullSource): number[] {
    const taken: number[] = []
    if (!this.#isSource(source)) return taken
    for (let index = 0; index < this.have.size; index++) {
      if (!this.#isWanted(index, source)) continue
      this.#underWay.set(index, 1)
      taken.push(index)
    }
    return taken
  }

  /** Nothing is written into these any more. True when they are there. */
  copied(source: PullSource, indices: readonly number[], isThere: boolean): void {
    for (const index of indices) {
      this.#cameBack(index)
      if (isThere) this.have.add(index)
    }
    if (isThere) source.failures = 0
  }

  #ask(source: PullSource, index: number): { requestId: number; index: number } {
    const requestId = (this.#lastRequestId = (this.#lastRequestId + 1) % 0xffff_ffff)
    source.asked.set(requestId, index)
    if (index >= 0) this.#underWay.set(index, (this.#underWay.get(index) ?? 0) + 1)
    return { requestId, index }
  }

  #isWanted(index: number, { have }: PullSource): boolean {
    return !this.have.has(index) && !this.#underWay.has(index) && have?.has(index) !== false
  }

  #lacksSomeOf(source: PullSource): boolean {
    for (let index = 0; index < this.have.size; index++) if (this.#isWanted(index, source)) return true
    return this.#pickAgain(source) !== undefined
  }

  /**
   * Of the chunks that the source has, one that few others have. It begins to look at another place each time: pullers that
   * went through the value in order would ask the source, one after the other, for what the one before them has asked for.
   */
  #pick(source: PullSource): number | undefined {
    const { size } = this.have
    const first = Math.floor(this.#random() * size)
    let best: number | undefined
    let bestCount = Infinity
    for (let i = 0; i < size; i++) {
      const index = (first + i) % size
      if (!this.#isWanted(index, source)) continue
      const count = this.#othersWith(index, source)
      if (count >= bestCount) continue
      best = index
      bestCount = count
      if (count === 0) break
    }
    return best ?? this.#pickAgain(source)
  }

  /** At the end, what is under way from a slow node is asked of another one as well. */
  #pickAgain(source: PullSource): number | undefined {
    for (const [index, times] of this.#underWay) {
      if (times > 1 || source.have?.has(index) !== true) continue
      if ([...source.asked.values()].includes(index)) continue
      const from = [...this.sources.values()].find(({ asked }) => [...asked.values()].includes(index))
      if (from !== undefined && from.failures > 0) return index
    }
    return undefined
  }

  #othersWith(index: number, than: PullSource): number {
    let count = 0
    for (const source of this.sources.values()) {
      if (source !== than && source.have !== undefined && !source.have.isFull && source.have.has(index)) count += 1
    }
    return count
  }

  /** A source has said which chunks it has. True when it has never had so many. */
  told(source: PullSource, have: ChunkSet): boolean {
    if (!this.#isSource(source) || have.size !== this.have.size) return false
    source.have = have
    if (have.count <= source.mostTold) return false
    source.mostTold = have.count
    return true
  }

  /** An answer has come. False when there was no such question, or for another chunk. */
  answered(source: PullSource, requestId: number, outcome: 'data' | 'have' | 'lost' | 'busy', nowMs: number): boolean {
    const index = source.asked.get(requestId)
    if (index === undefined) return false
    source.asked.delete(requestId)
    this.#cameBack(index)
    if (outcome === 'data') {
      this.have.add(index)
      source.failures = 0
    } else if (outcome === 'lost') source.isWithout = true
    else if (outcome === 'busy') source.restsUntilMs = nowMs + restMs
    else if (index < 0) source.failures = 0
    return true
  }

  /** A source has broken off, does not answer, or has said what cannot be: others are asked for its chunks. */
  failed(source: PullSource, nowMs: number): void {
    if (!this.#isSource(source)) return
    for (const index of source.asked.values()) {
      this.#cameBack(index)
      if (index >= 0) this.chunksRetried += 1
    }
    source.asked.clear()
    source.failures += 1
    source.restsUntilMs = nowMs + Math.min(restMsMax, restMs * 2 ** source.failures)
  }

  /** When the next source that rests may be asked again; undefined when none rests. */
  nextAtMs(nowMs: number): number | undefined {
    let next: number | undefined
    for (const { isWithout, failures, restsUntilMs } of this.sources.values()) {
      if (isWithout || failures >= failuresMax || restsUntilMs <= nowMs) continue
      next = Math.min(next ?? Infinity, restsUntilMs)
    }
    return next
  }

  #cameBack(index: number): void {
    if (index < 0) return
    const times = (this.#underWay.get(index) ?? 0) - 1
    if (times > 0) this.#underWay.set(index, times)
    else this.#underWay.delete(index)
  }
}
