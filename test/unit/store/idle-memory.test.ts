import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { describe, test } from 'node:test'
import { blockHeaderBytes } from '../../../protocols/store-segment.ts'
import { IdleMemory } from '../../../node/store/idle-memory.ts'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'
import { until } from '../../support/daemon-process.ts'
import { bytesFor } from '../../support/segment-reader.ts'

const mebibyte = 1024 * 1024
const bytesMax = 64 * mebibyte
/** An eighth of the store. */
const warmBytes = 8 * mebibyte
const idleMs = 1000
const owner = '0f'.repeat(16)

/** Gives back what there is to give back now, and tells how much that is. */
function giveBack(
  idle: IdleMemory,
  free: { start: number; bytes: number }[],
  usedBytes: number,
  nowMs: number,
): number {
  let bytes = 0
  for (;;) {
    const piece = idle.next(free, usedBytes, nowMs)
    if (piece === undefined) return bytes
    assert.ok(piece.bytes > 0 && piece.bytes <= 4 * mebibyte)
    const isFree = free.some(({ start, bytes: size }) => {
      return start <= piece.start && piece.start + piece.bytes <= start + size
    })
    assert.ok(isFree, 'it is not free')
    bytes += piece.bytes
  }
}

describe('memory that nobody needs', () => {
  const used = 48 * mebibyte
  const all = [{ start: 0, bytes: used }]

  test('goes back when it has not been needed for a while, but for a part that is kept warm', () => {
    const idle = new IdleMemory(bytesMax, idleMs)
    assert.equal(idle.isLarge, false)
    idle.taken({ start: 0, bytes: used }, used)
    assert.equal(idle.isLarge, true)
    const given = [0, 500, 999, 1000, 1999, 2000, 3000].map((nowMs) => giveBack(idle, all, 0, nowMs))
    assert.deepEqual(given, [0, 0, 0, 0, 0, used - warmBytes, 0])
    assert.equal(idle.isLarge, false)
  })

  test('stays as long as so much is in use at once now and then', () => {
    const idle = new IdleMemory(bytesMax, idleMs)
    for (let nowMs = 0; nowMs < 10_000; nowMs += 250) {
      if (nowMs % 1000 === 250) idle.taken({ start: 0, bytes: used }, used)
      assert.equal(giveBack(idle, all, 0, nowMs), 0)
    }
    // Half of it is in use for good.
    idle.taken({ start: 0, bytes: used / 2 }, used / 2)
    const rest = [{ start: used / 2, bytes: used / 2 }]
    const given = [10_000, 11_000, 12_000, 13_000].map((nowMs) => giveBack(idle, rest, used / 2, nowMs))
    assert.deepEqual(given, [0, used / 2 - warmBytes, 0, 0])
  })

  test('is taken from pieces large enough, and counts again when it is used again', () => {
    const idle = new IdleMemory(bytesMax, idleMs)
    idle.taken({ start: 0, bytes: used }, used)
    const scattered = Array.from({ length: 20 }, (_, i) => ({
      start: i * 2 * mebibyte + 4096,
      bytes: 2 * mebibyte - 4096,
    }))
    for (const nowMs of [0, 1000, 2000]) assert.equal(giveBack(idle, scattered, 0, nowMs), 0)
    assert.equal(giveBack(idle, all, 0, 2000), used - warmBytes)
    idle.taken({ start: 20 * mebibyte, bytes: 20 * mebibyte }, 20 * mebibyte)
    const given = [2500, 3000, 4000].map((nowMs) => giveBack(idle, all, 0, nowMs))
    assert.deepEqual(given, [0, 0, 20 * mebibyte])
  })

  test('the system has it again, and what is in use is as it was', async (t) => {
    const segment = await MemorySegment.create(bytesMax)
    if (segment === undefined) throw new Error('there is no shared memory here')
    const store = new ObjectStore({
      bytesMax,
      segment,
      spill: undefined,
      directory: '',
      idleMs: 100,
      now: () => performance.now(),
      onPressure: () => {},
      log: () => {},
    })
    t.after(() => store.close())
    const bytes = 3 * mebibyte
    const names = Array.from({ length: 20 }, (_, n) => n.toString(16).padStart(32, '0'))
    for (const name of names) {
      const room = await store.begin({ name, bytes, owner, object: '' })
      room.slice(0, bytes).set(bytesFor(name, bytes))
      room.commit()
    }
    const pageBytes = (): number => statSync(segment.path).blocks * 512
    assert.ok(pageBytes() > 58 * mebibyte)
    const [kept, ...others] = names.toReversed() as [string, ...string[]]
    store.freed(others)
    await until('most of it has gone back', () => pageBytes() < 24 * mebibyte)
    const { memory } = store.book.entries.get(kept) ?? {}
    const value = segment.slice((memory?.offset ?? 0) + blockHeaderBytes, bytes)
    assert.ok(Buffer.compare(value, bytesFor(kept, bytes)) === 0)
    const [again] = others as [string]
    const room = await store.begin({ name: again, bytes, owner, object: '' })
    room.slice(0, bytes).set(bytesFor(again, bytes))
    room.commit()
    const opened = await store.open(again)
    assert.ok(Buffer.compare((await opened?.read(0, bytes)) ?? new Uint8Array(), bytesFor(again, bytes)) === 0)
    opened?.close()
  })
})
