import { readdir, readFile, writeFile } from 'node:fs/promises'

/** Reads what the benchmark says of processes from /proc, so it is for Linux only. */

/** Of the times in /proc: the same on every Linux that Node runs on. */
const ticksPerSecond = 100

/** The worker processes below a node: its descendants that run the SDK's worker entry. */
export async function workersOf(nodePid: number): Promise<number[]> {
  const parents = new Map<number, number>()
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined)
    // The program's name is in parentheses and may hold anything.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields !== undefined) parents.set(Number(name), Number(fields[1]))
  }
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid)
    return parent !== undefined && parent !== 0 && (parent === nodePid || isBelow(parent))
  }
  const below = [...parents.keys()].filter(isBelow)
  const commands = await Promise.all(below.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')))
  return below.filter((_, i) => /[/\\]worker[/\\]main[-.]/.test(commands[i] ?? ''))
}

/** The memory that belongs to this process alone. */
export async function privateBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  return kibibytes(text, 'Private_Clean') + kibibytes(text, 'Private_Dirty')
}

/** The most memory that the process has had since it began, or since `resetPeak`. */
export async function peakBytes(pid: number): Promise<number> {
  return kibibytes(await readFile(`/proc/${pid}/status`, 'utf8'), 'VmHWM')
}

/** The memory of a process without what it shares with others or has in files, such as the store of a node. */
export async function ownBytes(pid: number): Promise<number> {
  return kibibytes(await readFile(`/proc/${pid}/status`, 'utf8'), 'RssAnon')
}

/** Starts `peakBytes` anew. */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

/** The processor time that the process has used since it began. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The program's name is in parentheses and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

function kibibytes(text: string, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)
  if (found === null) throw new Error(`/proc does not tell ${field}`)
  return Number(found[1]) * 1024
}
