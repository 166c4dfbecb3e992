import { ObjectLostError } from '../../protocols/errors.ts'
import { MemorySegment } from '../../node/store/memory-segment.ts'
import { StoreBook } from '../../node/store/store-book.ts'
import { storeFull } from '../../node/store/store-full.ts'
import type { StoreAction, StoreEvent } from '../../node/store/store-events.ts'
import { SegmentStore } from '../../sdk/store/segment-store.ts'
import { SharedSegment } from '../../sdk/store/shared-segment.ts'
import type { ReadPlace, StoreLink, WritePlace } from '../../sdk/store/object-store.ts'
import { systemMemory } from '../../sdk/system/linux-memory.ts'

/** The two sides of a store in shared memory within one process, without a node between them. Nothing goes to the disk. */
export class SegmentHost {
  readonly book: StoreBook
  readonly segment: MemorySegment
  readonly store: SegmentStore
  /** The memory as the program of `store` sees it. */
  readonly shared: SharedSegment
  readonly pinTable: number
  nowMs = 0
  /** Where a value is said to be instead of where it is; undefined for all others. */
  misplace: (question: { name: string; damaged?: string }) => ReadPlace | undefined = () => undefined
  /** The values are said to be those of another node. */
  areElsewhere = false
  readonly #bytesMax: number
  #lastKey = 0

  private constructor(segment: MemorySegment, bytesMax: number) {
    this.segment = segment
    this.#bytesMax = bytesMax
    this.book = new StoreBook({ bytesMax, hasSegment: true, gate: segment, spill: undefined })
    const { store, shared, pinTable } = this.#program()
    this.store = store
    this.shared = shared
    this.pinTable = pinTable
  }

  #program(): { store: SegmentStore; shared: SharedSegment; pinTable: number } {
    const memory = systemMemory()
    const { segment } = this
    const pinTable = segment.takePinTable()
    if (memory === undefined || pinTable === undefined) throw new Error('there is no shared memory here')
    const shared = SharedSegment.open(memory, { path: segment.path, bytesMax: this.#bytesMax, pinTable })
    if (shared === undefined) throw new Error('the shared memory could not be mapped')
    const link: StoreLink = {
      allocate: (value) => this.#allocate(value),
      stored: ({ name }) => void this.step({ type: 'seal', name, object: '', crc: 0 }),
      abandon: (name) => void this.step({ type: 'abandon', key: this.#lastKey, name }),
      open: async (question) => this.misplace(question) ?? this.#open(question.name),
      free: (names) => void this.step({ type: 'free', names }),
    }
    const store = new SegmentStore(shared, link, () => this.areElsewhere)
    return { store, shared, pinTable }
  }

  /** The store as another program sees it, which knows nothing of where values lie. */
  anotherProgram(): SegmentStore {
    return this.#program().store
  }

  static async create(bytesMax: number): Promise<SegmentHost> {
    const segment = await MemorySegment.create(bytesMax)
    if (segment === undefined) throw new Error('there is no shared memory here')
    return new SegmentHost(segment, bytesMax)
  }

  step(event: StoreEvent): StoreAction[] {
    return this.book.step(event, this.nowMs)
  }

  #allocate(value: { name: string; bytes: number; owner: string }): WritePlace {
    const key = ++this.#lastKey
    let actions = this.step({ type: 'allocate', key, writer: 'w', kind: 'primary', ...value })
    for (;;) {
      for (const action of actions) {
        if (action.type === 'place') return { in: 'memory', ...action.place }
        if (action.type === 'refuse') throw storeFull(value.bytes, { ...action.figures })
      }
      this.nowMs += 100
      actions = this.step({ type: 'tick' })
    }
  }

  #open(name: string): ReadPlace {
    for (const action of this.step({ type: 'open', key: ++this.#lastKey, name })) {
      if (action.type === 'opened') return action.place
    }
    throw new ObjectLostError(`the value ${name} is not in the object store`, { name })
  }
}
