import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LineFolder } from '../../../sdk/output/line-folder.ts'

const line = (text: string, pid: number, name = 'square') => ({ name, pid, isError: false, text })

describe('folding of repeated lines', () => {
  test('the first is shown at once, the same from other workers is counted', () => {
    const folder = new LineFolder(1000)
    assert.deepEqual(folder.add(line('hello', 1), 0), [{ line: line('hello', 1), suffix: '' }])
    assert.deepEqual(folder.add(line('hello', 2), 10), [])
    assert.deepEqual(folder.add(line('hello', 3), 20), [])
    assert.equal(folder.nextMs, 1000)
    assert.deepEqual(folder.due(999), [])
    assert.deepEqual(folder.due(1000), [{ line: line('hello', 1), suffix: ' [repeated 2x across 3 workers]' }])
    assert.equal(folder.nextMs, undefined)
  })

  test('one worker that repeats itself is not folded', () => {
    const folder = new LineFolder(1000)
    for (let i = 0; i < 3; i++) assert.equal(folder.add(line('tick', 1), i).length, 1)
  })

  test('other texts, tasks and streams are kept apart', () => {
    const folder = new LineFolder(1000)
    folder.add(line('a', 1), 0)
    assert.equal(folder.add(line('b', 2), 0).length, 1)
    assert.equal(folder.add(line('a', 2, 'cube'), 0).length, 1)
    assert.equal(folder.add({ ...line('a', 2), isError: true }, 0).length, 1)
  })

  test('after the window the text is shown again', () => {
    const folder = new LineFolder(1000)
    folder.add(line('a', 1), 0)
    folder.add(line('a', 2), 0)
    const shown = folder.add(line('a', 2), 1500)
    assert.deepEqual(
      shown.map(({ suffix }) => suffix),
      [' [repeated 1x across 2 workers]', ''],
    )
  })

  test('what is remembered is bounded, and nothing counted is lost', () => {
    const folder = new LineFolder(1000)
    let shown = 0
    for (let i = 0; i < 5000; i++) {
      for (const pid of [1, 2]) {
        for (const { suffix } of folder.add(line(`text ${i}`, pid), 0)) shown += suffix === '' ? 1 : 1
      }
    }
    shown += folder.flush().length
    assert.equal(shown, 10_000)
  })
})
