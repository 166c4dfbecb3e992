import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { makeSpillDirectory } from '../../../node/store/spill-directory.ts'
import { NodeUnavailableError } from '../../../protocols/errors.ts'

function disk(t: TestContext): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-test-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

function refuses(spillDirectory: string, message: RegExp): void {
  assert.throws(
    () => makeSpillDirectory({ spillDirectory }),
    (error) => error instanceof NodeUnavailableError && message.test(error.message),
  )
}

test('a folder that is there, or that only is missing itself', (t) => {
  const home = disk(t)
  for (const parent of [home, path.join(home, 'spill'), path.join(home, 'spill')]) {
    const made = makeSpillDirectory({ spillDirectory: parent })
    assert.equal(path.dirname(made ?? ''), parent)
    assert.ok(existsSync(made ?? ''))
  }
})

test('one whose folder is missing is not made, as it may be on a disk that is not mounted', (t) => {
  const home = disk(t)
  refuses(path.join(home, 'disk2', 'spill'), /there is no folder .*disk2 to make it in; choose another .*--spill-dir/)
  assert.deepEqual(readdirSync(home), [])
})

test('a file is no folder', (t) => {
  const file = path.join(disk(t), 'file')
  writeFileSync(file, '')
  refuses(file, /ENOTDIR.*--spill-dir/)
  refuses(path.join(file, 'spill'), /ENOTDIR.*--spill-dir/)
})

test('none when none is wanted', () => {
  assert.equal(makeSpillDirectory({ spill: false }), undefined)
})
