/**
 * Where a node is found on its machine. `SHOAL_RUNTIME_DIR` overrides the folder, so that tests and several nodes on one
 * machine do not meet.
 */
export interface Places {
  runtimeDirectory: string
  socketPath: string
}

/** The longest path that a unix socket may have on the systems that we know. */
export const socketPathBytesMax = 103

export interface PlacesInput {
  env: Readonly<Record<string, string | undefined>>
  userId: number
  temporaryDirectory: string
}

/** @example placesOf({ env: process.env, userId: process.getuid?.() ?? 0, temporaryDirectory: os.tmpdir() }) */
export function placesOf(input: PlacesInput): Places {
  const { env, userId, temporaryDirectory } = input
  const runtimeDirectory =
    env['SHOAL_RUNTIME_DIR'] ??
    (env['XDG_RUNTIME_DIR'] ? `${env['XDG_RUNTIME_DIR']}/shoal` : `${temporaryDirectory}/shoal-${userId}`)
  return { runtimeDirectory, socketPath: `${runtimeDirectory}/node.sock` }
}
