import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { OwnerLedger } from '../../../sdk/objects/owner-ledger.ts'

const owner = 'owner'

/**
 * Processes that lend one object on to each other and drop it. What they say to the owner is on its way for a while; of one
 * process it arrives in order, of several in any.
 */
class Borrowers {
  readonly ledger = new OwnerLedger()
  /** How many borrows each live process has. */
  readonly has = new Map<string, number>([['p0', 1]])
  readonly #saying = new Map<string, (() => void)[]>()
  #isFreed = false
  #processes = 1

  constructor() {
    this.ledger.count(1, 'p0', 'p0', 1)
  }

  #say(from: string, arrive: () => void): void {
    const ways = this.#saying.get(from) ?? []
    this.#saying.set(from, ways)
    ways.push(arrive)
  }

  lend(from: string, to: string): void {
    // The owner hears that `to` borrows it before it can hear that `from` does no more: both are said by `from`.
    this.#say(from, () => void (this.#isFreed ||= this.ledger.count(1, to, 'p0', 1)))
    this.has.set(to, (this.has.get(to) ?? 0) + 1)
  }

  drop(process: string): void {
    const count = this.has.get(process) ?? 0
    this.has.delete(process)
    this.#say(process, () => void (this.#isFreed ||= this.ledger.count(1, process, 'p0', -count)))
  }

  die(process: string): void {
    this.has.delete(process)
    // What it said last may be lost with it, or still arrive later.
    if (this.#processes % 2 === 0) this.#saying.delete(process)
    this.ledger.gone(process)
  }

  newProcess(): string {
    return `p${this.#processes++}`
  }

  arrive(pick: number): void {
    const ways = [...this.#saying.values()].filter((each) => each.length > 0)
    ways[pick % Math.max(1, ways.length)]?.shift()?.()
  }

  settle(): void {
    for (const ways of this.#saying.values()) for (const arrive of ways.splice(0)) arrive()
  }

  get isFreed(): boolean {
    return this.#isFreed
  }
}

const step = fc.record({ kind: fc.constantFrom('lend', 'drop', 'arrive', 'arrive', 'die'), a: fc.nat(), b: fc.nat() })

describe('who borrows an object', () => {
  test('it is never free while somebody has it, always when nobody does, and nothing is left of the counts', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const world = new Borrowers()
        let deaths = 0
        for (const { kind, a, b } of steps) {
          const holders = [...world.has.keys()]
          const holder = holders[a % Math.max(1, holders.length)]
          if (kind === 'arrive') world.arrive(a)
          else if (holder === undefined) continue
          else if (kind === 'lend')
            world.lend(holder, b % 3 === 0 ? world.newProcess() : (holders[b % holders.length] as string))
          else if (kind === 'drop') world.drop(holder)
          else {
            world.die(holder)
            deaths += 1
          }
          // Who dies may take along what it said for others; without that the rule is strict.
          if (deaths === 0 && world.has.size > 0) assert.ok(!world.isFreed)
        }
        world.settle()
        if (deaths === 0) assert.equal(world.ledger.isHeld(1), world.has.size > 0)
        for (const holder of [...world.has.keys()]) world.drop(holder)
        world.settle()
        if (deaths === 0) assert.equal(world.ledger.size, 0)
      }),
      { numRuns: 3000 },
    )
  })

  test('a borrow that is given back before it was told leaves nothing behind', () => {
    const ledger = new OwnerLedger()
    ledger.count(1, 'a', 'c', 1)
    assert.equal(ledger.count(1, 'b', 'a', -1), false)
    assert.ok(ledger.isHeld(1))
    ledger.count(1, 'b', 'a', 1)
    assert.equal(ledger.count(1, 'a', 'c', -1), true)
    assert.equal(ledger.size, 0)
  })

  test('what is said late in the name of one who is gone does not count', () => {
    const ledger = new OwnerLedger()
    ledger.count(1, 'a', 'c', 1)
    ledger.count(1, owner, 'a', 1)
    assert.deepEqual(ledger.gone('a'), [])
    ledger.count(1, 'a', 'c', 1)
    assert.deepEqual(ledger.borrowersOf(1), [owner])
    assert.deepEqual(ledger.gone(owner), [1])
    assert.equal(ledger.size, 0)
  })

  test('when a lender is gone, the borrower says what it has of it', () => {
    const ledger = new OwnerLedger()
    ledger.count(1, 'a', 'a', 1)
    ledger.count(1, 'b', 'a', 1)
    ledger.count(2, 'b', 'a', 1)
    ledger.count(2, 'b', 'c', 1)
    ledger.count(3, 'b', 'a', -1)
    assert.deepEqual(ledger.gone('a'), [])
    assert.deepEqual(
      ledger.lentBy((lender) => lender === 'a'),
      [{ borrower: 'b', lender: 'a' }],
    )
    assert.deepEqual(ledger.settle({ borrower: 'b', lender: 'a', first: 0, last: 9 }, new Map()), [1])
    assert.deepEqual(ledger.borrowersOf(2), ['b'])
    assert.equal(ledger.count(2, 'b', 'c', -1), true)
    assert.equal(ledger.size, 0)
  })
})
