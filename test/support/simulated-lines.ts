import { nodeOf, type ClientId } from '../../protocols/ids.ts'

export interface SimulatedLinesHost {
  after(delayMs: number, callback: () => void): void
  random(): number
  isAlive(worker: ClientId): boolean
  onFence(caller: ClientId, worker: ClientId, fence: number): void
  /** A caller is told that its line to a worker has ended. */
  onEnded(caller: ClientId, worker: ClientId, line: number): void
}

interface SimulatedLine {
  readonly number: number
  readonly caller: ClientId
  readonly worker: ClientId
  /** Messages that are under way, in each direction. */
  readonly toWorker: (() => void)[]
  readonly toCaller: (() => void)[]
  /** Nothing more is sent: what is under way arrives, and then the caller is told. */
  isEnding: boolean
  isBroken: boolean
}

/**
 * Lines between callers and workers of one node, in virtual time: in either direction messages come in their order, sooner or later
 * than through the node. A line may break, which loses what is under way.
 */
export class SimulatedLines {
  readonly #host: SimulatedLinesHost
  readonly #lines = new Map<string, SimulatedLine>()
  /** Messages that were lost when lines broke. */
  lost = 0
  /** Answers that a caller has thrown away by hanging up. */
  thrownAway = 0
  /** Fences that have come back. */
  fences = 0
  readonly #fenceBacks = new WeakSet<() => void>()
  #lastLine = 0
  #lastFence = 0

  constructor(host: SimulatedLinesHost) {
    this.#host = host
  }

  #delay(): number {
    return this.#host.random() < 0.5 ? this.#host.random() * 2 : this.#host.random() * 40
  }

  open(caller: ClientId, worker: ClientId): void {
    const key = keyOf(caller, worker)
    if (nodeOf(caller) !== nodeOf(worker) || !this.#host.isAlive(worker) || this.#lines.has(key)) return
    this.#host.after(this.#delay(), () => {
      const number = ++this.#lastLine
      const line = { number, caller, worker, toWorker: [], toCaller: [], isEnding: false, isBroken: false }
      if (this.#host.isAlive(worker)) this.#lines.set(key, line)
    })
  }

  numberOf(caller: ClientId, worker: ClientId): number {
    return this.#lines.get(keyOf(caller, worker))?.number ?? 0
  }

  /** What was sent before has arrived when the fence comes back. */
  fence(caller: ClientId, worker: ClientId): number {
    const number = ++this.#lastFence
    const back = (): void => {
      this.fences += 1
      this.#host.onFence(caller, worker, number)
    }
    this.#fenceBacks.add(back)
    this.toWorker(caller, worker, () => void this.toCaller(caller, worker, back))
    return number
  }

  toWorker(caller: ClientId, worker: ClientId, arrive: () => void): void {
    const line = this.#lines.get(keyOf(caller, worker))
    if (line !== undefined) this.#send(line, line.toWorker, arrive)
  }

  /** False when there is no line. */
  toCaller(caller: ClientId, worker: ClientId, arrive: () => void): boolean {
    const line = this.#lines.get(keyOf(caller, worker))
    if (line === undefined || line.isEnding) return false
    this.#send(line, line.toCaller, arrive)
    return true
  }

  #send(line: SimulatedLine, queue: (() => void)[], arrive: () => void): void {
    queue.push(arrive)
    this.#host.after(this.#delay(), () => {
      if (!line.isBroken) queue.shift()?.()
    })
  }

  /** The worker ends its lines, or has ended: what it has sent arrives before the callers hear of it. */
  endAll(worker: ClientId, then: () => void): void {
    let left = 1
    const next = (): void => {
      if (--left === 0) then()
    }
    for (const line of this.#lines.values()) {
      if (line.worker !== worker) continue
      left++
      line.isEnding = true
      this.#endWhenRead(line, next)
    }
    next()
  }

  #endWhenRead(line: SimulatedLine, then: () => void): void {
    if (line.toCaller.length > 0 && !line.isBroken) this.#host.after(1, () => this.#endWhenRead(line, then))
    else {
      this.#end(line)
      then()
    }
  }

  #end(line: SimulatedLine): void {
    const key = keyOf(line.caller, line.worker)
    if (this.#lines.get(key) !== line) return
    this.#lines.delete(key)
    this.#host.onEnded(line.caller, line.worker, line.number)
  }

  /** The caller hangs up: what is under way is lost, and it is not told. */
  drop(caller: ClientId, worker: ClientId): void {
    const line = this.#lines.get(keyOf(caller, worker))
    this.#lines.delete(keyOf(caller, worker))
    if (line === undefined) return
    this.thrownAway += line.toCaller.filter((arrive) => !this.#fenceBacks.has(arrive)).length
    line.isBroken = true
  }

  breakOne(): void {
    const lines = [...this.#lines.values()]
    const line = lines[Math.floor(this.#host.random() * lines.length)]
    if (line === undefined) return
    line.isBroken = true
    this.lost += line.toCaller.length + line.toWorker.length
    this.#end(line)
  }
}

function keyOf(caller: ClientId, worker: ClientId): string {
  return `${caller} ${worker}`
}
