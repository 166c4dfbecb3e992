import { closeSync, openSync } from 'node:fs'
import {
  blockHeaderBytes,
  headerAt,
  isHeaderOf,
  pinOf,
  pinsPerClient,
  pinTableAt,
  segmentBytesOf,
  type BlockPlace,
} from '../../protocols/store-segment.ts'
import type { PrivateMapping, SystemMemory } from '../system/linux-memory.ts'
import { addView } from './views.ts'

/** Smaller values are copied: that takes no longer than to map them, and leaves no pin behind. */
const mappedBytesMin = 256 * 1024

/** What is to be done when nothing looks at a view any more. */
interface ViewEnd {
  readonly pin: number
  unmap(): void
}

/** The node's shared memory, as a program sees it. */
export class SharedSegment {
  readonly #memory: SystemMemory
  readonly #descriptor: number
  readonly #buffer: ArrayBuffer
  readonly #words: Int32Array
  readonly #pins: Int32Array | undefined
  /** Places in the table of pins that are free. */
  readonly #freePins: number[] = []
  #pinsUsed = 0
  #views = 0
  /** So far the pages are there for this process. */
  #touchedTo = 0
  readonly #onCollected = new FinalizationRegistry<ViewEnd>((end) => this.#drop(end))

  private constructor(memory: SystemMemory, descriptor: number, buffer: ArrayBuffer, pinTable: number) {
    this.#memory = memory
    this.#descriptor = descriptor
    this.#buffer = buffer
    this.#words = new Int32Array(buffer)
    this.#pins = pinTable < 0 ? undefined : new Int32Array(buffer, pinTableAt(pinTable), pinsPerClient)
  }

  /** Undefined when it cannot be mapped here. */
  static open(
    memory: SystemMemory,
    { path, bytesMax, pinTable }: { path: string; bytesMax: number; pinTable: number },
  ): SharedSegment | undefined {
    const descriptor = openSync(path, 'r+')
    const buffer = memory.mapShared(descriptor, segmentBytesOf(bytesMax))
    if (buffer !== undefined) return new SharedSegment(memory, descriptor, buffer, pinTable)
    closeSync(descriptor)
    return undefined
  }

  /** Views that have not been collected. */
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
    const target = new Uint8Array(this.#buffer)
    for (const part of parts) {
      target.set(part, at)
      at += part.length
    }
  }

  /**
   * The bytes of the value at a place, for the caller alone: a copy, or a view whose pages are copied when they are written
   * to. As long as the view lives, so does what it shows. Undefined when the value lies there no more.
   */
  read(place: BlockPlace, name: string, bytes: number): Uint8Array | undefined {
    const pin = this.#pin(place.offset)
    let isKept = false
    try {
      if (!this.isThere(place, name, bytes)) return undefined
      Atomics.store(this.#words, (place.offset + headerAt.used) / 4, 1)
      const mapping =
        pin === undefined || bytes < mappedBytesMin
          ? undefined
          : this.#memory.mapPrivate(this.#descriptor, place.offset, blockHeaderBytes, bytes)
      if (mapping === undefined || pin === undefined) {
        const copy = Buffer.allocUnsafeSlow(bytes)
        copy.set(new Uint8Array(this.#buffer, place.offset + blockHeaderBytes, bytes))
        // Without a pin the memory may have been given to another value meanwhile.
        return pin !== undefined || this.isThere(place, name, bytes) ? copy : undefined
      }
      isKept = true
      return new Uint8Array(this.#view(mapping, pin))
    } finally {
      if (pin !== undefined && !isKept) this.#unpin(pin)
    }
  }

  #view({ buffer, unmap }: PrivateMapping, pin: number): ArrayBuffer {
    const end = { pin, unmap }
    this.#views += 1
    this.#onCollected.register(buffer, end, end)
    addView(buffer, () => {
      this.#onCollected.unregister(end)
      // Whoever still looks sees an empty buffer, and not memory that is gone.
      ArrayBuffer.prototype.transfer.call(buffer, 0)
      this.#drop(end)
    })
    return withSafeTransfer(buffer)
  }

  #drop({ pin, unmap }: ViewEnd): void {
    this.#views -= 1
    unmap()
    this.#unpin(pin)
  }

  /** True when the value lies there at this moment. */
  isThere({ offset, generation }: BlockPlace, name: string, bytes: number): boolean {
    if (Atomics.load(this.#words, (offset + headerAt.generation) / 4) !== generation) return false
    return isHeaderOf(new Uint8Array(this.#buffer, offset, blockHeaderBytes), name, bytes)
  }

  /** Undefined when the table is full. */
  #pin(offset: number): number | undefined {
    if (this.#pins === undefined) return undefined
    const pin = this.#freePins.pop() ?? (this.#pinsUsed < pinsPerClient ? this.#pinsUsed++ : undefined)
    if (pin !== undefined) Atomics.store(this.#pins, pin, pinOf(offset))
    return pin
  }

  #unpin(pin: number): void {
    if (this.#pins === undefined) return
    Atomics.store(this.#pins, pin, 0)
    this.#freePins.push(pin)
  }
}

/**
 * Whoever took the memory away from this buffer would see it unmapped when the empty buffer is collected. Node itself does
 * not transfer buffers of this kind to other threads.
 */
function withSafeTransfer(buffer: ArrayBuffer): ArrayBuffer {
  const copied = {
    value: (length = buffer.byteLength) => copyOf(buffer, length),
    configurable: false,
    enumerable: false,
  }
  return Object.defineProperties(buffer, { transfer: copied, transferToFixedLength: copied })
}

function copyOf(buffer: ArrayBuffer, length: number): ArrayBuffer {
  const copy = new Uint8Array(length)
  copy.set(new Uint8Array(buffer, 0, Math.min(length, buffer.byteLength)))
  return copy.buffer
}
