import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const endMs = 15_000
const lookMs = 100

/** What has been seen of nodes: their processes, and their folders. */
export class Seen {
  /** Pids are given out again, so a process is known by its time as well. */
  readonly #processes = new Map<number, string>()
  readonly #directories = new Set<string>()

  process(pid: number): void {
    const startedAt = startOf(pid)
    if (startedAt !== undefined) this.#processes.set(pid, startedAt)
  }

  directory(path: string): void {
    if (path !== '') this.#directories.add(path)
  }

  /** Waits until all that has been seen is gone, after the end of the nodes. Gives what stays. */
  async leftovers(): Promise<string[]> {
    const end = performance.now() + endMs
    for (;;) {
      const left = [
        ...[...this.#directories].filter((directory) => existsSync(directory)),
        ...[...this.#processes].filter(([pid, at]) => startOf(pid) === at).map(([pid]) => `process ${pid}`),
      ]
      if (left.length === 0 || performance.now() > end) return left
      await delay(lookMs)
    }
  }
}

/** When a process began, as the system counts; undefined when there is none. */
function startOf(pid: number): string | undefined {
  try {
    // The name of the program, in brackets, may have spaces.
    return /\) (?:\S+ ){19}(\S+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}
