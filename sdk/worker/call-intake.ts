import type { ClientId } from '../../protocols/ids.ts'

interface Caller {
  /** Of the calls that have come, the number of the last. */
  highest: number
  /** Calls that came again because they are to be made again: how often they were tried before. */
  readonly attempts: Map<number, number>
}

/** Tries that are remembered for each caller. */
const attemptsMax = 10_000

/**
 * Tells calls that have come for the first time from those that have come twice: a call must not run twice because its
 * message was sent again. Callers number their calls upwards.
 */
export class CallIntake {
  readonly #callers = new Map<ClientId, Caller>()

  isNew(from: ClientId, sequence: number, attempt: number): boolean {
    let caller = this.#callers.get(from)
    if (caller === undefined) this.#callers.set(from, (caller = { highest: -1, attempts: new Map() }))
    const isFirst = sequence > caller.highest
    if (!isFirst && attempt <= (caller.attempts.get(sequence) ?? 0)) return false
    if (isFirst) caller.highest = sequence
    if (attempt > 0) this.#remember(caller, sequence, attempt)
    return true
  }

  #remember({ attempts }: Caller, sequence: number, attempt: number): void {
    attempts.set(sequence, attempt)
    if (attempts.size <= attemptsMax) return
    const [oldest] = attempts.keys()
    attempts.delete(oldest as number)
  }

  forget(isGone: (caller: ClientId) => boolean): void {
    for (const caller of this.#callers.keys()) if (isGone(caller)) this.#callers.delete(caller)
  }
}
