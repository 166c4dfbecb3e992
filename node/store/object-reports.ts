import type { ObjectReport } from '../../protocols/admin.ts'
import type { ObjectStore } from './object-store.ts'
import type { PinTables } from './pin-tables.ts'

const reportsMax = 1000

/** The values of this node's store for people to look at: the largest first, and how many more there are. */
export function objectReports(
  store: ObjectStore,
  pinTables: PinTables,
  nowMs: number,
): { objects: ObjectReport[]; more: number } {
  const entries = [...store.book.entries.values()].toSorted((a, b) => b.bytes - a.bytes)
  const objects = entries.slice(0, reportsMax).map((entry): ObjectReport => {
    const { name, object, bytes, owner, kind, memory, disk, isSealed, sinceMs } = entry
    const tables = memory === undefined ? [] : (store.segment?.pinnedBy(memory.offset) ?? [])
    return {
      object,
      name,
      bytes,
      owner,
      kind,
      where: !isSealed ? 'writing' : memory === undefined ? 'disk' : disk === undefined ? 'memory' : 'both',
      viewedBy: tables.flatMap((table) => pinTables.clientOf(table)?.pid ?? []),
      ageMs: Math.round(nowMs - sinceMs),
    }
  })
  return { objects, more: entries.length - objects.length }
}
