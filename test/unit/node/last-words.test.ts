import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LastWords } from '../../../node/workers/last-words.ts'

function textOf(...outputs: string[]): string {
  const words = new LastWords()
  for (const output of outputs) words.add(output.split('\n'))
  return words.text
}

describe('last words', () => {
  test('of an uncaught exception: the error', () => {
    const output = `file:///app/main.mjs:3
  throw new RangeError('THE REASON')
        ^

RangeError: THE REASON
    at boom (file:///app/main.mjs:3:9)
    at process.processTicksAndRejections (node:internal/process/task_queues:103:5)

Node.js v24.1.0
`
    assert.equal(textOf('progress 1\nprogress 2', output), 'RangeError: THE REASON')
    assert.equal(textOf(...output.split('\n')), 'RangeError: THE REASON', 'in whatever pieces it comes')
  })

  test('of a heap that is full: what V8 says of it', () => {
    const output = `
<--- Last few GCs --->

[1:0x7f] 1234 ms: Mark-Compact 48.0 (50.1) -> 47.9 (50.3) MB

<--- JS stacktrace --->

FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
----- Native stack trace -----

 1: 0x7f00 node::OOMErrorHandler(char const*, v8::OOMDetails const&) [node]
 2: 0x7f01 v8::Utils::ReportOOMFailure() [node]
`
    assert.equal(textOf(output), 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory')
  })

  test('without an error the last line, of nothing nothing', () => {
    assert.equal(textOf('one\ntwo\n\n'), 'two')
    assert.equal(textOf('', '\n'), '')
  })

  test('are one line, and short', () => {
    assert.equal(textOf('Error: a\n  more\tof it'), 'Error: a more of it')
    const long = textOf(`TypeError: ${'x'.repeat(10_000)}`)
    assert.equal(long, `TypeError: ${'x'.repeat(289)}…`)
  })

  test('are forgotten with the lease', () => {
    const words = new LastWords()
    words.add(['Error: of another'])
    words.forget()
    assert.equal(words.text, '')
  })
})
