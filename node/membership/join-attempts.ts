const windowMs = 60_000
const triesByHostMax = 10
const triesMax = 100

/**
 * Keeps strangers from trying tokens: so many failed tries a minute from one host, and so many from all. It remembers
 * no more than those.
 */
export class JoinAttempts {
  /** The times of tries that have not succeeded, the oldest first, all within the last minute. */
  readonly #tries: { host: string; atMs: number }[] = []

  /** Counts a try as failed until it has succeeded. False when there were too many: it must be refused unheard. */
  begin(address: string, nowMs: number): boolean {
    // The clock may have been set back: what lies ahead counts as long ago.
    while (this.#tries[0] !== undefined && Math.abs(nowMs - this.#tries[0].atMs) >= windowMs) this.#tries.shift()
    if (this.#tries.length >= triesMax) return false
    const host = hostOf(address)
    let triesByHost = 0
    for (const tried of this.#tries) if (tried.host === host) triesByHost++
    if (triesByHost >= triesByHostMax) return false
    this.#tries.push({ host, atMs: nowMs })
    return true
  }

  /** The last try from there was no guess. */
  succeeded(address: string): void {
    const host = hostOf(address)
    const at = this.#tries.findLastIndex((tried) => tried.host === host)
    if (at !== -1) this.#tries.splice(at, 1)
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
