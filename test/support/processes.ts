import { readdirSync, readFileSync } from 'node:fs'

/** True while a process exists and is no zombie. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Resolves when the processes are gone; rejects with those that are left after `timeoutMs`. */
export async function allGone(pids: readonly number[], timeoutMs = 5000): Promise<void> {
  const untilMs = performance.now() + timeoutMs
  // The system tells nobody but the parent when a process ends, so this looks again and again.
  for (;;) {
    const left = pids.filter(isAlive)
    if (left.length === 0) return
    if (performance.now() > untilMs) throw new Error(`still alive: ${left.join(', ')}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Processes whose environment has this setting, other than this one. */
export function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/environ`, 'utf8').split('\0').includes(variable)
      } catch {
        return false
      }
    })
    .map(Number)
}
