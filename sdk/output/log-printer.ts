import { styleText } from 'node:util'
import { stripVTControlCharacters } from 'node:util'
import type { MessageBody } from '../../protocols/messages.ts'
import { LineFolder, type TaskLine } from './line-folder.ts'

const windowMs = 1000

/** Shows the console output of tasks at the driver: `(square pid=123) text`, repeated lines folded. */
export class LogPrinter {
  readonly #folder = new LineFolder(windowMs)
  #timer: NodeJS.Timeout | undefined

  print(log: MessageBody<'log'>): void {
    for (const text of log.lines) {
      const line = { name: log.name, pid: log.pid, isError: log.isError, text }
      for (const shown of this.#folder.add(line, performance.now())) show(shown.line, shown.suffix)
    }
    this.#plan()
  }

  #plan(): void {
    const { nextMs } = this.#folder
    if (this.#timer !== undefined || nextMs === undefined) return
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        for (const shown of this.#folder.due(performance.now())) show(shown.line, shown.suffix)
        this.#plan()
      },
      Math.max(0, nextMs - performance.now()),
    ).unref()
  }

  /** Shows what is still counted; to be called at the end. */
  close(): void {
    clearTimeout(this.#timer)
    for (const shown of this.#folder.flush()) show(shown.line, shown.suffix)
  }
}

function show(line: TaskLine, suffix: string): void {
  const stream = line.isError ? process.stderr : process.stdout
  const prefix = styleText('cyan', `(${line.name} pid=${line.pid})`, { stream })
  const text = stream.isTTY ? line.text : stripVTControlCharacters(line.text)
  stream.write(`${prefix} ${text}${suffix}\n`)
}
