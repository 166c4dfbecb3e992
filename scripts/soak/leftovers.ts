import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const endMs = 15_000
const lookMs = 100

export interface Seen {
  pids: ReadonlySet<number>
  directories: ReadonlySet<string>
}

/** Waits until the nodes of a mesh that has ended, their workers and their folders are gone. Gives those that stay. */
export async function leftovers({ pids, directories }: Seen): Promise<string[]> {
  const end = performance.now() + endMs
  for (;;) {
    const left = [
      ...[...directories].filter((directory) => existsSync(directory)),
      ...[...pids].filter((pid) => isOfShoal(pid)).map((pid) => `process ${pid}`),
    ]
    if (left.length === 0 || performance.now() > end) return left
    await delay(lookMs)
  }
}

/** Pids are given out again: to other programs, as a rule. */
function isOfShoal(pid: number): boolean {
  try {
    return /\/(node|sdk\/worker)\/main\.[jt]s/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
  } catch {
    return false
  }
}
