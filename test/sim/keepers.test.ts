import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KeeperWorld } from '../support/keeper-world.ts'

const runs = 150

describe('detached actors, simulated', () => {
  for (const faults of ['whole', 'cut'] as const) {
    const what = faults === 'whole' ? 'outlive their nodes, and live once' : 'live once when the network is whole again'
    test(what, () => {
      let restarted = 0
      let given = 0
      let killedInReserve = 0
      for (let seed = 1; seed <= runs; seed++) {
        const world = new KeeperWorld({ seed, faults })
        world.run()
        restarted += world.restarted
        killedInReserve += world.killedInReserve
        given += world.made.filter(({ outcome }) => outcome === 'given').length
      }
      assert.ok(restarted > runs, `${restarted} started again: too few to show anything`)
      assert.ok(given > runs * 5, `${given} made`)
      assert.ok(killedInReserve > runs / 2, `${killedInReserve} killed while nobody led them`)
    })
  }

  for (const mutation of ['forgetful', 'silent'] as const) {
    test(`${mutation} nodes are noticed`, () => {
      let noticed = 0
      for (let seed = 1; seed <= 20; seed++) {
        try {
          new KeeperWorld({ seed, faults: 'whole', mutation }).run()
        } catch {
          noticed++
        }
      }
      assert.ok(noticed > 5, `${noticed} of 20 runs`)
    })
  }
})
