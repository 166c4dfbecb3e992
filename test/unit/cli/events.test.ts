import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatDrain, formatProgress } from '../../../node/cli/drain.ts'
import { formatEvents, mergeEvents } from '../../../node/cli/events.ts'
import { EventBook } from '../../../node/reports/event-book.ts'
import type { DrainReport } from '../../../protocols/admin.ts'

describe('shoal events', () => {
  test('those of all nodes are told by time', () => {
    let now = Date.UTC(2026, 0, 2, 3, 4, 5, 6)
    const books = [new EventBook(() => now), new EventBook(() => now)] as const
    books[0].say('node', 'it is up')
    now += 5
    books[1].say('worker', 'worker 3 ended: \u001b[2Jsignal SIGSEGV', { level: 'error', pid: 12 })
    now += 5
    books[0].say('head', 'this node is head')
    const byNode = new Map(
      books.map((book, at) => [`${at}`, { name: ['desk', 'lap'][at] ?? '', items: [...book.from(0, 10).events] }]),
    )
    const events = mergeEvents({ byNode })
    assert.deepEqual(formatEvents(events, [{ name: 'far', problem: 'no link' }]).split('\n'), [
      '2026-01-02 03:04:05.006  desk  node     it is up',
      '2026-01-02 03:04:05.011  lap  worker   worker 3 ended: ?[2Jsignal SIGSEGV',
      '2026-01-02 03:04:05.016  desk  head     this node is head',
      'far does not say: no link',
    ])
    assert.equal(formatEvents([], []), 'Nothing has happened.')
  })

  test('a node remembers the last ones', () => {
    const book = new EventBook(() => 0)
    for (let i = 0; i < 5_001; i++) book.say('link', `${i}`)
    const { events, lost, next } = book.from(0, 1)
    assert.deepEqual([events[0]?.text, lost, next], ['1', 1, 2])
    book.say('link', 'x'.repeat(5000))
    assert.equal(book.from(next + 4_999, 1).events[0]?.text.length, 1000)
  })
})

const report: DrainReport = {
  node: '0000000000000001',
  name: 'desk',
  state: 'draining',
  isForced: false,
  leftMs: 9_600,
  running: [{ label: 'train', pid: 7, forMs: 5 }],
  toMove: { values: 2, bytes: 2 * 1024 ** 3 },
  moved: { values: 3, bytes: 1024 ** 3 },
  stuck: { values: 1, bytes: 1024 ** 3, problem: 'no other node has room for it' },
  staying: { values: 1, bytes: 1024 ** 3 },
  programs: [{ client: '', pid: 9, role: 'driver', program: 'main.ts' }],
}

describe('shoal drain', () => {
  test('says what is still to be done', () => {
    assert.equal(
      formatProgress(report),
      '1 worker still in use (train); 2 values to move (2 GiB); 1 value (1 GiB) cannot be moved: no other node has room for it; 10s left',
    )
    const none = { values: 0, bytes: 0 }
    const { leftMs: _, ...rest } = report
    assert.equal(formatProgress({ ...rest, running: [], toMove: none, stuck: { ...none, problem: '' } }), 'almost done')
  })

  test('says what has been done, and what ends with the node', () => {
    const none = { values: 0, bytes: 0 }
    const drained = { ...report, state: 'drained', running: [], toMove: none } as const
    assert.deepEqual(formatDrain(drained).split('\n'), [
      'desk (0000000000000001) is drained: `shoal down` there stops it.',
      '3 values moved (1 GiB)',
      '1 value could not be moved: no other node has room for it',
      '1 value (1 GiB) of its own processes end with it',
      'Programs that are attached to it: main.ts (pid 9)',
    ])
    assert.equal(formatDrain({ ...report, state: 'open' }), 'desk (0000000000000001) takes work.')
  })
})
