import os from 'node:os'
import path from 'node:path'
import { xdgDirectory } from '../../protocols/places.ts'
import type { NodeOptions } from '../options.ts'

/**
 * The folder of what outlives a node and a reboot: its key, its membership, whom it knows. `SHOAL_STATE_DIR` overrides
 * it. A node with a runtime folder of its own keeps it in there, so that several on one machine do not meet.
 */
export function stateDirectoryOf(
  options: Pick<NodeOptions, 'stateDirectory' | 'runtimeDirectory'>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const runtimeDirectory = options.runtimeDirectory ?? (env['SHOAL_RUNTIME_DIR'] || undefined)
  return (
    options.stateDirectory ??
    (env['SHOAL_STATE_DIR'] || undefined) ??
    (runtimeDirectory === undefined
      ? path.join(xdgDirectory(env, 'XDG_STATE_HOME') ?? path.join(os.homedir(), '.local', 'state'), 'shoal')
      : path.join(runtimeDirectory, 'state'))
  )
}
