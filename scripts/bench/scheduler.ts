import { Scheduler } from '../../node/scheduler/scheduler.ts'
import type { Demand } from '../../node/scheduler/scheduler-types.ts'
import type { Benchmark } from './benchmark.ts'

const nodes = 1000
const demands = 100_000
type Kind = Pick<Demand, 'resources' | 'strategy'>

/** How many places the head's scheduler gives out, in one go, in a large mesh. */
export const schedulerBenchmarks: readonly Benchmark[] = [
  schedulerBenchmark('one kind of task', () => ({ resources: { CPU: 1 }, strategy: { kind: 'default' } })),
  schedulerBenchmark('spread', () => ({ resources: { CPU: 1 }, strategy: { kind: 'spread' } })),
  schedulerBenchmark('100 kinds of tasks', (index) => ({
    resources: { CPU: 1, memory: 1 + (index % 100) },
    strategy: { kind: 'default' },
  })),
]

function schedulerBenchmark(kind: string, demandOf: (index: number) => Kind): Benchmark {
  const name = `scheduler, ${nodes} nodes: ${kind}`
  return {
    name,
    async measure({ rounds, profiled }) {
      const values = await profiled(async () => Array.from({ length: rounds }, () => placeAll(demandOf)))
      return [{ name, unit: 'per s', values }]
    },
  }
}

function placeAll(demandOf: (index: number) => Kind): number {
  const scheduler = new Scheduler()
  const idOf = (index: number): string => index.toString(16).padStart(16, '0')
  // A fifth of the demands finds no room and has to wait in queues.
  const total = { CPU: (demands / nodes) * 0.8, memory: 2 ** 40 }
  for (let index = 0; index < nodes; index++) {
    const state = { node: idOf(index), total, available: total, labels: {}, queued: 0, version: 1, isOpen: true }
    scheduler.nodeChanged(state)
  }
  for (let index = 0; index < demands; index++) {
    const home = idOf(index % nodes)
    scheduler.add({ key: `${index}`, home, depth: 0, label: 'task', requestedAtMs: index, ...demandOf(index) })
  }
  const startedAt = performance.now()
  const placed = scheduler.step(0).length
  if (placed !== demands) throw new Error(`${placed} of ${demands} requests were given a place`)
  return (placed / (performance.now() - startedAt)) * 1000
}
