import { lstatSync, mkdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { placesOf, socketPathBytesMax, type Places } from '../../protocols/places.ts'

/** Where the node of this user is, unless `runtimeDirectory` says otherwise. */
export function nodePlaces(runtimeDirectory?: string): Places {
  const override = runtimeDirectory === undefined ? {} : { SHOAL_RUNTIME_DIR: path.resolve(runtimeDirectory) }
  return placesOf({
    env: { ...process.env, ...override },
    userId: process.getuid?.() ?? 0,
    temporaryDirectory: os.tmpdir(),
  })
}

/**
 * Makes the runtime folder, for this user alone, or checks the one that is there: whoever may write to it could put his
 * own socket in the node's place.
 */
export function prepareRuntimeDirectory({ runtimeDirectory, socketPath }: Places): void {
  if (Buffer.byteLength(socketPath) > socketPathBytesMax) {
    throw new NodeUnavailableError(
      `the path of the node's socket has ${Buffer.byteLength(socketPath)} bytes and the system allows ${socketPathBytesMax}: ${socketPath}; set SHOAL_RUNTIME_DIR to a shorter folder`,
      { retryable: false, details: { socketPath, bytesMax: socketPathBytesMax } },
    )
  }
  const refuse = (problem: string, cause?: unknown): NodeUnavailableError =>
    new NodeUnavailableError(
      `the runtime folder ${runtimeDirectory} ${problem}; set SHOAL_RUNTIME_DIR to a folder of your own`,
      {
        retryable: false,
        cause,
        details: { runtimeDirectory },
      },
    )
  try {
    mkdirSync(runtimeDirectory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw refuse(`cannot be made (${(error as Error).message})`, error)
  }
  const stats = lstatSync(runtimeDirectory)
  if (!stats.isDirectory()) throw refuse('is not a folder')
  const userId = process.getuid?.()
  if (userId !== undefined && stats.uid !== userId) throw refuse(`belongs to another user (uid ${stats.uid})`)
  if ((stats.mode & 0o022) !== 0) throw refuse(`may be written to by others (mode ${(stats.mode & 0o777).toString(8)})`)
}
