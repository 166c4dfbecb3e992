import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeUnavailableError } from '../../protocols/errors.ts'

const waitMs = 5_000
const pollMs = 20

/**
 * Lets one start at a time look at what is there, clean up and begin to listen: of two at once, the second then finds the
 * first one's socket. Held for milliseconds; returns the release.
 */
export async function takeStartLock(runtimeDirectory: string): Promise<() => void> {
  const lock = path.join(runtimeDirectory, 'start.lock')
  const own = `${lock}.${process.pid}`
  // A link makes the lock and its content appear in one step.
  writeFileSync(own, String(process.pid), { mode: 0o600 })
  try {
    for (let waited = 0; ; waited += pollMs) {
      try {
        linkSync(own, lock)
        return () => rmSync(lock, { force: true })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const holder = holderOf(lock)
      if (holder !== undefined && !isAlive(holder)) rmSync(lock, { force: true })
      else if (waited > waitMs) {
        throw new NodeUnavailableError(
          `another start of a node (pid ${holder}) holds ${lock}; wait for it, or delete that file`,
          {
            details: { lock, pid: holder },
          },
        )
      } else await delay(pollMs)
    }
  } finally {
    rmSync(own, { force: true })
  }
}

function holderOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, 'utf8'))
  } catch {
    return undefined
  }
}

/** True when there is a process with this id that has not ended. */
export function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return !isZombie(pid)
}

/** True for a process that has ended, and whose parent has not looked at how. */
function isZombie(pid: number): boolean {
  try {
    return /\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    // There is no such folder on other systems than Linux.
    return false
  }
}
