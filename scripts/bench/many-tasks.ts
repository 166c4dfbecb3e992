import { get, init, remote, shutdown } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { peakBytes, resetPeak, workersOf } from './processes.ts'
import type { Result } from './result.ts'

const taskCount = 100_000
const mebibyte = 2 ** 20
const noOp = remote(() => undefined, { name: 'noOp' })
const name = '100,000 no-op tasks at once'

/** All tasks submitted before the first result is read, and what that takes of memory at its highest. */
export const manyTasksBenchmark: Benchmark = {
  name,
  async measure({ rounds, profiled }) {
    const rates: number[] = []
    const peaks: Record<'driver' | 'daemon' | 'worker', number[]> = { driver: [], daemon: [], worker: [] }
    for (let round = 0; round < rounds; round++) {
      const { nodePid } = await init({ embedded: true })
      try {
        await get(noOp.remote())
        const workers = await workersOf(nodePid)
        await Promise.all([process.pid, nodePid, ...workers].map(resetPeak))
        const elapsedMs = await profiled(submitAll)
        rates.push((taskCount / elapsedMs) * 1000)
        peaks.driver.push((await peakBytes(process.pid)) / mebibyte)
        peaks.daemon.push((await peakBytes(nodePid)) / mebibyte)
        // Workers may have been added meanwhile.
        const ofWorkers = await Promise.all((await workersOf(nodePid)).map(peakBytes))
        peaks.worker.push(Math.max(0, ...ofWorkers) / mebibyte)
      } finally {
        await shutdown()
      }
    }
    const memory = Object.entries(peaks).map(([who, values]): Result => {
      return { name: `  peak memory of the ${who === 'worker' ? 'largest worker' : who}`, unit: 'MiB', values }
    })
    return [{ name, unit: 'per s', values: rates }, ...memory]
  },
}

async function submitAll(): Promise<number> {
  const startedAt = performance.now()
  await get(Array.from({ length: taskCount }, () => noOp.remote()))
  return performance.now() - startedAt
}
