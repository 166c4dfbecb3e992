import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NamesWorld, type NamesWorldOptions } from '../support/names-world.ts'

const runs = 120

function run(options: NamesWorldOptions): NamesWorld {
  const world = new NamesWorld(options)
  world.run()
  return world
}

describe('names of actors, simulated', () => {
  test('one actor has a name, under heads that change and messages that are lost or doubled', () => {
    let given = 0
    let taken = 0
    for (let seed = 1; seed <= runs; seed++) {
      const world = run({ seed, hasPartitions: false })
      assert.equal(world.lost, 0, `seed ${seed}: a name was lost though the network was whole`)
      given += world.given
      taken += world.taken
    }
    assert.ok(given > runs * 10 && taken > runs * 10, `${given} given, ${taken} taken`)
  })

  test('after partitions and deaths of nodes one of two keeps a name, and every question is answered', () => {
    let lost = 0
    for (let seed = 1; seed <= runs; seed++) lost += run({ seed, hasPartitions: true }).lost
    assert.ok(lost > 10, `${lost} lost: too few to show anything`)
  })

  for (const mutation of ['hasty', 'forgetful'] as const) {
    test(`a ${mutation} head is noticed`, () => {
      let noticed = 0
      for (let seed = 1; seed <= 60; seed++) {
        try {
          noticed += Number(run({ seed, hasPartitions: false, mutation }).lost > 0)
        } catch {
          noticed++
        }
      }
      assert.ok(noticed > 10, `${noticed} of 60 runs`)
    })
  }
})
