/** No wait keeps its process awake for longer. */
export const awakeMsMax = 0.6
/** A longer wait counts for no more; where most are longer, it is not even tried. */
const longMs = 1
const triedMsMax = 0.9
/** Waits by which one way is compared with the other, now and then. */
export const trialWaits = 32
/** After so many waits the other way is tried again, at first; after twice as many each time that it is found to be no better. */
export const stayMin = 64
export const stayMax = 1024
/** To stay awake uses a core: it must make waits shorter by so much. */
const gainMin = 0.1

/**
 * Whether a process that waits, for an answer or for the next call, stays awake meanwhile. To wake up a core that sleeps takes
 * longer than all else in a call, so that on a quiet machine short waits are several times shorter without; on a busy one who
 * stays awake only keeps the others from their work. So both ways are tried now and then, and the better one is taken. Only a
 * wait that is alone counts, and none stays awake for long. Knows no clock and no event loop.
 */
export class Wakefulness {
  readonly #isAble: boolean
  #waits = 0
  /** When the only wait began; undefined when there is none, or there have been several at a time. */
  #sinceMs: number | undefined
  /** The way that is taken now. */
  #isAwake = false
  #isTrial = false
  /** Waits until the other way is taken. */
  #left = trialWaits
  #stay = stayMin
  /** How long waits take the way that is taken as a rule, about. */
  #usualMs = longMs
  /** Those of a trial, all together. */
  #trialMs = 0

  /**
   * @param cores of the machine
   * @param coresOfOthers those that are to be left for who does the work meanwhile
   */
  constructor(cores: number, coresOfOthers = 1) {
    this.#isAble = cores > coresOfOthers
  }

  /** A wait begins. True when the process is to stay awake; then `isOn` says for how long. */
  begin(nowMs: number): boolean {
    // Who waits for several things at a time is after throughput, and the others need the cores for that.
    this.#sinceMs = ++this.#waits === 1 ? nowMs : undefined
    return this.isOn(nowMs)
  }

  /** True while the process is to stay awake. */
  isOn(nowMs: number): boolean {
    return this.#isAwake && this.#sinceMs !== undefined && nowMs - this.#sinceMs < awakeMsMax
  }

  /** A wait has ended. */
  end(nowMs: number): void {
    this.#waits -= 1
    const sinceMs = this.#sinceMs
    this.#sinceMs = undefined
    if (sinceMs === undefined || !this.#isAble) return
    const waitedMs = Math.min(nowMs - sinceMs, longMs)
    if (this.#isTrial) this.#trialMs += waitedMs
    else this.#usualMs += (waitedMs - this.#usualMs) / trialWaits
    if (--this.#left > 0) return
    if (this.#isTrial) this.#endTrial(this.#trialMs / trialWaits)
    else if (this.#isAwake || this.#usualMs < triedMsMax) this.#beginTrial()
    else this.#left = trialWaits
  }

  #beginTrial(): void {
    this.#isTrial = true
    this.#isAwake = !this.#isAwake
    this.#trialMs = 0
    this.#left = trialWaits
  }

  #endTrial(trialMs: number): void {
    this.#isTrial = false
    const usualMs = this.#usualMs
    const isBetter = this.#isAwake ? trialMs < usualMs * (1 - gainMin) : usualMs > trialMs * (1 - gainMin)
    if (isBetter) {
      this.#usualMs = trialMs
      this.#stay = stayMin
    } else {
      this.#isAwake = !this.#isAwake
      this.#stay = Math.min(stayMax, this.#stay * 2)
    }
    this.#left = this.#stay
  }
}
