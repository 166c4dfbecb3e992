import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { openNearValue } from '../../../node/store/near-value.ts'
import type { MemoryPlace } from '../../../node/store/transfer-store.ts'
import { SegmentHost } from '../../support/segment-host.ts'
import { bytesFor } from '../../support/segment-reader.ts'

const owner = '0f'.repeat(16)
const whose = { owner, sequence: 1 }
const bytes = 3_000_001
const name = '00aa'.repeat(4)

async function hostWithValue(): Promise<{ host: SegmentHost; place: MemoryPlace }> {
  const host = await SegmentHost.create(2 * bytes)
  host.store.write(name, [bytesFor(name, bytes)], whose)
  const block = host.book.entries.get(name)?.memory
  assert.ok(block !== undefined)
  return { host, place: { pid: process.pid, descriptor: host.segment.descriptor, ...block } }
}

describe('a value in the memory of another store of this machine', () => {
  test('is read, piece by piece', async () => {
    const { place } = await hostWithValue()
    const value = await openNearValue(place, name, bytes)
    const copy = new Uint8Array(bytes)
    await value.read(1_000_000, copy.subarray(1_000_000))
    await value.read(0, copy.subarray(0, 1_000_000))
    assert.ok(Buffer.from(copy).equals(bytesFor(name, bytes)))
    await assert.rejects(value.read(bytes - 1, copy.subarray(0, 2)), RangeError)
    await assert.rejects(value.read(-1, copy.subarray(0, 2)), RangeError)
    await value.close()
  })

  test('is there no more, once its memory may be used for another one', async () => {
    const { host, place } = await hostWithValue()
    const value = await openNearValue(place, name, bytes)
    host.store.free([name])
    const copy = new Uint8Array(bytes)
    await assert.rejects(value.read(0, copy), /does not lie in the memory/)
    host.store.write('00bb'.repeat(4), [bytesFor(name, bytes)], whose)
    await assert.rejects(value.read(0, copy), /does not lie in the memory/)
    await value.close()
    await assert.rejects(openNearValue(place, name, bytes), /does not lie in the memory/)
  })

  test('is that one and no other', async () => {
    const { place } = await hostWithValue()
    await assert.rejects(openNearValue(place, '00bb'.repeat(4), bytes), /does not lie in the memory/)
    await assert.rejects(openNearValue(place, name, bytes - 1), /does not lie in the memory/)
    await assert.rejects(openNearValue({ ...place, generation: place.generation + 1 }, name, bytes), /does not lie/)
    await assert.rejects(openNearValue({ ...place, offset: place.offset + 4096 }, name, bytes), /does not lie/)
  })

  test('is looked for in the memory of a store only', async () => {
    const { place } = await hostWithValue()
    const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-near-'))
    const file = path.join(directory, 'memfd:shoal-store (deleted)')
    writeFileSync(file, 'secret')
    const descriptor = openSync(file, 'r')
    const other = spawn('sleep', ['60'])
    try {
      await assert.rejects(openNearValue({ ...place, descriptor }, name, bytes), /it is not the memory of a store/)
      // A pipe without a writer would not open before there is one.
      for (const each of [0, 1, 2]) {
        await assert.rejects(openNearValue({ ...place, pid: other.pid ?? 0, descriptor: each }, name, bytes), Error)
      }
      await assert.rejects(openNearValue({ ...place, descriptor: 9999 }, name, bytes), /ENOENT/)
    } finally {
      other.kill('SIGKILL')
      rmSync(directory, { recursive: true })
    }
  })

  test('is not looked for where there can be none', async () => {
    const { place } = await hostWithValue()
    for (const wrong of [
      { pid: 0 },
      { pid: 2 ** 32 - 1 },
      { pid: 1.5 },
      { descriptor: -1 },
      { descriptor: 2 ** 31 },
      { offset: place.offset + 1 },
      { offset: 0 },
      { offset: Number.NaN },
      { offset: Infinity },
      { offset: 2 ** 53 },
      { generation: 0 },
    ]) {
      await assert.rejects(openNearValue({ ...place, ...wrong }, name, bytes), RangeError)
    }
    await assert.rejects(openNearValue({ ...place, offset: 2 ** 40 }, name, bytes), /does not lie in the memory/)
  })
})
