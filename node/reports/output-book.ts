import type { OutputArgs, OutputLine, OutputPart } from '../../protocols/admin.ts'
import type { OutputBlock } from '../workers/output-collector.ts'

/** Of one worker; what is older goes. */
const charsPerWorkerMax = 256 * 1024
/** Workers whose output is kept; of the others, those that wrote last longest ago go first. */
const workersMax = 64
const charsPerBlockMax = 32 * 1024
const charsPerAnswerMax = 256 * 1024
/** What a line, and a block, take besides the text. */
const lineChars = 16
const blockChars = 200

interface KeptBlock {
  readonly number: number
  readonly atMs: number
  readonly name: string
  readonly task: string
  readonly isError: boolean
  readonly lines: readonly string[]
  readonly chars: number
}

interface Kept {
  blocks: KeptBlock[]
  chars: number
}

/** What the workers of a node have printed: the last of it, for people to read. */
export class OutputBook {
  readonly #byPid = new Map<number, Kept>()
  readonly #wallMs: () => number
  #next = 0
  /** Blocks with lower numbers may be gone. */
  #goneBefore = 0

  /** @param wallMs the wall clock */
  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  add(pid: number, isError: boolean, { name, task = '', lines }: OutputBlock): void {
    const kept = this.#byPid.get(pid) ?? { blocks: [], chars: 0 }
    // Those that wrote last come last.
    this.#byPid.delete(pid)
    this.#byPid.set(pid, kept)
    for (const part of parts(lines)) {
      kept.blocks.push({ number: this.#next++, atMs: this.#wallMs(), name, task, isError, ...part })
      kept.chars += part.chars
    }
    let gone = 0
    while (kept.chars > charsPerWorkerMax && gone < kept.blocks.length - 1) {
      kept.chars -= (kept.blocks[gone] as KeptBlock).chars
      gone++
    }
    this.#drop(kept.blocks.splice(0, gone))
    const [oldest] = this.#byPid.keys()
    if (this.#byPid.size > workersMax && oldest !== undefined) {
      this.#drop(this.#byPid.get(oldest)?.blocks ?? [])
      this.#byPid.delete(oldest)
    }
  }

  #drop(blocks: readonly KeptBlock[]): void {
    this.#goneBefore = Math.max(this.#goneBefore, (blocks.at(-1)?.number ?? -1) + 1)
  }

  /** Lines of a worker, of tasks, or of all: from a number on, or the last ones. */
  find({ pid, task, limit, isTail }: Omit<OutputArgs, 'from'>, from: number): OutputPart {
    // A number beyond the end is of an earlier node in this place.
    const first = from > this.#next ? 0 : from
    const blocks = [...this.#byPid]
      .filter(([each]) => pid === undefined || each === pid)
      .flatMap(([each, { blocks: all }]) => {
        const found = isTail ? lastOf(all, first, task, limit) : firstOf(all, first, task, limit)
        return found.map((block) => ({ pid: each, block }))
      })
      .toSorted((a, b) => a.block.number - b.block.number)
    const isCut = this.#goneBefore > first
    if (isTail) return { lines: lastLines(blocks, limit), next: this.#next, hasMore: false, isCut }
    const lines: OutputLine[] = []
    let chars = 0
    for (const { pid: each, block } of blocks) {
      if (lines.length > 0 && (lines.length + block.lines.length > limit || chars + block.chars > charsPerAnswerMax)) {
        return { lines, next: block.number, hasMore: true, isCut }
      }
      for (const line of linesOf(each, block)) lines.push(line)
      chars += block.chars
    }
    return { lines, next: this.#next, hasMore: false, isCut }
  }
}

function isOf({ name, task }: KeptBlock, wanted: string | undefined): boolean {
  return wanted === undefined || name.includes(wanted) || (task !== '' && task.startsWith(wanted))
}

/** So many blocks as give so many lines, and one more where there are more. */
function firstOf(blocks: readonly KeptBlock[], first: number, task: string | undefined, limit: number): KeptBlock[] {
  const found: KeptBlock[] = []
  for (let at = beginOf(blocks, first), lines = 0; at < blocks.length && lines <= limit; at++) {
    const block = blocks[at] as KeptBlock
    if (!isOf(block, task)) continue
    found.push(block)
    lines += block.lines.length
  }
  return found
}

function lastOf(blocks: readonly KeptBlock[], first: number, task: string | undefined, limit: number): KeptBlock[] {
  const found: KeptBlock[] = []
  for (let at = blocks.length - 1, lines = 0; at >= 0 && lines < limit; at--) {
    const block = blocks[at] as KeptBlock
    if (block.number < first) break
    if (!isOf(block, task)) continue
    found.push(block)
    lines += block.lines.length
  }
  return found
}

/** Where those begin that have this number or a higher one. */
function beginOf(blocks: readonly KeptBlock[], first: number): number {
  let low = 0
  let high = blocks.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((blocks[middle] as KeptBlock).number < first) low = middle + 1
    else high = middle
  }
  return low
}

function lastLines(blocks: readonly { pid: number; block: KeptBlock }[], limit: number): OutputLine[] {
  const found: OutputLine[][] = []
  let count = 0
  let chars = 0
  for (const { pid, block } of blocks.toReversed()) {
    if (count >= limit || (count > 0 && chars + block.chars > charsPerAnswerMax)) break
    found.push(linesOf(pid, block))
    count += block.lines.length
    chars += block.chars
  }
  return found.toReversed().flat().slice(-limit)
}

function linesOf(pid: number, { atMs, name, task, isError, lines }: KeptBlock): OutputLine[] {
  return lines.map((text) => ({ atMs, pid, name, task, isError, text }))
}

/** So that what goes when there is too much are small parts. */
function* parts(lines: readonly string[]): Generator<{ lines: readonly string[]; chars: number }> {
  let part: string[] = []
  let chars = 0
  for (const line of lines) {
    if (chars + line.length > charsPerBlockMax && part.length > 0) {
      yield { lines: part, chars: chars + blockChars }
      part = []
      chars = 0
    }
    part.push(line)
    chars += line.length + lineChars
  }
  if (part.length > 0) yield { lines: part, chars: chars + blockChars }
}
