interface Timer {
  readonly atMs: number
  /** Decides between timers of one time: first come, first served. */
  readonly order: number
  run: (() => void) | undefined
}

/** More things than that do not happen in one moment, unless they go on for ever. */
const atOnceMax = 10_000

/**
 * Time that passes only as far as it is told to. While it is installed, timers and microtasks are its own too, so that
 * what takes them from the surroundings runs in the same time, and in the same order every time.
 */
export class VirtualClock {
  nowMs = 0
  #order = 0
  /** A binary heap. */
  readonly #timers: Timer[] = []

  after(ms: number, run: () => void): Timer {
    const timer = { atMs: this.nowMs + ms, order: ++this.#order, run }
    const timers = this.#timers
    let at = timers.push(timer) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (isBefore(timers[above] as Timer, timer)) break
      timers[at] = timers[above] as Timer
      at = above
    }
    timers[at] = timer
    return timer
  }

  /** Runs all that is due until then. Stops early when `isDone`, looked at after each step, says so. */
  run(ms: number, isDone: () => boolean = () => false): void {
    const endMs = this.nowMs + ms
    let atOnce = 0
    for (let next = this.#timers[0]; next !== undefined && next.atMs <= endMs; next = this.#timers[0]) {
      this.#pop()
      if (next.run === undefined) continue
      atOnce = next.atMs > this.nowMs ? 0 : atOnce + 1
      if (atOnce > atOnceMax)
        throw new Error(`time stands still at ${this.nowMs} ms: one thing always leads to another`)
      this.nowMs = next.atMs
      next.run()
      if (isDone()) return
    }
    this.nowMs = endMs
  }

  /** Takes the place of the surroundings' timers for as long as `body` runs. */
  installed(body: () => void): void {
    const { setTimeout, clearTimeout, queueMicrotask } = globalThis
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms: number) => this.after(ms, run),
      clearTimeout: (timer: Timer | undefined) => {
        if (timer !== undefined) timer.run = undefined
      },
      queueMicrotask: (run: () => void) => this.after(0, run),
    })
    try {
      body()
    } finally {
      Object.assign(globalThis, { setTimeout, clearTimeout, queueMicrotask })
    }
  }

  #pop(): void {
    const timers = this.#timers
    const last = timers.pop() as Timer
    if (timers.length === 0) return
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= timers.length) break
      const right = timers[below + 1]
      if (right !== undefined && isBefore(right, timers[below] as Timer)) below++
      if (isBefore(last, timers[below] as Timer)) break
      timers[at] = timers[below] as Timer
      at = below
    }
    timers[at] = last
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
