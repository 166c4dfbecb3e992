import type { ClientId, ObjectId } from '../../protocols/ids.ts'

/** What has come from one handle of one caller. */
interface Arrivals {
  /** Of the calls that have come, the number of the last. */
  highest: number
  /** Calls that came again because they are to be made again: how often they were tried before. */
  readonly attempts: Map<number, number>
}

/** Tries that are remembered for each handle of a caller. */
const attemptsMax = 10_000
/** Handles of one actor that are remembered for each caller: those of `getIfExists` are each one of its own. */
const handlesMax = 1000

/**
 * Tells calls that have come for the first time from those that have come twice: a call must not run twice because its
 * message was sent again. The calls of one handle of a caller come in the order of their numbers.
 */
export class CallIntake {
  readonly #callers = new Map<ClientId, Map<ObjectId, Arrivals>>()

  isNew(from: ClientId, handle: ObjectId, { sequence, attempt }: { sequence: number; attempt: number }): boolean {
    const arrivals = this.#arrivalsOf(from, handle)
    const isFirst = sequence > arrivals.highest
    if (!isFirst && attempt <= (arrivals.attempts.get(sequence) ?? 0)) return false
    if (isFirst) arrivals.highest = sequence
    if (attempt > 0) this.#remember(arrivals, sequence, attempt)
    return true
  }

  #arrivalsOf(from: ClientId, handle: ObjectId): Arrivals {
    let handles = this.#callers.get(from)
    if (handles === undefined) this.#callers.set(from, (handles = new Map()))
    let arrivals = handles.get(handle)
    if (arrivals !== undefined) return arrivals
    arrivals = { highest: -1, attempts: new Map() }
    handles.set(handle, arrivals)
    const [oldest] = handles.keys()
    if (handles.size > handlesMax) handles.delete(oldest as ObjectId)
    return arrivals
  }

  #remember({ attempts }: Arrivals, sequence: number, attempt: number): void {
    attempts.set(sequence, attempt)
    if (attempts.size <= attemptsMax) return
    const [oldest] = attempts.keys()
    attempts.delete(oldest as number)
  }

  forget(isGone: (caller: ClientId) => boolean): void {
    for (const caller of this.#callers.keys()) if (isGone(caller)) this.#callers.delete(caller)
  }
}
