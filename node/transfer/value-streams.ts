import type { NodeId } from '../../protocols/ids.ts'
import type { BulkStream, PeerNetwork } from '../network/network.ts'

const idleMs = 10_000
const idlePerNodeMax = 4

interface Idle {
  stream: BulkStream
  timer: NodeJS.Timeout
}

/** Streams for values, opened once and used for one pull after the other. */
export class ValueStreams {
  readonly #network: Pick<PeerNetwork, 'openBulk'>
  readonly #timeoutMs: number
  readonly #idle = new Map<NodeId, Idle[]>()

  constructor(network: Pick<PeerNetwork, 'openBulk'>, timeoutMs: number) {
    this.#network = network
    this.#timeoutMs = timeoutMs
  }

  /** A stream to a node, for the caller alone. `isFresh`: nobody has used it before. Rejects with UnreachableError. */
  async take(node: NodeId): Promise<{ stream: BulkStream; isFresh: boolean }> {
    const idle = this.#idle.get(node)?.pop()
    if (idle !== undefined) {
      clearTimeout(idle.timer)
      return { stream: idle.stream, isFresh: false }
    }
    const stream = await this.#network.openBulk(node, { timeoutMs: this.#timeoutMs, purpose: 'values' })
    return { stream, isFresh: true }
  }

  /** Gives back a stream on which every question has been answered. */
  giveBack(node: NodeId, stream: BulkStream): void {
    const idle = this.#idle.get(node) ?? []
    if (idle.length >= idlePerNodeMax) {
      stream.abort('it is not needed any more')
      return
    }
    const timer = setTimeout(() => {
      this.#idle.set(
        node,
        (this.#idle.get(node) ?? []).filter((each) => each.stream !== stream),
      )
      stream.abort('it is not needed any more')
    }, idleMs).unref()
    idle.push({ stream, timer })
    this.#idle.set(node, idle)
  }

  nodeGone(node: NodeId): void {
    for (const { stream, timer } of this.#idle.get(node) ?? []) {
      clearTimeout(timer)
      stream.abort('the node is gone')
    }
    this.#idle.delete(node)
  }

  close(): void {
    for (const node of [...this.#idle.keys()]) this.nodeGone(node)
  }
}
