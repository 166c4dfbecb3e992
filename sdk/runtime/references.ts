import { referenceBorrowersMax, referencesMax, type MessageBody } from '../../protocols/messages.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { recordOf, type ObjectRef } from '../objects/object-ref.ts'
import { Lineage } from '../tasks/lineage.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import type { ObjectExchange } from './object-exchange.ts'
import type { StoredValues } from './stored-values.ts'

export interface ReferenceSources {
  objects: ObjectExchange
  stored: StoredValues
  /** Those that have not ended. */
  tasks: Iterable<TaskRecord>
  /** Those of finished tasks that could run again. */
  lineages: Iterable<Lineage>
}

const madeCharsMax = 200

/**
 * What this process owns and borrows of the values in stores, and what it needs them for: for people to read, so of very many
 * only the largest.
 */
export function references({
  objects,
  stored,
  tasks,
  lineages,
}: ReferenceSources): Omit<MessageBody<'references'>, 'requestId'> {
  const tasksOf = countUses(tasks, (task) => [...task.resolvedRefs.map(({ ref }) => ref), ...(task.holds ?? [])])
  const rebuildsOf = countUses(lineages, (lineage) => lineage.inputRefs)
  const owned = []
  for (const { record, name } of largestOf(stored.records())) {
    owned.push({
      object: record.id,
      name,
      made: madeBy(record),
      borrowers: objects.owned.borrowersOf(record.sequence).slice(0, referenceBorrowersMax),
      tasks: tasksOf.get(record) ?? 0,
      rebuilds: rebuildsOf.get(record) ?? 0,
      insides: record.insideCount,
      hasRef: record.hasUsedRef,
    })
  }
  const borrowed = []
  for (const record of objects.borrowed()) {
    if (borrowed.length === referencesMax) break
    if (record.value?.kind !== 'inline') borrowed.push({ object: record.id, tasks: tasksOf.get(record) ?? 0 })
  }
  return { owned, borrowed }
}

function largestOf(records: Iterable<ObjectRecord>): { record: ObjectRecord; name: string }[] {
  const found = Array.from(records).flatMap((record) =>
    record.value?.kind === 'stored' ? [{ record, name: record.value.name, bytes: record.value.bytes }] : [],
  )
  return found.toSorted((a, b) => b.bytes - a.bytes).slice(0, referencesMax)
}

function countUses<T>(users: Iterable<T>, refsOf: (user: T) => Iterable<ObjectRef>): Map<ObjectRecord, number> {
  const counts = new Map<ObjectRecord, number>()
  for (const user of users) {
    for (const record of new Set(Array.from(refsOf(user), recordOf))) counts.set(record, (counts.get(record) ?? 0) + 1)
  }
  return counts
}

function madeBy({ lineage }: ObjectRecord): string {
  if (lineage instanceof Lineage) {
    return `${lineage.isStream ? 'item' : 'result'} of ${lineage.name.slice(0, madeCharsMax)}`
  }
  return lineage === 'actor' ? 'result of an actor' : (lineage ?? '')
}
