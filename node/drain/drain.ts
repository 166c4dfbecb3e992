import type { DrainReport, DrainState } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'

/** A value in the store here that is to be elsewhere before this node goes. */
export type LeavingValue = PeerMessageBody<'evacuateAsk'>['values'][number]
type StandingReport = PeerMessageBody<'evacuateReply'>['standings'][number]

export interface DrainHost {
  nowMs(): number
  /** Calls back once, after a while. */
  after(delayMs: number, callback: () => void): void
  /** The node takes new work, or takes none and asks for what it has lent. */
  setOpen(isOpen: boolean): void
  /** What runs here. */
  running(): DrainReport['running']
  /** Ends all that runs. */
  killAll(reason: string): void
  /** What has to be elsewhere before this node goes. */
  leavingValues(): Iterable<LeavingValue>
  /** What ends with the processes of this node. */
  staying(): Pick<DrainReport, 'staying' | 'programs'>
  /** Tells the node of their owners, which sees to it that they are elsewhere, too. Rejects when it cannot be asked. */
  evacuate(node: NodeId, values: LeavingValue[]): Promise<readonly StandingReport[]>
  /** For those who look later. */
  say(text: string, level: 'info' | 'warning'): void
}

const lookMs = 250
/** Those that could go nowhere are asked for again after this time. */
const againMs = 3000
/** So many are on their way at a time, for each node of owners. */
const comingMax = 256
/** With force: what is left gets so much time after the deadline. */
const graceMs = 10_000

interface Known {
  standing: StandingReport['standing']
  problem: string
  askedAtMs: number
}

/**
 * Takes this node out of service: it takes no new work, lets what runs end, and has the values that only it has brought to
 * other nodes. Knows no socket and no clock.
 */
export class Drain {
  readonly #host: DrainHost
  #state: DrainState = 'open'
  #deadlineAtMs = Infinity
  #isForced = false
  #hasKilled = false
  #known = new Map<string, Known>()
  #isLooking = false
  /** Counts the drains, so that what an earlier one has begun is not taken for this one's. */
  #run = 0

  constructor(host: DrainHost) {
    this.#host = host
  }

  /** Begins, or goes on with another deadline. Without one it takes as long as it takes. */
  begin({ deadlineMs, force }: { deadlineMs?: number | undefined; force: boolean }): void {
    const { nowMs, setOpen, say } = this.#host
    this.#isForced = force
    this.#deadlineAtMs = nowMs() + (deadlineMs ?? (force ? 0 : Infinity))
    if (this.#state === 'drained') return
    if (this.#state === 'open') {
      this.#known = new Map()
      this.#hasKilled = false
      setOpen(false)
      say('the node is being drained: it takes no new work', 'info')
    }
    this.#state = 'draining'
    if (!this.#isLooking) void this.#look(++this.#run)
  }

  /** The node takes work again. */
  undo(): void {
    if (this.#state === 'open') return
    this.#state = 'open'
    this.#isLooking = false
    this.#run++
    this.#host.setOpen(true)
    this.#host.say('the node takes work again', 'info')
  }

  async #look(run: number): Promise<void> {
    this.#isLooking = true
    const values = [...this.#host.leavingValues()]
    await this.#move(values)
    if (run !== this.#run) return
    this.#judge(values)
    if (this.#state === 'drained') this.#isLooking = false
    else this.#host.after(lookMs, () => run === this.#run && void this.#look(run))
  }

  async #move(values: readonly LeavingValue[]): Promise<void> {
    const nowMs = this.#host.nowMs()
    const names = new Set(values.map(({ name }) => name))
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name)
    const byNode = Map.groupBy(values, ({ owner }) => nodeOf(owner))
    await Promise.all(Array.from(byNode, ([node, ofNode]) => this.#ask(node, ofNode, nowMs)))
  }

  async #ask(node: NodeId, values: readonly LeavingValue[], nowMs: number): Promise<void> {
    const due = values.filter(({ name }) => {
      const known = this.#known.get(name)
      if (known?.standing === 'nowhere') return nowMs - known.askedAtMs >= againMs
      return known?.standing !== 'kept'
    })
    // Those that are on their way come first, so that there are never more of them.
    const first = due.toSorted((a, b) => this.#rank(a) - this.#rank(b)).slice(0, comingMax)
    if (first.length === 0) return
    let told: readonly StandingReport[]
    try {
      told = await this.#host.evacuate(node, first)
    } catch (error) {
      const problem = `node ${node}, where its owner is, cannot be asked: ${(error as Error).message}`
      told = first.map(({ name }) => ({ name, standing: 'nowhere', problem }))
    }
    for (const { name, standing, problem } of told) this.#known.set(name, { standing, problem, askedAtMs: nowMs })
  }

  #rank({ name }: LeavingValue): number {
    const standing = this.#known.get(name)?.standing
    return standing === 'coming' ? 0 : standing === undefined ? 1 : 2
  }

  #judge(values: readonly LeavingValue[]): void {
    const { nowMs, running, killAll, say } = this.#host
    const isIdle = running().length === 0
    if (isIdle && values.every(({ name }) => this.#known.get(name)?.standing === 'kept')) return this.#end('drained')
    const lateMs = nowMs() - this.#deadlineAtMs
    if (lateMs < 0) return
    if (!this.#isForced) {
      if (this.#state !== 'overdue') say('the node is not drained by its deadline', 'warning')
      this.#state = 'overdue'
      return
    }
    if (!isIdle && !this.#hasKilled) {
      this.#hasKilled = true
      killAll('its node is drained by force')
    }
    const isHopeless = values.every(({ name }) => (this.#known.get(name)?.standing ?? 'coming') !== 'coming')
    if (isIdle && (isHopeless || lateMs >= graceMs)) this.#end('drained, but some values are only here')
  }

  #end(text: string): void {
    this.#state = 'drained'
    this.#host.say(`the node is ${text}`, text === 'drained' ? 'info' : 'warning')
  }

  report(): Omit<DrainReport, 'node' | 'name'> {
    const { running, leavingValues, staying, nowMs } = this.#host
    const toMove = { values: 0, bytes: 0 }
    const moved = { values: 0, bytes: 0 }
    const stuck = { values: 0, bytes: 0, problem: '' }
    for (const { name, bytes } of this.#state === 'open' ? [] : leavingValues()) {
      const { standing = 'coming', problem = '' } = this.#known.get(name) ?? {}
      const sum = standing === 'kept' ? moved : standing === 'nowhere' ? stuck : toMove
      sum.values += 1
      sum.bytes += bytes
      if (standing === 'nowhere') stuck.problem = problem
    }
    const leftMs = this.#deadlineAtMs - nowMs()
    return {
      state: this.#state,
      isForced: this.#isForced,
      ...(Number.isFinite(leftMs) && this.#state === 'draining' ? { leftMs: Math.max(0, leftMs) } : {}),
      running: running(),
      toMove,
      moved,
      stuck,
      ...staying(),
    }
  }
}
