import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { BulkExchange } from '../../../node/bulk/bulk-exchange.ts'
import { BlobCache } from '../../../node/code/blob-cache.ts'
import { RemoteBlobs } from '../../../node/code/remote-blobs.ts'
import { BulkLab } from '../../support/bulk-pair.ts'
import { temporaryDirectory, until } from '../../support/daemon-process.ts'

const [A, B, C] = ['aa'.repeat(8), 'bb'.repeat(8), 'cc'.repeat(8)] as const

function setUp() {
  const lab = new BulkLab()
  const directory = temporaryDirectory()
  const nodeOf = (self: string) => {
    const logged: string[] = []
    const log = (text: string): void => void logged.push(text)
    const codeDirectory = path.join(directory, self)
    mkdirSync(codeDirectory)
    const blobs = new BlobCache(codeDirectory, log)
    const bulk = new BulkExchange({ network: lab.networkOf(self), log })
    lab.join(self, bulk)
    const fileOf = (hash: string): string => path.join(codeDirectory, `${hash}.mjs`)
    return {
      blobs,
      bulk,
      logged,
      fileOf,
      remote: new RemoteBlobs({ self, blobs, bulk, log }),
      directory: codeDirectory,
    }
  }
  return { lab, a: nodeOf(A), b: nodeOf(B), c: nodeOf(C) }
}

function blob(content: Buffer): { hash: string; content: Buffer } {
  return { hash: createHash('sha256').update(content).digest('hex'), content }
}

describe('shipped code of other nodes', () => {
  test('what is missing comes from the node that has it, whole', async () => {
    const { a, b, lab } = setUp()
    const blobs = [0, 1, 300_000, 5_000_000].map((size) => blob(Buffer.alloc(size, 'export {}\n')))
    for (const { hash, content } of blobs) assert.ok(await a.blobs.put(hash, content))
    const hashes = blobs.map(({ hash }) => hash)
    assert.deepEqual(await b.remote.wait(hashes, A), [])
    for (const { hash, content } of blobs) assert.ok(readFileSync(b.fileOf(hash)).equals(content))
    assert.deepEqual(await b.remote.wait(hashes, A), [])
    assert.equal(lab.streams.length, 4)
    assert.deepEqual([b.blobs.count, b.blobs.bytes], [4, 5_300_001])
  })

  test('however many wait, each comes once, at most eight at a time', async () => {
    const { a, b, lab } = setUp()
    const blobs = Array.from({ length: 30 }, (_, n) => blob(Buffer.from(`export const n = ${n}`)))
    for (const { hash, content } of blobs) await a.blobs.put(hash, content)
    const hashes = blobs.map(({ hash }) => hash)
    const resume = lab.holdNext(1)
    const waiting = Array.from({ length: 5 }, () => b.remote.wait(hashes, A))
    await until('all but the one that is held are there', () => readdirSync(b.directory).length === 29)
    resume()
    assert.deepEqual(await Promise.all(waiting), [[], [], [], [], []])
    assert.equal(lab.streams.length, 30)
    assert.equal(readdirSync(b.directory).length, 30)

    const more = Array.from({ length: 20 }, (_, n) => blob(Buffer.from(`export const m = ${n}`)))
    const gate = Promise.withResolvers<void>()
    let askedNow = 0
    let askedMost = 0
    a.bulk.onRequest('blob', async (_, hash) => {
      askedMost = Math.max(askedMost, ++askedNow)
      await gate.promise
      askedNow--
      const content = more.find((each) => each.hash === hash)?.content ?? assert.fail(hash)
      return { size: content.length, chunks: ReadableStream.from([content]) }
    })
    const all = b.remote.wait(
      more.map(({ hash }) => hash),
      A,
    )
    await until('as many as may are asked for', () => askedNow === 8)
    gate.resolve()
    assert.deepEqual(await all, [])
    assert.equal(askedMost, 8)
  })

  test('what cannot be had is told', async () => {
    const { a, b, lab } = setUp()
    const [there, gone] = [blob(Buffer.from('there')), blob(Buffer.from('gone'))]
    await a.blobs.put(there.hash, there.content)
    assert.deepEqual(await b.remote.wait([there.hash, gone.hash], A), [gone.hash])
    assert.deepEqual(await b.remote.wait([gone.hash], 'dd'.repeat(8)), [gone.hash])
    lab.leave(A)
    assert.deepEqual(await b.remote.wait([gone.hash, there.hash], A), [gone.hash])
    await a.blobs.put(gone.hash, gone.content)
    assert.deepEqual(await b.remote.wait([gone.hash], C), [gone.hash])
    assert.equal(b.logged.length, 4)
  })

  test('another node is asked when the first one does not have it', async () => {
    const { a, b } = setUp()
    const { hash, content } = blob(Buffer.from('x'))
    await a.blobs.put(hash, content)
    const [fromC, fromA] = await Promise.all([b.remote.wait([hash], C), b.remote.wait([hash], A)])
    assert.deepEqual(fromA, [])
    assert.ok(fromC.length === 0 || fromC[0] === hash)
  })

  test('code with another hash is not used', async () => {
    const { a, b } = setUp()
    const { hash, content } = blob(Buffer.from('export const good = true'))
    await a.blobs.put(hash, content)
    writeFileSync(a.fileOf(hash), 'export const evil = true')
    assert.deepEqual(await b.remote.wait([hash], A), [hash])
    assert.deepEqual(readdirSync(b.directory), [])
    assert.match(b.logged.join(), /other code/)
  })

  test('code that is on its way to the node that is asked is waited for', async () => {
    const { a, b } = setUp()
    const { hash, content } = blob(Buffer.alloc(3_000_000, 'x'))
    const put = a.blobs.put(hash, content)
    assert.deepEqual(await b.remote.wait([hash], A), [])
    assert.ok(await put)
  })

  test('names that are no hashes are nowhere', async () => {
    const { b, a } = setUp()
    writeFileSync(path.join(a.directory, 'secret.mjs'), 'x')
    for (const name of ['../../etc/passwd', 'secret', '']) assert.deepEqual(await b.remote.wait([name], A), [name])
  })

  test('on the node itself it is as ever', async () => {
    const { a, lab } = setUp()
    const { hash, content } = blob(Buffer.from('x'))
    const waiting = a.remote.wait([hash], A)
    await a.blobs.put(hash, content)
    assert.deepEqual(await waiting, [])
    assert.equal(lab.streams.length, 0)
  })
})
