import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GroupWorld, type GroupWorldSettings } from '../support/group-world.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 60)

/** Adds up what happened in the runs. */
function runMany(settings: Omit<GroupWorldSettings, 'seed'>, count: number): (what: string) => number {
  const sums = new Map<string, number>()
  for (let seed = 1; seed <= count; seed++) {
    const world = new GroupWorld({ ...settings, seed })
    try {
      world.run()
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
    for (const [what, times] of world.counts) sums.set(what, (sums.get(what) ?? 0) + times)
  }
  return (what) => sums.get(what) ?? 0
}

describe('the simulation of groups finds out', () => {
  for (const neverArrives of ['groupPlanned', 'bundleReply', 'bundleClaim', 'groupTold']) {
    test(`that nodes do not hear a ${neverArrives}`, () => {
      assert.throws(() => {
        for (let seed = 1; seed <= 30; seed++) new GroupWorld({ seed, neverArrives }).run()
      }, assert.AssertionError)
    })
  }
})

describe('placement groups across nodes', () => {
  test('survive links, nodes, heads and programs that come and go', () => {
    const sum = runMany({}, runs)
    for (const [what, each] of [
      ['created', 20],
      ['bundles reserved', 10],
      ['bundles refused', 0.5],
      ['granted', 10],
      ['lease lost', 0.5],
      ['refused: groupRemoved', 0.2],
      ['links broken', 1],
      ['crashes', 0.3],
      ['heads changed', 1],
      ['at rest: ready', 2],
      ['at rest: pending', 0.2],
    ] as const) {
      assert.ok(sum(what) >= each * runs, `'${what}' only ${sum(what)} times in ${runs} runs: they show nothing`)
    }
  })

  test('survive single messages that are lost or come twice', () => {
    const sum = runMany({ lossShare: 0.05, doubleShare: 0.05 }, Math.ceil(runs / 2))
    assert.ok(sum('lost') >= runs / 2, `only ${sum('lost')} messages were lost: the runs show nothing`)
  })
})
