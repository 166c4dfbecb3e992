import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

/** How often the system has ended a process because memory ran out; undefined where it does not say. Takes 0.1 ms. */
export function systemKills(file = '/proc/vmstat'): number | undefined {
  try {
    const [, count] = /^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8')) ?? []
    return count === undefined ? undefined : Number(count)
  } catch {
    return undefined
  }
}

/** How much memory is used of how much there is. What the system can take back at once, such as the cache of files, is free. */
export interface MemoryUse {
  readonly usedBytes: number
  readonly totalBytes: number
}

export type ReadMemory = () => Promise<MemoryUse | undefined>

/** Limits from here on are none: version 1 writes a number beyond any memory for it. */
const noLimit = 2 ** 60
const files = {
  2: { limit: 'memory.max', used: 'memory.current', cache: ['inactive_file', 'active_file'] },
  1: {
    limit: 'memory.limit_in_bytes',
    used: 'memory.usage_in_bytes',
    cache: ['total_inactive_file', 'total_active_file'],
  },
} as const

/**
 * Finds out where memory is to be read: of the machine, and of every control group above this process that has a limit. The
 * one that is nearest to its limit counts. Undefined is read where the system tells nothing of the kind, as others than Linux.
 *
 * @param file for tests: what to read instead, in the form of `/proc/meminfo`
 */
export async function memoryReader(file?: string): Promise<ReadMemory> {
  if (file !== undefined) return () => machineUse(file)
  const groups = await limitedGroups(await textOf('/proc/self/cgroup'))
  return async () => {
    const uses = await Promise.all([machineUse('/proc/meminfo'), ...groups.map((read) => read())])
    return uses.filter((use) => use !== undefined).toSorted((a, b) => shareOf(b) - shareOf(a))[0]
  }
}

function shareOf({ usedBytes, totalBytes }: MemoryUse): number {
  return usedBytes / totalBytes
}

async function machineUse(file: string): Promise<MemoryUse | undefined> {
  return parseMeminfo(await textOf(file))
}

/** What `/proc/meminfo` says; undefined when it is not all there. */
export function parseMeminfo(text: string): MemoryUse | undefined {
  const bytes = (name: string): number => {
    const [, kibibytes] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text) ?? []
    return Number(kibibytes) * 1024
  }
  const totalBytes = bytes('MemTotal')
  const usedBytes = totalBytes - bytes('MemAvailable')
  return totalBytes > 0 && usedBytes >= 0 ? { usedBytes, totalBytes } : undefined
}

/** The folders of the control groups that this process is in, with those above them, by `/proc/self/cgroup`. */
export function groupFolders(text: string, root = '/sys/fs/cgroup'): { folder: string; version: 1 | 2 }[] {
  return text.split('\n').flatMap((line) => {
    const [id = '', controllers = '', ...rest] = line.split(':')
    const isFirst = controllers.split(',').includes('memory')
    if (!isFirst && id !== '0') return []
    const version = isFirst ? 1 : 2
    const top = isFirst ? path.join(root, 'memory') : root
    const folders: { folder: string; version: 1 | 2 }[] = []
    let at = path.join(top, rest.join(':'))
    for (; at.startsWith(`${top}/`) && at.length > top.length + 1; at = path.dirname(at))
      folders.push({ folder: at, version })
    return [...folders, { folder: top, version }]
  })
}

async function limitedGroups(text: string): Promise<ReadMemory[]> {
  const readers = await Promise.all(
    groupFolders(text).map(async ({ folder, version }) => {
      const { limit, used, cache } = files[version]
      const isLimited = numberOf(await textOf(path.join(folder, limit))) < noLimit
      return isLimited ? [() => groupUse(folder, limit, used, cache)] : []
    }),
  )
  return readers.flat()
}

async function groupUse(
  folder: string,
  limit: string,
  used: string,
  cache: readonly string[],
): Promise<MemoryUse | undefined> {
  const [total, current, stat = ''] = await Promise.all(
    [limit, used, 'memory.stat'].map((name) => textOf(path.join(folder, name))),
  )
  return parseGroup({ total: total ?? '', current: current ?? '', stat, cache })
}

/** What a control group says of itself; undefined when it has no limit. */
export function parseGroup(texts: {
  total: string
  current: string
  stat: string
  cache: readonly string[]
}): MemoryUse | undefined {
  const { total, current, stat, cache } = texts
  const totalBytes = numberOf(total)
  const cached = cache.reduce((sum, name) => {
    const [, bytes = '0'] = new RegExp(`^${name} (\\d+)$`, 'm').exec(stat) ?? []
    return sum + Number(bytes)
  }, 0)
  const usedBytes = Math.max(0, numberOf(current) - cached)
  return totalBytes > 0 && totalBytes < noLimit && Number.isFinite(usedBytes) ? { usedBytes, totalBytes } : undefined
}

/** NaN and infinity compare as no limit. */
function numberOf(text: string): number {
  return /^\d+\s*$/.test(text) ? Number(text) : Infinity
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
