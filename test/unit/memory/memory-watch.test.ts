import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { MemoryWatch } from '../../../node/memory/memory-watch.ts'
import type { OutOfMemoryDetails } from '../../../protocols/out-of-memory.ts'
import { BookHarness } from '../leases/book-harness.ts'

test(
  'a worker is ended when memory is short, and what is known goes with it',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1_000)'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const pid = child.pid ?? 0
    t.after(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    const harness = new BookHarness({ total: { CPU: 1 } })
    const { workerId } = harness.lease({ isRetriable: true, label: 'train' })
    const use = { usedBytes: 960, totalBytes: 1_000 }
    const killed = Promise.withResolvers<{ reason: string; details: OutOfMemoryDetails | undefined }>()
    const pool = {
      all: () => [{ pid }],
      get: (id: number) => (id === workerId ? { pid } : undefined),
      kill: (id: number, reason: string, details?: OutOfMemoryDetails) => {
        assert.equal(id, workerId)
        killed.resolve({ reason, details })
      },
    }
    let systemKills = 0
    const watch = new MemoryWatch({
      node: 'n1',
      limitPercent: 95,
      read: () => Promise.resolve(use),
      systemKills: () => systemKills,
      book: harness.book,
      pool: pool as never,
      now: () => performance.now(),
      log: () => {},
    })
    watch.open()
    t.after(() => watch.close())
    const { reason, details } = await killed.promise
    assert.match(
      reason,
      /^node n1 ran out of memory \(960 bytes of 1000 bytes in use, the limit is 950 bytes\); the worker held [\d.]+ MiB$/,
    )
    assert.ok(details !== undefined && details.rssBytes > 2 ** 20)
    assert.deepEqual(details, {
      node: 'n1',
      usedBytes: 960,
      limitBytes: 950,
      totalBytes: 1_000,
      rssBytes: details.rssBytes,
      workers: [{ pid, label: 'train', rssBytes: details.rssBytes }],
    })
    assert.equal(watch.endedCount, 1)
    assert.deepEqual(watch.use, { ...use, limitBytes: 950 })
    assert.equal(watch.systemEnded(), undefined)
    systemKills = 1
    assert.deepEqual(watch.systemEnded(), { ...details, rssBytes: 0, workers: [] })
    assert.equal(watch.systemEnded(), undefined, 'it was one process')
  },
)
