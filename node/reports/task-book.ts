import type { TaskReport, TaskRunsPart } from '../../protocols/admin.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { objectId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import { Ring } from './ring.ts'

/** Ended tasks that a node remembers. */
const runsMax = 10_000
const nameCharsMax = 200

/** The tasks that have ended on a node, or whose owners here have given them up: the last ones, for people to read. */
export class TaskBook {
  readonly #runs = new Ring<TaskReport>(runsMax)
  readonly #node: string
  #left = 0

  constructor(node: string) {
    this.#node = node
  }

  /** A process of this node tells. Throws ProtocolError for times that are none. */
  add(pid: number, { left, runs }: MessageBody<'taskRuns'>): void {
    this.#left += left
    for (const { owner, job, sequence, attempt, name, state, code, isHere, ...run } of runs) {
      const { startMs, endMs, busyMs, count } = run
      if (![startMs, endMs, busyMs].every(Number.isFinite)) throw new ProtocolError('a task ran at a time that is none')
      this.#runs.push({
        id: objectId(owner, sequence),
        name: name.slice(0, nameCharsMax),
        state,
        job,
        attempt,
        count,
        startMs,
        endMs,
        busyMs,
        ...(isHere ? { node: this.#node, pid } : {}),
        ...(isHere || run.pid === 0 ? {} : { node: run.node, pid: run.pid }),
        ...(code === '' ? {} : { code }),
      })
    }
  }

  last(limit: number): TaskReport[] {
    return this.#runs.last(limit)
  }

  from(first: number, limit: number): TaskRunsPart {
    const { items, ...part } = this.#runs.from(first, limit)
    return { runs: items, ...part }
  }

  /** Tasks that were not recorded, because there were too many at a time. */
  get left(): number {
    return this.#left
  }
}
