/** Of the system's own library. */
interface Libc {
  mmap(at: null, bytes: number, protection: number, flags: number, descriptor: number, offset: number): unknown
  munmap(at: unknown, bytes: number): number
  view(at: unknown, bytes: number): ArrayBuffer
  isFailed(at: unknown): boolean
}

const readAndWrite = 1 | 2
const isPrivate = 2

let libc: Promise<Libc | undefined> | undefined

const unmapped = new FinalizationRegistry<{ at: unknown; bytes: number; library: Libc }>(({ at, bytes, library }) => {
  library.munmap(at, bytes)
})

/**
 * The content of a file without a copy of it: its pages are shared by all who map it, and writing to them makes a copy of
 * the page for this process alone. They stay when the file is deleted, and go when nothing refers to the bytes any more.
 *
 * @returns undefined where that cannot be done, on other systems than Linux
 */
export async function mapFile(descriptor: number, bytes: number): Promise<Uint8Array | undefined> {
  libc ??= load()
  const library = await libc
  const at = library?.mmap(null, bytes, readAndWrite, isPrivate, descriptor, 0)
  if (library === undefined || library.isFailed(at)) return undefined
  const buffer = library.view(at, bytes)
  unmapped.register(buffer, { at, bytes, library })
  // Whoever took the memory away from this buffer would see it unmapped when the empty buffer is collected. Node itself
  // does not transfer buffers of this kind to other threads.
  const copied = { value: (length = bytes) => copyOf(buffer, length), configurable: false, enumerable: false }
  Object.defineProperties(buffer, { transfer: copied, transferToFixedLength: copied })
  return new Uint8Array(buffer)
}

function copyOf(buffer: ArrayBuffer, length: number): ArrayBuffer {
  const copy = new Uint8Array(length)
  copy.set(new Uint8Array(buffer, 0, Math.min(length, buffer.byteLength)))
  return copy.buffer
}

/** Loaded only by programs that read large values: it takes some milliseconds. */
async function load(): Promise<Libc | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const { default: koffi } = await import('koffi')
    const library = koffi.load(null)
    const address = (at: unknown): bigint => koffi.address(at)
    return {
      mmap: library.func(
        'void *mmap(void *at, size_t bytes, int protection, int flags, int descriptor, int64_t offset)',
      ),
      munmap: library.func('int munmap(void *at, size_t bytes)'),
      view: (at, bytes) => koffi.view(at, bytes),
      isFailed: (at) => at === null || address(at) === 0xffff_ffff_ffff_ffffn,
    }
  } catch {
    // A system for which there is no build of koffi: values are copied instead.
    return undefined
  }
}
