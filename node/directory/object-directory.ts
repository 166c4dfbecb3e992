import type { NodeId, ObjectId } from '../../protocols/ids.ts'
import { isStoredName } from '../store/stored-name.ts'
import { digestOf, placeOfKey, placeOfNode } from './kad-space.ts'
import { lookUp } from './lookup.ts'
import { ProviderBook, type ProvideBatch } from './provider-book.ts'
import { RecordBook } from './record-book.ts'

/** The DHT as such: its lookups, which find at other nodes what those were told. */
export interface Kademlia {
  /** Nodes that provide a key: those of each answer, as answers come. */
  findProviders(digest: Uint8Array, signal: AbortSignal): AsyncIterable<readonly NodeId[]>
  /** Who answers the lookups of others about the records that lie here. */
  onLookup(providers: (digest: Uint8Array) => readonly NodeId[]): void
}

export interface ObjectDirectoryOptions {
  self: NodeId
  publicKey: Uint8Array
  kademlia: Kademlia
  send(batch: ProvideBatch): void
  /** Asks a linked node who holds what is known by a key, as `holdersOf` answers there. Rejects when it does not answer. */
  ask(node: NodeId, key: string, signal: AbortSignal): Promise<readonly NodeId[]>
  /** True when no member is known that no link leads to. */
  isLinkedToAll(): boolean
  now(): number
}

export interface DirectoryFigures {
  /** Ids and names of values that this node makes known. */
  keys: number
  /** What this node knows of who holds what. */
  records: number
  lookups: number
  /** Lookups that found somebody. */
  hits: number
  /** Lookups that had to go through the DHT step by step, since those nearest to the key did not know. */
  walks: number
  batchesSent: number
  recordsSent: number
}

/**
 * By what an object is known, since its id may be the same as the name of another object's value: both are a process and a
 * number. Values are known by their names.
 */
export function keyOfObject(id: ObjectId): string {
  return `0b${id}`
}

/** At so many nodes there is a record of each key. */
const copies = 3
const refreshMs = 10 * 60_000
const lifeMs = 25 * 60_000
const flushMs = 20
const careMs = 60_000
const findMs = 2000
/** Nodes that are asked when those that should know do not: as many as a lookup of kad-dht visits. */
const aroundMax = 20
const patienceMs = 250
/** Holders of a key that are told to one who asks: enough to choose from. */
export const holdersMax = 64

/**
 * Finds the nodes that hold an object by its id alone, through the Kademlia DHT. What this node holds is made known in
 * batches, at the nodes nearest to each key, off the path of those who store and read.
 *
 * @example
 * directory.provide(['0a1b…'])
 * const nodes = await directory.find('0a1b…', { timeoutMs: 500 })
 */
export class ObjectDirectory {
  readonly #options: ObjectDirectoryOptions
  readonly #book: ProviderBook
  readonly #records = new RecordBook({ lifeMs })
  #timer: NodeJS.Timeout | undefined
  readonly #careTimer: NodeJS.Timeout
  #isClosed = false
  readonly counters = { lookups: 0, hits: 0, walks: 0, batchesSent: 0, recordsSent: 0 }

  constructor(options: ObjectDirectoryOptions) {
    this.#options = options
    const { self, publicKey, kademlia } = options
    this.#book = new ProviderBook({ self, place: placeOfNode(publicKey), copies, refreshMs })
    kademlia.onLookup((digest) => this.#records.find(hexOf(digest), options.now()))
    this.#careTimer = setInterval(() => this.#care(), careMs).unref()
  }

  /** Keys that this node provides. */
  get keyCount(): number {
    return this.#book.keyCount
  }

  /** Records of others, and own ones, that lie here. */
  get recordCount(): number {
    return this.#records.count
  }

  /** What is known here and what has been asked and told since the start. */
  figures(): DirectoryFigures {
    return { keys: this.keyCount, records: this.recordCount, ...this.counters }
  }

  /** True while something is still to be told to others. */
  get hasWork(): boolean {
    return this.#book.hasWork
  }

  provide(keys: readonly string[]): void {
    this.#book.provide(keys)
    this.#flushSoon()
  }

  withdraw(keys: readonly string[]): void {
    this.#book.withdraw(keys)
    this.#flushSoon()
  }

  /**
   * Nodes that hold what is known by a key; none when nobody does, or nobody is found in time. What lies here is found at
   * once. Else the nodes nearest to the key are asked, over the links that there are, then those around them; a lookup in the
   * DHT, which costs a hundred times as much, is left for when some of them do not answer, or not all members are linked.
   * Callers see to it that only so many go on at a time.
   *
   * @param options.timeoutMs @default 2000
   */
  async find(
    key: string,
    { timeoutMs = findMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NodeId[]> {
    this.counters.lookups += 1
    let found: readonly NodeId[] = this.holdersOf(key)
    if (found.length === 0) {
      const deadline = AbortSignal.timeout(timeoutMs)
      const until = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
      // The time is up, or nobody could be asked: what was found is what there is.
      found = await this.#findElsewhere(key, until).catch(() => [])
    }
    if (found.length > 0) this.counters.hits += 1
    return [...new Set(found)]
  }

  /** Nodes that are known here to hold what is known by a key. */
  holdersOf(key: string): NodeId[] {
    return this.#records.find(hexOf(digestOf(key)), this.#options.now())
  }

  #findElsewhere(key: string, signal: AbortSignal): Promise<readonly NodeId[]> {
    const { self, ask, isLinkedToAll } = this.#options
    const digest = digestOf(key)
    const near = this.#book.nearest(placeOfKey(digest), aroundMax)
    const others = (nodes: readonly NodeId[]): NodeId[] => nodes.filter((node) => node !== self)
    return lookUp({
      steps: [others(near.slice(0, copies)), others(near.slice(copies))],
      ask: (node, until) => ask(node, key, until),
      otherwise: (haveAllAnswered, until) =>
        haveAllAnswered && isLinkedToAll() ? Promise.resolve([]) : this.#walk(digest, until),
      patienceMs,
      signal,
    })
  }

  async #walk(digest: Uint8Array, signal: AbortSignal): Promise<readonly NodeId[]> {
    this.counters.walks += 1
    for await (const nodes of this.#options.kademlia.findProviders(digest, signal)) {
      // The first node that has records of a key has all of them.
      if (nodes.length > 0) return nodes
    }
    return []
  }

  /** What another node provides from now on, or does no more. */
  onProvide(from: NodeId, { adds, removes }: Omit<ProvideBatch, 'to'>): void {
    const nowMs = this.#options.now()
    for (const key of removes) this.#records.remove(hexOf(digestOf(key)), from)
    for (const key of adds) if (isStoredName(key)) this.#records.add(hexOf(digestOf(key)), from, nowMs)
  }

  linkUp(node: NodeId, publicKey: Uint8Array): void {
    this.#book.memberUp(node, placeOfNode(publicKey))
    this.#flushSoon()
  }

  linkDown(node: NodeId): void {
    this.#book.memberDown(node)
    this.#records.nodeGone(node)
    this.#flushSoon()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearInterval(this.#careTimer)
  }

  #flushSoon(): void {
    if (this.#isClosed || !this.#book.hasWork) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#flush()
    }, flushMs).unref()
  }

  #flush(): void {
    const { self, send, now } = this.#options
    for (const batch of this.#book.step(now())) {
      this.counters.batchesSent += 1
      this.counters.recordsSent += batch.adds.length
      if (batch.to === self) this.onProvide(self, batch)
      else send(batch)
    }
    this.#flushSoon()
  }

  #care(): void {
    const nowMs = this.#options.now()
    this.#records.expire(nowMs)
    this.#book.refresh(nowMs)
    this.#flushSoon()
  }
}

function hexOf(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('hex')
}
