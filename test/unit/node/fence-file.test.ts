import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { FenceFile } from '../../../node/election/fence-file.ts'
import { NodeUnavailableError } from '../../../protocols/errors.ts'

function folder(t: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-fence-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

const term = { counter: 7, head: '00000000000000aa' }

test('a node that has never taken part has no fence', (t) => {
  assert.equal(new FenceFile(folder(t)).read(), undefined)
})

test('what was written is there after a restart, and nothing besides', async (t) => {
  const directory = folder(t)
  await new FenceFile(directory).write(term)
  await new FenceFile(directory).write({ ...term, counter: 8 })
  assert.deepEqual(new FenceFile(directory).read(), { ...term, counter: 8 })
  assert.deepEqual(readdirSync(directory), ['fence'])
  assert.equal(statSync(path.join(directory, 'fence')).mode & 0o777, 0o600)
})

for (const text of [
  '',
  'nonsense',
  '0 00000000000000aa',
  '-1 00000000000000aa',
  '1.5 00000000000000aa',
  '3',
  '3 head',
]) {
  test(`a damaged file is an error that names it: ${JSON.stringify(text)}`, (t) => {
    const directory = folder(t)
    writeFileSync(path.join(directory, 'fence'), text)
    assert.throws(
      () => new FenceFile(directory).read(),
      (error) => {
        assert.ok(error instanceof NodeUnavailableError && !error.retryable)
        assert.ok(error.message.includes(path.join(directory, 'fence')))
        return true
      },
    )
  })
}

test('a folder that is not there is an error of the write', async (t) => {
  const file = new FenceFile(path.join(folder(t), 'gone'))
  await assert.rejects(file.write(term), { code: 'ENOENT' })
})
