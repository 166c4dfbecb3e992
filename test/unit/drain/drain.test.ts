import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Drain, type DrainHost, type LeavingValue } from '../../../node/drain/drain.ts'
import type { DrainReport } from '../../../protocols/admin.ts'

const [home, other] = ['1', '2'].map((digit) => digit.repeat(16)) as [string, string]

function value(number: number, node = home): LeavingValue {
  return { name: `${number}`, bytes: 10, owner: node + '0'.repeat(16), object: '' }
}

/** A node whose time passes when the test says so. */
class World implements DrainHost {
  now = 0
  isOpen = true
  runs: DrainReport['running'] = []
  values: LeavingValue[] = []
  asked: string[][] = []
  killed = ''
  said: string[] = []
  answer: (name: string) => 'kept' | 'coming' | 'nowhere' = () => 'kept'
  isReachable = true
  #timers: { atMs: number; callback: () => void }[] = []
  readonly drain = new Drain(this)

  nowMs = (): number => this.now
  after = (delayMs: number, callback: () => void): void =>
    void this.#timers.push({ atMs: this.now + delayMs, callback })
  setOpen = (isOpen: boolean): void => void (this.isOpen = isOpen)
  running = (): DrainReport['running'] => this.runs
  killAll = (reason: string): void => void (this.killed = reason)
  leavingValues = (): LeavingValue[] => this.values
  staying = (): Pick<DrainReport, 'staying' | 'programs'> => ({ staying: { values: 0, bytes: 0 }, programs: [] })
  say = (text: string): void => void this.said.push(text)
  evacuate = (node: string, values: LeavingValue[]): ReturnType<DrainHost['evacuate']> => {
    if (!this.isReachable) return Promise.reject(new Error(`no link to ${node}`))
    this.asked.push(values.map(({ name }) => name))
    return Promise.resolve(
      values.map(({ name }) => {
        const standing = this.answer(name)
        return { name, standing, problem: standing === 'nowhere' ? 'no room' : '' }
      }),
    )
  }

  /** Lets time pass, in the steps of the drain. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms
    for (;;) {
      await new Promise(setImmediate)
      const next = this.#timers.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > end) break
      this.#timers.splice(this.#timers.indexOf(next), 1)
      this.now = next.atMs
      next.callback()
    }
    this.now = end
  }

  get state(): string {
    return this.drain.report().state
  }
}

const task = { label: 'train', pid: 7, forMs: 1 }

describe('a drain', () => {
  test('ends when nothing runs and all values are elsewhere', async () => {
    const world = new World()
    world.runs = [task]
    world.values = [value(1), value(2, other)]
    world.answer = () => 'coming'
    world.drain.begin({ force: false })
    assert.equal(world.isOpen, false)
    await world.pass(1000)
    assert.equal(world.state, 'draining')
    assert.deepEqual(world.drain.report().toMove, { values: 2, bytes: 20 })
    assert.ok(world.asked.some((names) => names.join() === '1') && world.asked.some((names) => names.join() === '2'))
    world.answer = () => 'kept'
    await world.pass(1000)
    assert.equal(world.state, 'draining')
    assert.deepEqual(world.drain.report().moved, { values: 2, bytes: 20 })
    world.runs = []
    await world.pass(1000)
    assert.equal(world.state, 'drained')
    const asks = world.asked.length
    await world.pass(10_000)
    assert.equal(world.asked.length, asks)
  })

  test('what is kept is not asked for again, and of very many only some are on their way', async () => {
    const world = new World()
    world.values = Array.from({ length: 1000 }, (_, i) => value(i))
    world.answer = () => 'coming'
    world.drain.begin({ force: false })
    await world.pass(1000)
    assert.deepEqual(new Set(world.asked.map((names) => names.length)), new Set([256]))
    assert.equal(new Set(world.asked.flat()).size, 256)
    world.answer = () => 'kept'
    await world.pass(2000)
    assert.equal(world.state, 'drained')
  })

  test('values that are freed meanwhile need no place', async () => {
    const world = new World()
    world.values = [value(1)]
    world.answer = () => 'nowhere'
    world.drain.begin({ force: false })
    await world.pass(1000)
    assert.deepEqual(world.drain.report().stuck, { values: 1, bytes: 10, problem: 'no room' })
    world.values = []
    await world.pass(500)
    assert.equal(world.state, 'drained')
  })

  test('a deadline that passes is told, and it goes on', async () => {
    const world = new World()
    world.runs = [task]
    world.drain.begin({ deadlineMs: 2000, force: false })
    await world.pass(1000)
    assert.equal(world.drain.report().leftMs, 1000)
    await world.pass(1500)
    assert.equal(world.state, 'overdue')
    assert.equal(world.killed, '')
    world.runs = []
    await world.pass(500)
    assert.equal(world.state, 'drained')
  })

  test('with force what runs is ended at the deadline, and what cannot be moved is left', async () => {
    const world = new World()
    world.runs = [task]
    world.values = [value(1)]
    world.isReachable = false
    world.drain.begin({ deadlineMs: 2000, force: true })
    await world.pass(1500)
    assert.equal(world.killed, '')
    await world.pass(1000)
    assert.match(world.killed, /by force/)
    assert.equal(world.state, 'draining')
    world.runs = []
    await world.pass(500)
    assert.equal(world.state, 'drained')
    assert.match(world.drain.report().stuck.problem, /cannot be asked: no link/)
    assert.match(world.said.at(-1) ?? '', /some values are only here/)
  })

  test('what is on its way gets a little more time', async () => {
    const world = new World()
    world.values = [value(1)]
    world.answer = () => 'coming'
    world.drain.begin({ force: true })
    await world.pass(5000)
    assert.equal(world.state, 'draining')
    await world.pass(6000)
    assert.equal(world.state, 'drained')
  })

  test('can be undone, and begun again', async () => {
    const world = new World()
    world.runs = [task]
    world.drain.begin({ force: false })
    await world.pass(1000)
    world.drain.undo()
    assert.equal(world.isOpen, true)
    assert.equal(world.state, 'open')
    world.runs = []
    await world.pass(1000)
    assert.equal(world.state, 'open')
    world.drain.begin({ force: false })
    await world.pass(500)
    assert.equal(world.state, 'drained')
    world.drain.undo()
    assert.equal(world.isOpen, true)
  })
})
