import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objectId } from '../../../protocols/ids.ts'
import { BorrowLedger } from '../../../sdk/objects/borrow-ledger.ts'

const client = (node: number, number: number): string =>
  String(node).padStart(16, '0') + String(number).padStart(16, '0')
const [owner, lender, other] = [client(1, 1), client(2, 1), client(2, 2)]
const id = objectId(owner, 7)

describe('what a process borrows', () => {
  test('what a lender has lent is known when it is known that the lender is gone, not before', () => {
    const ledger = new BorrowLedger()
    assert.equal(ledger.ask(owner, lender), undefined)
    // It was on its way.
    const borrow = ledger.add(id, lender)
    ledger.again(borrow, lender)
    ledger.again(borrow, other)
    assert.deepEqual(ledger.clientGone(other), [])
    assert.deepEqual(ledger.clientGone(lender), [{ owner, lender, holds: [{ object: id, count: 2 }] }])
    assert.deepEqual(ledger.ask(owner, other), { owner, lender: other, holds: [{ object: id, count: 1 }] })
    assert.deepEqual(
      [...ledger.end(borrow)],
      [
        [lender, 2],
        [other, 1],
      ],
    )
    assert.deepEqual(ledger.ask(owner, lender), { owner, lender, holds: [] })
    assert.equal(ledger.size, 0)
  })

  test('an owner that is gone waits for no answer', () => {
    const ledger = new BorrowLedger()
    ledger.ask(owner, lender)
    assert.deepEqual(ledger.clientGone(owner), [])
    assert.deepEqual(ledger.clientGone(lender), [])
  })

  test('an owner on a node that is cut off has forgotten what it lent, and is given nothing back', () => {
    const ledger = new BorrowLedger()
    const borrow = ledger.add(id, lender)
    ledger.nodeGone(owner.slice(0, 16))
    ledger.again(borrow, other)
    assert.deepEqual([...ledger.end(borrow)], [[other, 1]])
  })

  test('the node of a lender that was cut off and has come back may bring more', () => {
    const ledger = new BorrowLedger()
    ledger.nodeGone(lender.slice(0, 16))
    assert.deepEqual(ledger.ask(owner, lender), { owner, lender, holds: [] })
    ledger.add(id, lender)
    assert.equal(ledger.ask(owner, lender), undefined)
  })
})
