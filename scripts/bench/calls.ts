import { get, put, remote, wait, type ObjectRef } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { oneByOneWarmUpMs, rate } from './rate.ts'

const smallValue = remote(() => 'ok', { name: 'smallValue' })

/** Calls the remote function n times and waits for all results, as a task: a client of its own. */
const submitBatch = remote(
  async (n: number) => {
    await get(Array.from({ length: n }, () => smallValue.remote()))
    return 0
  },
  { numCpus: 0, name: 'submitBatch' },
)

const smallValues = (n: number): ObjectRef<string>[] => Array.from({ length: n }, () => smallValue.remote())

const clients = 4
const tasksPerClient = 10_000

/** Ray's microbenchmark: its names, and what they mean there (`ray microbenchmark`). */
export const callBenchmarks: readonly Benchmark[] = [
  rate({
    name: 'single client get calls (small)',
    prepare: () => {
      const value = put(0)
      return () => get(value)
    },
  }),
  rate({ name: 'single client put calls (small)', prepare: () => () => put(0) }),
  rate({ name: 'single client tasks and get batch', prepare: () => () => get(smallValues(1000)) }),
  rate({
    name: 'single client wait 1k refs',
    prepare: () => async () => {
      let pending = smallValues(1000)
      while (pending.length > 0) ({ pending } = await wait(pending))
    },
  }),
  rate({ name: 'single client tasks sync', warmUpMs: oneByOneWarmUpMs, prepare: () => () => get(smallValue.remote()) }),
  rate({
    name: 'single client tasks async',
    operations: 1000,
    prepare: () => () => get(smallValues(1000)),
  }),
  rate({
    name: 'multi client tasks async',
    operations: clients * tasksPerClient,
    prepare: () => () => get(Array.from({ length: clients }, () => submitBatch.remote(tasksPerClient))),
  }),
]
