import { lstatSync, rmSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import type { Places } from '../../protocols/places.ts'
import { nodeFilePath, readNodeFile } from './node-file.ts'
import { isAlive } from './start-lock.ts'

const guardianWaitMs = 2_000

/** Throws when a node listens here. */
export async function refuseSecondNode({ runtimeDirectory, socketPath }: Places): Promise<void> {
  if (!(await answers(socketPath))) return
  const pid = readNodeFile(runtimeDirectory)?.pid
  throw new NodeUnavailableError(
    `a node is already running here (pid ${pid ?? 'unknown'}, socket ${socketPath}): use it, stop it with \`shoal down\`, or set SHOAL_RUNTIME_DIR`,
    { retryable: false, details: { pid, socketPath } },
  )
}

/** Removes what a node that died without its guardian has left. Nobody may be listening. */
export async function cleanUpAfterDeadNode({ runtimeDirectory, socketPath }: Places): Promise<void> {
  const left = readNodeFile(runtimeDirectory)
  if (left !== undefined) {
    // Its guardian may be at work this very moment and must not take our files for the dead node's.
    for (let waited = 0; waited < guardianWaitMs && isAlive(left.guardianPid); waited += 10) await delay(10)
    for (const directory of [left.storeDirectory, left.spillDirectory, left.codeDirectory]) {
      removeOwnDirectory(directory)
    }
  }
  rmSync(socketPath, { force: true })
  rmSync(nodeFilePath(runtimeDirectory), { force: true })
}

/** Deletes a folder that a note names only if it looks like one of a node's, and is ours. */
function removeOwnDirectory(directory: string): void {
  if (!path.isAbsolute(directory) || !/^shoal-(store|spill|code)-/.test(path.basename(directory))) return
  try {
    const stats = lstatSync(directory)
    if (stats.isDirectory() && stats.uid === process.getuid?.()) rmSync(directory, { recursive: true, force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** True when somebody accepts connections at the path. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    // A full backlog means that somebody is there, only busy.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'))
  })
}
