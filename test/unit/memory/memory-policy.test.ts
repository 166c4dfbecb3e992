import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { MemoryPolicy, type MemoryAction, type MemoryHolder } from '../../../node/memory/memory-policy.ts'
import type { MemoryUse } from '../../../node/memory/memory-use.ts'

const totalBytes = 16 * 2 ** 30
const short: MemoryUse = { usedBytes: totalBytes * 0.96, totalBytes }
const enough: MemoryUse = { usedBytes: totalBytes * 0.9, totalBytes }
const gib = 2 ** 30

function holder(workerId: number, fields: Partial<MemoryHolder> = {}): MemoryHolder {
  return {
    workerId,
    leaseId: workerId,
    job: 'job',
    isRetriable: true,
    grantedAtMs: workerId,
    bytes: gib,
    ...fields,
  }
}

/** Whom a new policy ends; 0 for nobody. */
function ended(...holders: MemoryHolder[]): number {
  return workerOf(new MemoryPolicy({ limitPercent: 95 }).step({ type: 'looked', use: short, holders }, 0))
}

function workerOf(action: MemoryAction<MemoryHolder> | undefined): number {
  return action?.type === 'end' ? action.holder.workerId : 0
}

describe('whom it ends', () => {
  test('the newest lease of tasks that can be tried again', () => {
    assert.equal(ended(holder(1), holder(3), holder(2)), 3)
    assert.equal(ended(holder(1), holder(2, { isRetriable: false })), 1)
    assert.equal(ended(holder(1, { grantedAtMs: 5 }), holder(2, { grantedAtMs: 5 })), 2, 'of one moment the later one')
  })

  test('else the newest of the program that has most', () => {
    const once = (workerId: number, job: string): MemoryHolder => holder(workerId, { isRetriable: false, job })
    assert.equal(ended(once(1, 'a'), once(2, 'a'), once(3, 'b')), 2)
    assert.equal(ended(once(1, 'a'), once(2, 'b')), 2)
  })

  test('nobody who holds too little to matter', () => {
    assert.equal(ended(holder(1), holder(2, { bytes: 50e6 })), 1)
    assert.equal(ended(holder(1, { isRetriable: false }), holder(2, { bytes: 50e6 })), 1)
    assert.equal(ended(holder(1, { bytes: 50e6 })), 0)
    assert.equal(ended(), 0)
  })

  test('of any holders one that is worth it, and none that can be tried again is spared for one that cannot', () => {
    const any = fc.record({
      job: fc.constantFrom('a', 'b', 'c'),
      isRetriable: fc.boolean(),
      grantedAtMs: fc.nat(5),
      bytes: fc.constantFrom(0, gib / 4, gib),
    })
    fc.assert(
      fc.property(fc.array(any, { maxLength: 8 }), (fields) => {
        const holders = fields.map((each, at) => holder(at + 1, each))
        const worth = holders.filter(({ bytes }) => bytes > 0)
        const found = holders.find(({ workerId }) => workerId === ended(...holders))
        assert.equal(found === undefined, worth.length === 0)
        if (found === undefined) return
        const alike = worth.filter(
          ({ isRetriable, job }) => isRetriable === found.isRetriable && (isRetriable || job === found.job),
        )
        assert.ok(found.isRetriable || worth.every(({ isRetriable }) => !isRetriable))
        assert.ok(alike.every(({ grantedAtMs }) => grantedAtMs <= found.grantedAtMs))
        const countOf = (of: string): number => worth.filter(({ job }) => job === of).length
        assert.ok(found.isRetriable || ['a', 'b', 'c'].every((job) => countOf(job) <= countOf(found.job)))
      }),
    )
  })
})

describe('when it ends one', () => {
  test('from the limit on, and never at 100 %', () => {
    const policy = new MemoryPolicy({ limitPercent: 95 })
    assert.equal(policy.limitOf(short), Math.floor(totalBytes * 0.95))
    assert.equal(policy.step({ type: 'measured', use: enough }, 0), undefined)
    assert.deepEqual(policy.step({ type: 'measured', use: short }, 0), { type: 'look' })
    assert.equal(policy.step({ type: 'looked', use: enough, holders: [holder(1)] }, 0), undefined, 'it is over')
    const never = new MemoryPolicy({ limitPercent: 100 })
    assert.equal(never.step({ type: 'measured', use: { usedBytes: totalBytes, totalBytes } }, 0), undefined)
  })

  test('one at a time, and the next when the memory of the last can be back', () => {
    const policy = new MemoryPolicy({ limitPercent: 95 })
    const holders = [holder(1), holder(2)]
    assert.equal(workerOf(policy.step({ type: 'looked', use: short, holders }, 0)), 2)
    assert.equal(policy.step({ type: 'measured', use: short }, 250), undefined, 'it has not gone yet')
    policy.step({ type: 'workerGone', workerId: 1 }, 300)
    assert.equal(policy.step({ type: 'measured', use: short }, 1_000), undefined, 'that was another one')
    policy.step({ type: 'workerGone', workerId: 2 }, 1_100)
    assert.equal(policy.step({ type: 'measured', use: short }, 1_599), undefined)
    assert.deepEqual(policy.step({ type: 'measured', use: short }, 1_600), { type: 'look' })
    assert.equal(workerOf(policy.step({ type: 'looked', use: short, holders: [holder(1)] }, 1_600)), 1)
    assert.deepEqual(policy.step({ type: 'measured', use: short }, 6_600), { type: 'look' }, 'it does not end')
  })

  test('says once that no worker is to blame', () => {
    const policy = new MemoryPolicy({ limitPercent: 95 })
    const look = { type: 'looked', use: short, holders: [] } as const
    assert.deepEqual(policy.step(look, 0), { type: 'helpless' })
    assert.equal(policy.step(look, 250), undefined)
    policy.step({ type: 'measured', use: enough }, 500)
    assert.deepEqual(policy.step(look, 750), { type: 'helpless' })
  })
})
