import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { OutputBook } from '../../../node/reports/output-book.ts'

const all = { limit: 1000, isTail: false } as const

function textsOf({ lines }: ReturnType<OutputBook['find']>): string[] {
  return lines.map(({ text }) => text)
}

describe('what workers have printed', () => {
  test('is found by worker, by the name of the task and by its id', () => {
    const book = new OutputBook(() => 5)
    book.add(1, false, { to: '', name: 'train', task: 'abc', lines: ['one', 'two'] })
    book.add(2, true, { to: '', name: 'load', lines: ['three'] })
    book.add(1, false, { to: '', name: 'train', task: 'abd', lines: ['four'] })
    assert.deepEqual(textsOf(book.find(all, 0)), ['one', 'two', 'three', 'four'])
    assert.deepEqual(textsOf(book.find({ ...all, pid: 1 }, 0)), ['one', 'two', 'four'])
    assert.deepEqual(textsOf(book.find({ ...all, task: 'rai' }, 0)), ['one', 'two', 'four'])
    assert.deepEqual(textsOf(book.find({ ...all, task: 'abc' }, 0)), ['one', 'two'])
    assert.deepEqual(book.find({ ...all, pid: 2 }, 0).lines, [
      { atMs: 5, pid: 2, name: 'load', task: '', isError: true, text: 'three' },
    ])
  })

  test('in parts, and what has come since', () => {
    const book = new OutputBook(() => 0)
    for (let i = 0; i < 5; i++) book.add(1, false, { to: '', name: 'f', lines: [`${i}a`, `${i}b`] })
    const first = book.find({ limit: 4, isTail: false }, 0)
    assert.deepEqual([textsOf(first), first.hasMore], [['0a', '0b', '1a', '1b'], true])
    assert.deepEqual(textsOf(book.find(all, first.next)).length, 6)
    const tail = book.find({ limit: 3, isTail: true }, 0)
    assert.deepEqual([textsOf(tail), tail.hasMore], [['3b', '4a', '4b'], false])
    assert.deepEqual(textsOf(book.find(all, tail.next)), [])
    book.add(2, false, { to: '', name: 'f', lines: ['new'] })
    assert.deepEqual(textsOf(book.find(all, tail.next)), ['new'])
    // The node has been started anew since.
    assert.equal(textsOf(book.find(all, 1000)).length, 11)
  })

  test('of a talkative worker the last is kept, and others keep theirs', () => {
    const book = new OutputBook(() => 0)
    book.add(1, false, { to: '', name: 'quiet', lines: ['said'] })
    const line = 'x'.repeat(10_000)
    book.add(2, false, { to: '', name: 'loud', lines: Array.from({ length: 1000 }, (_, i) => `${i} ${line}`) })
    assert.deepEqual(textsOf(book.find({ ...all, pid: 1 }, 0)), ['said'])
    const { lines, isCut } = book.find({ ...all, pid: 2, isTail: true, limit: 1 }, 0)
    assert.match(lines[0]?.text ?? '', /^999 x/)
    assert.equal(isCut, true)
    let kept = 0
    for (let from = 0, hasMore = true; hasMore;) {
      const part = book.find({ ...all, pid: 2 }, from)
      kept += part.lines.length
      from = part.next
      hasMore = part.hasMore
    }
    assert.ok(kept >= 20 && kept < 30, `${kept}`)
  })

  test('of very many workers those are kept that wrote last', () => {
    const book = new OutputBook(() => 0)
    for (let pid = 1; pid <= 70; pid++) book.add(pid, false, { to: '', name: 'f', lines: [`${pid}`] })
    assert.deepEqual(textsOf(book.find(all, 0)).length, 64)
    assert.deepEqual(textsOf(book.find({ ...all, pid: 6 }, 0)), [])
    assert.deepEqual(textsOf(book.find({ ...all, pid: 7 }, 0)), ['7'])
  })
})
