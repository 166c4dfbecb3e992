/** Time as a network sees it: real, or that of a simulation. */
export interface NetworkClock {
  nowMs(): number
  /** Calls back once; what it gives prevents that. */
  after(delayMs: number, callback: () => void): () => void
}

export const realClock: NetworkClock = {
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}
