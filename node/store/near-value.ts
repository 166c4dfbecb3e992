import { constants, open, readlink, type FileHandle } from 'node:fs/promises'
import { blockHeaderBytes, blocksStart, headerAt, isHeaderOf, pageBytes } from '../../protocols/store-segment.ts'
import { Slots } from '../bulk/slots.ts'
import { sharedMemoryName } from '../system/linux-memory.ts'
import type { MemoryPlace } from './transfer-store.ts'

/** A value in the memory of another node of this machine. */
export interface NearValue {
  /** Fills the target with what is there from `offset` on. Rejects when the value is there no more. */
  read(offset: number, target: Uint8Array): Promise<void>
  close(): Promise<void>
}

const pidMax = 2 ** 22
const descriptorMax = 2 ** 31 - 1
/** Of the four threads that this process has for such work, others need some: those who check signatures, for one. */
const copying = new Slots(2, 1000)

/**
 * Opens a value in the memory of another node's store, where that node says that it lies. What it says is not believed: only
 * the memory of a store is opened, of this user, and there only a block that says itself that it holds this value.
 *
 * The other node may take the memory for another value at any time. It marks the block first, so what was read before the
 * mark was seen to be as it was, is right.
 *
 * Rejects when the value does not lie there, or cannot be opened.
 */
export async function openNearValue(place: MemoryPlace, name: string, bytes: number): Promise<NearValue> {
  checkPlace(place, bytes)
  const file = `/proc/${place.pid}/fd/${place.descriptor}`
  // To open what is no memory could have consequences, such as with a device or a pipe.
  await assertStore(file)
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    await assertStore(`/proc/self/fd/${handle.fd}`)
    const stats = await handle.stat()
    const end = place.offset + blockHeaderBytes + bytes
    if (!stats.isFile() || stats.uid !== process.geteuid?.() || stats.size < end) throw notThere(place, name)
    const header = Buffer.alloc(blockHeaderBytes)
    const assertThere = async (): Promise<void> => {
      await readAll(handle, header, place.offset)
      const isThere = header.readInt32LE(headerAt.generation) === place.generation
      if (!isThere || !isHeaderOf(header, name, bytes)) throw notThere(place, name)
    }
    await assertThere()
    return {
      async read(offset, target) {
        if (offset < 0 || offset + target.length > bytes) throw new RangeError(`no ${target.length} bytes at ${offset}`)
        await copying.use(() => readAll(handle, target, place.offset + blockHeaderBytes + offset))
        await assertThere()
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

function checkPlace({ pid, descriptor, offset, generation }: MemoryPlace, bytes: number): void {
  const isRight =
    isWhole(pid, 1, pidMax) &&
    isWhole(descriptor, 0, descriptorMax) &&
    isWhole(offset, blocksStart, Number.MAX_SAFE_INTEGER - bytes - blockHeaderBytes) &&
    offset % pageBytes === 0 &&
    isWhole(generation, 1, descriptorMax)
  if (!isRight) throw new RangeError('it names no place in the memory of a store')
}

function isWhole(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}

async function assertStore(file: string): Promise<void> {
  if ((await readlink(file)) !== `/memfd:${sharedMemoryName} (deleted)`)
    throw new Error('it is not the memory of a store')
}

function notThere({ pid }: MemoryPlace, name: string): Error {
  return new Error(`the value ${name} does not lie in the memory of process ${pid} any more`)
}

async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < target.length;) {
    const { bytesRead } = await handle.read(target, at, target.length - at, position + at)
    if (bytesRead === 0) throw new Error('the memory of the store was cut short')
    at += bytesRead
  }
}
