import { readFileSync } from 'node:fs'

const lookMs = 100

/** A clock that goes on while the machine is suspended: the system's own monotonic clock may stand still then. */
export class BootClock {
  #suspendedMs = 0
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #offsetMs: number | undefined

  nowMs(): number {
    const monotonicMs = performance.now()
    if (monotonicMs - this.#lookedAtMs >= lookMs) {
      this.#lookedAtMs = monotonicMs
      const upMs = uptimeMs() ?? Date.now()
      this.#offsetMs ??= upMs - monotonicMs
      const gainedMs = upMs - monotonicMs - this.#offsetMs
      // Less than that is the grain of the clocks.
      if (gainedMs - this.#suspendedMs > 50) this.#suspendedMs = gainedMs
    }
    return monotonicMs + this.#suspendedMs
  }
}

function uptimeMs(): number | undefined {
  try {
    return Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
  } catch {
    return undefined
  }
}
