/** Memory with a file descriptor but no name in any folder: it is gone when the last process that uses it is. */
export interface SharedMemory {
  readonly descriptor: number
  /** The memory itself, for as long as this process lives. */
  readonly buffer: ArrayBuffer
  /** Has the system provide the pages of a part now, away from this thread, so that nobody waits for them later. */
  provide(offset: number, bytes: number): Promise<void>
  /** Gives the pages of a part back to the system, at once; they read as zeros afterwards. */
  giveBack(offset: number, bytes: number): void
}

/** How the memory is called where the system lists what processes have open. */
export const sharedMemoryName = 'shoal-store'

const closeOnExec = 1
const readAndWrite = 1 | 2
const mapShared = 1
const adviseRemove = 9
const advisePopulateWrite = 23
const failed = 0xffff_ffff_ffff_ffffn

/**
 * Makes memory that other processes can map, too. Only what is used of it takes room.
 *
 * @returns undefined where that cannot be done, on other systems than Linux
 */
export async function makeSharedMemory(bytes: number): Promise<SharedMemory | undefined> {
  if (process.platform !== 'linux') return undefined
  const { default: koffi } = await import('koffi').catch(() => ({ default: undefined }))
  if (koffi === undefined) return undefined
  const libc = koffi.load(null)
  const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)')
  const ftruncate = libc.func('int ftruncate(int descriptor, int64_t bytes)')
  const mmap = libc.func(
    'void *mmap(void *at, size_t bytes, int protection, int flags, int descriptor, int64_t offset)',
  )
  const madvise = libc.func('int madvise(uint64_t at, size_t bytes, int advice)')
  const descriptor = memfdCreate(sharedMemoryName, closeOnExec) as number
  if (descriptor < 0) return undefined
  if ((ftruncate(descriptor, bytes) as number) !== 0) return undefined
  const at: unknown = mmap(null, bytes, readAndWrite, mapShared, descriptor, 0)
  const address = at === null ? failed : koffi.address(at)
  if (address === failed) return undefined
  return {
    descriptor,
    buffer: koffi.view(at, bytes),
    // Advice that an older kernel does not know is of no consequence.
    provide: (offset, length) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      madvise.async(address + BigInt(offset), length, advisePopulateWrite, () => resolve())
      return promise
    },
    giveBack: (offset, length) => void madvise(address + BigInt(offset), length, adviseRemove),
  }
}
