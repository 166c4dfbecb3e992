import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StoreWorld, type StoreWorldOptions } from '../support/store-world.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 200)
const only = process.env['SHOAL_SIM_SEED']

/** Runs one seed; the error names it, and `SHOAL_SIM_SEED=<seed>` runs it again. */
function runSeed(options: StoreWorldOptions): StoreWorld {
  const world = new StoreWorld(options)
  try {
    for (let i = 0; i < 400; i++) world.act()
    world.end()
  } catch (error) {
    const { message } = error as Error
    throw new Error(`seed ${options.seed} at ${Math.round(world.nowMs)} ms: ${message}`, { cause: error })
  }
  return world
}

const stores = {
  'a store with a disk': {},
  'a store with a slow disk': { diskMsMax: 20_000 },
  'a store without a disk': { hasDisk: false },
} satisfies Record<string, Omit<StoreWorldOptions, 'seed'>>

describe('the policy of the object store, simulated', () => {
  for (const [name, options] of Object.entries(stores)) {
    test(`${name}: nothing in use is given away, all is answered, nothing is left (${runs} runs)`, () => {
      if (only !== undefined) return void runSeed({ seed: Number(only), ...options })
      const sums: Record<string, number> = {}
      for (let seed = 1; seed <= runs; seed++) {
        for (const [key, count] of Object.entries(runSeed({ seed, ...options }).counters)) {
          sums[key] = (sums[key] ?? 0) + count
        }
      }
      // It says something only if it has seen all of it, for which a few runs are not enough.
      if (runs < 200) return
      const isRare = (key: string): boolean =>
        (name !== 'a store with a disk' && key === 'lost') ||
        (name === 'a store without a disk' && ['inFiles', 'spilled', 'restored'].includes(key))
      for (const [key, count] of Object.entries(sums)) assert.ok(count > 0 || isRare(key), `it never came to ${key}`)
    })
  }
})
