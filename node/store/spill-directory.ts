import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, statfsSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { NodeUnavailableError } from '../../protocols/errors.ts'

export interface SpillOptions {
  /** False: values that do not fit into memory are refused. */
  spill?: boolean | undefined
  /** The user's choice of a place: a folder, which is made if only it is missing. */
  spillDirectory?: string | undefined
}

// As statfs(2) names them.
const inMemoryTypes = new Set([0x0102_1994, 0x8584_58f6])

/**
 * Makes the folder for values that the object store has no room for: where the user says, or else on a disk for temporary
 * files. Undefined when there is none, or none is wanted: a file system in memory would give no room.
 */
export function makeSpillDirectory({ spill = true, spillDirectory }: SpillOptions): string | undefined {
  if (!spill) return undefined
  const parent = spillDirectory === undefined ? ['/var/tmp', os.tmpdir()].find(isOnDisk) : path.resolve(spillDirectory)
  if (parent === undefined) return undefined
  try {
    if (spillDirectory !== undefined) makeSpillParent(parent)
    return mkdtempSync(path.join(parent, `shoal-spill-${process.getuid?.() ?? 0}-`))
  } catch (cause) {
    if (spillDirectory === undefined) return undefined
    const { code, message } = cause as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? `there is no folder ${path.dirname(parent)} to make it in` : message
    throw new NodeUnavailableError(
      `values cannot be spilled to ${parent}: ${why}; choose another folder with --spill-dir, or --no-spill`,
      { retryable: false, cause, details: { spillDirectory } },
    )
  }
}

/**
 * Makes the folder that the spill folder is to lie in, if it is missing. Not those above it: where a disk is not mounted, they
 * would come to lie on another one. Throws what the file system does.
 */
export function makeSpillParent(parent: string): void {
  if (!existsSync(parent)) mkdirSync(parent, { mode: 0o700 })
}

function isOnDisk(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return !inMemoryTypes.has(statfsSync(directory).type)
  } catch {
    return false
  }
}
