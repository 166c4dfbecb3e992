/** A line of console output of a task, as it comes from its worker. */
export interface TaskLine {
  name: string
  pid: number
  isError: boolean
  text: string
}

interface Repeats {
  line: TaskLine
  count: number
  pids: Set<number>
  untilMs: number
}

/** Lines that are remembered for folding at a time; beyond them the oldest is reported and forgotten. */
const remembered = 1000

/**
 * Folds lines that several workers print alike: the first is shown at once, the same text of the same task from other
 * workers within the window is counted and shown as one line at its end. Pure: time comes in, lines go out.
 */
export class LineFolder {
  readonly #windowMs: number
  readonly #repeats = new Map<string, Repeats>()

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** Takes a line; returns what is to be shown now. */
  add(line: TaskLine, nowMs: number): { line: TaskLine; suffix: string }[] {
    const shown = this.due(nowMs)
    const key = `${line.isError ? 1 : 0}${line.name}\n${line.text}`
    const known = this.#repeats.get(key)
    if (known !== undefined && (known.count > 0 || !known.pids.has(line.pid))) {
      known.count += 1
      known.pids.add(line.pid)
      return shown
    }
    if (known === undefined) {
      this.#repeats.set(key, { line, count: 0, pids: new Set([line.pid]), untilMs: nowMs + this.#windowMs })
      if (this.#repeats.size > remembered) {
        const [oldest] = this.#repeats.keys()
        shown.push(...this.#end(oldest as string))
      }
    }
    shown.push({ line, suffix: '' })
    return shown
  }

  /** The counts whose window is over. */
  due(nowMs: number): { line: TaskLine; suffix: string }[] {
    const shown = []
    for (const [key, repeats] of this.#repeats) {
      // In the order of their beginning, so the first that is not over ends the search.
      if (repeats.untilMs > nowMs) break
      shown.push(...this.#end(key))
    }
    return shown
  }

  /** Everything that is still counted. */
  flush(): { line: TaskLine; suffix: string }[] {
    return this.due(Number.POSITIVE_INFINITY)
  }

  /** When the next window is over; undefined when nothing is remembered. */
  get nextMs(): number | undefined {
    const [first] = this.#repeats.values()
    return first?.untilMs
  }

  #end(key: string): { line: TaskLine; suffix: string }[] {
    const repeats = this.#repeats.get(key) as Repeats
    this.#repeats.delete(key)
    if (repeats.count === 0) return []
    return [{ line: repeats.line, suffix: ` [repeated ${repeats.count}x across ${repeats.pids.size} workers]` }]
  }
}
