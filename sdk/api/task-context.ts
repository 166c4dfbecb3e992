import { NotInitializedError } from '../../protocols/errors.ts'

/** What a task can know of itself. */
export interface TaskContext {
  /** The node that it runs on. */
  readonly nodeId: string
  /** The name that the caller gave it, or the function's own. */
  readonly taskName: string
  /** How often this call was tried before: 0 the first time. */
  readonly attempt: number
  /** Aborts when the task is cancelled, or is a call of an actor whose caller is gone. */
  readonly signal: AbortSignal
  /**
   * The GPUs that this task may use, by their numbers on the machine. CUDA sees no others and numbers them from 0 on; so
   * does HIP.
   */
  readonly gpuIds: readonly number[]
}

let current: (() => TaskContext | undefined) | undefined

/** @internal Says how this process's running task is found. */
export function setTaskContext(find: () => TaskContext | undefined): void {
  current = find
}

/**
 * What the running task can know of itself.
 *
 * Throws NotInitializedError outside of a task.
 *
 * @example
 * const download = remote(async (url: string) => (await fetch(url, { signal: taskContext().signal })).text())
 */
export function taskContext(): TaskContext {
  const context = current?.()
  if (context === undefined) throw new NotInitializedError('taskContext() is for code that runs in a task')
  return context
}
