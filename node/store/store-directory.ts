import { accessSync, constants, mkdirSync, mkdtempSync, statfsSync } from 'node:fs'
import path from 'node:path'
import { machineMemoryBytes } from '../system/machine-memory.ts'
import { MemorySegment } from './memory-segment.ts'
import { makeSpillDirectory, type SpillOptions } from './spill-directory.ts'

/** Where the values of the object store lie. */
export interface StoreGround {
  readonly bytesMax: number
  readonly segment: MemorySegment | undefined
  /** Without a segment: where values lie in files of their own. Else ''. */
  readonly directory: string
  /** Where values go that there is no room for; '' when they are refused. */
  readonly spillDirectory: string
}

export interface StoreGroundOptions extends SpillOptions {
  storeBytesMax?: number | undefined
}

const sharedMemory = '/dev/shm'
const roomBytesMin = 64 * 1024 * 1024

/**
 * Makes the ground of the object store. Its shared memory has no name in a file system, so the size of /dev/shm does not
 * bound it, and nothing of it is left however the node ends. Where a system has no such memory, values are files: in
 * /dev/shm, if that is there and not tiny, else in the runtime folder.
 */
export async function makeStoreGround(runtimeDirectory: string, options: StoreGroundOptions): Promise<StoreGround> {
  const bytesMax = options.storeBytesMax ?? Math.floor(machineMemoryBytes() / 3)
  const segment = await MemorySegment.create(bytesMax)
  if (segment !== undefined) {
    return { bytesMax, segment, directory: '', spillDirectory: makeSpillDirectory(options) ?? '' }
  }
  const parent = isUsable(sharedMemory) ? sharedMemory : runtimeDirectory
  // mkdtemp makes folders that are the user's alone.
  const directory = mkdtempSync(path.join(parent, `shoal-store-${process.getuid?.() ?? 0}-`))
  const bound = options.storeBytesMax ?? Math.floor(Math.min(bytesMax, freeBytes(directory) * 0.8))
  return { bytesMax: bound, segment, directory, spillDirectory: '' }
}

/** Makes the folder of shipped code. */
export function makeCodeDirectory(runtimeDirectory: string, token: string): string {
  const directory = path.join(runtimeDirectory, `shoal-code-${token}`)
  mkdirSync(directory, { mode: 0o700 })
  return directory
}

function isUsable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return freeBytes(directory) >= roomBytesMin
  } catch {
    return false
  }
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}
