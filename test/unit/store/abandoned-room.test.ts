import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'

const bytesMax = 1_000_000
const [writer, owner] = ['a'.repeat(32), 'b'.repeat(32)]
const name = `${writer}${'1'.padStart(12, '0')}`
const room = { name, bytes: 300_000, owner, writer }

async function openStore(): Promise<ObjectStore> {
  const segment = await MemorySegment.create(bytesMax)
  const log = (text: string): void => assert.fail(text)
  return new ObjectStore({
    bytesMax,
    segment,
    spill: undefined,
    directory: '',
    now: () => 0,
    onPressure: () => {},
    log,
  })
}

describe('room for a value whose owner ends before it is written', () => {
  const { signal } = new AbortController()
  for (const [whose, ask] of [
    ['that was asked for', (store: ObjectStore) => store.allocate(room)],
    ['ahead of need', (store: ObjectStore) => store.allocateAhead({ ...room, signal })],
  ] as const) {
    test(`room ${whose} is free when its writer gives it up, and not before`, async () => {
      const store = await openStore()
      assert.equal((await ask(store))?.in, 'memory')
      store.ownerGone(owner)
      assert.deepEqual([store.usedBytes, store.isWriting(writer)], [300_000, true])
      store.abandon(name)
      assert.deepEqual([store.usedBytes, store.isWriting(writer)], [0, false])
      // The next value has the same name, and is another one's.
      const next = await store.allocate({ ...room, owner: writer })
      store.seal({ name, bytes: 200_000, owner: writer, object: '', crc: 0, isFile: false })
      assert.deepEqual([next.in, store.usedBytes, store.bytesOf(name)], ['memory', 200_000, 200_000])
      store.abandon(name)
      assert.equal(store.bytesOf(name), 200_000, 'what has been written stays')
      store.close()
    })
  }

  test('what is written there all the same is nobody’s, and its room is free', async () => {
    const store = await openStore()
    await store.allocate(room)
    store.ownerGone(owner)
    store.seal({ name, bytes: 200_000, owner, object: '', crc: 0, isFile: false })
    assert.deepEqual([store.usedBytes, store.count, store.has(name), store.isWriting(writer)], [0, 0, false, false])
    store.close()
  })

  test('a program that never says so keeps its room until it is gone', async () => {
    const store = await openStore()
    await store.allocate(room)
    store.ownerGone(owner)
    store.clientLeft(writer)
    assert.equal(store.usedBytes, 300_000)
    store.writerGone(writer)
    assert.equal(store.usedBytes, 0)
    store.close()
  })
})
