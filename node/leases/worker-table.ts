import type { WorkerRecord } from './lease-records.ts'
import { nextId } from './next-id.ts'

/** Key of workers without a runtime environment and without a GPU. */
const plainWorkerKey = workerKey('', [])

/** Workers are alike, and stand in for each other, when their environment and their devices are the same. */
export function workerKey(envKey: string, gpuIds: readonly number[]): string {
  return `${gpuIds.join('+')}|${envKey}`
}

/** The worker processes by id, and the idle ones by key. */
export class WorkerTable {
  #byId = new Map<number, WorkerRecord>()
  /** Per key, the longest idle first. */
  #idleByKey = new Map<string, WorkerRecord[]>()
  #startingByKey = new Map<string, number>()
  #stoppingCount = 0
  #plainCount = 0
  #lastId = 0

  /** Workers that count against the bound. One that was told to stop does not: its place may be taken. */
  get count(): number {
    return this.#byId.size - this.#stoppingCount
  }

  /** Those of `count` with neither a runtime environment nor a GPU. */
  get plainCount(): number {
    return this.#plainCount
  }

  get(workerId: number): WorkerRecord | undefined {
    return this.#byId.get(workerId)
  }

  all(): Iterable<WorkerRecord> {
    return this.#byId.values()
  }

  startingCount(key: string): number {
    return this.#startingByKey.get(key) ?? 0
  }

  start(envKey: string, gpuIds: readonly number[], nowMs: number): WorkerRecord {
    const workerId = nextId(this.#lastId, this.#byId)
    this.#lastId = workerId
    const key = workerKey(envKey, gpuIds)
    const worker: WorkerRecord = {
      workerId,
      key,
      envKey,
      gpuIds,
      state: 'starting',
      sinceMs: nowMs,
      lease: undefined,
      hasServed: false,
      isNeeded: false,
    }
    this.#byId.set(workerId, worker)
    this.#countStarting(key, 1)
    if (key === plainWorkerKey) this.#plainCount++
    return worker
  }

  /** Moves a worker to another state and keeps the counts right. */
  setState(worker: WorkerRecord, state: WorkerRecord['state'], nowMs: number): void {
    this.#leaveState(worker)
    worker.state = state
    worker.sinceMs = nowMs
    if (state === 'idle') this.#idle(worker.key).push(worker)
    if (state !== 'stopping') return
    this.#stoppingCount++
    if (worker.key === plainWorkerKey) this.#plainCount--
  }

  remove(worker: WorkerRecord): void {
    this.#leaveState(worker)
    this.#byId.delete(worker.workerId)
    if (worker.state === 'stopping') this.#stoppingCount--
    else if (worker.key === plainWorkerKey) this.#plainCount--
  }

  /** The idle worker of this key that was used last: its caches are the warmest, and the others can grow old. */
  newestIdle(key: string): WorkerRecord | undefined {
    return this.#idleByKey.get(key)?.at(-1)
  }

  /** The idle worker that is missed least, whatever its key: of those that nobody needs, the longest idle. */
  mostDispensable(): WorkerRecord | undefined {
    let most: WorkerRecord | undefined
    for (const idle of this.#idleByKey.values()) {
      const candidate = idle.find(({ isNeeded }) => !isNeeded) ?? idle[0]
      if (candidate !== undefined && (most === undefined || isMoreDispensable(candidate, most))) most = candidate
    }
    return most
  }

  /** The idle workers that have used one of these devices, and that nobody needs. */
  idleOn(gpuIds: readonly number[]): WorkerRecord[] {
    if (gpuIds.length === 0) return []
    const idle = [...this.#idleByKey.values()].flat()
    return idle.filter((worker) => !worker.isNeeded && worker.gpuIds.some((id) => gpuIds.includes(id)))
  }

  /** True when a worker of this key runs a task that does not wait, so that it will be free again. */
  hasBusy(key: string): boolean {
    for (const { key: other, state, lease } of this.#byId.values()) {
      if (other === key && state === 'leased' && lease?.isBlocked === false) return true
    }
    return false
  }

  /** The idle workers beyond the plain ones to be kept that nobody needs, the longest idle first for each key. */
  surplusIdle(plainKept: number): WorkerRecord[] {
    const surplus: WorkerRecord[] = []
    for (const [key, idle] of this.#idleByKey) {
      const count = Math.max(0, idle.length - (key === plainWorkerKey ? plainKept : 0))
      if (count > 0) surplus.push(...idle.filter(({ isNeeded }) => !isNeeded).slice(0, count))
    }
    return surplus
  }

  #leaveState(worker: WorkerRecord): void {
    if (worker.state === 'starting') this.#countStarting(worker.key, -1)
    if (worker.state !== 'idle') return
    const idle = this.#idle(worker.key)
    idle.splice(idle.indexOf(worker), 1)
    if (idle.length === 0) this.#idleByKey.delete(worker.key)
  }

  #countStarting(key: string, change: number): void {
    const count = this.startingCount(key) + change
    if (count > 0) this.#startingByKey.set(key, count)
    else this.#startingByKey.delete(key)
  }

  #idle(key: string): WorkerRecord[] {
    let idle = this.#idleByKey.get(key)
    if (idle === undefined) this.#idleByKey.set(key, (idle = []))
    return idle
  }
}

function isMoreDispensable(a: WorkerRecord, b: WorkerRecord): boolean {
  return a.isNeeded === b.isNeeded ? a.sinceMs < b.sinceMs : b.isNeeded
}
