/** Whom this node knows, and when it tries again to reach them. Keys are PeerIds, or addresses of whom only that is known. */
export interface Acquaintance {
  readonly key: string
  readonly addresses: Set<string>
  /** Given by the user: never forgotten. */
  isFixed: boolean
  seenAtMs: number
  failures: number
  nextTryAtMs: number
  isDialing: boolean
}

const knownMax = 1000
const addressesMax = 16
const forgetMs = 7 * 24 * 3_600_000
const firstRetryMs = 100
const lastRetryMs = 5000

/**
 * The pure part of keeping in touch: who is known, and who is to be dialled when. The clock and chance are handed in.
 */
export class Acquaintances {
  readonly #known = new Map<string, Acquaintance>()
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  get isEmpty(): boolean {
    return this.#known.size === 0
  }

  /** Somebody could not be reached, and is to be tried again. */
  get hasFailed(): boolean {
    return this.#known.values().some(({ failures }) => failures > 0)
  }

  all(): Iterable<Acquaintance> {
    return this.#known.values()
  }

  /** Takes note of addresses of somebody. True when that is news. */
  met(address: string, nowMs: number, isFixed = false): boolean {
    const key = keyOf(address)
    let known = this.#known.get(key)
    let isNew = false
    if (known === undefined) {
      if (this.#known.size >= knownMax) this.#forgetOldest()
      known = {
        key,
        addresses: new Set(),
        isFixed,
        seenAtMs: nowMs,
        failures: 0,
        nextTryAtMs: nowMs,
        isDialing: false,
      }
      this.#known.set(key, known)
      isNew = true
    }
    if (isFixed) known.isFixed = true
    if (!known.addresses.has(address)) {
      isNew = true
      if (known.addresses.size >= addressesMax) known.addresses.delete([...known.addresses][0] ?? '')
      known.addresses.add(address)
      known.nextTryAtMs = Math.min(known.nextTryAtMs, nowMs)
      known.failures = 0
    }
    return isNew
  }

  /** Those who are to be dialled now, if there is no link to them. */
  *due(nowMs: number): Generator<Acquaintance> {
    for (const known of this.#known.values()) {
      if (!known.isFixed && nowMs - known.seenAtMs > forgetMs) this.#known.delete(known.key)
      else if (!known.isDialing && known.nextTryAtMs <= nowMs) yield known
    }
  }

  linked(key: string, nowMs: number): void {
    const known = this.#known.get(key)
    if (known === undefined) return
    known.seenAtMs = nowMs
    known.failures = 0
    known.nextTryAtMs = nowMs
  }

  /** Each failure doubles the wait, with some chance in it so that two do not keep missing each other. */
  failed(known: Acquaintance, nowMs: number, isHopeless = false): void {
    known.failures = isHopeless ? 10 : Math.min(10, known.failures + 1)
    const waitMs = Math.min(lastRetryMs, firstRetryMs * 2 ** known.failures)
    known.nextTryAtMs = nowMs + waitMs * (0.5 + this.#random())
  }

  forget(key: string): void {
    this.#known.delete(key)
  }

  #forgetOldest(): void {
    let oldest: Acquaintance | undefined
    for (const known of this.#known.values()) {
      if (!known.isFixed && (oldest === undefined || known.seenAtMs < oldest.seenAtMs)) oldest = known
    }
    if (oldest !== undefined) this.#known.delete(oldest.key)
  }
}

/** The PeerId at the end of an address, or the address itself when it has none. */
export function keyOf(address: string): string {
  return /\/p2p\/(\w+)$/.exec(address)?.[1] ?? address
}
