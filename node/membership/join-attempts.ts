const windowMs = 60_000
const triesByHostMax = 10
const triesMax = 100

/**
 * Keeps strangers from trying tokens: so many failed tries a minute from one host, and so many from all. It remembers
 * no more than those. Tries that are under way do not count: the network lets in a few at a time.
 */
export class JoinAttempts {
  /** The times of tries that have failed, the oldest first, all within the last minute. */
  readonly #tries: { host: string; atMs: number }[] = []

  /** False when too many have failed: another must be refused unheard. */
  mayTry(address: string, nowMs: number): boolean {
    // The clock may have been set back: what lies ahead counts as long ago.
    while (this.#tries[0] !== undefined && Math.abs(nowMs - this.#tries[0].atMs) >= windowMs) this.#tries.shift()
    if (this.#tries.length >= triesMax) return false
    const host = hostOf(address)
    let triesByHost = 0
    for (const tried of this.#tries) if (tried.host === host) triesByHost++
    return triesByHost < triesByHostMax
  }

  /** A try has ended that may have been a guess. */
  failed(address: string, nowMs: number): void {
    // Those that were under way when there were enough.
    if (this.#tries.length >= triesMax) this.#tries.shift()
    this.#tries.push({ host: hostOf(address), atMs: nowMs })
  }
}

/** The part of an address that a host cannot change with every try: no port, and of IPv6 only the network. */
function hostOf(address: string): string {
  const [, protocol, host] = address.split('/')
  if (protocol === undefined || host === undefined) return address.slice(0, 128)
  return protocol === 'ip6' && !host.includes('.') ? networkOf(host) : host.slice(0, 128)
}

/** The first 64 of the 128 bits of an IPv6 address. */
function networkOf(host: string): string {
  const [head = '', tail] = host.slice(0, 64).split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros: string[] = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0')
  return [...before, ...zeros, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}
