import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ShoalError } from '../../protocols/errors.ts'
import { sequenceOf } from '../../protocols/ids.ts'
import { pick, RecoveryWorld, type Held, type HeldStream, type WorldOptions } from '../support/recovery-world.ts'

interface Story extends WorldOptions {
  maxRetries(random: () => number): number
  cancels: boolean
  /** Codes of errors with which reads may end. */
  mayFailWith: readonly string[]
}

/** A program that calls tasks with results of others, reads, and lets go, while nodes die. */
async function play(story: Story): Promise<RecoveryWorld> {
  const world = new RecoveryWorld(story)
  const { random } = world
  const label = `seed ${story.seed}`
  const retries = new Map<number, number>()
  const failures: unknown[] = []
  let held: Held[] = []
  const some = (max: number): Held[] =>
    Array.from({ length: Math.floor(random() * (max + 1)) }, () => pick(held, random)).filter(
      (each) => each !== undefined,
    )
  const read = (each: Held): void => void world.get(each).catch((error: unknown) => failures.push(error))
  let consuming = 0
  const consume = async (stream: HeldStream): Promise<void> => {
    for (let item = await world.next(stream); item !== undefined; item = await world.next(stream)) {
      held.push(item)
      if (random() < 0.5)
        await world.get(pick(held.slice(-10), random) as Held).catch((error: unknown) => failures.push(error))
      if (story.cancels && random() < 0.02) break
    }
    world.stopStream(stream)
  }
  world.addNode()
  world.addNode()
  for (let step = 0; step < 1500; step++) {
    const dice = random()
    if (dice < 0.06 && retries.size < 60) {
      const maxRetries = story.maxRetries(random)
      const results = random() < 0.2 ? 3 : 1
      const made = world.submit({ given: some(2), inside: some(1), results, maxRetries, isStored: random() < 0.2 })
      retries.set(sequenceOf((made[0] as Held).ref.id), maxRetries)
      held.push(...made)
    } else if (dice < 0.065 && retries.size < 60) {
      const maxRetries = story.maxRetries(random)
      const items = Math.floor(random() * 20)
      const stream = world.submitStream({
        given: some(2),
        inside: some(1),
        items,
        maxRetries,
        isStored: random() < 0.2,
      })
      retries.set(stream.task.sequence, maxRetries)
      consuming += 1
      void consume(stream)
        .catch((error: unknown) => failures.push(error))
        .finally(() => (consuming -= 1))
    } else if (dice < 0.07) held.push(world.put())
    else if (dice < 0.12) for (const each of some(1)) read(each)
    else if (dice < 0.16) held = held.filter(() => random() < 0.9)
    else if (dice < 0.18) {
      world.addNode()
      world.killNode()
    } else if (dice < 0.185) for (const each of story.cancels ? some(1) : []) world.cancel(each, random() < 0.5)
    else if (dice < 0.19) await world.collect()
    await world.step()
  }
  for (const each of held) read(each)
  for (let steps = 0; steps < 50_000 && (await world.step()); steps++);
  assert.deepEqual([world.reading, consuming], [0, 0], `${label}: reads hang`)
  assert.equal(world.submitter.pendingCount, 0, `${label}: tasks hang`)
  for (const error of failures) {
    assert.ok(error instanceof ShoalError && story.mayFailWith.includes(error.code), `${label}: ${String(error)}`)
  }
  for (const [sequence, runs] of world.runs) {
    const allowed = 1 + (retries.get(sequence) as number)
    assert.ok(runs <= allowed, `${label}: task ${sequence} ran ${runs} times, ${allowed} allowed`)
  }
  return world
}

/** The seeds from SEED on, or from anywhere. */
function seeds(count: number): number[] {
  const base = Number(process.env['SEED'] ?? Date.now() % 1e6)
  return Array.from({ length: count }, (_, i) => base + i)
}

describe('what nodes take with them, seeded', () => {
  test('with retries enough every read gives the right value', async () => {
    let recovered = 0
    for (const seed of seeds(15)) {
      const world = await play({ seed, maxRetries: () => 1000, cancels: false, mayFailWith: [] })
      recovered += world.recovery.counters.recovered
      assert.equal(world.recovery.counters.failed, 0)
    }
    assert.ok(recovered > 0)
  })

  test('every read ends, tasks run no more often than they may, and nothing is kept in the end', async () => {
    for (const seed of seeds(15)) {
      const world = await play({
        seed,
        maxRetries: (random) => Math.floor(random() * 4),
        cancels: true,
        damages: 0.005,
        lineageBytesMax: seed % 2 === 0 ? 1e6 : 20_000,
        mayFailWith: ['OBJECT_LOST', 'TASK_CANCELLED', 'WORKER_CRASHED'],
      })
      // Each link of a chain is let go by the next one.
      for (let i = 0; i < 60 && world.store.size + world.lineages.count > 0; i++) await world.collect()
      assert.deepEqual([world.store.size, world.lineages.count, world.lineages.bytes], [0, 0, 0], `seed ${seed}`)
    }
  })
})
