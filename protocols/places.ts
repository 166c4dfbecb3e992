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
  const ofSession = xdgDirectory(env, 'XDG_RUNTIME_DIR')
  const usual = ofSession === undefined ? `${temporaryDirectory}/shoal-${userId}` : `${ofSession}/shoal`
  const runtimeDirectory = env['SHOAL_RUNTIME_DIR'] || usual
  return { runtimeDirectory, socketPath: `${runtimeDirectory}/node.sock` }
}

/** What such a variable says. One that is empty counts as not set, and one with a relative path is not valid. */
export function xdgDirectory(env: PlacesInput['env'], name: `XDG_${string}`): string | undefined {
  const directory = env[name]
  return directory?.startsWith('/') === true ? directory : undefined
}
