import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isRemoteLease, RemoteLeases } from '../../../node/routing/remote-leases.ts'
import type { LeaseEnd } from '../../../node/server/lease-end.ts'

function owner(id: string): LeaseEnd {
  return { id, wantsLogs: false, unsentBytes: 0, send: () => {}, forward: () => {} }
}

function grant(leaseId: number) {
  return { leaseId, workerId: 'worker', workerPid: 1, gpuIds: [], nodesAble: 1 }
}

describe('leases on other nodes', () => {
  test('are found by the number here and by the number there', () => {
    const leases = new RemoteLeases()
    const first = leases.add('a', grant(1), owner('x'), 'x')
    const second = leases.add('b', grant(1), owner('x'), 'x')
    assert.notEqual(first.alias, second.alias)
    assert.equal(leases.get(first.alias), first)
    assert.equal(leases.at('a', 1), first)
    assert.equal(leases.at('b', 1), second)
    assert.equal(leases.at('a', 2), undefined)
    assert.equal(leases.count, 2)
  })

  test('have numbers that no lease book gives', () => {
    const leases = new RemoteLeases()
    assert.equal(isRemoteLease(leases.add('a', grant(1), owner('x'), 'x').alias), true)
    assert.equal(isRemoteLease(1), false)
    assert.equal(isRemoteLease(0x7fff_ffff), false)
  })

  test('are listed by node and by client, the owner or the one at the root of the work', () => {
    const leases = new RemoteLeases()
    const own = leases.add('a', grant(1), owner('x'), 'x')
    const nested = leases.add('b', grant(1), owner('worker'), 'x')
    const other = leases.add('a', grant(2), owner('y'), 'y')
    assert.deepEqual(leases.ofNode('a'), [own, other])
    assert.deepEqual(leases.ofNode('c'), [])
    assert.deepEqual(leases.ofClient('x'), [own, nested])
    assert.deepEqual(leases.ofClient('worker'), [nested])
  })

  test('are gone when removed, and removing one twice harms nobody', () => {
    const leases = new RemoteLeases()
    const lease = leases.add('a', grant(1), owner('x'), 'x')
    const other = leases.add('a', grant(2), owner('x'), 'x')
    leases.remove(lease)
    leases.remove(lease)
    assert.equal(leases.get(lease.alias), undefined)
    assert.equal(leases.at('a', 1), undefined)
    assert.deepEqual(leases.ofNode('a'), [other])
    assert.equal(leases.count, 1)
  })
})
