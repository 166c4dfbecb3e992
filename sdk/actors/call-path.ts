/** Calls that go one at a time before a line to the worker is asked for. */
export const callsAloneMin = 16
/** A line that was not to be had is asked for again after so many. */
const callsPerWish = 4096
/** When calls on the line had to be made sure of because of one that cannot go there, so many go through the node before it is used again. */
export const callsAfterFence = 64

/** What is to be known to choose a call's way. */
export interface CallCircumstances {
  /** It brings nothing along that is counted, or kept in a store. Only such a call may go over a line. */
  readonly isPlain: boolean
  /** The number of the line to the worker that there is now; 0 for none. */
  readonly line: number
  /** Calls that are with the worker, by the way that they went. */
  readonly underWay: { readonly byNode: number; readonly direct: number }
}

/**
 * The way that one caller's calls of one actor take: through the node, or over a line of their own to a worker of the same
 * node, which is faster for calls one at a time. What goes on one way might overtake what went on the other, so before the way
 * changes it must be certain that the worker has everything that went on the one before: because it has been answered, or because
 * the worker has read a fence behind it. Knows no socket.
 */
export class CallPath {
  #isDirect = false
  /** The line that was used last. */
  #line = 0
  #isFenced = false
  #alone = 0
  #isWishDue = false
  #rest = 0

  /**
   * The way of a call that is to go now. `'fence'` when it must wait until the worker has read a fence, which is to be sent now;
   * `'wait'` when it must wait for that, or for calls that went over a line that has ended.
   */
  choose(circumstances: CallCircumstances): 'node' | 'direct' | 'fence' | 'wait' {
    const { isPlain, line, underWay } = circumstances
    if (underWay.byNode + underWay.direct === 0 && ++this.#alone % callsPerWish === callsAloneMin)
      this.#isWishDue = true
    if (this.#rest > 0) this.#rest -= 1
    const isOnLine = line > 0 && line === this.#line
    if (this.#isDirect && underWay.direct > 0) {
      if (isPlain && isOnLine && !this.#isFenced) return 'direct'
      if (!isOnLine || this.#isFenced) return 'wait'
      this.#isFenced = true
      return 'fence'
    }
    this.#isFenced = false
    this.#isDirect =
      isPlain && line > 0 && this.#rest === 0 && underWay.byNode === 0 && (isOnLine || underWay.direct === 0)
    if (!this.#isDirect) return 'node'
    this.#line = line
    return 'direct'
  }

  /** The worker has read the fence: it has everything that went over the line. */
  passFence(): void {
    if (!this.#isFenced) return
    this.#isFenced = false
    this.#isDirect = false
    this.#rest = callsAfterFence
  }

  /** True when calls go one at a time, so that a line would be of use: seldom. */
  takeWish(): boolean {
    const isDue = this.#isWishDue
    this.#isWishDue = false
    return isDue
  }

  /** The line has ended. What was under way on it is waited for. */
  lineEnded(): void {
    this.#alone = 0
    this.#isFenced = false
  }

  /** Nothing is under way any more, and the worker is another one. */
  reset(): void {
    this.lineEnded()
    this.#isDirect = false
    this.#isWishDue = false
    this.#line = 0
    this.#rest = 0
  }
}
