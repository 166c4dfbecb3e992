import type { EventReport, EventsPart } from '../../protocols/admin.ts'
import { Ring } from './ring.ts'

/** Events that a node remembers. */
const eventsMax = 5_000
const textCharsMax = 1_000

type Facts = Pick<EventReport, 'level' | 'pid' | 'about'>

/** What has happened on a node and to its links: the last of it, for people to read. */
export class EventBook {
  readonly #events = new Ring<EventReport>(eventsMax)
  readonly #wallMs: () => number

  /** @param wallMs the wall clock */
  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  /** @param facts `level` is 'info' unless it says so */
  say(kind: EventReport['kind'], text: string, facts: Partial<Facts> = {}): void {
    this.#events.push({ atMs: this.#wallMs(), kind, level: 'info', text: text.slice(0, textCharsMax), ...facts })
  }

  from(first: number, limit: number): EventsPart {
    const { items, ...part } = this.#events.from(first, limit)
    return { events: items, ...part }
  }

  /** The last so many, and from where on there will be more. */
  last(limit: number): EventsPart {
    return this.from(Math.max(0, this.#events.next - limit), limit)
  }
}
