import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ObjectLostError, ObjectStoreFullError } from '../../protocols/errors.ts'
import type { ObjectStore } from '../../sdk/store/object-store.ts'

export interface StoreSetup {
  /** A new, empty store that holds values of up to `bytesMax`. */
  create(bytesMax: number): ObjectStore
  dispose(): void
}

/** What every object store must do. Call it with a setup of each kind of store. */
export function testObjectStore(name: string, setup: () => StoreSetup): void {
  describe(`object store: ${name}`, () => {
    const run = async (bytesMax: number, body: (store: ObjectStore) => Promise<void> | void): Promise<void> => {
      const { create, dispose } = setup()
      try {
        await body(create(bytesMax))
      } finally {
        dispose()
      }
    }

    test('gives back the parts as one value', () =>
      run(1000, async (store) => {
        store.write('00aa', [Buffer.from('one'), Buffer.alloc(0), Buffer.from('two')])
        assert.deepEqual(Buffer.from(await store.read('00aa', 6)).toString(), 'onetwo')
      }))

    test('keeps empty values', () =>
      run(1000, async (store) => {
        store.write('00aa', [])
        assert.equal((await store.read('00aa', 0)).length, 0)
      }))

    test('keeps values apart, and large ones whole', () =>
      run(20_000_000, async (store) => {
        const large = Buffer.alloc(5_000_001, 'shoal')
        store.write('00aa', [large])
        store.write('00bb', [Buffer.from('small')])
        assert.ok(Buffer.from(await store.read('00aa', large.length)).equals(large))
        assert.equal(Buffer.from(await store.read('00bb', 5)).toString(), 'small')
      }))

    test('copies on write: later changes to the parts are not seen', () =>
      run(1000, async (store) => {
        const part = Buffer.from('before')
        store.write('00aa', [part])
        part.write('after!')
        assert.equal(Buffer.from(await store.read('00aa', 6)).toString(), 'before')
      }))

    for (const bytes of [5, 3_000_001]) {
      test(`copies on read: writing to what was read changes nobody else’s (${bytes} bytes)`, () =>
        run(bytes, async (store) => {
          const value = Buffer.alloc(bytes, 'value')
          store.write('00aa', [value])
          const [first, second] = [await store.read('00aa', bytes), await store.read('00aa', bytes)]
          first.fill(0)
          second[bytes - 1] = 9
          assert.ok(Buffer.from(await store.read('00aa', bytes)).equals(value))
          assert.ok(first.every((byte) => byte === 0))
          assert.ok(Buffer.from(second.subarray(0, -1)).equals(value.subarray(0, -1)))
        }))

      test(`what was read stays when the value is deleted (${bytes} bytes)`, () =>
        run(bytes, async (store) => {
          const value = Buffer.alloc(bytes, 'value')
          store.write('00aa', [value])
          const read = await store.read('00aa', bytes)
          store.delete('00aa')
          store.write('00aa', [Buffer.alloc(bytes, 'other')])
          assert.ok(Buffer.from(read).equals(value))
        }))
    }

    test('refuses a second value of one name, and keeps the first', () =>
      run(1000, async (store) => {
        store.write('00aa', [Buffer.from('first')])
        assert.throws(() => store.write('00aa', [Buffer.from('again')]))
        assert.equal(Buffer.from(await store.read('00aa', 5)).toString(), 'first')
      }))

    test('says that it is full, and has room again after a delete', () =>
      run(100, async (store) => {
        assert.throws(() => store.write('00aa', [Buffer.alloc(101)]), ObjectStoreFullError)
        store.write('00aa', [Buffer.alloc(100, 1)])
        assert.throws(() => store.write('00bb', [Buffer.alloc(1)]), ObjectStoreFullError)
        store.delete('00aa')
        store.write('00bb', [Buffer.alloc(100, 2)])
        assert.equal((await store.read('00bb', 100))[99], 2)
      }))

    test('a value that did not fit leaves nothing behind under its name', () =>
      run(100, async (store) => {
        assert.throws(() => store.write('00aa', [Buffer.alloc(60), Buffer.alloc(60)]), ObjectStoreFullError)
        await assert.rejects(store.read('00aa', 120), ObjectLostError)
        store.write('00aa', [Buffer.from('fits')])
        assert.equal((await store.read('00aa', 4)).length, 4)
      }))

    test('reading what is not there, or is not that long, is ObjectLostError', () =>
      run(1000, async (store) => {
        await assert.rejects(store.read('00aa', 3), ObjectLostError)
        store.write('00aa', [Buffer.from('abc')])
        await assert.rejects(store.read('00aa', 4), ObjectLostError)
        store.delete('00aa')
        await assert.rejects(store.read('00aa', 3), ObjectLostError)
      }))

    test('deleting twice, or what never was, does nothing', () =>
      run(1000, (store) => {
        store.write('00aa', [Buffer.from('abc')])
        store.delete('00aa')
        store.delete('00aa')
        store.delete('00ff')
      }))
  })
}
