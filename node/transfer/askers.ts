import type { NodeId } from '../../protocols/ids.ts'
import { peersMax } from './value-frames.ts'

const namesMax = 10_000
/** Who has asked for so long ago has it, or has given it up. */
const askedMsMax = 30_000

/** Who has asked for which value lately: they have some of it, and can give it to each other. */
export class Askers {
  readonly #now: () => number
  /** Values asked for longest ago first. */
  readonly #byName = new Map<string, Map<NodeId, number>>()

  constructor(now: () => number) {
    this.#now = now
  }

  add(name: string, node: NodeId): void {
    const askers = this.#byName.get(name) ?? new Map<NodeId, number>()
    this.#byName.delete(name)
    this.#byName.set(name, askers)
    askers.delete(node)
    askers.set(node, this.#now())
    if (this.#byName.size <= namesMax) return
    for (const oldest of this.#byName.keys()) {
      this.#byName.delete(oldest)
      return
    }
  }

  /** The last ones first. */
  others(name: string, than: NodeId): NodeId[] {
    const since = this.#now() - askedMsMax
    return [...(this.#byName.get(name) ?? [])]
      .filter(([node, atMs]) => node !== than && atMs >= since)
      .map(([node]) => node)
      .toReversed()
      .slice(0, peersMax)
  }

  nodeGone(node: NodeId): void {
    for (const askers of this.#byName.values()) askers.delete(node)
  }
}
