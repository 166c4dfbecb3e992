import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { BlobCache, type BlobCacheOptions } from '../../../node/code/blob-cache.ts'

function setUp(
  t: TestContext,
  options: BlobCacheOptions = {},
): { cache: BlobCache; directory: string; logged: string[] } {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-test-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const logged: string[] = []
  return { cache: new BlobCache(directory, (text) => logged.push(text), options), directory, logged }
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

  test('with no room for more, what was not asked for the longest goes', async (t) => {
    const { cache, directory, logged } = setUp(t, { bytesMax: 30 })
    const [a, b, c, d] = [blob('a'.repeat(10)), blob('b'.repeat(10)), blob('c'.repeat(10)), blob('d'.repeat(10))]
    for (const { hash, content } of [a, b, c]) assert.equal(await cache.put(hash, content), true)
    assert.deepEqual(await cache.wait([a.hash]), [])
    assert.equal(await cache.put(d.hash, d.content), true)
    assert.deepEqual(
      [a, b, c, d].map(({ hash }) => cache.isExpected(hash)),
      [true, false, true, true],
    )
    assert.deepEqual(readdirSync(directory).toSorted(), [a, c, d].map(({ hash }) => `${hash}.mjs`).toSorted())
    assert.deepEqual([cache.count, cache.bytes, logged], [3, 30, []])
    // It can be had again.
    assert.equal(await cache.put(b.hash, b.content), true)
    assert.deepEqual(await cache.wait([b.hash]), [])
  })

  test('what a client that is there has put, and what is in use, stays', async (t) => {
    const used: string[] = []
    const { cache, logged } = setUp(t, { bytesMax: 30, inUse: () => used })
    const [a, b, c, d] = [blob('a'.repeat(10)), blob('b'.repeat(10)), blob('c'.repeat(10)), blob('d'.repeat(10))]
    used.push(a.hash)
    await cache.put(a.hash, a.content)
    await cache.put(b.hash, b.content, 'client 1')
    await cache.put(c.hash, c.content, 'client 1')
    await cache.put(c.hash, c.content, 'client 2')
    assert.equal(await cache.put(d.hash, d.content), true)
    assert.equal(cache.isExpected(d.hash), false)
    assert.match(logged.join(), /refused: the cache of 30 bytes is full/)
    cache.clientGone('client 1')
    await cache.put(d.hash, d.content)
    assert.deepEqual(
      [a, b, c, d].map(({ hash }) => cache.isExpected(hash)),
      [true, false, true, true],
    )
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
