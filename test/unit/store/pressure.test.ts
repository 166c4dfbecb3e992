import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreBook } from '../../../node/store/store-book.ts'
import type { StoreAction, StoreEvent } from '../../../node/store/store-events.ts'

const owner = '0'.repeat(32)
const nameOf = (n: number): string => owner + n.toString(16).padStart(12, '0')
const bytesMax = 1_000_000

/** A store with a disk, on which whatever is stored is being looked at until `release`. */
function crowdedStore(): {
  step(event: StoreEvent, nowMs: number): StoreAction[]
  release(): void
} {
  let isPinned = false
  let files = 0
  const gate = {
    show: () => {},
    hide: () => !isPinned,
    isPinned: () => isPinned,
    pinned: () => new Set<number>(),
    takeUsed: () => false,
  }
  const spill = { nextFile: () => `file-${++files}`, hasRoom: () => true }
  const book = new StoreBook({ bytesMax, hasSegment: true, gate, spill })
  /** The disk has written what it was given at once. */
  const step = (event: StoreEvent, nowMs: number): StoreAction[] =>
    book.step(event, nowMs).flatMap((action) => {
      if (action.type !== 'spill') return [action]
      return [action, ...step({ type: 'spilled', file: action.file, crcs: action.blocks.map(() => 0) }, nowMs)]
    })
  const put = (n: number, nowMs: number): void => {
    const room = { key: n, name: nameOf(n), bytes: 600_000, writer: owner, owner, kind: 'primary' } as const
    const actions = [...step({ type: 'allocate', ...room }, nowMs), ...step({ type: 'tick' }, nowMs + 500)]
    assert.ok(actions.some(({ type }) => type === 'place'))
    step({ type: 'seal', name: nameOf(n), object: '', crc: 0 }, nowMs + 500)
  }
  put(1, 0)
  put(2, 1000)
  step({ type: 'allocate', key: 3, name: nameOf(3), bytes: 600_000, writer: owner, owner, kind: 'primary' }, 2000)
  step({ type: 'tick' }, 2500)
  step({ type: 'abandon', key: 3, name: nameOf(3) }, 2500)
  // Both are on the disk now, and the second one is brought into memory again.
  for (const action of step({ type: 'open', key: 4, name: nameOf(2) }, 3000)) {
    if (action.type === 'restore') step({ type: 'restored', name: action.name }, 3000)
  }
  isPinned = true
  return {
    step,
    release: () => {
      isPinned = false
    },
  }
}

test('while somebody waits for room, programs are asked again and again to let go of what they look at', () => {
  const { step, release } = crowdedStore()
  const actions = step({ type: 'open', key: 9, name: nameOf(1) }, 10_000)
  let pressures = 0
  for (let nowMs = 10_000; nowMs < 11_000; nowMs += 40) {
    for (const { type } of [...actions.splice(0), ...step({ type: 'tick' }, nowMs)]) {
      assert.notEqual(type, 'opened')
      if (type === 'pressure') pressures += 1
    }
  }
  assert.ok(pressures >= 5, `${pressures} times`)
  release()
  assert.ok(step({ type: 'tick' }, 11_000).some(({ type }) => type === 'restore'))
})

test('a copy waits until programs let go of what they look at, and is refused when that takes too long', () => {
  const room = { key: 9, name: nameOf(9), bytes: 600_000, writer: '', owner, kind: 'copy' } as const
  for (const releasedMs of [15_000, Number.POSITIVE_INFINITY]) {
    const { step, release } = crowdedStore()
    const answers = step({ type: 'allocate', ...room }, 10_000)
    for (let nowMs = 10_000; nowMs < 25_000; nowMs += 40) {
      if (nowMs >= releasedMs) release()
      for (const action of step({ type: 'tick' }, nowMs)) {
        if (action.type === 'place' || action.type === 'refuse') answers.push(action)
        // Programs that ask for room themselves have been refused long before.
        assert.ok(action.type !== 'refuse' || nowMs > 19_000)
      }
    }
    const types = answers.map(({ type }) => type).filter((type) => type !== 'pressure')
    assert.deepEqual(types, [releasedMs < 25_000 ? 'place' : 'refuse'])
  }
})
