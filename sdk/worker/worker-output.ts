/**
 * Marks the console output of this worker with the task that prints it: before the first output of another task than the
 * last it writes a line that the node takes out again. The output itself goes straight to the pipe, so that a task that
 * never returns to the event loop is heard, too.
 */
export class WorkerOutput {
  readonly #current: () => { name: string; to: string } | undefined

  constructor(current: () => { name: string; to: string } | undefined) {
    this.#current = current
  }

  install(): void {
    for (const stream of [process.stdout, process.stderr]) {
      const write = stream.write.bind(stream) as (...args: unknown[]) => boolean
      let marked = ''
      const marking = (...args: unknown[]): boolean => {
        const current = this.#current()
        if (current !== undefined) {
          const marker = `\u001eshoal:${JSON.stringify(current)}\n`
          if (marker !== marked) write(marker)
          marked = marker
        }
        return write(...args)
      }
      stream.write = marking
    }
  }
}
