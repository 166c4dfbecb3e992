import type { AllocateEvent } from './store-events.ts'

/** Somebody who waits for room in memory. */
export interface Waiting {
  readonly event: AllocateEvent
  /** It is on the disk, and is to be read into memory. */
  readonly isRestore: boolean
  readonly askedMs: number
  /** When something was last done for it. */
  sinceMs: number
}

/**
 * Requests for room, in their order: those of programs before copies of values of other nodes. While one waits, those behind
 * it do too, or small ones would take away what becomes free for a large one. Bounded by who asks: a program has one request
 * at a time, transfers and reads have bounds of their own.
 */
export class RoomQueue {
  #waiting: Waiting[] = []

  get size(): number {
    return this.#waiting.length
  }

  add(event: AllocateEvent, isRestore: boolean, nowMs: number): void {
    this.#waiting.push({ event, isRestore, askedMs: nowMs, sinceMs: nowMs })
  }

  has(name: string): boolean {
    return this.#waiting.some(({ event }) => event.name === name)
  }

  /** Takes out those of which this is true. */
  remove(isIt: (waiting: Waiting) => boolean): Waiting[] {
    const removed = this.#waiting.filter(isIt)
    if (removed.length > 0) this.#waiting = this.#waiting.filter((each) => !removed.includes(each))
    return removed
  }

  /** Lets one after the other have its turn, until one has to go on waiting. */
  serve(isServed: (waiting: Waiting) => boolean): void {
    if (this.#waiting.length === 0) return
    const ordered = this.#waiting.toSorted((a, b) => Number(a.event.kind === 'copy') - Number(b.event.kind === 'copy'))
    const first = ordered.findIndex((waiting) => !isServed(waiting))
    const served = new Set(first === -1 ? ordered : ordered.slice(0, first))
    this.#waiting = this.#waiting.filter((each) => !served.has(each))
  }

  /** Something has been done for all of them. */
  movedOn(nowMs: number): void {
    for (const waiting of this.#waiting) waiting.sinceMs = nowMs
  }
}
