import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ReferenceWorld, type WorldOptions } from '../support/reference-world.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 100)
const only = process.env['SHOAL_SIM_SEED']
const actsMax = 500
const actsAfterwardsMax = 20

/** Runs one seed; the error names it, and `SHOAL_SIM_SEED=<seed>` runs it again. */
async function runSeed(options: WorldOptions): Promise<ReferenceWorld> {
  const world = new ReferenceWorld(options)
  try {
    for (let i = 0; i < actsMax; i++) await world.act()
    await world.end()
  } catch (error) {
    throw new Error(`seed ${options.seed}: ${(error as Error).message}`, { cause: error })
  }
  return world
}

const worlds = {
  'processes that live': { deaths: 0 },
  'processes that die': { deaths: 0.3 },
  'processes that die all the time': { deaths: 1 },
  'nodes that die': { deaths: 0.3, nodeDeaths: 0.1 },
  'links that break and come back': { deaths: 0, breaks: 0.5, nodes: 3 },
  'links that break and come back, and processes that die': { deaths: 0.5, breaks: 0.5, nodes: 3 },
} satisfies Record<string, Omit<WorldOptions, 'seed'>>

describe('references, simulated', () => {
  test(`lenders that die while they lend (${10 * runs} runs)`, async () => {
    const seeds = only === undefined ? Array.from({ length: 10 * runs }, (_, i) => i + 1) : [Number(only)]
    let settled = 0
    for (const seed of seeds) {
      const world = new ReferenceWorld({ seed, deaths: 0, nodes: 3 })
      try {
        await world.dieLending()
        for (let i = 0; i < actsAfterwardsMax; i++) await world.act()
        await world.end()
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
      settled += world.counters.settled
    }
    assert.ok(settled > 0 || only !== undefined)
  })

  for (const [name, options] of Object.entries(worlds)) {
    test(`${name}: nothing that can be reached is freed, all else is, and nobody waits in vain (${runs} runs)`, async () => {
      if (only !== undefined) return void (await runSeed({ seed: Number(only), ...options }))
      const sums: Record<string, number> = {}
      for (let seed = 1; seed <= runs; seed++) {
        const { counters } = await runSeed({ seed, ...options })
        for (const [key, count] of Object.entries(counters)) sums[key] = (sums[key] ?? 0) + count
      }
      // It says something only if it has seen all of it, for which a few runs are not enough.
      if (runs < 100) return
      const { deaths, nodeDeaths = 0, breaks = 0 }: Omit<WorldOptions, 'seed'> = options
      const isRare = (key: string): boolean =>
        (deaths === 0 && ['deaths', 'ownerDied', 'settled'].includes(key)) ||
        (nodeDeaths === 0 && key === 'nodeDeaths') ||
        (breaks === 0 && key === 'breaks')
      for (const [key, count] of Object.entries(sums)) assert.ok(count > 0 || isRare(key), `it never came to ${key}`)
    })
  }
})
