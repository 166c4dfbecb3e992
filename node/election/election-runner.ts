import type { ElectionMessage, Rank, Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { Election, type ElectionEvent } from './election.ts'
import type { FenceFile } from './fence-file.ts'

export interface ElectionRunnerComponents {
  self: NodeId
  fence: FenceFile
  nowMs(): number
  random(): number
  rank: Rank
  send(to: NodeId, message: ElectionMessage): void
  report(): Uint8Array
  onStartActing(term: Term): void
  onStopActing(term: Term, reason: string): void
  onHeadChanged(head: NodeId | undefined, term: Term | undefined): void
  onReported(node: NodeId, term: Term, report: Uint8Array): void
  log(text: string): void
}

const tickMs = 25

export class ElectionRunner {
  readonly #with: ElectionRunnerComponents
  readonly #core: Election
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  constructor(components: ElectionRunnerComponents) {
    this.#with = components
    const { self, rank, fence, nowMs, random } = components
    this.#core = new Election({ self, rank, fence: fence.read(), nowMs: nowMs(), random })
  }
  get head(): NodeId | undefined {
    return this.#core.head?.head
  }
  get term(): Term | undefined {
    return this.#core.head
  }
  get fence(): Term | undefined {
    return this.#core.fence
  }
  get isActing(): boolean {
    return this.#core.isActing
  }
  start(): void {
    this.#timer = setInterval(() => this.#step({ type: 'tick' }), tickMs)
  }
  onMessage(from: NodeId, message: ElectionMessage): void {
    this.#step({ type: 'message', from, message })
  }
  setPeers(peers: NodeId[]): void {
    this.#step({ type: 'peersChanged', peers })
  }
  mayObey(from: NodeId, term: Term): boolean {
    return this.#core.mayObey(from, term)
  }
  async stop(): Promise<void> {
    this.#step({ type: 'stop' })
    clearInterval(this.#timer)
    await this.#writing
  }
  #step(event: ElectionEvent): void {
    const { send, report, fence, log, onStartActing, onStopActing, onHeadChanged, onReported } = this.#with
    const { messages, actions } = this.#core.step(event, this.#with.nowMs())
    for (const { to, message } of messages)
      send(to, message.type === 'support' ? { ...message, report: report() } : message)
    for (const action of actions) {
      switch (action.type) {
        case 'persistFence':
          this.#writing = this.#writing
            .then(() => fence.write(action.term))
            .then(
              () => this.#step({ type: 'fencePersisted', term: action.term }),
              (error: Error) => log(`the fence could not be written: ${error.message}`),
            )
          break
        case 'startActing':
          onStartActing(action.term)
          break
        case 'stopActing':
          onStopActing(action.term, action.reason)
          break
        case 'headChanged':
          onHeadChanged(action.head, action.term)
          break
        case 'reported':
          onReported(action.node, action.term, action.report)
          break
      }
    }
  }
}
