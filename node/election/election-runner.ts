import type { ElectionMessage, Rank, Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { Election } from './election.ts'
import type { ElectionAction, ElectionEvent } from './election-events.ts'
import type { FenceFile } from './fence-file.ts'
import { FenceQueue } from './fence-queue.ts'

export interface ElectionRunnerComponents {
  self: NodeId
  rank: Rank
  fence: FenceFile
  /** A clock that goes on while the machine is suspended. */
  nowMs(): number
  random(): number
  send(to: NodeId, message: ElectionMessage): void
  /** How this node stands, for its head. */
  report(): Uint8Array
  onStartActing(term: Term): void
  onStopActing(term: Term, reason: string): void
  onHeadChanged(head: NodeId | undefined, term: Term | undefined): void
  onReported(node: NodeId, term: Term, report: Uint8Array): void
  log(text: string): void
}

/** Gives the election its clock, its disk and its links, and does what it decides. */
export class ElectionRunner {
  readonly #with: ElectionRunnerComponents
  readonly #election: Election
  readonly #steps: ElectionEvent[] = []
  #isStepping = false
  #isRunning = false
  #timer: NodeJS.Timeout | undefined
  readonly #fences = new FenceQueue()
  #writing: Promise<void> = Promise.resolve()
  #hasFailed = false

  constructor(components: ElectionRunnerComponents) {
    this.#with = components
    const { self, rank, fence, nowMs, random } = components
    this.#election = new Election({ self, rank, fence: fence.read(), nowMs: nowMs(), random })
  }

  /** The node that this one obeys, itself included. */
  get head(): NodeId | undefined {
    return this.#election.head?.head
  }

  get term(): Term | undefined {
    return this.#election.head
  }

  /** The highest term that this node has accepted. */
  get fence(): Term | undefined {
    return this.#election.fence
  }

  start(): void {
    this.#isRunning = true
    this.#step({ type: 'tick' })
  }

  onMessage(from: NodeId, message: ElectionMessage): void {
    this.#step({ type: 'message', from, message })
  }

  /** The nodes that a link leads to have changed. */
  setPeers(peers: readonly NodeId[]): void {
    this.#step({ type: 'peersChanged', peers })
  }

  /** The link to a node is down, or a newer one has taken its place. */
  linkDown(node: NodeId): void {
    this.#step({ type: 'linkDown', node })
  }

  /** True when a command of this node in this term is to be obeyed. */
  mayObey(from: NodeId, term: Term): boolean {
    return this.#election.mayObey(from, term)
  }

  /** Releases what this node holds. */
  async stop(): Promise<void> {
    this.#step({ type: 'stop' })
    this.#isRunning = false
    clearTimeout(this.#timer)
    for (let writing; writing !== this.#writing;) {
      writing = this.#writing
      await writing
    }
  }

  /** What an action leads to may be an event of its own; it waits its turn. */
  #step(event: ElectionEvent): void {
    this.#steps.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#steps.shift(); next !== undefined; next = this.#steps.shift()) this.#do(next)
    } finally {
      this.#isStepping = false
    }
    this.#sleep()
  }

  #sleep(): void {
    clearTimeout(this.#timer)
    if (!this.#isRunning) return
    const nowMs = this.#with.nowMs()
    this.#timer = setTimeout(() => this.#step({ type: 'tick' }), Math.max(1, this.#election.wakeAtMs(nowMs) - nowMs))
  }

  #do(event: ElectionEvent): void {
    const { send, report, nowMs } = this.#with
    const { messages, actions } = this.#election.step(event, nowMs())
    for (const { to, message, wantsReport } of messages) {
      send(to, wantsReport === true && message.type === 'support' ? { ...message, report: report() } : message)
    }
    for (const action of actions) this.#perform(action)
  }

  #perform(action: ElectionAction): void {
    const { onStartActing, onStopActing, onHeadChanged, onReported } = this.#with
    switch (action.type) {
      case 'persistFence':
        return this.#persist(this.#fences.want(action.term))
      case 'startActing':
        return onStartActing(action.term)
      case 'stopActing':
        return onStopActing(action.term, action.reason)
      case 'headChanged':
        return onHeadChanged(action.head, action.term)
      case 'reported':
        return onReported(action.node, action.term, action.report)
    }
  }

  #persist(term: Term | undefined): void {
    if (term !== undefined) this.#writing = this.#write(term)
  }

  async #write(term: Term): Promise<void> {
    const { fence, log } = this.#with
    let isWritten = true
    try {
      await fence.write(term)
    } catch (error) {
      isWritten = false
      // Without its fence on the disk this node supports nobody. It tries again, often, so it is said once.
      if (!this.#hasFailed) log(`the term of the head could not be written: ${(error as Error).message}`)
    }
    this.#hasFailed = !isWritten
    this.#step({ type: isWritten ? 'fencePersisted' : 'fenceFailed', term })
    this.#persist(this.#fences.ended(isWritten))
  }
}
