import type { NodeId } from '../../protocols/ids.ts'

export interface RecordBookOptions {
  /** A record that is not told again ends after this time. */
  lifeMs: number
  /** Records of one node that are kept. @default 2_000_000 */
  perNodeMax?: number
}

/** Which nodes have said that they hold what: the part of the directory that lies at this node. */
export class RecordBook {
  readonly #lifeMs: number
  readonly #perNodeMax: number
  /** By digest. */
  readonly #holders = new Map<string, Map<NodeId, number>>()
  readonly #byNode = new Map<NodeId, Set<string>>()

  constructor({ lifeMs, perNodeMax = 2_000_000 }: RecordBookOptions) {
    this.#lifeMs = lifeMs
    this.#perNodeMax = perNodeMax
  }

  get count(): number {
    let count = 0
    for (const digests of this.#byNode.values()) count += digests.size
    return count
  }

  /** False when the node has too many already. */
  add(digest: string, node: NodeId, nowMs: number): boolean {
    const digests = this.#byNode.get(node) ?? new Set<string>()
    if (!digests.has(digest) && digests.size >= this.#perNodeMax) return false
    this.#byNode.set(node, digests.add(digest))
    const holders = this.#holders.get(digest)
    if (holders === undefined) this.#holders.set(digest, new Map([[node, nowMs + this.#lifeMs]]))
    else holders.set(node, nowMs + this.#lifeMs)
    return true
  }

  remove(digest: string, node: NodeId): void {
    const holders = this.#holders.get(digest)
    holders?.delete(node)
    if (holders?.size === 0) this.#holders.delete(digest)
    const digests = this.#byNode.get(node)
    digests?.delete(digest)
    if (digests?.size === 0) this.#byNode.delete(node)
  }

  find(digest: string, nowMs: number): NodeId[] {
    return [...(this.#holders.get(digest) ?? [])].filter(([, untilMs]) => untilMs > nowMs).map(([node]) => node)
  }

  /** A node is gone, and what it holds with it. */
  nodeGone(node: NodeId): void {
    for (const digest of this.#byNode.get(node) ?? []) this.remove(digest, node)
  }

  /** Drops what has not been told again. */
  expire(nowMs: number): void {
    for (const [digest, holders] of this.#holders) {
      for (const [node, untilMs] of holders) if (untilMs <= nowMs) this.remove(digest, node)
    }
  }
}
