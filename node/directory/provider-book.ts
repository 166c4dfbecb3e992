import type { NodeId } from '../../protocols/ids.ts'
import { digestOf, distance, placeOfKey, type Place } from './kad-space.ts'

/** A batch of records for one node: of keys that this node provides from now on, and of those that it does no more. */
export interface ProvideBatch {
  readonly to: NodeId
  readonly adds: readonly string[]
  readonly removes: readonly string[]
}

export interface ProviderBookOptions {
  self: NodeId
  place: Place
  /** At so many nodes there are to be records of a key. */
  copies: number
  /** Keys whose places are looked at again in one step. @default 2000 */
  perStepMax?: number
  /** A record is told again after this time. */
  refreshMs: number
}

interface Provided {
  readonly place: Place
  /** For so many values: one that was made again is known by its object like the one before. */
  uses: number
  /** Nodes that have been told, a while ago perhaps. */
  readonly told: Set<NodeId>
  /** All of them are to be told, those too that have been. */
  isDue: boolean
  toldAtMs: number
}

const batchMax = 2000
const keysMax = 2_000_000

/**
 * What this node provides, and which nodes are to know: those nearest to a key. Gathers what is to be told to each of them
 * into few messages, and tells anew what a change of the members has moved. Knows no network and no clock.
 */
export class ProviderBook {
  readonly #options: ProviderBookOptions
  readonly #provided = new Map<string, Provided>()
  readonly #members = new Map<NodeId, Place>()
  /** Keys whose nodes are to be found, anew or for the first time. */
  readonly #unsettled = new Set<string>()
  readonly #adds = new Map<NodeId, Set<string>>()
  readonly #removes = new Map<NodeId, Set<string>>()

  constructor(options: ProviderBookOptions) {
    this.#options = options
    this.#members.set(options.self, options.place)
  }

  get keyCount(): number {
    return this.#provided.size
  }

  /** True while there is something to be told, or to be found out. */
  get hasWork(): boolean {
    return this.#unsettled.size + this.#adds.size + this.#removes.size > 0
  }

  provide(keys: readonly string[]): void {
    for (const key of keys) {
      const provided = this.#provided.get(key)
      if (provided !== undefined) provided.uses += 1
      if (provided !== undefined || this.#provided.size >= keysMax) continue
      const place = placeOfKey(digestOf(key))
      this.#provided.set(key, { place, uses: 1, told: new Set(), isDue: true, toldAtMs: -Infinity })
      this.#unsettled.add(key)
    }
  }

  /** They are provided until they have been withdrawn as often as they were provided. */
  withdraw(keys: readonly string[]): void {
    for (const key of keys) {
      const provided = this.#provided.get(key)
      if (provided === undefined) continue
      provided.uses -= 1
      if (provided.uses > 0) continue
      this.#provided.delete(key)
      this.#unsettled.delete(key)
      for (const node of provided.told) this.#untell(node, key)
    }
  }

  memberUp(node: NodeId, place: Place): void {
    this.#members.set(node, place)
    for (const key of this.#provided.keys()) this.#unsettled.add(key)
  }

  memberDown(node: NodeId): void {
    this.#members.delete(node)
    this.#adds.delete(node)
    this.#removes.delete(node)
    for (const [key, { told }] of this.#provided) if (told.delete(node)) this.#unsettled.add(key)
  }

  /** What is to be sent now. To be called again while there is work. */
  step(nowMs: number): ProvideBatch[] {
    const { perStepMax = 2000 } = this.#options
    let count = 0
    for (const key of this.#unsettled) {
      if (count++ >= perStepMax) break
      this.#unsettled.delete(key)
      this.#settle(key, nowMs)
    }
    return this.#takeBatches()
  }

  /** Records end after a while, so they are told again. To be called now and then. */
  refresh(nowMs: number): void {
    for (const [key, provided] of this.#provided) {
      if (nowMs - provided.toldAtMs < this.#options.refreshMs) continue
      provided.isDue = true
      this.#unsettled.add(key)
    }
  }

  /** The nodes nearest to a place, the nearest first; this node may be among them. */
  nearest(place: Place, count = this.#options.copies): NodeId[] {
    // Sorting all of them for each of many keys would hold up the node.
    const nearest: { node: NodeId; away: number }[] = []
    for (const [node, at] of this.#members) {
      const away = distance(place, at)
      if (nearest.length === count && away >= (nearest.at(-1)?.away ?? 0)) continue
      const next = nearest.findIndex((each) => away < each.away)
      nearest.splice(next < 0 ? nearest.length : next, 0, { node, away })
      if (nearest.length > count) nearest.pop()
    }
    return nearest.map(({ node }) => node)
  }

  #settle(key: string, nowMs: number): void {
    const provided = this.#provided.get(key)
    if (provided === undefined) return
    const wanted = this.nearest(provided.place)
    for (const node of provided.told) if (!wanted.includes(node)) this.#untell(node, key, provided)
    for (const node of wanted) {
      if (provided.told.has(node) && !provided.isDue) continue
      provided.told.add(node)
      this.#removes.get(node)?.delete(key)
      gather(this.#adds, node, key)
    }
    if (provided.isDue) provided.toldAtMs = nowMs
    provided.isDue = false
  }

  #untell(node: NodeId, key: string, provided?: Provided): void {
    provided?.told.delete(node)
    // It may be told anew of what it knows already: that it has not been sent yet does not say that there is nothing to take back.
    this.#adds.get(node)?.delete(key)
    gather(this.#removes, node, key)
  }

  #takeBatches(): ProvideBatch[] {
    const batches: ProvideBatch[] = []
    for (const to of new Set([...this.#adds.keys(), ...this.#removes.keys()])) {
      const adds = takeSome(this.#adds, to)
      const removes = takeSome(this.#removes, to)
      if (adds.length + removes.length > 0) batches.push({ to, adds, removes })
    }
    return batches
  }
}

function gather(sets: Map<NodeId, Set<string>>, node: NodeId, key: string): void {
  const keys = sets.get(node)
  if (keys === undefined) sets.set(node, new Set([key]))
  else keys.add(key)
}

function takeSome(sets: Map<NodeId, Set<string>>, node: NodeId): string[] {
  const taken: string[] = []
  const keys = sets.get(node)
  if (keys === undefined) return taken
  for (const key of keys) {
    if (taken.length >= batchMax) break
    taken.push(key)
    keys.delete(key)
  }
  if (keys.size === 0) sets.delete(node)
  return taken
}
