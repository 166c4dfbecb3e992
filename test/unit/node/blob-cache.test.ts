import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { BlobCache } from '../../../node/code/blob-cache.ts'

function setUp(t: TestContext): { cache: BlobCache; directory: string; logged: string[] } {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-test-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const logged: string[] = []
  return { cache: new BlobCache(directory, (text) => logged.push(text)), directory, logged }
}

function blob(text: string): { hash: string; content: Buffer } {
  const content = Buffer.from(text)
  return { hash: createHash('sha256').update(content).digest('hex'), content }
}

describe('blob cache', () => {
  test('a blob that is put twice is there once', async (t) => {
    const { cache, directory } = setUp(t)
    const { hash, content } = blob('export {}')
    assert.deepEqual(await Promise.all([cache.put(hash, content), cache.put(hash, content)]), [true, true])
    assert.deepEqual(await cache.wait([hash]), [])
    assert.deepEqual(readdirSync(directory), [`${hash}.mjs`])
    assert.deepEqual(readFileSync(path.join(directory, `${hash}.mjs`)), content)
    assert.deepEqual([cache.count, cache.bytes], [1, content.length])
  })

  test('a wrong hash is found out', async (t) => {
    const { cache, directory } = setUp(t)
    assert.equal(await cache.put('00'.repeat(32), Buffer.from('x')), false)
    assert.deepEqual(readdirSync(directory), [])
  })

  test('who waits is told when the last one is there, or what is missing at the end', async (t) => {
    const { cache } = setUp(t)
    const [a, b] = [blob('a'), blob('b')]
    const both = cache.wait([a.hash, b.hash])
    const never = cache.wait([a.hash, 'ff'.repeat(32)])
    await cache.put(a.hash, a.content)
    await cache.put(b.hash, b.content)
    assert.deepEqual(await both, [])
    cache.close()
    assert.deepEqual(await never, ['ff'.repeat(32)])
  })

  test('what is missing after ten seconds is reported', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { cache } = setUp(t)
    const missing = cache.wait(['ff'.repeat(32)])
    t.mock.timers.tick(10_000)
    assert.deepEqual(await missing, ['ff'.repeat(32)])
  })

  test('a blob that cannot be written stays missing and is logged', async (t) => {
    const { cache, directory, logged } = setUp(t)
    rmSync(directory, { recursive: true })
    const { hash, content } = blob('x')
    assert.equal(await cache.put(hash, content), true)
    assert.match(logged.join(), /could not be written/)
    assert.deepEqual([cache.count, cache.bytes], [0, 0])
  })
})
