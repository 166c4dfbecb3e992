import { init } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import type { Unit } from './result.ts'

const warmUpMs = 500
/** One call at a time comes to its speed when all three processes have compiled what it runs, after some ten thousand of them. */
export const oneByOneWarmUpMs = 8000
const roundMs = 1000

interface Rate {
  name: string
  /** How many operations one call of the prepared function is, or how much of `unit`. @default 1 */
  operations?: number
  /** @default 'per s' */
  unit?: Unit
  /** Called once on a fresh node; gives what is then called over and over. */
  prepare: () => () => unknown
  /** How long it is called before anything is measured. @default 500 */
  warmUpMs?: number
  /** Makes that node and attaches to it; what it gives undoes both. @default a node of this program's own */
  attach?: () => Promise<AsyncDisposable>
}

/** A benchmark that counts how often something can be done in a second: after a warm-up, one value for each round. */
export function rate(what: Rate): Benchmark {
  const { name, operations = 1, unit = 'per s', prepare, attach = init } = what
  return {
    name,
    async measure({ rounds, profiled }) {
      await using _ = await attach()
      const call = prepare()
      await repeat(call, what.warmUpMs ?? warmUpMs)
      const values = await profiled(async () => {
        const found: number[] = []
        for (let round = 0; round < rounds; round++) found.push((await repeat(call, roundMs)) * operations)
        return found
      })
      return [{ name, unit, values }]
    },
  }
}

/** Calls it again and again until the time is up; returns the calls per second. */
async function repeat(call: () => unknown, durationMs: number): Promise<number> {
  const startedAt = performance.now()
  let calls = 0
  let elapsedMs = 0
  do {
    const result = call()
    // A call that is done at once is not made to wait for the event loop.
    if (result instanceof Promise) await result
    calls++
    elapsedMs = performance.now() - startedAt
  } while (elapsedMs < durationMs)
  return (calls / elapsedMs) * 1000
}
