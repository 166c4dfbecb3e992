/** The part of a stream's inside that is needed here: a pipe can be told to make writers wait. */
interface BlockingHandle {
  setBlocking?(isBlocking: boolean): void
}

/**
 * Marks the console output of this worker with the task that prints it: before the first output of another task than the
 * last it writes a line that the node takes out again. The output itself goes straight to the pipe, and a full pipe makes
 * the task wait. So a task that never returns to the event loop is heard, too, and no result overtakes what was printed
 * before it.
 */
export class WorkerOutput {
  readonly #current: () => { name: string; to: string; task: string } | undefined
  readonly #token: string
  readonly #marked = new Map<object, string>()
  /** Something was printed since this was last set back. */
  hasPrinted = false

  /** @param token proves to the node that a mark is ours, and not something that a task printed. */
  constructor(token: string, current: () => { name: string; to: string; task: string } | undefined) {
    this.#token = token
    this.#current = current
  }

  /** The node has begun to take what comes for another task's: the next output is marked in any case. */
  forget(): void {
    this.#marked.clear()
  }

  install(): void {
    for (const stream of [process.stdout, process.stderr]) {
      // There is no public way to this; where it is missing, a long task's output is only late.
      const { _handle: handle } = stream as { _handle?: BlockingHandle }
      handle?.setBlocking?.(true)
      const write = stream.write.bind(stream) as (...args: unknown[]) => boolean
      const marking = (...args: unknown[]): boolean => {
        this.hasPrinted = true
        const current = this.#current()
        if (current !== undefined) {
          const marker = `\u001eshoal:${this.#token}:${JSON.stringify(current)}\n`
          if (this.#marked.get(stream) !== marker) write(marker)
          this.#marked.set(stream, marker)
        }
        return write(...args)
      }
      stream.write = marking
    }
  }
}
