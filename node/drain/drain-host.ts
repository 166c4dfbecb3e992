import type { DrainReport } from '../../protocols/admin.ts'
import { nodeOf, type NodeId } from '../../protocols/ids.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { EventBook } from '../reports/event-book.ts'
import { processReport } from '../server/client-questions.ts'
import type { ClientTable } from '../server/client-table.ts'
import type { LeaseDesk } from '../server/lease-desk.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoredEntry } from '../store/stored-value.ts'
import type { WorkerPool } from '../workers/worker-pool.ts'
import type { DrainHost, LeavingValue } from './drain.ts'

export interface DrainSources {
  self: NodeId
  book: LeaseBook
  leases: LeaseDesk
  pool: WorkerPool
  clients: ClientTable
  store: ObjectStore
  events: EventBook
  evacuate: DrainHost['evacuate']
  now(): number
  log(text: string): void
}

/** What a drain needs of the rest of the node. */
export function drainHost(sources: DrainSources): DrainHost {
  const { self, book, leases, pool, clients, store, events, evacuate, now, log } = sources
  const isKept = ({ kind, isSealed, isFreed }: StoredEntry): boolean => kind !== 'copy' && isSealed && !isFreed
  return {
    nowMs: now,
    after: (delayMs, callback) => void setTimeout(callback, delayMs).unref(),
    setOpen: (isOpen) => leases.setOpen(isOpen),
    running: () => running(book, pool, now()),
    killAll: (reason) => leases.killAll(reason),
    *leavingValues(): Generator<LeavingValue> {
      for (const entry of store.book.entries.values()) {
        const { name, bytes, owner, object } = entry
        if (isKept(entry) && nodeOf(owner) !== self) yield { name, bytes, owner, object }
      }
    },
    staying() {
      let values = 0
      let bytes = 0
      for (const entry of store.book.entries.values()) {
        if (!isKept(entry) || nodeOf(entry.owner) !== self) continue
        values += 1
        bytes += entry.bytes
      }
      const programs = [...clients.all()].filter(({ role }) => role === 'driver').map(processReport)
      return { staying: { values, bytes }, programs }
    },
    evacuate,
    say(text, level) {
      log(text)
      events.say('drain', text, { about: self, level })
    },
  }
}

function running(book: LeaseBook, pool: WorkerPool, nowMs: number): DrainReport['running'] {
  return book.snapshot().workers.flatMap(({ workerId, label, sinceMs }) => {
    if (label === undefined) return []
    return [{ label, pid: pool.get(workerId)?.pid ?? 0, forMs: Math.max(0, Math.round(nowMs - sinceMs)) }]
  })
}
