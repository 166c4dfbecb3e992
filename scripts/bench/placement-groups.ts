import { placementGroup } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { rate } from './rate.ts'

/** Ray's microbenchmark: groups that are made, waited for and removed, one after the other, on one node. */
export const placementGroupBenchmarks: readonly Benchmark[] = [
  rate({
    name: 'placement group create/removal',
    prepare: () => async () => {
      const group = await placementGroup([{ CPU: 0.01 }]).ready()
      await group.remove()
    },
  }),
  rate({
    name: 'placement group create/removal, 100 at once',
    operations: 100,
    prepare: () => () =>
      Promise.all(
        Array.from({ length: 100 }, async () => {
          const group = await placementGroup([{ CPU: 0.001 }, { CPU: 0.001 }]).ready()
          await group.remove()
        }),
      ),
  }),
]
