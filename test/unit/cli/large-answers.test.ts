import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { answerAdmin } from '../../../node/admin/admin-desk.ts'
import { GroupDesk } from '../../../node/groups/group-desk.ts'
import { LeaseBook } from '../../../node/leases/lease-book.ts'
import { ClientDirectory } from '../../../node/server/client-directory.ts'
import { ClientTable } from '../../../node/server/client-table.ts'
import { memoryReport } from '../../../node/store/memory-report.ts'
import type { HeldObject } from '../../../protocols/admin.ts'
import { messages } from '../../../protocols/messages.ts'
import type { GroupReport } from '../../../protocols/placement-groups.ts'
import { jsonBytes, withinBytes } from '../../../protocols/within-bytes.ts'
import { nodeId } from '../view/make-advert.ts'

const { bytesMax } = messages.adminReply

describe('answers that are too large for a message', () => {
  test('become errors', async () => {
    const small = await answerAdmin({ call: () => Promise.resolve('x') }, 'nodes', {})
    assert.deepEqual(small, { ok: true, value: 'x' })
    const large = await answerAdmin({ call: () => Promise.resolve('x'.repeat(bytesMax)) }, 'nodes', {})
    assert.ok(!large.ok)
    assert.match(large.error.message, /the answer has \d+ bytes, over \d+/)
  })

  test('the first items that fit', () => {
    assert.deepEqual(withinBytes([1, 2, 3], 100), [1, 2, 3])
    assert.deepEqual(withinBytes(['é', 'é', 'é'], 12), ['é', 'é'])
    assert.deepEqual(withinBytes(['x'.repeat(100)], 10), [])
  })

  test('of values with many holders, the largest are told and the rest counted', () => {
    const processes = Array.from({ length: 128 }, (_, i) => ({
      client: String(i).padStart(32, 'c'),
      pid: 100_000 + i,
      role: 'worker' as const,
      program: `/home/someone/${'x'.repeat(60)}/main.js`,
    }))
    const objects = Array.from({ length: 1000 }, (_, i) => ({
      object: String(i).padStart(44, 'a'),
      name: String(i).padStart(48, 'n'),
      bytes: 1e6,
      owner: 'o'.repeat(32),
      kind: 'primary' as const,
      where: 'memory' as const,
      viewedBy: [],
      ageMs: 1,
    }))
    const borrowed = objects.map(({ object }) => ({ object, tasks: 0 }))
    const told = new Map(processes.map(({ client }) => [client, { requestId: 1, owned: [], borrowed }]))
    const report = memoryReport({ objects, more: 5 }, { processes, told, silent: [] })
    assert.ok(jsonBytes(report) < bytesMax)
    assert.ok(report.objects.length > 100 && report.objects.length < 1000)
    assert.equal(report.objects.length + report.more, 1005)
    assert.equal((report.objects[0] as HeldObject).holders.length, 128)
  })

  test('of groups with many bundles, the oldest are told and the rest counted', async () => {
    const self = nodeId(1)
    const labels = { zone: { in: Array.from({ length: 64 }, (_, i) => String(i).padEnd(64, 'x')) } }
    const bundles = Array.from({ length: 30 }, () => ({ resources: { CPU: 1 }, labels }))
    const all = Array.from({ length: 300 }, (_, i): GroupReport => {
      const id = String(i).padStart(48, '0')
      return { id, name: '', strategy: 'PACK', state: 'pending', reason: '', ageMs: 1000 - i, bundles } as never
    })
    const desk = new GroupDesk({
      self,
      labels: {},
      book: new LeaseBook({ total: { CPU: 1 } }),
      gpus: () => [],
      directory: new ClientDirectory(self, new ClientTable(self)),
      whyForbidden: () => undefined,
      expectsOthers: () => false,
      now: () => 0,
    })
    desk.openMesh({ send: () => false, obeys: () => true, isOpen: true, others: () => Promise.resolve(all) })
    const { groups, more } = await desk.reports()
    desk.close()
    assert.ok(jsonBytes({ groups, more }) < bytesMax)
    assert.ok(groups.length > 50 && groups.length < 300)
    assert.equal(groups.length + more, 300)
    assert.deepEqual(groups[0], all[0])
  })
})
