import type { ResourceSet } from '../../protocols/resources.ts'
import { formatAmount, formatResources, resourcesKey } from '../../protocols/resources.ts'
import { isOnDevices } from '../resources/gpu-need.ts'
import type { ResourceLedger } from '../resources/ledger.ts'
import type { Bundle } from './bundle-table.ts'
import type { LeaseRequest, WorkerRecord } from './lease-records.ts'

/** The lease book at one moment, as plain data. */
export interface LeaseSnapshot {
  total: ResourceSet
  /** CPU can be below zero for a while: tasks that come back from `get()` take theirs again at once. */
  available: ResourceSet
  workers: WorkerStatus[]
  pending: PendingStatus[]
  bundles: BundleStatus[]
}

/** A bundle of a placement group that is reserved here. */
export interface BundleStatus {
  group: string
  index: number
  /** The group has it for good. */
  isClaimed: boolean
  resources: ResourceSet
  available: ResourceSet
}

export interface WorkerStatus {
  workerId: number
  state: 'starting' | 'idle' | 'leased' | 'blocked' | 'stopping'
  /** Who leases it, for what. */
  client?: string
  label?: string
  leaseId?: number
  /** Since when it is in this state, or has had its lease; on the clock that `step` is given. */
  sinceMs: number
  gpuIds: readonly number[]
}

/** Requests that wait, alike for a person who reads them. */
export interface PendingStatus {
  label: string
  resources: ResourceSet
  count: number
  /** Since when the oldest of them waits. */
  sinceMs: number
  /** What the first of them waits for. */
  reason: string
}

interface SnapshotSource {
  ledger: ResourceLedger
  workers: Iterable<WorkerRecord>
  workerCount: number
  workersMax: number
  blockedCount: number
  bundles: Iterable<Bundle>
  waiting: Iterable<LeaseRequest>
  placed: Iterable<LeaseRequest>
  ledgersFor(request: LeaseRequest): readonly ResourceLedger[]
}

export function leaseSnapshot(source: SnapshotSource): LeaseSnapshot {
  const pending = new Map<string, PendingStatus>()
  for (const request of source.placed) addPending(pending, request, () => 'a worker is being started')
  for (const request of source.waiting) addPending(pending, request, () => waitText(request, source))
  return {
    total: source.ledger.total,
    available: source.ledger.available,
    workers: Array.from(source.workers, workerStatus),
    pending: [...pending.values()],
    bundles: Array.from(source.bundles, ({ group, index, isClaimed, allocation, ledger }) => ({
      group,
      index,
      isClaimed,
      resources: allocation.resources,
      available: ledger.available,
    })),
  }
}

function addPending(pending: Map<string, PendingStatus>, request: LeaseRequest, reason: () => string): void {
  const { label, resources, requestedAtMs } = request
  // JSON keeps a label that holds the separator from running into the resources.
  const key = JSON.stringify([label, resourcesKey(resources)])
  const known = pending.get(key)
  if (known === undefined) {
    pending.set(key, { label, resources, count: 1, sinceMs: requestedAtMs, reason: reason() })
  } else {
    known.count++
    known.sinceMs = Math.min(known.sinceMs, requestedAtMs)
  }
}

function workerStatus(worker: WorkerRecord): WorkerStatus {
  const { workerId, state, sinceMs, gpuIds, lease } = worker
  const status: WorkerStatus = { workerId, state, sinceMs, gpuIds }
  if (lease === undefined) return status
  const { client, label, leaseId, isBlocked } = lease
  return { ...status, state: state === 'leased' && isBlocked ? 'blocked' : state, client, label, leaseId }
}

function waitText(request: LeaseRequest, source: SnapshotSource): string {
  const { reason } = request.wait
  const [ledger = source.ledger] = source.ledgersFor(request)
  switch (reason.kind) {
    case 'turn':
      return 'waiting for its turn'
    case 'closed':
      return 'this node is being taken out of service and takes no new work: `shoal drain NODE --undo`'
    case 'resources':
      return `${bundleText(request)}${reason.names.map((name) => resourceText(name, request, ledger)).join('; ')}`
    case 'reserved':
      return `waiting behind '${reason.by.label}', which has waited long for ${formatResources(reason.by.resources)}`
    case 'workers':
      return `waiting for a worker: ${source.workerCount} of ${source.workersMax} in use, ${source.blockedCount} wait in get()`
    case 'start':
      return `waiting to start a worker again; the last one failed: ${reason.reason}`
  }
}

/** Which resources are meant, when they are not those of the node. */
function bundleText({ bundle }: LeaseRequest): string {
  if (bundle === undefined) return ''
  return `in ${bundle.index === 'any' ? 'a bundle' : `bundle ${bundle.index}`} of placement group ${bundle.group}: `
}

function resourceText(name: string, request: ResourcesOwner, ledger: ResourceLedger): string {
  const amount = request.resources[name] ?? 0
  if (name !== 'GPU') return `waiting for ${name} ${formatAmount(name, amount)}: ${ledger.describeUse(name)}`
  const asked = Object.entries(request.resources).filter(([each]) => isOnDevices(each))
  const text = `waiting for ${formatResources(Object.fromEntries(asked))}: ${ledger.describeUse(name)}`
  const free = ledger.available['GPU'] ?? 0
  if (amount === 0 || amount > free) return text
  return `${text}, but ${amount >= 1 ? 'not on enough whole devices' : 'not together on one device'}`
}

type ResourcesOwner = Pick<LeaseRequest, 'resources'>
