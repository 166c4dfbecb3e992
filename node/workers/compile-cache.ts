import { mkdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/**
 * A folder of the user's own for compiled code, which makes workers start faster. It is not in the temporary folder:
 * whoever can write to it has his code run here.
 */
export function compileCacheDirectory(runtimeDirectory: string): string {
  const directory = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'shoal', 'compiled')
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return directory
  } catch {
    return path.join(runtimeDirectory, 'compiled')
  }
}
