import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'

/** A run of a task as it is told to the node; until then its times are on the clock of this process. */
export type TaskRun = MessageBody<'taskRuns'>['runs'][number]

/** Whose task has finished. */
interface FinishedTask {
  readonly taskName: string
  /** Its owner. */
  readonly caller: ClientId
  readonly job: ClientId
}

export interface RunLogHost {
  /** What has to be added to times of this process's clock to get those of the wall clock. */
  wallOffsetMs(): number
  /** Calls back after a while; must not keep the process alive. */
  after(delayMs: number, callback: () => void): void
  send(told: MessageBody<'taskRuns'>): void
}

/** What has ended may stay untold for so long. */
const delayMs = 200
/** In this time so many tasks are told one by one, however short; of the others, those that took long or failed. */
const singlesMax = 50
const longMs = 1
/** Records of one message; what does not fit is only counted. */
export const runsMax = 1000

/**
 * What has become of tasks here, for people to look at: collected and told to the node now and then, off the path of tasks
 * and results. Of very many short tasks, those of one name are told as one.
 */
export class RunLog {
  readonly #host: RunLogHost
  #runs: TaskRun[] = []
  #left = 0
  /** Records that stand for several tasks, by name. */
  readonly #sums = new Map<string, TaskRun>()
  #lastSum: TaskRun | undefined
  #isPlanned = false

  constructor(host: RunLogHost) {
    this.#host = host
  }

  /**
   * A task has finished. True when it was a short one of very many and has been added to others of its name; else it is to be
   * told by itself, with `add`. This is asked after every task, so it makes no objects.
   */
  sum({ taskName, caller, job }: FinishedTask, busyMs: number, endMs: number): boolean {
    if (busyMs >= longMs || this.#runs.length < singlesMax) return false
    let sum = this.#lastSum
    if (sum?.name !== taskName || sum.owner !== caller || sum.job !== job) {
      sum = this.#sums.get(taskName)
      if (sum?.owner !== caller || sum.job !== job) return false
      this.#lastSum = sum
    }
    sum.count += 1
    sum.busyMs += busyMs
    sum.endMs = endMs
    return true
  }

  add(run: TaskRun): void {
    const isFirstOfMany = run.state === 'finished' && run.busyMs < longMs && this.#runs.length >= singlesMax
    if (this.#push(run) && isFirstOfMany) this.#sums.set(run.name, run)
  }

  #push(run: TaskRun): boolean {
    if (this.#runs.length >= runsMax) {
      this.#left += 1
      return false
    }
    this.#runs.push(run)
    if (!this.#isPlanned) {
      this.#isPlanned = true
      this.#host.after(delayMs, () => this.flush())
    }
    return true
  }

  /** Tells what there is. */
  flush(): void {
    this.#isPlanned = false
    if (this.#runs.length === 0) return
    const runs = this.#runs
    const left = this.#left
    this.#runs = []
    this.#left = 0
    this.#sums.clear()
    this.#lastSum = undefined
    const offsetMs = this.#host.wallOffsetMs()
    for (const run of runs) {
      run.startMs += offsetMs
      run.endMs += offsetMs
    }
    this.#host.send({ left, runs })
  }
}

/** The wall clock jumps now and then; it is followed only when it has gone so far away. */
const driftMs = 20

/** What has to be added to `performance.now()` to get the time of the wall clock: as even as that, and about right. */
export function wallOffset(): () => number {
  let offsetMs = performance.timeOrigin
  return () => {
    const coarseMs = Date.now() - performance.now()
    if (Math.abs(coarseMs - offsetMs) > driftMs) offsetMs = coarseMs
    return offsetMs
  }
}

/** Names an error for a list: the code of Shoal's own, the class of others. */
export function errorName(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as { code?: unknown }
  return (typeof code === 'string' && code !== '' ? code : error.name).slice(0, 64)
}

/**
 * The record of a task that ended without having run to its end: it died with its worker, or never came to one, by this error
 * or by that of an argument.
 */
export function unfinishedRun(
  task: { sequence: number; name: string; job: ClientId; attempt: number; sinceMs: number },
  { owner, error, nowMs }: { owner: ClientId; error?: unknown; nowMs: number },
): TaskRun {
  const code = error === undefined ? 'ARGUMENT_FAILED' : errorName(error)
  const { node, workerPid } = ((error as { details?: unknown } | undefined)?.details ?? {}) as Record<string, unknown>
  return {
    owner,
    job: task.job,
    sequence: task.sequence,
    attempt: task.attempt,
    name: task.name,
    state: code === 'TASK_CANCELLED' ? 'cancelled' : 'failed',
    code,
    isHere: false,
    node: typeof node === 'string' ? node : '',
    pid: typeof workerPid === 'number' ? workerPid : 0,
    startMs: task.sinceMs,
    endMs: nowMs,
    busyMs: 0,
    count: 1,
  }
}
