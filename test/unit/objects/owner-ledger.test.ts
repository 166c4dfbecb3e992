import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Question } from '../../../sdk/objects/loan-checks.ts'
import { OwnerLedger } from '../../../sdk/objects/owner-ledger.ts'

const owner = 'owner'
const last = 2 ** 48 - 1
const node = (name: string): string => name.repeat(16)
const client = (name: string): string => name.repeat(32)

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
    const asked: Question[] = []
    const ledger = new OwnerLedger((question) => asked.push(question))
    ledger.count(1, 'a', 'a', 1)
    ledger.count(1, 'b', 'a', 1)
    ledger.count(2, 'b', 'a', 1)
    ledger.count(2, 'b', 'c', 1)
    ledger.count(3, 'b', 'a', -1)
    assert.deepEqual(ledger.gone('a'), [])
    assert.deepEqual(asked, [{ borrower: 'b', lender: 'a', number: 1, isLenderGone: true }])
    const answer = { borrower: 'b', lender: 'a', number: 1, first: 0, last }
    assert.deepEqual(ledger.settle({ ...answer, number: 7 }, new Map()), [])
    assert.deepEqual(ledger.settle(answer, new Map()), [1])
    assert.deepEqual(ledger.borrowersOf(2), ['b'])
    assert.equal(ledger.count(2, 'b', 'c', -1), true)
    assert.equal(ledger.size, 0)
  })

  test('over a broken link nobody holds anything; what comes late when it is back frees nothing before it is asked about', () => {
    const asked: Question[] = []
    const ledger = new OwnerLedger((question) => asked.push(question))
    const [borrower, lender] = [client('b'), client('l')]
    ledger.count(1, borrower, lender, 1)
    ledger.count(2, borrower, lender, 1)
    assert.deepEqual(ledger.nodeGone(node('b')), [1, 2])
    ledger.count(1, borrower, lender, 1)
    assert.equal(ledger.size, 0)
    ledger.nodeBack(node('b'))
    assert.deepEqual(asked, [])
    // Lent anew; then comes what it said before the link broke.
    ledger.count(1, borrower, lender, 1)
    assert.equal(ledger.count(1, borrower, lender, -1), false)
    assert.ok(ledger.isHeld(1))
    const number = 1
    assert.deepEqual(asked, [{ borrower, lender, number, isLenderGone: false }])
    // It has the other one, too, from before. Behind the mark it is lent the first again, and gives one back.
    const answer = { borrower, lender, number, first: 0, last }
    ledger.settle(
      answer,
      new Map([
        [1, 1],
        [2, 1],
      ]),
    )
    assert.equal(ledger.count(1, borrower, lender, -1), false)
    assert.deepEqual(ledger.marked(borrower, lender, 9), [])
    assert.deepEqual(ledger.marked(borrower, lender, number), [1])
    assert.deepEqual(ledger.borrowersOf(2), [borrower])
    assert.equal(ledger.count(2, borrower, lender, -1), true)
    assert.equal(ledger.size, 0)
    assert.equal(asked.length, 1)
  })

  test('an answer about a lender that was out of reach says nothing when it is back: it may lend more', () => {
    const asked: Question[] = []
    const ledger = new OwnerLedger((question) => asked.push(question))
    const [borrower, lender] = [client('b'), client('l')]
    ledger.count(1, borrower, lender, 1)
    ledger.nodeGone(node('l'))
    ledger.nodeBack(node('l'))
    assert.deepEqual(
      asked.map(({ number, isLenderGone }) => [number, isLenderGone]),
      [
        [1, true],
        [2, false],
      ],
    )
    const answer = { borrower, lender, first: 0, last }
    assert.deepEqual(ledger.settle({ ...answer, number: 1 }, new Map()), [])
    assert.deepEqual(ledger.gone(lender), [])
    assert.deepEqual(asked[2], { borrower, lender, number: 3, isLenderGone: true })
    assert.deepEqual(ledger.settle({ ...answer, number: 3 }, new Map()), [1])
    assert.equal(ledger.size, 0)
  })
})
