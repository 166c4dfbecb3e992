import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { mapFile } from '../../../sdk/store/mapped-file.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const bytes = 2_000_003

interface Mapped {
  file: string
  map(): Promise<Uint8Array>
  /** How often this process has the file mapped. */
  count(): number
}

function fileOf(t: TestContext, content: Buffer): Mapped {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-mapped-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'value')
  writeFileSync(file, content)
  return {
    file,
    async map() {
      const descriptor = openSync(file, 'r')
      try {
        const mapped = await mapFile(descriptor, content.length)
        assert.ok(mapped !== undefined)
        return mapped
      } finally {
        closeSync(descriptor)
      }
    },
    count: () => readFileSync('/proc/self/maps', 'utf8').split(file).length - 1,
  }
}

describe('files that are mapped', { skip: process.platform === 'linux' ? false : 'only on Linux' }, () => {
  test('have their bytes, also those of a last page that is not full', async (t) => {
    const content = Buffer.alloc(bytes, 'shoal')
    const mapped = await fileOf(t, content).map()
    assert.equal(mapped.length, bytes)
    assert.ok(Buffer.from(mapped.buffer).equals(content))
  })

  test('are not changed by who writes to them', async (t) => {
    const content = Buffer.alloc(bytes, 'shoal')
    const { file, map } = fileOf(t, content)
    const mapped = await map()
    mapped.fill(1)
    assert.ok(readFileSync(file).equals(content))
    assert.ok(Buffer.from(await map()).equals(content))
  })

  test('outlive their deletion', async (t) => {
    const content = Buffer.alloc(bytes, 'shoal')
    const { file, map } = fileOf(t, content)
    const mapped = await map()
    unlinkSync(file)
    assert.ok(Buffer.from(mapped).equals(content))
  })

  test('are unmapped when nothing refers to their bytes, and not before', async (t) => {
    const { map, count } = fileOf(t, Buffer.alloc(bytes, 'shoal'))
    const kept = new Float64Array((await map()).buffer, 8, 100)
    for (let i = 0; i < 50; i++) await map()
    assert.equal(count(), 51)
    while (count() > 1) {
      collect()
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    assert.equal(Buffer.from(kept.buffer, 0, 5).toString(), 'shoal')
  })

  test('are not taken away from their buffer: that would unmap them too early', async (t) => {
    const { map } = fileOf(t, Buffer.alloc(bytes, 'shoal'))
    const { buffer } = await map()
    assert.throws(() => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }))
    const copy = (buffer as ArrayBuffer).transfer(bytes + 10)
    assert.equal(copy.byteLength, bytes + 10)
    assert.equal(Buffer.from(copy, 0, 5).toString(), 'shoal')
    assert.equal(Buffer.from((buffer as ArrayBuffer).transferToFixedLength(5)).toString(), 'shoal')
    assert.equal(buffer.byteLength, bytes)
    assert.equal(structuredClone(buffer).byteLength, bytes)
  })
})
