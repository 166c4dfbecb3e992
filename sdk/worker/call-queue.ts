import { TaskQueue } from '../tasks/task-queue.ts'
import { StartOrder } from './start-order.ts'

/** Calls of one concurrency group: those that wait, and how many run. */
export class CallQueue<T> {
  readonly waiting = new TaskQueue<T>()
  readonly starts = new StartOrder()
  running = 0
  concurrencyMax = 1
  /** Somebody is at it, so that nobody else must be. */
  isPumping = false

  get mayStart(): boolean {
    return this.waiting.length > 0 && this.running < this.concurrencyMax
  }

  /** Of those that wait, those that are meant. */
  meant(isMeant: (item: T) => boolean): T[] {
    const meant: T[] = []
    for (let behind = 0; behind < this.waiting.length; behind++) {
      const item = this.waiting.peek(behind) as T
      if (isMeant(item)) meant.push(item)
    }
    return meant
  }

  /** Takes out those that are meant. */
  remove(isMeant: (item: T) => boolean): T[] {
    const meant = this.meant(isMeant)
    for (const item of meant) this.waiting.remove(item)
    return meant
  }
}
