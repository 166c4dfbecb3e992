import type { NodeId } from '../../protocols/ids.ts'
import type { PlacementStrategy } from '../../protocols/placement-groups.ts'
import { toUnits } from '../../protocols/resources.ts'
import { sumOf, type Room, type WantedBundle } from './room.ts'

export interface PackRequest {
  readonly strategy: PlacementStrategy
  readonly bundles: readonly WantedBundle[]
  /** Where bundles of the group are already. They stay there. */
  readonly placed: readonly NodeId[]
  /** The node whose program asks: taken when it is as good as others. */
  readonly home: NodeId
}

/** A node for each bundle; `none`: there is no way; `unknown`: none was found, and not all were looked at. */
export type Packing = ReadonlyMap<number, NodeId> | 'none' | 'unknown'

/** Ways that are looked at one by one when the quick way leads nowhere. */
const searchStepsMax = 5000

/** Chooses a node for every bundle, all or none. What it tries it takes from the rooms; afterwards they are as before. */
export function packBundles(request: PackRequest, rooms: readonly Room[]): Packing {
  const { strategy, bundles, placed } = request
  const isOnOne = strategy === 'STRICT_PACK' && placed.length > 0
  const open = isOnOne ? rooms.filter(({ node }) => placed.includes(node)) : rooms
  const hardestFirst = inOrder(bundles, open)
  switch (strategy) {
    case 'STRICT_PACK':
      return onOne(request, open) ?? 'none'
    case 'STRICT_SPREAD':
      return spreadOut(request, hardestFirst, open) ?? 'none'
    case 'PACK':
      return onOne(request, open) ?? onFew(request, hardestFirst, open) ?? search(hardestFirst, open)
    case 'SPREAD':
      return spreadOut(request, hardestFirst, open) ?? evenly(request, hardestFirst, open) ?? search(hardestFirst, open)
  }
}

/** What few nodes could take comes first, then what is large. */
function inOrder(bundles: readonly WantedBundle[], rooms: readonly Room[]): WantedBundle[] {
  if (bundles.length < 2) return [...bundles]
  const ranked = bundles.map((bundle) => {
    const able = rooms.filter((room) => room.fits(bundle))
    let size = 0
    for (const name in bundle.resources) {
      const most = able.reduce((max, room) => Math.max(max, room.total(name)), 1)
      size = Math.max(size, toUnits(name, bundle.resources[name] ?? 0) / most)
    }
    return { bundle, able: able.length, size }
  })
  return ranked.sort((a, b) => a.able - b.able || b.size - a.size).map(({ bundle }) => bundle)
}

/** All on one node: the fullest that has room, the home before others that are as full. */
function onOne({ bundles, placed, home }: PackRequest, rooms: readonly Room[]): Packing | undefined {
  const all = sumOf(bundles)
  let best: { room: Room; cost: number } | undefined
  for (const room of rooms) {
    if (whatFits(room, bundles).length < bundles.length) continue
    const isBetter = (room.node === home ? 0.01 : 0) + (placed.includes(room.node) ? 10 : 0)
    const cost = (room.wastesGpus(all) ? 2 : 0) - room.shareWith(all) - isBetter
    if (best === undefined || cost < best.cost) best = { room, cost }
  }
  return best && new Map(bundles.map(({ index }) => [index, best.room.node]))
}

/** Node after node, each time the one that takes most of what is left, those that the group is on already before others. */
function onFew({ placed, home }: PackRequest, bundles: WantedBundle[], rooms: readonly Room[]): Packing | undefined {
  return trying((take) => {
    let left = bundles
    const unused = new Set(rooms)
    while (left.length > 0) {
      let best: { room: Room; takes: WantedBundle[]; rank: number } | undefined
      for (const room of unused) {
        const takes = whatFits(room, left)
        const rank = takes.length + (placed.includes(room.node) ? bundles.length : 0) + (room.node === home ? 0.5 : 0)
        if (takes.length > 0 && (best === undefined || rank > best.rank)) best = { room, takes, rank }
      }
      if (best === undefined) return false
      const { room, takes } = best
      for (const bundle of takes) take(room, bundle)
      unused.delete(room)
      left = left.filter((bundle) => !takes.includes(bundle))
    }
    return true
  })
}

function whatFits(room: Room, bundles: readonly WantedBundle[]): WantedBundle[] {
  const takes: WantedBundle[] = []
  for (const bundle of bundles) {
    if (!room.fits(bundle)) continue
    room.take(bundle.resources)
    takes.push(bundle)
  }
  for (const { resources } of takes) room.giveBack(resources)
  return takes
}

/** The node with the fewest bundles of the group, and of those the emptiest. */
function evenly({ placed }: PackRequest, bundles: WantedBundle[], rooms: readonly Room[]): Packing | undefined {
  const counts = new Map<NodeId, number>()
  const count = (node: NodeId): void => void counts.set(node, (counts.get(node) ?? 0) + 1)
  for (const node of placed) count(node)
  return trying((take) =>
    bundles.every((bundle) => {
      let best: { room: Room; cost: number } | undefined
      for (const room of rooms) {
        if (!room.fits(bundle)) continue
        const cost = (counts.get(room.node) ?? 0) * 4 + costOf(room, bundle)
        if (best === undefined || cost < best.cost) best = { room, cost }
      }
      if (best === undefined) return false
      take(best.room, bundle)
      count(best.room.node)
      return true
    }),
  )
}

/** Each on a node of its own, where none is yet: one finds its place by sending others on to their next. */
function spreadOut({ placed }: PackRequest, bundles: WantedBundle[], rooms: readonly Room[]): Packing | undefined {
  const free = rooms.filter(({ node }) => !placed.includes(node))
  if (bundles.length > free.length) return undefined
  const takenBy = new Map<Room, WantedBundle>()
  const choices = new Map(
    bundles.map((bundle) => {
      const able = free.filter((room) => room.fits(bundle)).map((room) => ({ room, cost: costOf(room, bundle) }))
      return [bundle, able.sort((a, b) => a.cost - b.cost).map(({ room }) => room)]
    }),
  )
  const seat = (bundle: WantedBundle, seen: Set<Room>): boolean => {
    for (const room of choices.get(bundle) ?? []) {
      if (seen.has(room)) continue
      seen.add(room)
      const other = takenBy.get(room)
      if (other !== undefined && !seat(other, seen)) continue
      takenBy.set(room, bundle)
      return true
    }
    return false
  }
  if (!bundles.every((bundle) => seat(bundle, new Set()))) return undefined
  return new Map(Array.from(takenBy, ([{ node }, { index }]) => [index, node]))
}

/** The emptiest is the cheapest, and those with GPUs the dearest for what needs none. */
function costOf(room: Room, { resources }: WantedBundle): number {
  return room.shareWith(resources) + (room.wastesGpus(resources) ? 1 : 0)
}

/** Every way, as far as there is time. */
function search(bundles: readonly WantedBundle[], rooms: readonly Room[]): Packing {
  let steps = 0
  const found = trying((take, undo) => {
    const place = (at: number): boolean => {
      const bundle = bundles[at]
      if (bundle === undefined) return true
      for (const room of rooms) {
        if (++steps > searchStepsMax) return false
        if (!room.fits(bundle)) continue
        take(room, bundle)
        if (place(at + 1)) return true
        undo()
      }
      return false
    }
    return place(0)
  })
  return found ?? (steps > searchStepsMax ? 'unknown' : 'none')
}

/** Runs `attempt`, which takes room after room and says whether it got all; gives the rooms back in any case. */
function trying(
  attempt: (take: (room: Room, bundle: WantedBundle) => void, undo: () => void) => boolean,
): Packing | undefined {
  const taken: { room: Room; bundle: WantedBundle }[] = []
  const take = (room: Room, bundle: WantedBundle): void => {
    room.take(bundle.resources)
    taken.push({ room, bundle })
  }
  const undo = (): void => {
    const last = taken.pop()
    last?.room.giveBack(last.bundle.resources)
  }
  const isDone = attempt(take, undo)
  const places = new Map(taken.map(({ room, bundle }) => [bundle.index, room.node]))
  while (taken.length > 0) undo()
  return isDone ? places : undefined
}
