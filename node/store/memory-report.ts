import type { AdminValue, HeldObject, ObjectHolder, ObjectReport, ProcessReport } from '../../protocols/admin.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import { withinBytes } from '../../protocols/within-bytes.ts'
import type { ClientAnswers } from '../server/client-questions.ts'

type Told = MessageBody<'references'>

/** Puts together what lies in the store and what the programs say they hold of it; of the largest, what fits an answer. */
export function memoryReport(
  { objects, more }: AdminValue<'objects'>,
  { processes, told, silent }: ClientAnswers<'referencesAsk'>,
): AdminValue<'memory'> {
  const owned = new Map<string, Told['owned'][number]>()
  const borrowed = new Map<string, Map<string, number>>()
  for (const [client, { owned: own, borrowed: others }] of told) {
    for (const each of own) owned.set(each.name, each)
    for (const { object, tasks } of others) {
      const users = borrowed.get(object) ?? new Map<string, number>()
      borrowed.set(object, users.set(client, tasks))
    }
  }
  const processOf = new Map(processes.map((process) => [process.client, process]))
  const withProcess = (holder: Omit<ObjectHolder, 'process'>): ObjectHolder => {
    const process = processOf.get(holder.client)
    return process === undefined ? holder : { ...holder, process }
  }
  const held = (report: ObjectReport): HeldObject => {
    const own = owned.get(report.name)
    const users = borrowed.get(report.object) ?? new Map<string, number>()
    const holders = [...ownersOf(report, own), ...borrowersOf(own, users), ...viewersOf(report, processes)].map(
      withProcess,
    )
    return { ...report, made: own?.made ?? '', holders }
  }
  const shown = withinBytes(objects.map(held), limits.adminListBytesMax)
  return { objects: shown, more: more + objects.length - shown.length, silent }
}

type Holder = Omit<ObjectHolder, 'process'>

function ownersOf({ owner }: ObjectReport, own: Told['owned'][number] | undefined): Holder[] {
  if (own === undefined) return []
  const { tasks, rebuilds, insides, hasRef, borrowers } = own
  const holders: Holder[] = []
  // What nothing else is known to keep is kept by a ref, or was until a moment ago.
  const isOnlyRef = tasks + rebuilds + insides + borrowers.length === 0
  if (hasRef || isOnlyRef) holders.push({ client: owner, why: 'owner', count: 1 })
  if (tasks > 0) holders.push({ client: owner, why: 'task', count: tasks })
  if (rebuilds > 0) holders.push({ client: owner, why: 'rebuild', count: rebuilds })
  if (insides > 0) holders.push({ client: owner, why: 'inside', count: insides })
  return holders
}

function borrowersOf(own: Told['owned'][number] | undefined, users: ReadonlyMap<string, number>): Holder[] {
  const clients = new Set([...(own?.borrowers ?? []), ...users.keys()])
  return Array.from(clients, (client): Holder => {
    const tasks = users.get(client) ?? 0
    return tasks > 0 ? { client, why: 'task', count: tasks } : { client, why: 'borrower', count: 1 }
  })
}

function viewersOf({ viewedBy }: ObjectReport, processes: readonly ProcessReport[]): Holder[] {
  const pids = new Set(viewedBy)
  return processes
    .filter(({ pid }) => pids.has(pid))
    .map(({ client, pid }) => {
      return { client, why: 'view', count: viewedBy.filter((each) => each === pid).length }
    })
}
