import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ActorWorld } from '../support/actor-world.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 1500)
const stepsMax = 200_000

/** Some minutes of trouble, then calm until nothing moves any more. */
async function play(seed: number): Promise<ActorWorld> {
  const world = new ActorWorld(seed)
  // In one of three worlds most calls go one at a time, and so over lines, but for some at once; in the others many are under way.
  const isQuiet = seed % 3 === 0
  const callRate = isQuiet ? 0.05 : 0.3
  const callsMax = isQuiet ? 300 : 80
  // What is lost without any trouble stays lost, and is seen in the end.
  const scale = isQuiet ? (seed % 2 === 0 ? 0 : 0.02) : 1
  const trouble = {
    kill: world.random() * 0.02 * scale,
    breakLink: world.random() * 0.02 * scale,
    breakLine: scale === 0 ? 0 : world.random() * 0.004,
    cancel: world.random() * 0.05,
  }
  let calls = 0
  for (let step = 0; step < (callsMax / callRate) * 2; step++) {
    if (calls < callsMax && world.random() < callRate) {
      const atOnce = isQuiet && world.random() < 0.3 ? 6 : 1
      for (let i = 0; i < atOnce; i++) {
        world.call()
        world.advance()
      }
      calls += atOnce
    }
    if (world.random() < trouble.kill) world.killWorker()
    if (world.random() < trouble.kill / 4) world.owned.kill(world.actor, true, 'to be started again')
    if (world.random() < trouble.breakLink) world.breakLink()
    if (world.random() < trouble.cancel) world.cancel()
    if (world.random() < trouble.breakLine) world.breakLine()
    world.advance()
    if (step % 20 === 0) await Promise.resolve()
  }
  if (isQuiet) {
    // The last trouble: lines break while something is under way, and nothing else goes wrong that would end it.
    for (let i = 0; i < 3; i++) world.call()
    for (let i = 0; i < 6; i++) world.advance()
    world.breakLine()
  }
  world.isCalm = true
  if (seed % 5 === 0) world.owned.kill(world.actor, false, 'killed')
  await settle(world)
  if (seed % 5 === 1) {
    world.owned.release(world.actor, 'no handle was left')
    world.owned.forget(world.actor)
  }
  await settle(world)
  return world
}

async function settle(world: ActorWorld): Promise<void> {
  let steps = 0
  for (let isMoving = true; isMoving;) {
    isMoving = false
    while (world.advance()) {
      isMoving = true
      assert.ok(++steps < stepsMax, 'it does not come to rest')
    }
    // Errors are read asynchronously.
    await new Promise(setImmediate)
  }
}

describe('an actor, its owner and its callers, in simulated trouble', () => {
  test('every call ends once; none runs twice unless its options allow it; calls of one caller run in their order', async () => {
    const seen = { ok: 0, unavailable: 0, dead: 0, cancelled: 0, error: 0, again: 0, direct: 0, lost: 0, fences: 0 }
    for (let seed = 1; seed <= runs; seed++) {
      const world = await play(seed)
      const name = `seed ${seed}`
      seen.direct += world.directAnswers
      seen.lost += world.lines.lost
      seen.fences += world.lines.fences
      assert.equal(world.lines.thrownAway, 0, `${name}: answers were thrown away`)
      for (const { id, tasks, outcomes } of world.callers) {
        for (const sequence of tasks.keys()) {
          const outcome = outcomes.get(sequence)
          assert.ok(outcome !== undefined, `${name}: call ${sequence} of ${id} never ended`)
          const ran = world.runs.get(`${id} ${sequence}`) ?? 0
          seen[outcome]++
          if (ran > 1) seen.again++
          if (outcome === 'ok') assert.ok(ran > 0, `${name}: call ${sequence} has a result but never ran`)
          if (world.maxTaskRetries === 0) assert.ok(ran <= 1, `${name}: call ${sequence} ran ${ran} times`)
          if (world.maxTaskRetries > 0)
            assert.ok(ran <= 1 + world.maxTaskRetries, `${name}: call ${sequence} ran too often`)
        }
      }
      for (const [lane, ran] of world.order) {
        assert.deepEqual(
          ran,
          ran.toSorted((a, b) => a - b),
          `${name}: ${lane} out of order`,
        )
      }
      const isOver = seed % 5 < 2
      if (isOver) assert.equal(world.workers.size, 0, `${name}: a worker is left`)
      if (seed % 5 === 1) assert.equal([...world.owned.all()].length, 0, `${name}: something is kept of the actor`)
      assert.ok(world.workers.size <= 1, `${name}: the actor has ${world.workers.size} workers`)
    }
    for (const [what, count] of Object.entries(seen)) {
      if (what !== 'error') assert.ok(count > 0, `no call was ever ${what}: the simulation does not reach it`)
    }
  })
})
