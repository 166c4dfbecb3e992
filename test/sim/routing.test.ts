import { describe, test } from 'node:test'
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

describe('leases across nodes', () => {
  test('survive what may happen', () => {
    for (let seed = 1; seed <= runs; seed++) run({ seed })
  })
})
