const linesMax = 5
const lineCharsMax = 400
const textCharsMax = 300
/** Of one piece of output, only its end is looked at: a task may print without end. */
const linesLookedAtMax = 200

/** Frames, carets, places and frills around the one line that says what has happened. */
const noise =
  /^\s*$|^\s+at |^\s*[\^~]+\s*$|^Node\.js v\d|^\s*\d+: 0x|^-{3,}|^<-{3}|^(?:file|node):\S+:\d+$|^\(Use `node |^Thrown at:/
const problem = /^(?:Uncaught )?(?:FATAL ERROR|(?:[A-Za-z_$][\w$.]*)?(?:Error|Exception))\b/

/** The last telling lines of a worker's error output: why it ended, if it ends. */
export class LastWords {
  #lines: string[] = []

  add(lines: readonly string[]): void {
    const telling: string[] = []
    const end = Math.max(0, lines.length - linesLookedAtMax)
    for (let at = lines.length - 1; at >= end && telling.length < linesMax; at--) {
      const line = lines[at] as string
      if (!noise.test(line)) telling.unshift(line.slice(0, lineCharsMax))
    }
    if (telling.length > 0) this.#lines = [...this.#lines, ...telling].slice(-linesMax)
  }

  forget(): void {
    this.#lines = []
  }

  /** One line: from the last line that names an error on, or the last line of all. '' when nothing was said. */
  get text(): string {
    const at = this.#lines.findLastIndex((line) => problem.test(line))
    const text = this.#lines
      .slice(at)
      .join(' ')
      .replaceAll(/[\p{Cc}\s]+/gu, ' ')
      .trim()
    return text.length > textCharsMax ? `${text.slice(0, textCharsMax)}…` : text
  }
}
