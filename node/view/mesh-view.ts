import type { Advert } from '../../protocols/advert.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { rhythmOf } from './rhythm.ts'

/** `suspected`: nothing was heard of it for a while and there is no link to it. */
export type ViewState = 'alive' | 'suspected'

/** A node as it is seen from here. */
export interface ViewedNode {
  readonly advert: Advert
  readonly state: ViewState
  /** There is a live link to it. */
  readonly isLinked: boolean
  /** When something was heard of it last. */
  readonly heardAtMs: number
}

/** What `tick` has found out. A node that is gone has left the view. */
export interface ViewChange {
  readonly type: 'suspected' | 'gone'
  readonly node: NodeId
}

/** `direct`: from the node itself over a link, so in order. Gossip may be late, doubled or lost. */
export type AdvertSourceKind = 'gossip' | 'direct'

export const nodesMax = 2_000
/** Late gossip of a node that has left is known for what it is for so long. */
const leftKeptMs = 120_000

interface Seen extends ViewedNode {
  readonly isDirect: boolean
}

interface Left {
  readonly startedAtMs: number
  readonly atMs: number
}

/**
 * The nodes of the mesh as this one sees them, by what they say of themselves and by the links to them. It holds hints: a
 * node in here may be dead already, or may have other resources free by now.
 *
 * Pure: no sockets, no clock.
 *
 * @example
 * const view = new MeshView(self)
 * view.apply(advert, now, 'gossip')
 * for (const { type, node } of view.tick(now)) console.log(node, type)
 */
export class MeshView {
  readonly #self: NodeId
  readonly #nodes = new Map<NodeId, Seen>()
  /** Links may be up before their node has said anything. There are no more of them than the network allows. */
  readonly #links = new Set<NodeId>()
  readonly #left = new Map<NodeId, Left>()

  /** The last time that it was told. */
  #nowMs = 0

  /** @param self this node: it is never suspected, however long it is silent */
  constructor(self: NodeId) {
    this.#self = self
  }

  get size(): number {
    return this.#nodes.size
  }

  /** True when there is a live link to every other node that is not gone. */
  get isLinkedToAll(): boolean {
    for (const { isLinked, advert } of this.#nodes.values()) if (!isLinked && advert.node !== this.#self) return false
    return true
  }

  /** All nodes that are not gone, this one included. What is handed out never changes. */
  nodes(): ViewedNode[] {
    return [...this.#nodes.values()]
  }

  /** What a node has said of itself last. */
  get(node: NodeId): Advert | undefined {
    return this.#nodes.get(node)?.advert
  }

  /** Takes in what a node says of itself. False when that was known, is older than what is known, or there is no room. */
  apply(advert: Advert, nowMs: number, source: AdvertSourceKind): boolean {
    this.#nowMs = nowMs
    const { node } = advert
    const isDirect = source === 'direct'
    const known = this.#nodes.get(node)
    if (known !== undefined && !isNewer(advert, isDirect, known)) return false
    const left = this.#left.get(node)
    if (left !== undefined && !isDirect && advert.startedAtMs <= left.startedAtMs) return false
    if (known === undefined && !this.#hasRoomFor(node)) return false
    this.#left.delete(node)
    this.#nodes.set(
      node,
      Object.freeze({ advert, state: 'alive', isLinked: this.#links.has(node), heardAtMs: nowMs, isDirect }),
    )
    return true
  }

  linkUp(node: NodeId, nowMs: number): void {
    this.#links.add(node)
    this.#left.delete(node)
    const known = this.#nodes.get(node)
    // What it says over this link comes in order, whatever was said over an earlier one.
    if (known !== undefined) this.#set({ ...known, state: 'alive', isLinked: true, heardAtMs: nowMs, isDirect: false })
  }

  linkDown(node: NodeId, nowMs: number): void {
    this.#links.delete(node)
    const known = this.#nodes.get(node)
    if (known !== undefined) this.#set({ ...known, isLinked: false, heardAtMs: nowMs, isDirect: false })
  }

  /** The node has left in good order: it is gone at once. */
  remove(node: NodeId): void {
    const known = this.#nodes.get(node)
    if (known === undefined || node === this.#self) return
    this.#nodes.delete(node)
    const [oldest] = this.#left.keys()
    if (this.#left.size >= nodesMax && oldest !== undefined) this.#left.delete(oldest)
    this.#left.set(node, { startedAtMs: known.advert.startedAtMs, atMs: this.#nowMs })
  }

  /** Looks who has been silent for too long. */
  tick(nowMs: number): ViewChange[] {
    this.#nowMs = nowMs
    const { suspectMs, goneMs } = rhythmOf(this.#nodes.size)
    const changes: ViewChange[] = []
    for (const [node, known] of this.#nodes) {
      if (known.isLinked || node === this.#self) continue
      const silentMs = nowMs - known.heardAtMs
      if (silentMs >= goneMs) {
        this.#nodes.delete(node)
        changes.push({ type: 'gone', node })
      } else if (silentMs >= suspectMs && known.state === 'alive') {
        this.#set({ ...known, state: 'suspected' })
        changes.push({ type: 'suspected', node })
      }
    }
    for (const [node, { atMs }] of this.#left) if (nowMs - atMs >= leftKeptMs) this.#left.delete(node)
    return changes
  }

  #set(seen: Seen): void {
    this.#nodes.set(seen.advert.node, Object.freeze(seen))
  }

  /** When the view is full, a node with a link takes the place of the one that was silent for longest. */
  #hasRoomFor(node: NodeId): boolean {
    if (this.#nodes.size < nodesMax) return true
    if (!this.#links.has(node)) return false
    let silent: Seen | undefined
    for (const each of this.#nodes.values()) {
      if (each.isLinked || each.advert.node === this.#self) continue
      if (silent === undefined || each.heardAtMs < silent.heardAtMs) silent = each
    }
    if (silent === undefined) return false
    this.#nodes.delete(silent.advert.node)
    return true
  }
}

/**
 * The version decides, but for a node that has started again with a clock that was set back: over a link it is believed at
 * once, and what still comes by gossip from its life before is not.
 */
function isNewer(advert: Advert, isDirect: boolean, known: Seen): boolean {
  const isSameStart = advert.startedAtMs === known.advert.startedAtMs
  if (!isSameStart && isDirect) return true
  if (!isSameStart && known.isDirect) return false
  return advert.version > known.advert.version
}
