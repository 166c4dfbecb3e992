import type { MemoryUse } from './memory-use.ts'

/** A worker that could be ended: who has it, and what is gained. */
export interface MemoryHolder {
  readonly workerId: number
  readonly leaseId: number
  readonly job: string
  readonly isRetriable: boolean
  readonly grantedAtMs: number
  /** What it has to itself, with all that it has started. */
  readonly bytes: number
}

export type MemoryEvent<H extends MemoryHolder> =
  | { type: 'measured'; use: MemoryUse }
  /** The workers have been looked at, as was asked. */
  | { type: 'looked'; use: MemoryUse; holders: readonly H[] }
  | { type: 'workerGone'; workerId: number }

export type MemoryAction<H extends MemoryHolder> =
  /** Find out what the workers hold. */
  | { type: 'look' }
  | { type: 'end'; holder: H }
  /** Memory is short, and no worker holds enough of it. Told once, until there is enough again. */
  | { type: 'helpless' }

export interface MemoryPolicyOptions {
  /** Percent of the memory from which on it is short; 100 for never. */
  readonly limitPercent: number
}

/** After a worker has gone, the system needs a moment to have its memory back. */
const restMs = 500
/** One that was told to end and is not gone by then does not hold up the next any longer. */
const goneMs = 5_000
/** Who holds less than this, or than this share of the memory, is not worth the loss. */
const bytesMin = 256 * 1024 ** 2
const shareMin = 0.01

/**
 * Which worker ends when memory runs out, so that the system does not choose: it would be any process, the node itself
 * included. The newest lease of a task that can be tried again, since least is lost with it; else the newest of the program
 * that has most leases. One at a time, and the next only when the memory of the last one is back.
 *
 * Pure: no processes, no clock.
 */
export class MemoryPolicy<H extends MemoryHolder = MemoryHolder> {
  readonly #limitPercent: number
  #ending: { workerId: number; sinceMs: number } | undefined
  #restUntilMs = -Infinity
  #isHelpless = false

  constructor({ limitPercent }: MemoryPolicyOptions) {
    this.#limitPercent = limitPercent
  }

  /** From how many bytes on memory is short. */
  limitOf({ totalBytes }: MemoryUse): number {
    return Math.floor((totalBytes * this.#limitPercent) / 100)
  }

  step(event: MemoryEvent<H>, nowMs: number): MemoryAction<H> | undefined {
    switch (event.type) {
      case 'measured':
        return this.#isShort(event.use, nowMs) ? { type: 'look' } : undefined
      case 'looked':
        return this.#isShort(event.use, nowMs) ? this.#end(event.use, event.holders, nowMs) : undefined
      case 'workerGone':
        if (this.#ending?.workerId !== event.workerId) return undefined
        this.#ending = undefined
        this.#restUntilMs = nowMs + restMs
        return undefined
    }
  }

  #isShort(use: MemoryUse, nowMs: number): boolean {
    if (this.#limitPercent >= 100) return false
    if (use.usedBytes < this.limitOf(use)) {
      this.#isHelpless = false
      return false
    }
    if (this.#ending !== undefined && nowMs - this.#ending.sinceMs >= goneMs) this.#ending = undefined
    return this.#ending === undefined && nowMs >= this.#restUntilMs
  }

  #end({ totalBytes }: MemoryUse, holders: readonly H[], nowMs: number): MemoryAction<H> | undefined {
    const least = Math.min(bytesMin, totalBytes * shareMin)
    const holder = choose(holders.filter(({ bytes }) => bytes >= least))
    if (holder !== undefined) {
      this.#ending = { workerId: holder.workerId, sinceMs: nowMs }
      return { type: 'end', holder }
    }
    if (this.#isHelpless) return undefined
    this.#isHelpless = true
    return { type: 'helpless' }
  }
}

function choose<H extends MemoryHolder>(holders: readonly H[]): H | undefined {
  const retriable = newest(holders.filter(({ isRetriable }) => isRetriable))
  if (retriable !== undefined) return retriable
  const byJob = Object.values(Object.groupBy(holders, ({ job }) => job))
  const most = Math.max(...byJob.map((of = []) => of.length))
  return newest(byJob.flatMap((of = []) => (of.length === most ? of : [])))
}

function newest<H extends MemoryHolder>(holders: readonly H[]): H | undefined {
  return holders.toSorted((a, b) => b.grantedAtMs - a.grantedAtMs || b.leaseId - a.leaseId)[0]
}
