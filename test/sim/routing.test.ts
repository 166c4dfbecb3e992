import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Fault } from '../support/routing-faults.ts'
import { RoutingWorld, type RoutingWorldSettings } from '../support/routing-world.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 150)

function run(settings: RoutingWorldSettings): RoutingWorld {
  const world = new RoutingWorld(settings)
  try {
    world.run()
  } catch (error) {
    throw new Error(`seed ${settings.seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
  return world
}

/** Adds up what happened in the runs. */
function runMany(settings: Omit<RoutingWorldSettings, 'seed'>, count: number): (what: string) => number {
  const sums = new Map<string, number>()
  for (let seed = 1; seed <= count; seed++) {
    for (const [what, times] of run({ ...settings, seed }).counts) sums.set(what, (sums.get(what) ?? 0) + times)
  }
  return (what) => sums.get(what) ?? 0
}

describe('leases across nodes', () => {
  test('survive links, nodes, heads, programs and workers that come and go', () => {
    const sum = runMany({}, runs)
    for (const [what, each] of [
      ['granted here', 40],
      ['granted elsewhere', 40],
      ['refused: infeasible', 5],
      ['cancelled elsewhere', 1],
      ['came too late', 0.2],
      ['lost', 0.2],
      ['links broken', 1],
      ['crashes', 0.5],
    ] as const) {
      assert.ok(sum(what) >= each * runs, `'${what}' only ${sum(what)} times in ${runs} runs: they show nothing`)
    }
  })

  test('survive single messages that are lost or come twice', () => {
    const sum = runMany({ lossShare: 0.05, doubleShare: 0.05 }, Math.ceil(runs / 3))
    assert.ok(
      sum('lost on the way') >= runs,
      `only ${sum('lost on the way')} messages were lost: the runs show nothing`,
    )
  })
})

describe('the simulation finds out', () => {
  const faults: { fault: Fault; lossShare?: number }[] = [
    { fault: 'late grants are kept' },
    { fault: 'broken links keep leases' },
    { fault: 'asked twice, granted twice' },
    { fault: 'moved, not cancelled' },
    { fault: 'grants are said once', lossShare: 0.1 },
    { fault: 'a node reports once in a term' },
  ]
  for (const settings of faults) {
    test(`a node with this fault: ${settings.fault}`, () => {
      assert.throws(() => {
        for (let seed = 1; seed <= 100; seed++) new RoutingWorld({ ...settings, seed }).run()
      }, assert.AssertionError)
    })
  }
})
