import os from 'node:os'
import type { BlobCache } from './code/blob-cache.ts'
import type { LeaseBook } from './leases/lease-book.ts'
import type { LeaseSnapshot, PendingStatus, WorkerStatus } from './leases/lease-snapshot.ts'
import type { MeshFigures } from './mesh/build-mesh.ts'
import type { MemoryWatch } from './memory/memory-watch.ts'
import type { NodeResources } from './resources/detect.ts'
import type { ClientTable } from './server/client-table.ts'
import type { LeaseDesk } from './server/lease-desk.ts'
import type { Relay } from './server/relay.ts'
import type { ObjectStore } from './store/object-store.ts'
import type { StoreBook } from './store/store-book.ts'
import type { WorkerPool } from './workers/worker-pool.ts'
import { shoalVersion } from '../protocols/version.ts'

/** What a node tells about itself, as `shoal status --json` prints it. */
export interface NodeStatus {
  node: {
    pid: number
    version: string
    hostname: string
    cpuModel: string
    startedAt: string
    uptimeMs: number
    socketPath: string
    isEmbedded: boolean
    residentBytes: number
    loadAverage: number
  }
  /** `free`: how much of a GPU nobody holds, 0 to 1. */
  resources: Pick<LeaseSnapshot, 'total' | 'available'> & { gpus: (NodeResources['gpus'][number] & { free: number })[] }
  /** `forMs`: how long in this state, or with this lease. */
  workers: (Omit<WorkerStatus, 'sinceMs'> & { pid: number; forMs: number })[]
  pending: (Omit<PendingStatus, 'sinceMs'> & { forMs: number })[]
  /** `tasks`: what each had running and queued when it told last, a quarter of a second ago at most. */
  clients: { id: string; role: string; pid: number; program: string; tasks: { running: number; queued: number } }[]
  /**
   * `pinned`: blocks of memory that are being looked at. `pinTables`: how many clients have a table of pins, with those that
   * have left and go on looking. `spilled`: what lies on the disk, and where. `directory`: of values
   * in files, without shared memory.
   */
  store: {
    usedBytes: number
    bytesMax: number
    objects: number
    pinned: number
    pinTables: number
    directory: string
    spilled: { bytes: number; files: number; directory: string; problem: string }
    counters: StoreBook['counters']
  }
  /** Absent on a node that is in no mesh. */
  traffic?: MeshFigures
  /** Of the machine, or of its control group; absent where it cannot be read. `workersEnded`: because it ran out. */
  memory?: { usedBytes: number; totalBytes: number; limitBytes: number; workersEnded: number }
  code: { blobs: number; bytes: number }
  counters: { framesRelayed: number; leasesGranted: number; workersStarted: number }
}

export interface StatusSources {
  startedAt: Date
  socketPath: string
  isEmbedded: boolean
  machine: NodeResources
  book: LeaseBook
  pool: WorkerPool
  clients: ClientTable
  store: ObjectStore
  blobs: BlobCache
  leases: LeaseDesk
  memory: MemoryWatch
  relay: Relay
  mesh: { figures(): MeshFigures } | undefined
  now(): number
}

export function nodeStatus(sources: StatusSources): NodeStatus {
  const { book, pool, clients, machine, memory, startedAt, now } = sources
  const { total, available, workers, pending } = book.snapshot()
  const free = book.gpusFree()
  const forMs = (sinceMs: number): number => Math.max(0, Math.round(now() - sinceMs))
  return {
    node: {
      pid: process.pid,
      version: shoalVersion,
      hostname: machine.hostname,
      cpuModel: machine.cpuModel,
      startedAt: startedAt.toISOString(),
      uptimeMs: Date.now() - startedAt.getTime(),
      socketPath: sources.socketPath,
      isEmbedded: sources.isEmbedded,
      residentBytes: process.memoryUsage.rss(),
      loadAverage: os.loadavg()[0] ?? 0,
    },
    resources: { total, available, gpus: machine.gpus.map((gpu) => ({ ...gpu, free: free.get(gpu.index) ?? 0 })) },
    workers: workers.map(({ sinceMs, ...worker }) => ({
      ...worker,
      pid: pool.get(worker.workerId)?.pid ?? 0,
      forMs: forMs(sinceMs),
    })),
    pending: pending.map(({ sinceMs, ...waiting }) => ({ ...waiting, forMs: forMs(sinceMs) })),
    clients: Array.from(clients.all(), ({ id, role, pid, program, tasks }) => ({ id, role, pid, program, tasks })),
    store: storeStatus(sources.store),
    ...(sources.mesh === undefined ? {} : { traffic: sources.mesh.figures() }),
    ...(memory.use === undefined ? {} : { memory: { ...memory.use, workersEnded: memory.endedCount } }),
    code: { blobs: sources.blobs.count, bytes: sources.blobs.bytes },
    counters: {
      framesRelayed: sources.relay.framesRelayed,
      leasesGranted: sources.leases.grantedCount,
      workersStarted: pool.startedCount,
    },
  }
}

function storeStatus(store: ObjectStore): NodeStatus['store'] {
  const { book, usedBytes, bytesMax, count, segment, directory, spillDirectory = '' } = store
  const { diskBytes, fileCount, diskProblem, counters } = book
  return {
    usedBytes,
    bytesMax,
    objects: count,
    pinned: segment?.pinned().size ?? 0,
    pinTables: segment?.pinTablesUsed ?? 0,
    directory,
    spilled: { bytes: diskBytes, files: fileCount, directory: spillDirectory, problem: diskProblem },
    counters,
  }
}
