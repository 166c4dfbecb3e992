import type { WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { collectGarbage } from '../system/engine.ts'

const namesPerMessageMax = 1000
/** A collection stops the program for a while: between two of them it runs for so many times as long, or so long at least. */
const collectRestFactor = 20
const collectRestMsMin = 50
/** When so much of a store has been filled since the last collection, it is time for the next one. */
const filledShare = 0.25

/** Frees the stored values of objects that this process owns once nothing refers to them. */
export class StoredValues {
  readonly #free: (names: string[]) => void
  #pending: string[] = []
  #collectAgainMs = Number.NEGATIVE_INFINITY
  readonly #onCollected = new FinalizationRegistry<string>((name) => {
    this.#records.delete(name)
    this.free(name)
  })
  readonly #records = new Map<string, WeakRef<ObjectRecord>>()

  readonly #collectAtBytes: number
  /** Of values that have come since the last collection. */
  #newBytes = 0
  #collectTimer: NodeJS.Timeout | undefined

  /** @param storeBytesMax what the store of a node takes; nobody tells about those of other nodes */
  constructor(free: (names: string[]) => void, storeBytesMax: number) {
    this.#free = free
    this.#collectAtBytes = storeBytesMax * filledShare
  }

  /** Values of objects that have not been found to be garbage. */
  get attachedCount(): number {
    return this.#records.size
  }

  /** Frees those of these values that belong to no object here. */
  freeUnknown(names: readonly string[]): void {
    for (const name of names) if (!this.#records.has(name)) this.free(name)
  }

  /** A stored value lives as long as the record of its object. */
  attach(record: ObjectRecord, value: WireValue): void {
    if (value.kind !== 'stored') return
    this.#records.set(value.name, new WeakRef(record))
    this.#onCollected.register(record, value.name)
    this.#newBytes += value.bytes
    if (this.#newBytes < this.#collectAtBytes || this.#collectTimer !== undefined) return
    this.#collectTimer = setTimeout(
      () => {
        this.#collectTimer = undefined
        this.collectGarbage()
      },
      // A timer cuts fractions off, and would come too early.
      Math.ceil(Math.max(0, this.#collectAgainMs - performance.now())),
    ).unref()
  }

  /** Objects of this process that are alive and whose values are stored, or were. */
  *records(): Generator<ObjectRecord> {
    for (const weak of this.#records.values()) {
      const record = weak.deref()
      if (record !== undefined) yield record
    }
  }

  free(name: string): void {
    this.#pending.push(name)
    if (this.#pending.length === 1) setImmediate(() => this.#flush())
    else if (this.#pending.length >= namesPerMessageMax) this.#flush()
  }

  #flush(): void {
    const names = this.#pending
    this.#pending = []
    if (names.length > 0) this.#free(names)
  }

  /**
   * Finds refs that are no longer used, now. The engine collects by the memory of its own heap and knows nothing of the
   * store, so a program with few small refs to large values would otherwise never let them go.
   */
  collectGarbage(): void {
    const beganMs = performance.now()
    if (beganMs < this.#collectAgainMs) return
    this.#newBytes = 0
    collectGarbage()
    const endedMs = performance.now()
    this.#collectAgainMs = endedMs + Math.max(collectRestMsMin, (endedMs - beganMs) * collectRestFactor)
  }
}
