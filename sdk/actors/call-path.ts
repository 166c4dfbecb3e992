/** Calls that go one at a time before a line to the worker is asked for. */
export const callsAloneMin = 16
/** When a call could not go over the line while others were under way, so many go through the node before the line is used again. */
export const callsAfterMix = 64

/** What is to be known of a call, and of what is under way, to choose its way. */
export interface CallCircumstances {
  /** It brings nothing along that is counted: refs, or values in a store. Only such a call may go over a line. */
  readonly isPlain: boolean
  readonly hasLine: boolean
  /** Calls that are with the worker. */
  readonly underWay: number
}

/**
 * The way that one caller's calls of one actor take: through the node, or over a line of their own to a worker of the same
 * node, which is faster for calls one at a time. Calls on different ways might overtake each other, so all that are under way
 * are on one. Knows no socket.
 */
export class CallPath {
  #isDirect = false
  #alone = 0
  #left = 0

  /** True while what is under way went over the line. */
  get isDirect(): boolean {
    return this.#isDirect
  }

  /** The way of a call that is to go now; undefined when it is to wait until those that are under way are answered. */
  choose({ isPlain, hasLine, underWay }: CallCircumstances): 'node' | 'direct' | undefined {
    if (this.#left > 0) this.#left -= 1
    if (underWay === 0) {
      this.#alone += 1
      this.#isDirect = isPlain && hasLine && this.#left === 0
    } else if (this.#isDirect && !(isPlain && hasLine)) {
      if (!isPlain) this.#left = callsAfterMix
      return undefined
    }
    return this.#isDirect ? 'direct' : 'node'
  }

  /** True when calls go one at a time, so that a line would be of use. */
  get wantsLine(): boolean {
    return this.#alone === callsAloneMin
  }

  /** The worker is another one, or the line has ended and what was under way on it is given up. */
  reset(): void {
    this.#isDirect = false
    this.#alone = 0
    this.#left = 0
  }
}
