import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BootClock } from '../../../node/clock/boot-clock.ts'

/** Two clocks of a machine that can be suspended. */
class Machine {
  monotonicMs = 5000
  uptimeMs = 90_000
  readonly clock = new BootClock(
    () => this.monotonicMs,
    () => this.uptimeMs,
  )

  pass(ms: number): void {
    this.monotonicMs += ms
    this.uptimeMs += ms
  }
}

test('goes on like the monotonic clock', () => {
  const machine = new Machine()
  const start = machine.clock.nowMs()
  machine.pass(70)
  assert.equal(machine.clock.nowMs() - start, 70)
  machine.pass(100_000)
  assert.equal(machine.clock.nowMs() - start, 100_070)
})

test('the time of a suspend counts', () => {
  const machine = new Machine()
  const start = machine.clock.nowMs()
  machine.uptimeMs += 60_000
  machine.pass(150)
  assert.equal(machine.clock.nowMs() - start, 60_150)
  machine.uptimeMs += 1000
  machine.pass(150)
  assert.equal(machine.clock.nowMs() - start, 61_300)
})

test('the grain of the clocks is no suspend, and it never goes back', () => {
  const machine = new Machine()
  let last = machine.clock.nowMs()
  for (let i = 0; i < 100; i++) {
    machine.pass(110)
    machine.uptimeMs += i % 2 === 0 ? 10 : -10
    const now = machine.clock.nowMs()
    assert.equal(now - last, 110)
    last = now
  }
})

test("the system's clocks are read", () => {
  const clock = new BootClock()
  const first = clock.nowMs()
  assert.ok(Number.isFinite(first) && clock.nowMs() >= first)
})
