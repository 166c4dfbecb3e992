import { TaskQueue } from '../tasks/task-queue.ts'

/** Calls of one concurrency group: those that wait, and how many run. */
export class CallQueue<T> {
  readonly waiting = new TaskQueue<T>()
  running = 0
  concurrencyMax = 1
  /** Somebody is at it, so that nobody else must be. */
  isPumping = false

  get mayStart(): boolean {
    return this.waiting.length > 0 && this.running < this.concurrencyMax
  }

  /** Takes out the first that is meant. False when there is none. */
  removeFirst(isMeant: (item: T) => boolean): boolean {
    for (let behind = 0; behind < this.waiting.length; behind++) {
      const item = this.waiting.peek(behind) as T
      if (isMeant(item)) return this.waiting.remove(item)
    }
    return false
  }
}
