export interface TaskCounts {
  /** On workers, those queued there behind another included. */
  running: number
  /** Waiting for a worker, or for their arguments. */
  queued: number
}

/** How long a change may stay untold. */
const delayMs = 250

/**
 * Tells the node how many tasks this process has running and queued, for those who ask what it does: the queue is here,
 * with the owner, and not at the node. Silent for a program whose tasks come and go faster than anybody could look.
 */
export class TaskCounter {
  readonly #counts: () => TaskCounts
  readonly #tell: (counts: TaskCounts) => void
  #told: TaskCounts = { running: 0, queued: 0 }
  #timer: NodeJS.Timeout | undefined

  constructor(counts: () => TaskCounts, tell: (counts: TaskCounts) => void) {
    this.#counts = counts
    this.#tell = tell
  }

  /** To be called when there is a new task. */
  wake(): void {
    this.#timer ??= setTimeout(() => this.#look(), delayMs).unref()
  }

  #look(): void {
    this.#timer = undefined
    const counts = this.#counts()
    if (counts.running !== this.#told.running || counts.queued !== this.#told.queued) {
      this.#told = counts
      this.#tell(counts)
    }
    if (counts.running + counts.queued > 0) this.wake()
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}
