import { accessSync, constants, mkdirSync, mkdtempSync, statfsSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export interface StoreDirectory {
  path: string
  bytesMax: number
}

const sharedMemory = '/dev/shm'
const roomBytesMin = 64 * 1024 * 1024

/** Makes the folder of the object store: in shared memory, where there is some, else in the runtime folder. */
export function makeStoreDirectory(runtimeDirectory: string, bytesMax: number | undefined): StoreDirectory {
  const parent = isUsable(sharedMemory) ? sharedMemory : runtimeDirectory
  // mkdtemp makes folders that are the user's alone.
  const directory = mkdtempSync(path.join(parent, `shoal-store-${process.getuid?.() ?? 0}-`))
  return { path: directory, bytesMax: bytesMax ?? defaultBytesMax(directory) }
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

/** A third of the memory, but no more than most of what the file system has. */
function defaultBytesMax(directory: string): number {
  const limit = process.constrainedMemory()
  const memoryBytes = limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem()
  return Math.floor(Math.min(memoryBytes / 3, freeBytes(directory) * 0.8))
}
