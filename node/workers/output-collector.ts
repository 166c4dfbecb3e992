/** Whose output it is: the client whose task wrote it ('' before the first lease), and the task's name. */
export interface Whose {
  to: string
  name: string
  /** The id of the task, where it is known. */
  task?: string
}

/** Lines that one task wrote. */
export interface OutputBlock extends Whose {
  lines: string[]
}

/**
 * Begins the line by which a worker says whose output follows; the rest of the line is JSON. The token is the worker's
 * own, so that nothing that a task prints passes for a marker.
 */
export function outputMarker(token: string): string {
  return `\u001eshoal:${token}:`
}

const newline = 0x0a
const markerStart = 0x1e
const lineBytesMax = 64 * 1024
const blocksMax = 10_000
const nothing = Buffer.alloc(0)

/** Cuts one output stream of a worker into lines and says for each whose it is. Longer lines are cut. */
export class OutputCollector {
  readonly #marker: Buffer
  #rest: Buffer = nothing
  #whose: Whose = { to: '', name: '' }
  #blocks: OutputBlock[] = []
  markerCount = 0

  /** @param marker the beginning of a marker: see `outputMarker`. */
  constructor(marker: string) {
    this.#marker = Buffer.from(marker)
  }

  /** Whose the next line is. */
  get whose(): Whose {
    return this.#whose
  }

  /** True while there is an unfinished line. */
  get hasPartialLine(): boolean {
    return this.#rest.length > 0
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline)) {
      this.#line(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 1)
    }
    // A copy, so that the short end does not keep the whole chunk.
    this.#rest = bytes.length > lineBytesMax ? this.#cut(bytes) : Buffer.from(bytes)
  }

  /** Ends the unfinished line, if there is one that may be shown: the start of a marker is not. */
  flushPartial(): void {
    if (this.#rest.length === 0 || this.#unfinishedMarkerAt(this.#rest) === 0) return
    const at = this.#unfinishedMarkerAt(this.#rest)
    const bytes = at === -1 ? this.#rest : this.#rest.subarray(0, at)
    this.#rest = at === -1 ? nothing : this.#rest.subarray(at)
    this.#line(bytes)
  }

  /** What follows is theirs, until a marker says otherwise. */
  turnTo(whose: Whose): void {
    this.flushPartial()
    this.#whose = whose
  }

  /** The lines since the last call. */
  take(): OutputBlock[] {
    const blocks = this.#blocks
    this.#blocks = []
    return blocks
  }

  #line(bytes: Buffer): void {
    const at = bytes.indexOf(markerStart)
    const marker = at === -1 ? -1 : bytes.indexOf(this.#marker, at)
    if (marker === -1 || !this.#readMarker(bytes, marker)) this.#text(bytes)
  }

  /** Reads a marker. What stands before it is the end of the last task's output, which had no newline. */
  #readMarker(bytes: Buffer, marker: number): boolean {
    let whose: unknown
    try {
      whose = JSON.parse(bytes.toString('utf8', marker + this.#marker.length))
    } catch {
      return false
    }
    const { to, name, task } = (whose ?? {}) as { to?: unknown; name?: unknown; task?: unknown }
    if (typeof to !== 'string' || typeof name !== 'string') return false
    if (marker > 0) this.#text(bytes.subarray(0, marker))
    this.#whose = typeof task === 'string' ? { to, name, task } : { to, name }
    this.markerCount++
    return true
  }

  #text(bytes: Buffer): void {
    let rest = bytes
    while (rest.length > lineBytesMax) rest = this.#cut(rest)
    this.#add(rest)
  }

  /** Takes pieces of the longest allowed length off the front until the rest is short enough to wait for more. */
  #cut(bytes: Buffer): Buffer {
    let rest = bytes
    while (rest.length > lineBytesMax) {
      let end = lineBytesMax
      const marker = this.#unfinishedMarkerAt(rest.subarray(0, end))
      if (marker > 0) end = marker
      // Not in the middle of a UTF-8 character.
      else for (let back = 0; back < 3 && ((rest[end] as number) & 0xc0) === 0x80; back++) end--
      this.#add(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
    return Buffer.from(rest)
  }

  /** Where the bytes end in the start of a marker; -1 when they do not. */
  #unfinishedMarkerAt(bytes: Buffer): number {
    const at = bytes.lastIndexOf(markerStart)
    if (at === -1) return -1
    const tail = bytes.subarray(at, at + this.#marker.length)
    return tail.equals(this.#marker.subarray(0, tail.length)) ? at : -1
  }

  #add(bytes: Buffer): void {
    const carriageReturn = bytes.at(-1) === 0x0d ? 1 : 0
    const line = bytes.toString('utf8', 0, bytes.length - carriageReturn)
    const last = this.#blocks.at(-1)
    const { to, name, task } = this.#whose
    if (last !== undefined && last.to === to && last.name === name && last.task === task) last.lines.push(line)
    else if (this.#blocks.length < blocksMax) this.#blocks.push({ ...this.#whose, lines: [line] })
  }
}
