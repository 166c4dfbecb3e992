import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { ObjectLostError, ObjectStoreFullError, ObjectUnavailableError } from '../../../protocols/errors.ts'
import { blockHeaderBytes } from '../../../protocols/store-segment.ts'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'
import { SpillFiles } from '../../../node/store/spill-files.ts'
import { sumOf, writeStoredFile } from '../../../sdk/store/stored-file.ts'
import { temporaryDirectory, until } from '../../support/daemon-process.ts'
import { bytesFor } from '../../support/segment-reader.ts'

const owner = '0f'.repeat(16)
const bytesMax = 4_000_000
const nameOf = (n: number): string => n.toString(16).padStart(32, '0')

/** A store with a real disk, and the folder of its files there. */
async function createStore(t: TestContext): Promise<{ store: ObjectStore; folder: string; segment: MemorySegment }> {
  const segment = await MemorySegment.create(bytesMax)
  if (segment === undefined) throw new Error('there is no shared memory here')
  const folder = path.join(temporaryDirectory(), 'spill', 'values')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const store = new ObjectStore({
    bytesMax,
    segment,
    spill: new SpillFiles(folder),
    directory: '',
    now: () => performance.now(),
    onPressure: () => {},
    log: () => {},
  })
  t.after(() => store.close())
  return { store, folder, segment }
}

/** Stores a value, as a client does. */
async function put(store: ObjectStore, segment: MemorySegment, n: number, bytes: number): Promise<'memory' | 'file'> {
  const name = nameOf(n)
  const value = bytesFor(name, bytes)
  const place = await store.allocate({ name, bytes, owner, writer: 'w' })
  if (place.in === 'file') writeStoredFile(place.file, [value])
  else segment.slice(place.offset + blockHeaderBytes, bytes).set(value)
  const crc = place.in === 'file' ? sumOf([value]) : 0
  store.seal({ name, bytes, owner, object: `0a${n}`, crc, isFile: false })
  return place.in
}

async function isRight(store: ObjectStore, n: number, bytes: number): Promise<boolean> {
  const value = await store.open(nameOf(n))
  if (value === undefined) return false
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes; at += 300_000) {
    parts.push(Buffer.from(await value.read(at, Math.min(300_000, bytes - at))))
  }
  value.close()
  return Buffer.compare(Buffer.concat(parts), bytesFor(nameOf(n), bytes)) === 0
}

describe('values on the disk', () => {
  test('come back right, whichever is asked for, and leave nothing when they are freed', async (t) => {
    const { store, folder, segment } = await createStore(t)
    const bytes = 500_001
    for (let n = 0; n < 24; n++) assert.equal(await put(store, segment, n, bytes), 'memory')
    assert.ok(store.book.diskBytes > 0)
    assert.ok(store.usedBytes <= bytesMax)
    for (let n = 23; n >= 0; n -= 1) assert.ok(await isRight(store, n, bytes))
    store.freed(Array.from({ length: 24 }, (_, n) => nameOf(n)))
    await until('the disk is clean', () => readdirSync(folder).length === 0)
    assert.deepEqual([store.usedBytes, store.count, store.book.diskBytes], [0, 0, 0])
  })

  test('a copy that is to be kept goes there, too', async (t) => {
    const { store, segment } = await createStore(t)
    const bytes = 500_001
    const value = { name: nameOf(100), bytes, owner, object: '' }
    assert.equal(store.keep(value.name), false)
    const room = await store.begin(value)
    room.slice(0, bytes).set(bytesFor(value.name, bytes))
    // While it comes.
    assert.equal(store.keep(value.name), false)
    room.commit()
    assert.equal(store.book.entries.get(value.name)?.kind, 'replica')
    for (let n = 0; n < 24; n++) await put(store, segment, n, bytes)
    assert.ok(store.book.entries.get(value.name)?.disk !== undefined)
    assert.ok(await isRight(store, 100, bytes))
  })

  test('one that is larger than memory is sent from where it is', async (t) => {
    const { store, segment } = await createStore(t)
    assert.equal(await put(store, segment, 1, 2 * bytesMax + 5), 'file')
    assert.ok(await isRight(store, 1, 2 * bytesMax + 5))
    const value = await store.open(nameOf(1))
    // What is freed while it is sent stays until that ends.
    store.freed([nameOf(1)])
    const piece = await value?.read(bytesMax, 100)
    assert.deepEqual(piece && Buffer.from(piece), Buffer.from(bytesFor(nameOf(1), bytesMax + 100).subarray(bytesMax)))
    value?.close()
    await assert.rejects(value?.read(0, 1) ?? Promise.resolve(), ObjectLostError)
    assert.equal(store.book.fileCount, 0)
  })

  const harm: [string, RegExp, (file: string) => void][] = [
    ['cut short', /was cut short/, (file) => truncateSync(file, 4096)],
    ['gone', /is gone/, (file) => rmSync(file)],
    ['overwritten', /is damaged/, (file) => writeFileSync(file, Buffer.alloc(20_000_000, 1))],
  ]
  for (const [what, message, doHarm] of harm) {
    test(`a file that is ${what}: its values are lost, and nothing else`, async (t) => {
      const { store, folder, segment } = await createStore(t)
      const bytes = 900_000
      const lost: string[] = []
      store.onGone = (name, _object, reason) => void (reason === 'lost' && lost.push(name))
      for (let n = 0; n < 8; n++) await put(store, segment, n, bytes)
      await put(store, segment, 8, bytesMax + 1)
      const [first] = readdirSync(folder).toSorted()
      const inFile = [...store.book.entries.values()].filter(({ disk }) => disk && path.basename(disk.file) === first)
      doHarm(path.join(folder, first as string))
      let [failed, right] = [0, 0]
      for (let n = 0; n < 9; n++) {
        try {
          right += Number(await isRight(store, n, n === 8 ? bytesMax + 1 : bytes))
        } catch (error) {
          failed += 1
          assert.ok(error instanceof ObjectLostError)
          assert.match(error.message, message)
        }
      }
      // Those that are still in memory are right.
      assert.equal(failed + right, 9)
      assert.ok(failed > 0 && failed <= inFile.length)
      for (const name of lost) assert.ok(inFile.some((each) => each.name === name))
    })
  }

  test('a folder that is gone is made anew, for the user alone', async (t) => {
    const { store, folder, segment } = await createStore(t)
    rmSync(path.dirname(folder), { recursive: true })
    for (let n = 0; n < 12; n++) assert.equal(await put(store, segment, n, 900_000), 'memory')
    assert.equal(await put(store, segment, 12, bytesMax + 1), 'file')
    assert.ok(readdirSync(folder).length > 1)
    for (const made of [folder, path.dirname(folder)]) assert.equal(statSync(made).mode & 0o777, 0o700)
    for (let n = 0; n < 13; n++) assert.ok(await isRight(store, n, n === 12 ? bytesMax + 1 : 900_000))
  })

  test('a folder whose disk is gone is not made on another one', async (t) => {
    const { store, folder, segment } = await createStore(t)
    const disk = path.dirname(path.dirname(folder))
    rmSync(disk, { recursive: true })
    await assert.rejects(put(store, segment, 1, bytesMax + 1), ObjectStoreFullError)
    assert.ok(!existsSync(disk))
    mkdirSync(disk)
    assert.equal(await put(store, segment, 1, bytesMax + 1), 'file')
  })

  test('a folder that cannot be made anew: who is refused is told which one, and why', async (t) => {
    const { store, folder, segment } = await createStore(t)
    rmSync(path.dirname(folder), { recursive: true })
    writeFileSync(path.dirname(folder), '')
    const problem = `values cannot be written to ${folder}: ENOTDIR`
    await assert.rejects(put(store, segment, 1, bytesMax + 1), (error) => {
      assert.ok(error instanceof ObjectStoreFullError)
      assert.ok(error.message.includes(problem), error.message)
      assert.doesNotMatch(error.message, /disk is full/)
      return true
    })
    rmSync(path.dirname(folder))
    assert.equal(await put(store, segment, 1, bytesMax + 1), 'file')
    rmSync(path.dirname(folder), { recursive: true })
    writeFileSync(path.dirname(folder), '')
    // It makes room ahead of need.
    for (let n = 2; n < 6; n++) await put(store, segment, n, 900_000)
    await until('it has tried', () => store.book.diskProblem !== '')
    assert.ok(store.book.diskProblem.startsWith(problem), store.book.diskProblem)
  })

  test('a file that the system does not read is no loss: its values can be read when it does', async (t) => {
    const { store, folder, segment } = await createStore(t)
    const sizes = [...Array.from({ length: 8 }, () => 900_000), bytesMax + 1]
    const gone: string[] = []
    store.onGone = (name) => void gone.push(name)
    for (const [n, bytes] of sizes.entries()) await put(store, segment, n, bytes)
    const files = readdirSync(folder).map((file) => path.join(folder, file))
    for (const file of files) {
      renameSync(file, `${file}.away`)
      // It can be opened, and not be read.
      mkdirSync(file)
    }
    const failed: string[] = []
    for (const [n, bytes] of sizes.entries()) {
      try {
        assert.ok(await isRight(store, n, bytes))
      } catch (error) {
        failed.push(nameOf(n))
        assert.ok(error instanceof ObjectUnavailableError && error.retryable)
        assert.match(error.message, new RegExp(`${nameOf(n)} of the object 0a${n} .*EISDIR.*not lost`))
      }
    }
    assert.ok(failed.length > 1 && failed.includes(nameOf(8)))
    for (const file of files) {
      rmdirSync(file)
      renameSync(`${file}.away`, file)
    }
    for (const [n, bytes] of sizes.entries()) assert.ok(await isRight(store, n, bytes))
    assert.deepEqual(gone, [])
  })

  test('memory that is written to when its owner goes stays the writer’s', async (t) => {
    const { store, segment } = await createStore(t)
    const room = await store.begin({ name: nameOf(1), bytes: 3_000_000, owner, object: '' })
    const target = room.slice(0, room.bytes)
    store.ownerGone(owner)
    for (let n = 2; n < 6; n++) await put(store, segment, n, 900_000)
    target.fill(9)
    for (let n = 2; n < 6; n++) assert.ok(await isRight(store, n, 900_000))
    room.commit()
    assert.equal(store.has(nameOf(1)), false)
    for (let n = 2; n < 6; n++) assert.ok(await isRight(store, n, 900_000))
  })

  test('who waits no more is told so, and what it was to be given is there for others', async (t) => {
    const { store } = await createStore(t)
    const bytes = bytesMax - 1000
    const room = await store.begin({ name: nameOf(1), bytes, owner, object: '' })
    const abort = new AbortController()
    const given = store.begin({ name: nameOf(2), bytes, owner, object: '' }, { signal: abort.signal })
    const left = store.allocate({ name: nameOf(3), bytes, owner, writer: 'w' })
    abort.abort(new Error('not needed'))
    store.clientLeft('w')
    await assert.rejects(given, /not needed/)
    await assert.rejects(left, ObjectStoreFullError)
    room.abort()
    assert.equal(store.usedBytes, 0)
    const again = await store.begin({ name: nameOf(2), bytes, owner, object: '' })
    again.abort()
    assert.equal(store.usedBytes, 0)
  })
})
