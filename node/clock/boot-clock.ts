import { openSync, readSync } from 'node:fs'

const lookMs = 100

/** A clock that goes on while the machine is suspended: the system's own monotonic clock may stand still then. */
export class BootClock {
  readonly #monotonicMs: () => number
  readonly #uptimeMs: () => number
  #suspendedMs = 0
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #offsetMs: number | undefined

  /** The system's clocks, unless a test has its own. */
  constructor(monotonic: () => number = () => performance.now(), uptime: () => number = uptimeMs) {
    this.#monotonicMs = monotonic
    this.#uptimeMs = uptime
  }

  nowMs(): number {
    const monotonicMs = this.#monotonicMs()
    if (monotonicMs - this.#lookedAtMs >= lookMs) {
      this.#lookedAtMs = monotonicMs
      const upMs = this.#uptimeMs()
      this.#offsetMs ??= upMs - monotonicMs
      const gainedMs = upMs - monotonicMs - this.#offsetMs
      // Less than that is the grain of the clocks.
      if (gainedMs - this.#suspendedMs > 50) this.#suspendedMs = gainedMs
    }
    return monotonicMs + this.#suspendedMs
  }
}

const text = Buffer.alloc(64)
let descriptor: number | undefined

/** With the time of suspends; where the system does not tell it, the time of day has to do. */
function uptimeMs(): number {
  try {
    descriptor ??= openSync('/proc/uptime', 'r')
    return Number.parseFloat(text.toString('latin1', 0, readSync(descriptor, text, 0, text.length, 0))) * 1000
  } catch {
    return Date.now()
  }
}
