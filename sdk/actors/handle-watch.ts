import type { ObjectId } from '../../protocols/ids.ts'
import { engineCollector, type Collector } from '../objects/collector.ts'
import type { ObjectRecord } from '../objects/object-record.ts'

/** The time during which this process has handles of an actor, by one record. */
interface Life {
  readonly actor: ObjectId
}

/**
 * Finds out when this process has no handle any more of an actor that another one owns. The engine may tell of the end of the
 * last handle when there is a new one already: that is no end.
 */
export class HandleWatch {
  readonly #lives = new Map<ObjectId, Life>()
  readonly #known = new WeakSet<ObjectRecord>()
  readonly #register: (record: ObjectRecord, life: Life) => void

  /** @param onGone no handle of the actor is left here */
  constructor(onGone: (actor: ObjectId) => void, collector: Collector = engineCollector) {
    this.#register = collector.onCollected<Life>((life) => {
      if (this.#lives.get(life.actor) !== life) return
      this.#lives.delete(life.actor)
      onGone(life.actor)
    })
  }

  /** There is a handle: it keeps this record alive. */
  note(record: ObjectRecord): void {
    if (this.#known.has(record)) return
    this.#known.add(record)
    const life = { actor: record.id }
    this.#lives.set(record.id, life)
    this.#register(record, life)
  }
}
