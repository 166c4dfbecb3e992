import { get, init, remote, shutdown } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { privateBytes, workersOf } from './processes.ts'
import type { Result } from './result.ts'

const mebibyte = 2 ** 20
const nothing = remote(() => undefined, { name: 'nothing' })

/** What it takes to begin: a node, a worker, and the memory of a worker that has run a task. */
export const startBenchmarks: readonly Benchmark[] = [
  {
    name: 'init',
    async measure({ rounds, profiled }) {
      const values = await profiled(async () => {
        const found: number[] = []
        for (let round = 0; round < rounds; round++) {
          found.push(await timed(() => init({ embedded: true })))
          await shutdown()
        }
        return found
      })
      return [{ name: 'init', unit: 'ms', values }]
    },
  },
  {
    name: 'worker cold start',
    async measure({ rounds, profiled }) {
      const { nodePid } = await init({ embedded: true })
      try {
        await get(nothing.remote())
        const values = await profiled(async () => {
          const found: number[] = []
          for (let round = 0; round < rounds; round++) {
            // Environment variables of its own: no worker that is there already can run it.
            const fresh = nothing.options({ runtimeEnv: { envVars: { SHOAL_BENCH_ROUND: String(round) } } })
            found.push(await timed(() => get(fresh.remote())))
          }
          return found
        })
        const memory = (await workersOf(nodePid)).map(async (pid) => (await privateBytes(pid)) / mebibyte)
        const results: Result[] = [
          { name: 'worker cold start', unit: 'ms', values },
          { name: 'memory per worker', unit: 'MiB', values: await Promise.all(memory) },
        ]
        return results
      } finally {
        await shutdown()
      }
    },
  },
]

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
