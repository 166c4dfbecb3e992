import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StoreBook } from '../../../node/store/store-book.ts'
import type { StoreAction, StoreEvent } from '../../../node/store/store-events.ts'

const owner = '0'.repeat(32)
const nameOf = (n: number): string => owner + n.toString(16).padStart(12, '0')
const bytesMax = 1_000_000

/** A store with a disk, on which whatever is stored is being looked at until `release`. */
function crowdedStore(): {
  /** The store itself, with a disk that writes nothing by itself. */
  book: StoreBook
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
  const spill = { nextFile: () => `file-${++files}`, problemWith: () => '' }
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
    book,
    step,
    release: () => {
      isPinned = false
    },
  }
}

test('while somebody waits for room, programs are asked again and again to let go of what they look at', () => {
  const { step, release } = crowdedStore()
  const copy = { key: 9, name: nameOf(9), bytes: 600_000, writer: '', owner, kind: 'copy' } as const
  const actions = step({ type: 'allocate', ...copy }, 10_000)
  let pressures = 0
  for (let nowMs = 10_000; nowMs < 11_000; nowMs += 40) {
    for (const { type } of [...actions.splice(0), ...step({ type: 'tick' }, nowMs)]) {
      assert.notEqual(type, 'place')
      if (type === 'pressure') pressures += 1
    }
  }
  assert.ok(pressures >= 5, `${pressures} times`)
  release()
  assert.ok(step({ type: 'tick' }, 11_000).some(({ type }) => type === 'place'))
})

describe('a value on the disk, while there is no room in memory', () => {
  /** Asks for the first value; gives where it was then to be read, and after how many milliseconds. */
  const openAt = (step: (event: StoreEvent, nowMs: number) => StoreAction[], nowMs: number): [string, number] => {
    const actions = step({ type: 'open', key: nowMs, name: nameOf(1) }, nowMs)
    for (let afterMs = 0; afterMs < 5000; afterMs += 40) {
      actions.push(...step({ type: 'tick' }, nowMs + afterMs))
      for (const action of actions) {
        if (action.type === 'restore') return ['restored', afterMs]
        if (action.type === 'opened') return [action.place.in, afterMs]
      }
    }
    return ['', Infinity]
  }

  test('is read from there when programs let go of nothing, and at once when they have just been asked', () => {
    const { step, release } = crowdedStore()
    const [place, afterMs] = openAt(step, 10_000)
    assert.equal(place, 'file')
    // They are given a moment, and not more.
    assert.ok(afterMs > 0 && afterMs < 200, `${afterMs} ms`)
    for (const nowMs of [10_200, 10_500, 10_800]) assert.deepEqual(openAt(step, nowMs), ['file', 0])
    assert.ok(openAt(step, 12_000)[1] > 0, 'they are asked once more after a while')
    release()
    assert.deepEqual(openAt(step, 12_300), ['restored', 0])
  })

  test('comes into memory when something is being written to the disk for it, however long that takes', () => {
    const { book, step, release } = crowdedStore()
    assert.equal(openAt(step, 10_000)[0], 'file')
    release()
    const room = { key: 5, name: nameOf(5), bytes: 600_000, writer: owner, owner, kind: 'primary' } as const
    step({ type: 'allocate', ...room }, 10_200)
    step({ type: 'seal', name: room.name, object: '', crc: 0 }, 10_200)
    const asked = book.step({ type: 'open', key: 6, name: nameOf(1) }, 10_300)
    const spill = asked.find(({ type }) => type === 'spill')
    assert.ok(spill?.type === 'spill')
    for (let nowMs = 10_300; nowMs < 15_000; nowMs += 40) {
      const types = book.step({ type: 'tick' }, nowMs).map(({ type }) => type)
      assert.deepEqual(new Set(types).difference(new Set(['pressure'])), new Set())
    }
    const written = book.step({ type: 'spilled', file: spill.file, crcs: [0] }, 15_000)
    assert.ok(written.some(({ type }) => type === 'restore'))
  })
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
