import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { makeView } from './engine.ts'

/** What the store needs of the system's own library. */
export interface SystemMemory {
  /** Maps the beginning of a file that all who map it share. Undefined when that fails. */
  mapShared(descriptor: number, bytes: number): SharedMapping | undefined
  /**
   * Maps a part of a file as it is: pages that are written to are copied for this mapping alone. `offset` is a multiple of
   * the page's size, the buffer begins `skip` bytes behind it. Undefined when that fails.
   */
  mapPrivate(descriptor: number, offset: number, skip: number, bytes: number): PrivateMapping | undefined
  /** Has the system provide the pages of a shared mapping at once, rather than one by one. */
  provide(buffer: ArrayBuffer, offset: number, bytes: number): void
  /** Connects to a Unix socket and waits there, without a turn of the event loop. Throws when nobody listens. */
  connect(path: string, timeoutMs: number): number
  /** Closes what `connect` gave. Node warns of descriptors that it has not opened itself. */
  disconnect(descriptor: number): void
}

export interface SharedMapping {
  readonly buffer: ArrayBuffer
  /** The buffer is empty from then on. */
  unmap(): void
}

export interface PrivateMapping {
  readonly bytes: number
  /** A new buffer on it. */
  view(): ArrayBuffer
  /** Undoes all that has been written to it. False when the system does not. */
  reset(): boolean
  unmap(): void
}

const readAndWrite = 1 | 2
const shared = 1
/** No memory is set aside for pages that may be written to, and hardly ever are. */
const privately = 2 | 0x4000
const populateWrite = 23
const dontNeed = 4
const failed = 0xffff_ffff_ffff_ffffn
const unix = 1
const streamCloseOnExec = 1 | 0x8_0000
const socketLevel = 1
const receiveTimeout = 20
const sendTimeout = 21
const pathBytesMax = 107

let memory: SystemMemory | undefined
let isLoaded = false

/** Loaded only by programs that have large values: it takes some milliseconds. Undefined on other systems than Linux. */
export function systemMemory(): SystemMemory | undefined {
  if (!isLoaded) memory = load()
  isLoaded = true
  return memory
}

function load(): SystemMemory | undefined {
  if (process.platform !== 'linux') return undefined
  let koffi: typeof Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
  } catch {
    // A system for which there is no build of koffi.
    return undefined
  }
  const libc = koffi.load(null)
  const mmap = libc.func(
    'uint64_t mmap(uint64_t at, size_t bytes, int protection, int flags, int descriptor, int64_t offset)',
  )
  const munmap = libc.func('int munmap(uint64_t at, size_t bytes)')
  const madvise = libc.func('int madvise(void *at, size_t bytes, int advice)')
  const madviseAt = libc.func('int madvise(uint64_t at, size_t bytes, int advice)')
  const socket = libc.func('int socket(int domain, int type, int protocol)')
  const connect = libc.func('int connect(int descriptor, void *address, uint32_t bytes)')
  const setsockopt = libc.func('int setsockopt(int descriptor, int level, int name, void *value, uint32_t bytes)')
  const close = libc.func('int close(int descriptor)')
  const map = (descriptor: number, bytes: number, flags: number, offset: number): bigint | undefined => {
    const at = mmap(0, bytes, readAndWrite, flags, descriptor, offset) as number | bigint
    return at === failed ? undefined : BigInt(at)
  }
  return {
    mapShared(descriptor, bytes) {
      const at = map(descriptor, bytes, shared, 0)
      if (at === undefined) return undefined
      const buffer = koffi.view(at, bytes)
      return {
        buffer,
        unmap: () => {
          ArrayBuffer.prototype.transfer.call(buffer, 0)
          munmap(at, bytes)
        },
      }
    },
    mapPrivate(descriptor, offset, skip, bytes) {
      const at = map(descriptor, skip + bytes, privately, offset)
      if (at === undefined) return undefined
      const start = at + BigInt(skip)
      return {
        bytes,
        view: () => makeView(bytes, () => koffi.view(start, bytes)),
        reset: () => madviseAt(at, skip + bytes, dontNeed) === 0,
        unmap: () => void munmap(at, skip + bytes),
      }
    },
    provide(buffer, offset, bytes) {
      // Advice that an older kernel does not know is of no consequence.
      madvise(new Uint8Array(buffer, offset, bytes), bytes, populateWrite)
    },
    connect(path, timeoutMs) {
      const pathBytes = Buffer.from(path)
      if (pathBytes.length > pathBytesMax) throw new Error(`the path of the socket is too long: ${path}`)
      const address = Buffer.alloc(2 + pathBytesMax + 1)
      address.writeUInt16LE(unix, 0)
      pathBytes.copy(address, 2)
      const time = Buffer.alloc(16)
      time.writeBigInt64LE(BigInt(Math.ceil(timeoutMs / 1000)), 0)
      const descriptor = socket(unix, streamCloseOnExec, 0) as number
      if (descriptor < 0) throw new Error('no socket could be made: too many files are open')
      setsockopt(descriptor, socketLevel, receiveTimeout, time, time.length)
      setsockopt(descriptor, socketLevel, sendTimeout, time, time.length)
      if ((connect(descriptor, address, address.length) as number) !== 0) {
        close(descriptor)
        throw new Error(`nobody listens at ${path}`)
      }
      return descriptor
    },
    disconnect: (descriptor) => void close(descriptor),
  }
}
