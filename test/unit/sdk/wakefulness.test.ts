import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { WakefulLoop } from '../../../sdk/runtime/wakeful-loop.ts'
import { awakeMsMax, stayMax, stayMin, trialWaits, Wakefulness } from '../../../sdk/runtime/wakefulness.ts'

/** How long waits take, by whether the process stays awake. */
interface Machine {
  awakeMs: number
  asleepMs: number
}

const quiet: Machine = { awakeMs: 0.1, asleepMs: 0.4 }
const busy: Machine = { awakeMs: 0.4, asleepMs: 0.2 }

/** One wait after the other; gives how many of them kept the process awake. */
function run(wakefulness: Wakefulness, count: number, machine: Machine, clock = { nowMs: 0 }): number {
  let awake = 0
  for (let i = 0; i < count; i++) {
    const isAwake = wakefulness.begin(clock.nowMs)
    if (isAwake) awake++
    clock.nowMs += isAwake ? machine.awakeMs : machine.asleepMs
    wakefulness.end(clock.nowMs)
    clock.nowMs += 0.01
  }
  return awake
}

/** Enough to have come to know a machine. */
const some = 2 * trialWaits + stayMin
const many = 20 * stayMax

describe('whether a process that waits stays awake', () => {
  it('does so where its waits are shorter by that', () => {
    const wakefulness = new Wakefulness(2)
    run(wakefulness, some, quiet)
    const awake = run(wakefulness, many, quiet)
    assert.ok(awake > many * 0.95, `${awake} of ${many}`)
  })

  it('hardly ever does so where they are not', () => {
    for (const machine of [busy, { awakeMs: 0.4, asleepMs: 0.4 }, { awakeMs: 0.19, asleepMs: 0.2 }]) {
      const wakefulness = new Wakefulness(2)
      run(wakefulness, some, machine)
      const awake = run(wakefulness, many, machine)
      assert.ok(awake < many * 0.05, `${awake} of ${many}`)
    }
  })

  it('never does so for waits that are long anyhow', () => {
    assert.equal(run(new Wakefulness(64), many, { awakeMs: 5, asleepMs: 5 }), 0)
  })

  it('never does so on a single core', () => {
    assert.equal(run(new Wakefulness(1), many, quiet), 0)
  })

  it('never does so in a worker that would leave no core to who works for it', () => {
    assert.equal(run(new Wakefulness(3, 3), many, quiet), 0)
    assert.ok(run(new Wakefulness(4, 3), many, quiet) > many * 0.95)
  })

  it('follows when the machine becomes busy, and quiet again', () => {
    const wakefulness = new Wakefulness(2)
    run(wakefulness, many, quiet)
    run(wakefulness, stayMax + some, busy)
    assert.ok(run(wakefulness, stayMin, busy) <= trialWaits)
    run(wakefulness, many, busy)
    run(wakefulness, stayMax + some, quiet)
    assert.ok(run(wakefulness, stayMin, quiet) >= stayMin - trialWaits)
  })

  it('never does so for long, nor when the wait is over', () => {
    const clock = { nowMs: 0 }
    const wakefulness = new Wakefulness(2)
    run(wakefulness, many, quiet, clock)
    const { nowMs } = clock
    assert.ok(wakefulness.begin(nowMs))
    assert.ok(wakefulness.isOn(nowMs + awakeMsMax * 0.9))
    assert.ok(!wakefulness.isOn(nowMs + awakeMsMax * 1.01))
    wakefulness.end(nowMs + 0.1)
    assert.ok(!wakefulness.isOn(nowMs + 0.1))
  })

  it('does not do so for several waits at a time, and learns nothing from them', () => {
    const clock = { nowMs: 0 }
    const wakefulness = new Wakefulness(2)
    run(wakefulness, some, quiet, clock)
    for (let i = 0; i < many; i++) {
      wakefulness.begin(clock.nowMs)
      assert.ok(!wakefulness.begin(clock.nowMs))
      assert.ok(!wakefulness.isOn(clock.nowMs))
      clock.nowMs += 50
      wakefulness.end(clock.nowMs)
      assert.ok(!wakefulness.isOn(clock.nowMs))
      wakefulness.end(clock.nowMs)
    }
    assert.ok(run(wakefulness, stayMin, quiet, clock) >= stayMin - trialWaits)
  })
})

describe('an event loop that stays awake', () => {
  /** A loop of which every turn takes so long, and how many turns there were because of it. */
  function loopOf(turnMs: number) {
    const clock = { nowMs: 0, turns: 0 }
    let next: (() => void) | undefined
    const loop = new WakefulLoop(1, {
      cores: 2,
      nowMs: () => clock.nowMs,
      nextTurn: (callback) => {
        assert.equal(next, undefined, 'a turn is planned twice')
        next = callback
      },
    })
    /** A wait; what is due meanwhile has its turn. */
    const wait = (waitMs: (isAwake: boolean) => number): void => {
      loop.begin()
      const untilMs = clock.nowMs + waitMs(next !== undefined)
      while (next !== undefined && clock.nowMs < untilMs) {
        const due: () => void = next
        next = undefined
        clock.turns++
        clock.nowMs += turnMs
        due()
      }
      clock.nowMs = Math.max(clock.nowMs, untilMs)
      loop.end()
    }
    return { clock, wait }
  }

  it('turns a few times in a wait, however long that is', () => {
    const { clock, wait } = loopOf(0.01)
    for (let i = 0; i < many; i++) wait((isAwake) => (isAwake ? quiet.awakeMs : quiet.asleepMs))
    assert.ok(clock.turns > many)
    clock.turns = 0
    wait(() => 60_000)
    assert.ok(clock.turns > 0 && clock.turns <= awakeMsMax / 0.01 + 1, `${clock.turns} turns`)
  })

  it('sleeps through long waits', () => {
    const { clock, wait } = loopOf(0.01)
    for (let i = 0; i < many; i++) wait(() => 2)
    assert.equal(clock.turns, 0)
  })

  it('lets timers go on while it is awake, and turns no more when the wait is over', async () => {
    const clock = { nowMs: 0, turns: 0 }
    const loop = new WakefulLoop(1, {
      cores: 2,
      nowMs: () => clock.nowMs,
      nextTurn: (callback) => {
        clock.turns++
        setImmediate(callback)
      },
    })
    // Until the first trial is over, and the better way is taken.
    for (let i = 0; i <= 2 * trialWaits; i++) {
      const { turns } = clock
      loop.begin()
      clock.nowMs += clock.turns > turns ? quiet.awakeMs : quiet.asleepMs
      loop.end()
      await new Promise(setImmediate)
    }
    // Its clock stands still, so that only the end of the wait lets it sleep.
    loop.begin()
    const { turns } = clock
    await new Promise((resolve) => setTimeout(resolve, 1))
    // On a busy machine the timer may be due before the first turn.
    await new Promise(setImmediate)
    const awake = clock.turns - turns
    loop.end()
    assert.ok(awake > 0, 'it is asleep')
    await new Promise(setImmediate)
    const ended = clock.turns
    await new Promise(setImmediate)
    assert.equal(clock.turns, ended)
  })
})
