import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'

/**
 * The memory that processes and what they have started have to themselves, by the process that leads their group: without
 * shared memory, which the object store is. Processes that end meanwhile are left out, as are all where there is no `/proc`.
 */
export async function groupMemory(leaders: readonly number[], root = '/proc'): Promise<Map<number, number>> {
  const bytesOf = new Map(leaders.map((pid) => [pid, 0]))
  const names = await readdir(root).catch(() => [])
  await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name) => {
        const leader = groupOf(await textOf(path.join(root, name, 'stat')))
        if (leader === undefined || !bytesOf.has(leader)) return
        const bytes = ownBytes(await textOf(path.join(root, name, 'status')))
        bytesOf.set(leader, (bytesOf.get(leader) ?? 0) + bytes)
      }),
  )
  return bytesOf
}

/** The name of a process may hold anything, so what counts begins after the last bracket: state, parent, group. */
function groupOf(stat: string): number | undefined {
  const [, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return group === undefined ? undefined : Number(group)
}

function ownBytes(status: string): number {
  const [, kibibytes = '0'] = /^RssAnon:\s+(\d+) kB$/m.exec(status) ?? []
  return Number(kibibytes) * 1024
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
