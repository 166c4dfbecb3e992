import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { TaskRecord } from './task-record.ts'

/**
 * Work pushed ahead to one worker, by its expected time. Enough to hide the way there and back; little enough that no
 * worker stands idle while much waits behind another.
 */
const aheadMs = 8

/** What a task costs besides the user's code. */
const overheadMs = 0.01

function loadOf(task: TaskRecord): number {
  const { estimateMs } = task.function
  return estimateMs === undefined ? aheadMs : estimateMs + overheadMs
}

/** A worker that this process may use, and the tasks that are on it. */
export class Lease {
  readonly id: number
  readonly workerPid: number
  readonly worker: ClientId
  /** The node that the worker is on. */
  readonly node: NodeId
  /** In the order in which the worker runs them. */
  readonly tasks = new Map<number, { task: TaskRecord; bytes: number; loadMs: number }>()
  /** What is on the worker, by expected time. */
  loadMs = 0
  #bytes = 0
  /** Its task waits in `get()`: it takes nothing new. */
  isBlocked = false
  /** The node wants it back. */
  isReclaimed = false
  /** We had the worker killed: it takes nothing new. */
  isKilledByOwner = false
  idleSinceMs: number | undefined
  readonly grantedAtMs: number
  /** A result has come from it: its worker has loaded the code. */
  hasAnswered = false
  /** Since when the first of its tasks is the first, so that its worker has most likely begun it. */
  firstSinceMs = 0

  constructor(id: number, workerPid: number, worker: ClientId, grantedAtMs: number) {
    this.grantedAtMs = grantedAtMs
    this.id = id
    this.workerPid = workerPid
    this.worker = worker
    this.node = nodeOf(worker)
  }

  canTake(task: TaskRecord): boolean {
    if (this.isBlocked || this.isReclaimed || this.isKilledByOwner) return false
    if (this.tasks.size === 0) return true
    if (this.tasks.size >= limits.tasksInFlightPerLeaseMax) return false
    if (task.stream !== undefined || task.function.estimateMs === undefined) return false
    if (this.#bytes + task.argsBytes > limits.bytesInFlightPerLeaseMax) return false
    return this.loadMs + task.function.estimateMs + overheadMs <= aheadMs
  }

  add(task: TaskRecord, bytes: number, nowMs: number): void {
    if (this.tasks.size === 0) this.firstSinceMs = nowMs
    // A first call of a function, or a stream, may take any time: nothing is pushed behind it.
    const loadMs = task.stream === undefined ? loadOf(task) : aheadMs
    this.tasks.set(task.sequence, { task, bytes, loadMs })
    this.loadMs += loadMs
    this.#bytes += bytes
    this.idleSinceMs = undefined
    task.state = 'pushed'
    task.leaseId = this.id
  }

  remove(sequence: number): TaskRecord | undefined {
    const entry = this.tasks.get(sequence)
    if (entry === undefined) return undefined
    this.tasks.delete(sequence)
    this.loadMs = this.tasks.size === 0 ? 0 : this.loadMs - entry.loadMs
    this.#bytes -= entry.bytes
    return entry.task
  }

  /** What runs takes longer than was thought: nothing more is pushed behind it. */
  fill(): void {
    for (const entry of this.tasks.values()) entry.loadMs = aheadMs
    this.loadMs = this.tasks.size * aheadMs
  }

  /** False for a task that certainly waits behind another one. */
  mayBeRunning(task: TaskRecord): boolean {
    return this.unfinished().some((entry) => entry.task === task && entry.mayHaveBegun)
  }

  /**
   * What is on the worker, and what of it the worker may have begun. Before and after a careful task (one that must not
   * run twice unseen) the worker sends off its results, so a careful task behind another has not begun, nor has what is
   * behind an unfinished careful task. Of the others several may have run whose results were not sent yet.
   */
  unfinished(): { task: TaskRecord; mayHaveBegun: boolean }[] {
    let isBehindUnknown = false
    let isFirst = true
    const entries = []
    for (const { task } of this.tasks.values()) {
      const isCareful = task.attempt > 0 || task.retriesLeft === 0
      const mayHaveBegun = isFirst || (!isCareful && !isBehindUnknown)
      if (isCareful) isBehindUnknown = true
      isFirst = false
      entries.push({ task, mayHaveBegun })
    }
    return entries
  }
}
