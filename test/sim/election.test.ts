import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { defaultRules } from '../../node/election/election-rules.ts'
import { compareTerms } from '../../protocols/election.ts'
import { ElectionSimulator, Violation, type Mutation } from '../support/election-simulator.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 150)
const only = process.env['SHOAL_SIM_SEED']
const faultsMs = 25_000

/** Runs one seed; the error names it, and `SHOAL_SIM_SEED=<seed>` runs it again. */
function runSeed(seed: number, mutation?: Mutation): void {
  // What is done about failed writes shows only where many fail.
  const disk = mutation?.isFailureHidden === true ? { disk: { writeMsMax: 30, failureShare: 0.9 } } : {}
  const simulator = new ElectionSimulator({ seed, ...(mutation === undefined ? {} : { mutation }), ...disk })
  try {
    simulator.runRandom(faultsMs)
  } catch (error) {
    throw new Error(`seed ${seed} at ${Math.round(simulator.nowMs)} ms: ${(error as Error).message}`, { cause: error })
  }
}

describe('election, simulated', () => {
  test(`${runs} random runs of 2 to 9 nodes keep G1, G2, G3 and G6`, () => {
    if (only !== undefined) runSeed(Number(only))
    else for (let seed = 1; seed <= runs; seed++) runSeed(seed)
  })

  test('G4: a new head acts soon after the old one has crashed', (t) => {
    const tookMs: number[] = []
    for (let seed = 1; seed <= Math.max(100, runs / 10); seed++) {
      const simulator = new ElectionSimulator({ seed, size: 3 + (seed % 7), isCalm: true })
      simulator.runUntil(5000 + (seed % 200))
      const old = simulator.assertOneHead(simulator.nodes)
      const before = simulator.heads.length
      const crashedAtMs = simulator.nowMs
      simulator.crash(old)
      simulator.runUntil(crashedAtMs + 4000)
      const next = simulator.heads[before]
      assert.ok(next !== undefined, `seed ${seed}: no new head`)
      tookMs.push(next.atMs - crashedAtMs)
    }
    tookMs.sort((a, b) => a - b)
    const at = (share: number): number => Math.round(tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0)
    t.diagnostic(`failover in virtual time: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`)
    assert.ok(at(0.5) <= 1100, `p50 ${at(0.5)} ms`)
    assert.ok(at(0.99) <= 1300, `p99 ${at(0.99)} ms`)
  })

  test('G4: an orderly hand-over is quick', (t) => {
    const tookMs: number[] = []
    for (let seed = 1; seed <= 50; seed++) {
      const simulator = new ElectionSimulator({ seed, size: 3 + (seed % 5), isCalm: true })
      simulator.runUntil(5000)
      const old = simulator.assertOneHead(simulator.nodes)
      const before = simulator.heads.length
      simulator.stop(old)
      simulator.runUntil(6600)
      const next = simulator.heads[before]
      assert.ok(next !== undefined, `seed ${seed}`)
      tookMs.push(next.atMs - 5000)
    }
    tookMs.sort((a, b) => a - b)
    t.diagnostic(`hand-over in virtual time: ${tookMs.map(Math.round).join(' ')}`)
    assert.ok((tookMs[45] ?? 0) <= 300)
  })

  test('G5: who wakes up, or comes back, does not disturb the head of the others', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const simulator = new ElectionSimulator({ seed, size: 3 + (seed % 5), isCalm: true })
      simulator.runUntil(5000)
      const old = simulator.assertOneHead(simulator.nodes)
      const isSleep = seed % 2 === 0
      if (isSleep) simulator.freeze(old)
      else simulator.partition(new Set([old]))
      simulator.runUntil(12_000)
      const head = simulator.assertOneHead(simulator.nodes.filter((node) => node !== old))
      const { term } = simulator.heads.findLast(({ node }) => node === head.id) ?? { term: undefined }
      if (isSleep) simulator.thaw(old, true)
      else simulator.healAll()
      simulator.runUntil(17_000)
      assert.equal(simulator.assertOneHead(simulator.nodes), head, `seed ${seed}`)
      if (isSleep) {
        const now = head.election.head
        assert.ok(term !== undefined && now !== undefined && compareTerms(now, term) === 0, `seed ${seed}: a new term`)
      }
    }
  })

  test('G6: who was without a link for a moment reports again', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const simulator = new ElectionSimulator({ seed, size: 2 + (seed % 6), isCalm: true })
      simulator.runUntil(5000 + (seed % 200))
      const head = simulator.assertOneHead(simulator.nodes)
      const node = simulator.nodes.find((each) => each !== head) as (typeof simulator.nodes)[number]
      simulator.breakLink(head, node, (seed % 20) * 100)
      simulator.runUntil(10_000)
      simulator.assertOneHead(simulator.nodes)
    }
  })

  test('writes that fail, or are slow, keep no mesh without a head', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const size = 1 + (seed % 6)
      const failing = new ElectionSimulator({ seed, size, isCalm: true, disk: { writeMsMax: 30, failureShare: 0.5 } })
      failing.runUntil(30_000)
      failing.assertOneHead(failing.nodes)
      const slow = new ElectionSimulator({ seed, size, isCalm: true, disk: { writeMsMax: 2500, failureShare: 0 } })
      slow.runUntil(30_000)
      slow.assertOneHead(slow.nodes)
    }
  })

  const mutations: Record<string, Mutation> = {
    'no fence': { rules: { isHighEnough: () => true } },
    'volatile fence': { isFenceVolatile: true },
    'no promise': { rules: { isFree: () => true } },
    'no quiet time after boot': { rules: { quietMs: () => 0 } },
    'a failed write that is taken for done': { isFailureHidden: true },
    'a clock that is blind to suspends': { isClockBlind: true },
    '> instead of >=': {
      rules: {
        isHighEnough: (facts) =>
          defaultRules.isHighEnough(facts) && (facts.fence === undefined || compareTerms(facts.term, facts.fence) > 0),
      },
    },
  }
  for (const [name, mutation] of Object.entries(mutations)) {
    test(`the simulator notices: ${name}`, (t) => {
      const seedMax = 400
      for (let seed = 1; seed <= seedMax; seed++) {
        try {
          runSeed(seed, mutation)
        } catch (error) {
          assert.ok((error as Error).cause instanceof Violation, String(error))
          t.diagnostic((error as Error).message)
          return
        }
      }
      assert.fail(`${seedMax} runs have not noticed`)
    })
  }
})
