import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { OutputCollector, outputMarker, type OutputBlock } from '../../../node/workers/output-collector.ts'

const prefix = outputMarker('0123')
const lineBytesMax = 64 * 1024

function marker(name: string, to = 'aa'): string {
  return `${prefix}${JSON.stringify({ name, to })}\n`
}

function collect(...chunks: (string | Buffer)[]): OutputBlock[] {
  const collector = new OutputCollector(prefix)
  for (const chunk of chunks) collector.push(Buffer.from(chunk as string))
  collector.flushPartial()
  return collector.take()
}

describe('output collector', () => {
  test('lines belong to the task whose marker came before them', () => {
    assert.deepEqual(collect(`early\n${marker('a')}one\ntwo\n${marker('b', 'bb')}three\n`), [
      { to: '', name: '', lines: ['early'] },
      { to: 'aa', name: 'a', lines: ['one', 'two'] },
      { to: 'bb', name: 'b', lines: ['three'] },
    ])
  })

  test('output without a newline ends at the next marker', () => {
    assert.deepEqual(collect(`${marker('a')}half${marker('b')}rest`), [
      { to: 'aa', name: 'a', lines: ['half'] },
      { to: 'aa', name: 'b', lines: ['rest'] },
    ])
  })

  test('a partial line is kept until it is flushed, and the start of a marker is never shown', () => {
    const collector = new OutputCollector(prefix)
    collector.push(Buffer.from(`${marker('a')}half${prefix}{"na`))
    assert.equal(collector.hasPartialLine, true)
    assert.deepEqual(collector.take(), [])
    collector.flushPartial()
    assert.deepEqual(collector.take(), [{ to: 'aa', name: 'a', lines: ['half'] }])
    collector.flushPartial()
    assert.deepEqual(collector.take(), [])
    collector.push(Buffer.from('me":"b","to":"bb"}\nnext\n'))
    assert.deepEqual(collector.take(), [{ to: 'bb', name: 'b', lines: ['next'] }])
    assert.equal(collector.hasPartialLine, false)
  })

  test('what only looks like a marker is output', () => {
    const lines = [
      '\u001eshoal:{"to":"aa","name":"x"}',
      '\u001eshoal:3210:{"to":"aa","name":"x"}',
      ...['nonsense', '{"to":1,"name":"x"}', 'null'].map((text) => `${prefix}${text}`),
      '\u001e',
      'a\u001eb',
    ]
    assert.deepEqual(collect(`${lines.join('\n')}\n`), [{ to: '', name: '', lines }])
  })

  test('output goes to a new lease until a marker comes, and ends the line before it', () => {
    const collector = new OutputCollector(prefix)
    collector.push(Buffer.from(`${marker('a')}half`))
    collector.turnTo({ to: 'bb', name: 'b' })
    collector.push(Buffer.from(`mine\n${marker('c', 'cc')}its\n`))
    assert.deepEqual(collector.take(), [
      { to: 'aa', name: 'a', lines: ['half'] },
      { to: 'bb', name: 'b', lines: ['mine'] },
      { to: 'cc', name: 'c', lines: ['its'] },
    ])
  })

  test('empty lines stay and carriage returns go', () => {
    assert.deepEqual(collect('a\r\n\r\n\nb\n'), [{ to: '', name: '', lines: ['a', '', '', 'b'] }])
  })

  test('a line without end is cut, not in the middle of a character', () => {
    const text = 'x' + 'é€𝄞'.repeat(30_000)
    const collector = new OutputCollector(prefix)
    for (let at = 0; at < Buffer.byteLength(text); at += 10_000) {
      collector.push(Buffer.from(text).subarray(at, at + 10_000))
      const [block] = collector.take()
      for (const line of block?.lines ?? []) {
        assert.ok(Buffer.byteLength(line) <= lineBytesMax)
        assert.ok(!line.includes('\ufffd'))
      }
    }
    assert.equal(collect(text, '\n')[0]?.lines.join(''), text)
    assert.equal(collect(`${text}\n`)[0]?.lines.join(''), text)
  })

  test('a marker after a very long line is found', () => {
    for (const length of [lineBytesMax - 10, lineBytesMax - 3, lineBytesMax, lineBytesMax + 5]) {
      const text = 'x'.repeat(length)
      for (const at of [5, length, length + 1, length + 4, length + 12]) {
        const bytes = Buffer.from(`${text}${marker('a')}done\n`)
        const blocks = collect(bytes.subarray(0, at), bytes.subarray(at))
        assert.deepEqual(blocks.at(-1), { to: 'aa', name: 'a', lines: ['done'] })
        assert.equal(blocks[0]?.lines.join(''), text)
      }
    }
  })

  test('the cuts between chunks make no difference', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 8 }),
      fc.constantFrom('\n', marker('a'), marker('b'), '\u001e'),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.array(fc.nat(200), { maxLength: 8 }), (pieces, cuts) => {
        const bytes = Buffer.from(`${pieces.join('')}\n`)
        const ends = [...cuts, bytes.length].sort((a, b) => a - b)
        const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
        assert.deepEqual(collect(...chunks), collect(bytes))
      }),
      { numRuns: 300 },
    )
  })
})
