import type { NodeId } from '../../protocols/ids.ts'
import { formatBundle, type GroupId } from '../../protocols/placement-groups.ts'
import { formatResources, type ResourceSet } from '../../protocols/resources.ts'
import { matchesLabels } from '../../protocols/scheduling.ts'
import type { SchedulerNode } from '../scheduler/scheduler-types.ts'
import { poolOf } from '../scheduler/why-never.ts'
import { packBundles, type Packing, type PackRequest } from './pack-bundles.ts'
import { Room, sumOf, type WantedBundle } from './room.ts'

/** What the home of a group wants: places for these bundles. */
export interface GroupWish extends PackRequest {
  readonly group: GroupId
  /** Counts up with each try; older news is ignored. */
  readonly tryNumber: number
  /** Nodes that have refused it since it was told first: they are asked again when they have changed. */
  readonly refusedBy: readonly NodeId[]
}

export interface PlanAction {
  readonly home: NodeId
  readonly group: GroupId
  readonly tryNumber: number
  readonly outcome: 'placed' | 'pending' | 'infeasible'
  /** One for each bundle of the wish, in its order, when they are placed. */
  readonly nodes: readonly NodeId[]
  /** Why they are not, for people. */
  readonly reason: string
}

interface KnownNode {
  state: SchedulerNode
  room: Room
  /** Counts up with whatever it has told. */
  revision: number
}

interface WishRecord {
  wish: GroupWish
  /** Where it was sent. What it takes there is taken from what the nodes have said. */
  packing: ReadonlyMap<number, NodeId> | undefined
  /** The revisions of the nodes from which it was taken: what they have told since says itself what is free. */
  takenAt: Map<NodeId, number>
  isServed: boolean
  told: { outcome: PlanAction['outcome']; reason: string; atMs: number } | undefined
  refusedBy: Map<NodeId, number>
  /** The nodes as they were when it was looked at last. */
  seenAt: number
}

/** Wishes that are kept; the homes of others tell them again. */
const wishesMax = 100_000
const reasonsShown = 3
/** A reason that only reads otherwise is told again after this time. */
const reasonMs = 1000

/**
 * Chooses nodes for the bundles of placement groups, at the head. It proposes, and nodes reserve or refuse; what it knows of
 * them is always a little old. It remembers nothing that its successor would miss: the homes of groups tell their wishes again.
 *
 * Pure: no sockets, no clock.
 */
export class GroupPlanner {
  readonly #nodes = new Map<NodeId, KnownNode>()
  /** The oldest first. Those that are served stay until their groups are removed. */
  readonly #wishes = new Map<GroupId, WishRecord>()
  #changes = 0
  #rooms: Room[] | undefined
  /** Without a place. */
  readonly #waiting = new Set<GroupId>()
  /** With a place that is not confirmed. */
  readonly #placing = new Set<WishRecord>()

  /** True when a wish waits for room. */
  get isWaited(): boolean {
    return this.#waiting.size > 0
  }

  nodeChanged(state: SchedulerNode): void {
    const known = this.#nodes.get(state.node)
    if (known !== undefined && known.state.version > state.version) return
    this.#nodes.set(state.node, { state, room: roomOf(state), revision: (known?.revision ?? 0) + 1 })
    this.#changed()
  }

  /** How this very node stands: there is nothing newer, but for what it has not been asked for yet. */
  lookAtSelf(state: SchedulerNode): void {
    const known = this.#nodes.get(state.node)
    if (known === undefined || !isSame(known.state, state)) this.nodeChanged(state)
    else {
      known.room = roomOf(state)
      this.#rooms = undefined
    }
    const { room } = this.#nodes.get(state.node) as KnownNode
    for (const { wish, packing } of this.#placing) {
      for (const { index, resources } of wish.bundles) if (packing?.get(index) === state.node) room.take(resources)
    }
  }

  /** A node is gone: so are its wishes. */
  nodeGone(node: NodeId): void {
    if (this.#nodes.delete(node)) this.#changed()
    for (const { wish } of [...this.#wishes.values()])
      if (wish.home === node) this.end(wish.group, wish.tryNumber, false)
  }

  /** Takes a wish in. One that is known is answered again; a later try takes the place of an earlier one. */
  want(wish: GroupWish): void {
    const known = this.#wishes.get(wish.group)
    if (known !== undefined && known.wish.tryNumber > wish.tryNumber) return
    if (known === undefined && this.#wishes.size >= wishesMax) return
    if (known?.wish.tryNumber === wish.tryNumber) {
      known.told = undefined
      known.seenAt = -1
      // They may have had room again before it was known here.
      known.refusedBy.clear()
      return
    }
    this.#forget(known)
    const refusedBy = new Map(known?.refusedBy)
    for (const node of wish.refusedBy) refusedBy.set(node, this.#nodes.get(node)?.revision ?? 0)
    this.#wishes.set(wish.group, {
      wish,
      packing: undefined,
      takenAt: new Map(),
      isServed: false,
      told: undefined,
      refusedBy,
      seenAt: -1,
    })
    this.#waiting.add(wish.group)
  }

  /** `isServed`: what was taken for the wish is held by the nodes now. Else it is not, or not any more. */
  end(group: GroupId, tryNumber: number, isServed: boolean): void {
    const known = this.#wishes.get(group)
    if (known === undefined || known.wish.tryNumber > tryNumber) return
    this.#changes++
    if (isServed && known.packing !== undefined) {
      known.isServed = true
      this.#placing.delete(known)
    } else {
      this.#forget(known)
      this.#wishes.delete(group)
    }
  }

  /** Gives out places: to wishes that are new, or are told again, and with `isForAll` to those that have waited. */
  step(nowMs: number, isForAll = true): PlanAction[] {
    const actions: PlanAction[] = []
    for (const record of this.#wishes.values()) {
      if (record.isServed || record.seenAt === this.#changes || (!isForAll && record.seenAt !== -1)) continue
      record.seenAt = this.#changes
      const action = record.packing === undefined ? this.#place(record) : this.#placed(record, record.packing)
      const { outcome, reason } = action
      const { told } = record
      // The figures in a reason change with every task that ends somewhere.
      if (told?.outcome === outcome && (told.reason === reason || nowMs - told.atMs < reasonMs)) continue
      record.told = { outcome, reason, atMs: nowMs }
      actions.push(action)
    }
    return actions
  }

  #place(record: WishRecord): PlanAction {
    const { wish, refusedBy } = record
    const rooms = (this.#rooms ??= this.#openRooms())
    const willing = rooms.filter(({ node }) => (refusedBy.get(node) ?? -1) < (this.#nodes.get(node)?.revision ?? 0))
    const packing = packBundles(wish, willing)
    if (typeof packing === 'object') {
      record.packing = packing
      this.#waiting.delete(wish.group)
      this.#placing.add(record)
      for (const { index, resources } of wish.bundles) {
        const known = this.#nodes.get(packing.get(index) ?? '')
        known?.room.take(resources)
        if (known !== undefined) record.takenAt.set(known.state.node, known.revision)
      }
      // Others that wait need not be looked at again: there is less room now.
      return this.#placed(record, packing)
    }
    const empty = this.#openNodes().map(({ state }) => emptyRoomOf(state))
    const isInfeasible = packBundles(wish, empty) === 'none'
    const reason = isInfeasible ? whyNot(wish, empty) : whyNotNow(wish, rooms)
    return { ...idsOf(wish), outcome: isInfeasible ? 'infeasible' : 'pending', nodes: [], reason }
  }

  #placed({ wish }: WishRecord, packing: Exclude<Packing, string>): PlanAction {
    const nodes = wish.bundles.map(({ index }) => packing.get(index) ?? '')
    return { ...idsOf(wish), outcome: 'placed', nodes, reason: '' }
  }

  /** Gives back what was taken for it, where that still counts. */
  #forget(record: WishRecord | undefined): void {
    if (record === undefined) return
    this.#waiting.delete(record.wish.group)
    this.#placing.delete(record)
    if (record.packing === undefined) return
    for (const { index, resources } of record.wish.bundles) {
      const node = record.packing.get(index) ?? ''
      const known = this.#nodes.get(node)
      if (known?.revision === record.takenAt.get(node)) known?.room.giveBack(resources)
    }
    this.#changes++
  }

  #openNodes(): KnownNode[] {
    return [...this.#nodes.values()].filter(({ state }) => state.isOpen)
  }

  #openRooms(): Room[] {
    return this.#openNodes().map(({ room }) => room)
  }

  #changed(): void {
    this.#changes++
    this.#rooms = undefined
  }
}

function roomOf({ node, labels, total, available, gpus }: SchedulerNode): Room {
  return new Room({ node, labels, total, free: available, gpus: gpus && poolOf(gpus, true) })
}

/** The same node, if nothing ran there. */
function emptyRoomOf({ node, labels, total, gpus }: SchedulerNode): Room {
  return new Room({ node, labels, total, free: total, gpus: gpus && poolOf(gpus, false) })
}

function isSame(a: SchedulerNode, b: SchedulerNode): boolean {
  return (
    a.isOpen === b.isOpen &&
    sameSet(a.available, b.available) &&
    sameSet(a.total, b.total) &&
    JSON.stringify(a.gpus) === JSON.stringify(b.gpus)
  )
}

function sameSet(a: ResourceSet, b: ResourceSet): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
}

function idsOf({ home, group, tryNumber }: GroupWish): Pick<PlanAction, 'home' | 'group' | 'tryNumber'> {
  return { home, group, tryNumber }
}

/** Why the bundles could not be placed even if all nodes were empty. */
function whyNot(wish: GroupWish, rooms: readonly Room[]): string {
  if (rooms.length === 0) return 'no node takes work'
  for (const bundle of wish.bundles) {
    if (!rooms.some((room) => room.fits(bundle))) {
      return `bundle ${bundle.index} (${formatBundle({ ...bundle })}) fits none of the ${rooms.length} nodes (${reasons(bundle, rooms)})`
    }
  }
  return `${unfitText(wish, rooms)} (each bundle would fit by itself)`
}

/** Why they cannot be placed as the nodes are now. */
function whyNotNow(wish: GroupWish, rooms: readonly Room[]): string {
  for (const bundle of wish.bundles) {
    if (!rooms.some((room) => room.fits(bundle))) {
      return `bundle ${bundle.index} (${formatBundle({ ...bundle })}) waits for room (${reasons(bundle, rooms)})`
    }
  }
  return `waits for room: ${unfitText(wish, rooms)} now`
}

function unfitText({ strategy, bundles, placed }: GroupWish, rooms: readonly Room[]): string {
  const together = formatResources(sumOf(bundles))
  if (strategy === 'STRICT_PACK')
    return `STRICT_PACK wants ${together} on one node, and none of ${rooms.length} has that`
  if (strategy === 'STRICT_SPREAD') {
    const able = rooms.filter((room) => !placed.includes(room.node) && bundles.some((bundle) => room.fits(bundle)))
    const where = placed.length === 0 ? '' : ` besides the ${placed.length} that have one already`
    return `STRICT_SPREAD wants ${bundles.length} nodes${where}, each with room for one bundle; there are ${able.length}`
  }
  return `the bundles do not fit together: they want ${together} in all`
}

function reasons(bundle: WantedBundle, rooms: readonly Room[]): string {
  const counts = new Map<string, number>()
  for (const room of rooms) {
    const name = room.lacks(bundle.resources)
    const unmatched = Object.entries(bundle.labels).find(
      ([label, match]) => !matchesLabels(room.labels, { [label]: match }),
    )
    const why =
      unmatched !== undefined
        ? labelText(unmatched[0], room.labels[unmatched[0]])
        : name === undefined
          ? 'it has just refused'
          : room.describe(name)
    counts.set(why, (counts.get(why) ?? 0) + 1)
  }
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a)
  const shown = sorted.slice(0, reasonsShown).map(([why, count]) => `${count}: ${why.replace(/^it /, '')}`)
  return `${shown.join(', ')}${sorted.length > reasonsShown ? ', and others' : ''}`
}

function labelText(name: string, value: string | undefined): string {
  return value === undefined ? `it has no label ${name}` : `its label ${name} is ${value}`
}
