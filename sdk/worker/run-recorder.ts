import type { TaskResult } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import { errorName, type RunLog } from '../tasks/run-log.ts'
import type { RunningTask } from './running-task.ts'

/** Takes note of what has run in this worker, for people to look at. */
export class RunRecorder {
  readonly #runs: RunLog
  /** What the errors in results are called. */
  readonly #errorNames = new WeakMap<WireValue, string>()

  constructor(runs: RunLog) {
    this.#runs = runs
  }

  /** An error was coded as a result. */
  failed(wire: WireValue, error: unknown): void {
    this.#errorNames.set(wire, errorName(error))
  }

  ended(task: RunningTask, { status, durationUs, values }: TaskResult, nowMs: number): void {
    const busyMs = durationUs / 1000
    const state = status === 'error' ? 'failed' : status === 'cancelled' ? 'cancelled' : 'finished'
    if (state === 'finished' && this.#runs.sum(task, busyMs, nowMs)) return
    const { spec, caller, job, calledAtMs } = task
    const { sequence, attempt, name } = spec
    const [error] = values
    this.#runs.add({
      owner: caller,
      job,
      sequence,
      attempt,
      name,
      state,
      code: state === 'failed' && error !== undefined ? (this.#errorNames.get(error) ?? '') : '',
      isHere: true,
      node: '',
      pid: 0,
      startMs: calledAtMs === 0 ? nowMs : calledAtMs,
      endMs: nowMs,
      busyMs,
      count: 1,
    })
  }
}
