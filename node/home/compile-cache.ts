import { mkdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { xdgDirectory } from '../../protocols/places.ts'

/** A folder of the user's own for compiled code, which makes processes start faster; undefined where there can be none. */
export function compileCacheDirectory(): string | undefined {
  return process.env['NODE_COMPILE_CACHE'] || cacheDirectory('compiled')
}

/**
 * A folder for what can be made again; undefined where there can be none. It is not in the temporary folder: whoever can
 * write to it has his code run here.
 */
export function cacheDirectory(name: string): string | undefined {
  const directory = path.join(
    xdgDirectory(process.env, 'XDG_CACHE_HOME') ?? path.join(os.homedir(), '.cache'),
    'shoal',
    name,
  )
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return directory
  } catch {
    return undefined
  }
}
