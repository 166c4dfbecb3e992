import { Scheduler } from '../node/scheduler/scheduler.ts'
import type { Demand } from '../node/scheduler/scheduler-types.ts'

export interface SchedulerBenchOptions {
  nodes: number
  demands: number
  rounds: number
}

/** How many places the head's scheduler gives out in a second, with so many nodes and so many requests that wait. */
export function benchScheduler({
  nodes,
  demands,
  rounds,
}: SchedulerBenchOptions): { name: string; perSecond: number[] }[] {
  const cases: Record<string, (index: number) => Pick<Demand, 'resources' | 'strategy'>> = {
    'one kind of task': () => ({ resources: { CPU: 1 }, strategy: { kind: 'default' } }),
    spread: () => ({ resources: { CPU: 1 }, strategy: { kind: 'spread' } }),
    '100 kinds of tasks': (index) => ({
      resources: { CPU: 1, memory: 1 + (index % 100) },
      strategy: { kind: 'default' },
    }),
    'by labels': (index) => ({
      resources: { CPU: 1 },
      strategy: { kind: 'labels', selector: { zone: { in: [`lab${index % 10}`] } } },
    }),
  }
  return Object.entries(cases).map(([name, demandOf]) => {
    const perSecond: number[] = []
    for (let round = 0; round < rounds; round++) perSecond.push(placeAll(nodes, demands, demandOf))
    return { name, perSecond }
  })
}

function placeAll(
  nodes: number,
  demands: number,
  demandOf: (index: number) => Pick<Demand, 'resources' | 'strategy'>,
): number {
  const scheduler = new Scheduler()
  const cpus = Math.ceil((demands / nodes) * 0.8)
  for (let index = 0; index < nodes; index++) {
    const total = { CPU: cpus, memory: 2 ** 40 }
    scheduler.nodeChanged({
      node: index.toString(16).padStart(16, '0'),
      total,
      available: total,
      labels: { zone: `lab${index % 10}` },
      queued: 0,
      version: 1,
      isOpen: true,
    })
  }
  for (let index = 0; index < demands; index++) {
    const home = (index % nodes).toString(16).padStart(16, '0')
    scheduler.add({ key: `${index}`, home, depth: 0, label: 'task', requestedAtMs: index, ...demandOf(index) })
  }
  const startedAt = performance.now()
  const placed = scheduler.step(1_000_000).length
  const seconds = (performance.now() - startedAt) / 1000
  if (placed !== demands) throw new Error(`${placed} of ${demands} requests were given a place`)
  return placed / seconds
}
