import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ObjectLostError, ObjectStoreFullError } from '../../protocols/errors.ts'
import type { ObjectStore } from '../../sdk/store/object-store.ts'

const owner = '0f'.repeat(16)
const whose = { owner, sequence: 1 }

/** A whole value as a buffer of its own. */
async function bytesOf(store: ObjectStore, name: string, bytes: number): Promise<Uint8Array> {
  const stored = await store.read(name, bytes, whose, 'get')
  const own = stored.own(0, bytes)
  stored.close()
  return own
}

export interface StoreSetup {
  /** Values are read without a wait where it is known that they are here. */
  readsHere: boolean
  /** A new, empty store that holds values of up to `bytesMax`. */
  create(bytesMax: number): ObjectStore | Promise<ObjectStore>
  dispose(): void
}

/** What every object store must do. Call it with a setup of each kind of store. */
export function testObjectStore(name: string, setup: () => StoreSetup): void {
  describe(`object store: ${name}`, () => {
    type Body = (store: ObjectStore, setup: StoreSetup) => Promise<void> | void
    const run = async (bytesMax: number, body: Body): Promise<void> => {
      const made = setup()
      const { create, dispose } = made
      try {
        await body(await create(bytesMax), made)
      } finally {
        dispose()
      }
    }

    test('gives back the parts as one value', () =>
      run(1000, async (store) => {
        store.write('00aa', [Buffer.from('one'), Buffer.alloc(0), Buffer.from('two')], whose)
        assert.deepEqual(Buffer.from(await bytesOf(store, '00aa', 6)).toString(), 'onetwo')
      }))

    test('keeps empty values', () =>
      run(1000, async (store) => {
        store.write('00aa', [], whose)
        assert.equal((await bytesOf(store, '00aa', 0)).length, 0)
      }))

    test('keeps values apart, and large ones whole', () =>
      run(20_000_000, async (store) => {
        const large = Buffer.alloc(5_000_001, 'shoal')
        store.write('00aa', [large], whose)
        store.write('00bb', [Buffer.from('small')], whose)
        assert.ok(Buffer.from(await bytesOf(store, '00aa', large.length)).equals(large))
        assert.equal(Buffer.from(await bytesOf(store, '00bb', 5)).toString(), 'small')
      }))

    test('copies on write: later changes to the parts are not seen', () =>
      run(1000, async (store) => {
        const part = Buffer.from('before')
        store.write('00aa', [part], whose)
        part.write('after!')
        assert.equal(Buffer.from(await bytesOf(store, '00aa', 6)).toString(), 'before')
      }))

    for (const bytes of [5, 3_000_001]) {
      test(`copies on read: writing to what was read changes nobody else’s (${bytes} bytes)`, () =>
        run(bytes, async (store) => {
          const value = Buffer.alloc(bytes, 'value')
          store.write('00aa', [value], whose)
          const [first, second] = [await bytesOf(store, '00aa', bytes), await bytesOf(store, '00aa', bytes)]
          first.fill(0)
          second[bytes - 1] = 9
          assert.ok(Buffer.from(await bytesOf(store, '00aa', bytes)).equals(value))
          assert.ok(first.every((byte) => byte === 0))
          assert.ok(Buffer.from(second.subarray(0, -1)).equals(value.subarray(0, -1)))
        }))

      test(`what is read without a wait is the same, and the caller’s alone (${bytes} bytes)`, () =>
        run(bytes, (store, { readsHere }) => {
          const value = Buffer.alloc(bytes, 'value')
          assert.equal(store.readHere('00aa', bytes), undefined)
          store.write('00aa', [value], whose)
          assert.equal(store.readHere('00aa', bytes - 1), undefined)
          assert.equal(store.readHere('00bb', bytes), undefined)
          for (let i = 0; i < 2; i++) {
            const here = store.readHere('00aa', bytes)
            assert.equal(here !== undefined, readsHere)
            if (here === undefined) return
            assert.ok(value.equals(here.shown))
            const own = here.own(0, bytes)
            const part = here.own(2, bytes - 3)
            assert.ok(value.equals(own) && value.subarray(2, -1).equals(part))
            assert.deepEqual([part.byteOffset, part.buffer.byteLength], [0, bytes - 3])
            own.fill(0)
            part.fill(1)
            assert.ok(value.equals(here.shown))
            here.close()
            here.close()
            assert.ok(own.every((byte) => byte === 0) && part.every((byte) => byte === 1))
          }
          store.free(['00aa'])
          assert.equal(store.readHere('00aa', bytes), undefined)
        }))

      // What is looked at may keep its room after it was freed.
      test(`what was read stays when the value is deleted (${bytes} bytes)`, () =>
        run(2 * bytes, async (store) => {
          const value = Buffer.alloc(bytes, 'value')
          store.write('00aa', [value], whose)
          const read = await bytesOf(store, '00aa', bytes)
          store.free(['00aa'])
          store.write('00aa', [Buffer.alloc(bytes, 'other')], whose)
          assert.ok(Buffer.from(read).equals(value))
        }))
    }

    test('refuses a second value of one name, and keeps the first', () =>
      run(1000, async (store) => {
        store.write('00aa', [Buffer.from('first')], whose)
        assert.throws(() => store.write('00aa', [Buffer.from('again')], whose))
        assert.equal(Buffer.from(await bytesOf(store, '00aa', 5)).toString(), 'first')
      }))

    test('says that it is full, and has room again after a delete', () =>
      run(100, async (store) => {
        assert.throws(() => store.write('00aa', [Buffer.alloc(101)], whose), ObjectStoreFullError)
        store.write('00aa', [Buffer.alloc(100, 1)], whose)
        assert.throws(() => store.write('00bb', [Buffer.alloc(1)], whose), ObjectStoreFullError)
        store.free(['00aa'])
        store.write('00bb', [Buffer.alloc(100, 2)], whose)
        assert.equal((await bytesOf(store, '00bb', 100))[99], 2)
      }))

    test('a value that did not fit leaves nothing behind under its name', () =>
      run(100, async (store) => {
        assert.throws(() => store.write('00aa', [Buffer.alloc(60), Buffer.alloc(60)], whose), ObjectStoreFullError)
        await assert.rejects(store.read('00aa', 120, whose, 'get'), ObjectLostError)
        store.write('00aa', [Buffer.from('fits')], whose)
        assert.equal((await bytesOf(store, '00aa', 4)).length, 4)
      }))

    test('reading what is not there, or is not that long, is ObjectLostError', () =>
      run(1000, async (store) => {
        await assert.rejects(store.read('00aa', 3, whose, 'get'), ObjectLostError)
        store.write('00aa', [Buffer.from('abc')], whose)
        await assert.rejects(store.read('00aa', 4, whose, 'get'), ObjectLostError)
        store.free(['00aa'])
        await assert.rejects(store.read('00aa', 3, whose, 'get'), ObjectLostError)
      }))

    test('knows what is here, and brings nothing from nowhere', () =>
      run(1000, async (store) => {
        assert.equal(store.isHere('00aa', 3), false)
        await assert.rejects(store.bring('00aa', 3, whose, 'wait'), ObjectLostError)
        store.write('00aa', [Buffer.from('abc')], whose)
        assert.equal(store.isHere('00aa', 3), true)
        await store.bring('00aa', 3, whose, 'wait')
        assert.equal((await bytesOf(store, '00aa', 3)).length, 3)
        store.free(['00aa'])
        assert.equal(store.isHere('00aa', 3), false)
      }))

    test('deleting twice, or what never was, does nothing', () =>
      run(1000, (store) => {
        store.write('00aa', [Buffer.from('abc')], whose)
        store.free(['00aa'])
        store.free(['00aa'])
        store.free(['00ff'])
      }))
  })
}
