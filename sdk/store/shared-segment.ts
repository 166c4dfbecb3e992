import { closeSync, openSync } from 'node:fs'
import {
  blockHeaderBytes,
  headerAt,
  isHeaderOf,
  offsetOf,
  pageBytes,
  pinOf,
  pinsEndAt,
  pinsPerClient,
  pinTableAt,
  segmentBytesOf,
  type BlockPlace,
} from '../../protocols/store-segment.ts'
import type { PrivateMapping, SharedMapping, SystemMemory } from '../system/linux-memory.ts'
import type { StoredBytes } from './object-store.ts'
import { privateBytes } from './private-bytes.ts'
import { SpareMappings } from './spare-mappings.ts'
import { ViewGroup } from './views.ts'

/** Smaller buffers are copied: that takes no longer than to map them, and leaves no pin behind. */
const mappedBytesMin = 256 * 1024

const spareBytesMaxDefault = 2 * 1024 ** 3

/**
 * While the views of this program have more of the store than this, what others could have again is copied out of it: it would
 * keep the room that the next one needs to come here.
 */
const viewedShareMax = 0.5

export interface SharedSegmentOptions {
  path: string
  /** Of all values together. */
  bytesMax: number
  /** This process's table of pins; negative for none. */
  pinTable: number
  /** Is left in that table when nothing is read or written here any more: `pinsEndMark`. */
  endMark?: number
  /** Of mappings that nothing looks at. @default 2 GiB */
  spareBytesMax?: number
}

/** What is to be done when nothing looks at a view any more. */
interface ViewEnd {
  readonly pin: number
  readonly mapping: PrivateMapping
  readonly bytes: number
}

/** Those that are closed, and that views still show. */
const closedAndViewed = new Set<SharedSegment>()

/** The node's shared memory, as a program sees it. */
export class SharedSegment {
  readonly #memory: SystemMemory
  readonly #descriptor: number
  readonly #mapping: SharedMapping
  readonly #buffer: ArrayBuffer
  readonly #bytes: Buffer
  readonly #words: Int32Array
  readonly #pins: Int32Array | undefined
  readonly #pinTable: number
  readonly #endMark: number
  /** Places in the table of pins that are free. */
  readonly #freePins: number[] = []
  #pinsUsed = 0
  readonly #spares: SpareMappings
  #views = 0
  #viewedBytes = 0
  readonly #viewedBytesMax: number
  #isClosed = false
  /** So far the pages are there for this process. */
  #touchedTo = 0
  readonly #onCollected = new FinalizationRegistry<ViewEnd>(({ pin, mapping, bytes }) => {
    // Not kept: if its memory was given to another buffer, whoever looks at that must not see another value.
    mapping.unmap()
    this.#viewedBytes -= bytes
    this.#viewEnded(pin)
  })

  private constructor(
    memory: SystemMemory,
    descriptor: number,
    mapping: SharedMapping,
    { bytesMax, pinTable, endMark = 0, spareBytesMax = spareBytesMaxDefault }: SharedSegmentOptions,
  ) {
    const { buffer } = mapping
    this.#spares = new SpareMappings(spareBytesMax)
    this.#viewedBytesMax = bytesMax * viewedShareMax
    this.#memory = memory
    this.#descriptor = descriptor
    this.#mapping = mapping
    this.#buffer = buffer
    this.#bytes = Buffer.from(buffer)
    this.#words = new Int32Array(buffer)
    this.#pinTable = pinTable
    this.#endMark = endMark
    this.#pins = pinTable < 0 ? undefined : new Int32Array(buffer, pinTableAt(pinTable), pinsPerClient)
  }

  /** Undefined when it cannot be mapped here. */
  static open(memory: SystemMemory, options: SharedSegmentOptions): SharedSegment | undefined {
    const descriptor = openSync(options.path, 'r+')
    const mapping = memory.mapShared(descriptor, segmentBytesOf(options.bytesMax))
    if (mapping !== undefined) return new SharedSegment(memory, descriptor, mapping, options)
    closeSync(descriptor)
    return undefined
  }

  /** Views that have not been collected, and values that are being read. */
  get viewCount(): number {
    return this.#views
  }

  /** Copies the parts into a block that is this process's to write, one after the other. */
  write({ offset }: BlockPlace, parts: readonly Uint8Array[]): void {
    let at = offset + blockHeaderBytes
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (at + bytes > this.#touchedTo) {
      const from = Math.max(offset, this.#touchedTo)
      this.#memory.provide(this.#buffer, from, at + bytes - from)
      this.#touchedTo = at + bytes
    }
    for (const part of parts) {
      this.#bytes.set(part, at)
      at += part.length
    }
  }

  /**
   * The value at a place. Undefined when it lies there no more.
   *
   * @param isCopy it is a value of another node. Its parts are views only while those of this program leave room for others.
   */
  read(place: BlockPlace, name: string, bytes: number, isCopy = false): StoredBytes | undefined {
    if (this.#isClosed) return undefined
    const pin = this.#pin(place.offset)
    if (!this.isThere(place, name, bytes)) {
      this.#unpin(pin)
      return undefined
    }
    const start = place.offset + blockHeaderBytes
    const shown = this.#bytes.subarray(start, start + bytes)
    if (pin !== undefined) {
      Atomics.store(this.#words, (place.offset + headerAt.used) / 4, 1)
      const mayView = !isCopy || this.#leavesRoom(pin, bytes)
      return this.#stored({ start, shown, pin, mayView })
    }
    const copy = Buffer.allocUnsafeSlow(bytes)
    copy.set(shown)
    // Without a pin the memory may have been given to another value meanwhile.
    return this.isThere(place, name, bytes) ? privateBytes(copy) : undefined
  }

  /** Whether others find room beside the views of this program when there are some on this value, too. */
  #leavesRoom(pin: number, bytes: number): boolean {
    if (this.#viewedBytes === 0 || this.#viewedBytes + bytes <= this.#viewedBytesMax) return true
    const pins = this.#pins as Int32Array
    // It stays where it is for views that there are already.
    return pins.some((each, at) => at !== pin && each === pins[pin])
  }

  #stored({
    start,
    shown,
    pin,
    mayView,
  }: {
    start: number
    shown: Buffer
    pin: number
    mayView: boolean
  }): StoredBytes {
    this.#views += 1
    const views = new ViewGroup()
    let isOpen = true
    return {
      shown,
      views,
      own: (offset, length) => {
        const view = !mayView || length < mappedBytesMin ? undefined : this.#view(start + offset, length, pin, views)
        return new Uint8Array(view ?? shown.subarray(offset, offset + length))
      },
      close: () => {
        if (isOpen) this.#viewEnded(pin)
        isOpen = false
      },
    }
  }

  /** Undefined when there are no pins left, or the system maps no more. */
  #view(start: number, length: number, pinOfRead: number, views: ViewGroup): ArrayBuffer | undefined {
    const pin = this.#pinAs(pinOfRead)
    if (pin === undefined) return undefined
    const part = `${start} ${length}`
    const mapping = this.#spares.take(part) ?? this.#map(start, length)
    if (mapping === undefined) {
      this.#unpin(pin)
      return undefined
    }
    const buffer = this.#bufferOf(mapping, pin)
    const end = { pin, mapping, bytes: length }
    this.#views += 1
    this.#viewedBytes += length
    this.#onCollected.register(buffer, end, end)
    views.add(buffer, () => {
      // Somebody has given its memory to another buffer, with which it stays for good.
      if (buffer.detached) return false
      this.#onCollected.unregister(end)
      // Whoever still looks sees an empty buffer, and not memory that is gone.
      ArrayBuffer.prototype.transfer.call(buffer, 0)
      if (!this.#isClosed && mapping.reset()) this.#spares.put(part, mapping)
      else mapping.unmap()
      this.#viewedBytes -= length
      this.#viewEnded(pin)
      return true
    })
    return withSafeTransfer(buffer)
  }

  #map(start: number, length: number): PrivateMapping | undefined {
    const skip = start % pageBytes
    const map = (): PrivateMapping | undefined => this.#memory.mapPrivate(this.#descriptor, start - skip, skip, length)
    const mapping = map()
    if (mapping !== undefined || this.#spares.count === 0) return mapping
    this.#spares.clear()
    return map()
  }

  #bufferOf(mapping: PrivateMapping, pin: number): ArrayBuffer {
    try {
      return mapping.view()
    } catch (error) {
      mapping.unmap()
      this.#unpin(pin)
      throw error
    }
  }

  #viewEnded(pin: number): void {
    this.#unpin(pin)
    this.#views -= 1
    if (this.#isClosed && this.#views === 0) this.#end()
  }

  /** Nothing is read or written here any more. What views show stays until they are collected. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#spares.clear()
    if (this.#views === 0) this.#end()
    else closedAndViewed.add(this)
  }

  #end(): void {
    closedAndViewed.delete(this)
    // The table may be another client's from then on.
    if (this.#pins !== undefined) Atomics.store(this.#words, pinsEndAt(this.#pinTable) / 4, this.#endMark)
    this.#mapping.unmap()
    closeSync(this.#descriptor)
  }

  /** True when the value lies there at this moment. */
  isThere({ offset, generation }: BlockPlace, name: string, bytes: number): boolean {
    if (this.#isClosed) return false
    if (Atomics.load(this.#words, (offset + headerAt.generation) / 4) !== generation) return false
    return isHeaderOf(this.#bytes, name, bytes, offset)
  }

  /** Undefined when the table is full. */
  #pin(offset: number): number | undefined {
    if (this.#pins === undefined) return undefined
    const pin = this.#freePins.pop() ?? (this.#pinsUsed < pinsPerClient ? this.#pinsUsed++ : undefined)
    if (pin !== undefined) Atomics.store(this.#pins, pin, pinOf(offset))
    return pin
  }

  /** The same block once more. */
  #pinAs(other: number): number | undefined {
    return this.#pin(offsetOf(Atomics.load(this.#pins as Int32Array, other)))
  }

  #unpin(pin: number | undefined): void {
    if (this.#pins === undefined || pin === undefined) return
    Atomics.store(this.#pins, pin, 0)
    this.#freePins.push(pin)
  }
}

const copying = { value: copyOf, configurable: false, enumerable: false }
const safeTransfer = { transfer: copying, transferToFixedLength: copying }

/**
 * Whoever took the memory away from this buffer would see it unmapped when the empty buffer is collected. Node itself does
 * not transfer buffers of this kind to other threads.
 */
function withSafeTransfer(buffer: ArrayBuffer): ArrayBuffer {
  return Object.defineProperties(buffer, safeTransfer)
}

function copyOf(this: ArrayBuffer, length = this.byteLength): ArrayBuffer {
  const copy = new Uint8Array(length)
  copy.set(new Uint8Array(this, 0, Math.min(length, this.byteLength)))
  return copy.buffer
}
