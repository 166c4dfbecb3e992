import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SegmentAllocator } from '../../../node/store/segment-allocator.ts'

const page = 4096

test('pieces never overlap, stay inside, and come together again when all are free', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 40 }), fc.nat()), { maxLength: 300 }),
      (steps) => {
        const end = 200 * page
        const allocator = new SegmentAllocator(page, end)
        const live: { start: number; bytes: number }[] = []
        for (const [isFree, pages, pick] of steps) {
          if (isFree && live.length > 0) {
            const [piece] = live.splice(pick % live.length, 1)
            if (piece !== undefined) allocator.free(piece.start, piece.bytes)
            continue
          }
          const bytes = pages * page
          const start = allocator.allocate(bytes)
          if (start === undefined) continue
          assert.ok(start >= page && start + bytes <= end)
          for (const other of live) assert.ok(start + bytes <= other.start || other.start + other.bytes <= start)
          live.push({ start, bytes })
        }
        const used = live.reduce((sum, { bytes }) => sum + bytes, 0)
        assert.equal(allocator.freeBytes, end - page - used)
        for (const { start, bytes } of live) allocator.free(start, bytes)
        assert.equal(allocator.allocate(end - page), page)
      },
    ),
  )
})

test('memory that has been used before comes first', () => {
  const allocator = new SegmentAllocator(0, 100 * page)
  const first = allocator.allocate(10 * page)
  allocator.allocate(page)
  allocator.free(first ?? 0, 10 * page)
  assert.equal(allocator.allocate(8 * page), first)
  assert.equal(allocator.top, 11 * page)
})
