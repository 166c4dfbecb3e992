import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objectId } from '../../../protocols/ids.ts'
import { BorrowLedger } from '../../../sdk/objects/borrow-ledger.ts'
import type { Question } from '../../../sdk/objects/loan-checks.ts'
import { OwnerLedger } from '../../../sdk/objects/owner-ledger.ts'

const client = (node: number, number: number): string =>
  String(node).padStart(16, '0') + String(number).padStart(16, '0')
const [owner, lender, other] = [client(1, 1), client(2, 1), client(2, 2)]
const id = objectId(owner, 7)
const whole = { owner, number: 5, first: 0, last: 2 ** 48 - 1 }

describe('what a process borrows', () => {
  test('what a lender has lent is known when it is known that the lender is gone, not before', () => {
    const ledger = new BorrowLedger()
    assert.deepEqual(ledger.ask(owner, lender, 5), [])
    // It was on its way.
    const borrow = ledger.add(id, lender)
    ledger.again(borrow, lender)
    ledger.again(borrow, other)
    assert.deepEqual(ledger.clientGone(other), [])
    assert.deepEqual(ledger.clientGone(lender), [{ ...whole, lender, holds: [{ object: id, count: 2 }] }])
    assert.deepEqual(ledger.ask(owner, other, 5), [{ ...whole, lender: other, holds: [{ object: id, count: 1 }] }])
    assert.deepEqual(
      [...ledger.end(borrow)],
      [
        [lender, 2],
        [other, 1],
      ],
    )
    assert.deepEqual(ledger.ask(owner, lender, 5), [{ ...whole, lender, holds: [] }])
    assert.equal(ledger.size, 0)
  })

  test('who waits for an answer gets it when the node of the lender is gone, too', () => {
    const ledger = new BorrowLedger()
    ledger.add(id, lender)
    ledger.ask(owner, lender, 5)
    ledger.ask(owner, other, 5)
    const answers = ledger.nodeGone(lender.slice(0, 16))
    assert.deepEqual(answers, [
      { ...whole, lender, holds: [{ object: id, count: 1 }] },
      { ...whole, lender: other, holds: [] },
    ])
  })

  test('of many objects is told in parts, which come to the same as the whole', () => {
    const numbers = [9, 3, 12, 1, 7, 5, 2]
    const borrowed = [9, 12, 1, 7, 2]
    const free = [2, 3, 4, 7, 100].map((holdsMax) => {
      const ledger = new BorrowLedger({ holdsMax })
      const asked: Question[] = []
      const owners = new OwnerLedger((question) => asked.push(question))
      for (const number of numbers) owners.count(number, 'borrower', lender, 1)
      // Of one of them a loan has not been heard of.
      for (const number of borrowed) ledger.add(objectId(owner, number), lender)
      ledger.add(objectId(owner, 20), lender)
      owners.count(40, 'borrower', lender, -1)
      ledger.clientGone(lender)
      owners.gone(lender)
      const { number } = asked[0] as Question
      const parts = ledger.ask(owner, lender, number)
      assert.equal(parts.length, Math.ceil(6 / holdsMax))
      assert.ok(parts.every(({ holds }) => holds.length <= holdsMax))
      const freed = parts.flatMap(({ first, last, holds }) => {
        const counts = new Map(holds.map(({ object, count }) => [Number.parseInt(object.slice(32), 16), count]))
        return owners.settle({ borrower: 'borrower', lender, number, first, last }, counts)
      })
      assert.deepEqual(
        numbers.filter((number) => owners.isHeld(number)),
        borrowed,
      )
      // Of the other one the loan was not heard, and it is there.
      assert.equal(owners.size, borrowed.length + 1)
      return freed.toSorted((a, b) => a - b)
    })
    for (const each of free) assert.deepEqual(each, [3, 5])
  })

  test('those who are gone are remembered, so many of them: one that is forgotten is not answered for', () => {
    const ledger = new BorrowLedger()
    const first = client(5, 1)
    ledger.nodeGone(first.slice(0, 16))
    for (let node = 100; node < 10_099; node++) ledger.nodeGone(client(node, 1).slice(0, 16))
    assert.equal(ledger.ask(owner, first, 5).length, 1)
    ledger.nodeGone(client(20_000, 1).slice(0, 16))
    assert.deepEqual(ledger.ask(owner, first, 5), [])
    assert.equal(ledger.ask(owner, client(101, 1), 5).length, 1)
  })

  test('an owner that is gone waits for no answer', () => {
    const ledger = new BorrowLedger()
    ledger.ask(owner, lender, 5)
    assert.deepEqual(ledger.clientGone(owner), [])
    assert.deepEqual(ledger.clientGone(lender), [])
  })

  test('who was cut off from an owner still knows what it has of it, should the owner come back', () => {
    const ledger = new BorrowLedger()
    const borrow = ledger.add(id, lender)
    ledger.nodeGone(owner.slice(0, 16))
    ledger.again(borrow, other)
    ledger.nodeBack(owner.slice(0, 16))
    assert.deepEqual(ledger.mark(owner, lender, 5), [{ ...whole, lender, holds: [{ object: id, count: 1 }] }])
    assert.deepEqual(
      [...ledger.end(borrow)],
      [
        [lender, 1],
        [other, 1],
      ],
    )
  })

  test('a lender whose node was cut off and has come back may bring more, until it is known that it is gone itself', () => {
    const ledger = new BorrowLedger()
    ledger.nodeGone(lender.slice(0, 16))
    assert.deepEqual(ledger.ask(owner, lender, 5), [{ ...whole, lender, holds: [] }])
    ledger.nodeBack(lender.slice(0, 16))
    assert.deepEqual(ledger.ask(owner, lender, 5), [])
    ledger.add(id, lender)
    assert.deepEqual(ledger.clientGone(lender), [{ ...whole, lender, holds: [{ object: id, count: 1 }] }])
  })
})
