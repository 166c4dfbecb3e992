import { isCancelReason } from './running-task.ts'

/**
 * A rejection that nobody handles ends the process, as in any program. But a cancelled task that waits in two promises at once
 * can handle one of them only, and a process is not to end over a task that was cancelled.
 *
 * @param later told in the context of the rejection how to end the process; true when it will do so later.
 */
export function watchRejections(later: (end: () => void) => boolean): void {
  const onStray = (reason: unknown): void => {
    // When the user's code has a listener of its own, that one decides.
    if (isCancelReason(reason) || process.listenerCount('unhandledRejection') > 1) return
    const end = (): void => {
      // Nobody listens, so Node does with it what it does with any other.
      process.off('unhandledRejection', onStray)
      void Promise.reject(reason)
      setImmediate(() => process.on('unhandledRejection', onStray))
    }
    if (!later(end)) end()
  }
  process.on('unhandledRejection', onStray)
}
