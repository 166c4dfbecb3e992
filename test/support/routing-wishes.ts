import type { NodeId } from '../../protocols/ids.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { matchesLabels, type Labels, type SchedulingStrategy } from '../../protocols/scheduling.ts'

/** What a node has. */
export interface NodeOffer {
  readonly total: ResourceSet
  readonly gpuIds: readonly number[]
  readonly labels: Labels
}

/** What a client asks for. */
export interface Wish {
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  readonly envKey: string
  /** How long it uses what it gets. */
  readonly holdMs: number
}

const commonSizes: readonly ResourceSet[] = [
  { CPU: 1 },
  { CPU: 1 },
  { CPU: 1 },
  { CPU: 0.5 },
  { CPU: 2 },
  { CPU: 4 },
  {},
]
const rareSizes: readonly ResourceSet[] = [{ GPU: 1 }, { CPU: 1, GPU: 0.5 }, { camera: 1 }, { CPU: 99 }]

/** One of them by chance; undefined when there is none. */
export function pick<T>(random: () => number, items: Iterable<T>): T | undefined {
  const list = [...items]
  return list[Math.floor(random() * list.length)]
}

export function randomOffer(random: () => number): NodeOffer {
  const gpus = random() < 0.3 ? Math.ceil(random() * 2) : 0
  return {
    total: { CPU: 1 + Math.floor(random() * 4), ...(random() < 0.3 ? { camera: 1 } : {}) },
    gpuIds: Array.from({ length: gpus }, (_, gpu) => gpu),
    labels: { zone: random() < 0.5 ? 'lab1' : 'lab2' },
  }
}

export function randomWish(random: () => number, nodes: readonly NodeId[]): Wish {
  return {
    resources: pick(random, random() < 0.8 ? commonSizes : rareSizes) ?? {},
    strategy: randomStrategy(random, nodes),
    envKey: random() < 0.1 ? 'torch' : '',
    holdMs: 2 + random() * (random() < 0.2 ? 600 : 60),
  }
}

function randomStrategy(random: () => number, nodes: readonly NodeId[]): SchedulingStrategy {
  const choice = random()
  const node = pick(random, nodes)
  if (choice < 0.65 || node === undefined) return { kind: 'default' }
  if (choice < 0.75) return { kind: 'spread' }
  if (choice < 0.9) return { kind: 'node', node, isSoft: random() < 0.5 }
  return { kind: 'labels', selector: { zone: { in: ['lab1'] } } }
}

/** True when one of the nodes could serve it. */
export function isFeasible({ resources, strategy }: Wish, offers: ReadonlyMap<NodeId, NodeOffer>): boolean {
  return [...offers].some(([id, { total, gpuIds, labels }]) => {
    if (strategy.kind === 'node' && strategy.node !== id && !strategy.isSoft) return false
    if (strategy.kind === 'labels' && !matchesLabels(labels, strategy.selector)) return false
    const all: ResourceSet = { ...total, GPU: gpuIds.length }
    return Object.entries(resources).every(([name, amount]) => (all[name] ?? 0) >= amount)
  })
}
