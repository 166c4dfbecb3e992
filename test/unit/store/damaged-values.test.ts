import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { ObjectLostError, ObjectUnavailableError } from '../../../protocols/errors.ts'
import { objectId } from '../../../protocols/ids.ts'
import type { MessageBody } from '../../../protocols/messages.ts'
import { blockHeaderBytes } from '../../../protocols/store-segment.ts'
import { ClientDirectory } from '../../../node/server/client-directory.ts'
import { ClientTable } from '../../../node/server/client-table.ts'
import { StoreDesk } from '../../../node/server/store-desk.ts'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'
import { SpillFiles } from '../../../node/store/spill-files.ts'
import { sumOf, writeStoredFile } from '../../../sdk/store/stored-file.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'
import { SegmentHost } from '../../support/segment-host.ts'
import { bytesFor } from '../../support/segment-reader.ts'

const node = '0f'.repeat(8)
const owner = '0f'.repeat(16)
const whose = { owner, sequence: 1 }
const bytesMax = 4_000_000
const name = `${'0f'.repeat(8)}${'1'.padStart(16, '0')}`

type Answer = Partial<MessageBody<'storedOpened'>>

interface World {
  store: ObjectStore
  /** The folder for values on the disk, and the file of this one. */
  folder: string
  file: string
  /** What was asked of other nodes. */
  fetched: string[]
  /** What the node answers a program that asks for the value. */
  ask(damaged: string): Promise<Answer>
  /** The bytes that an answer leads to. */
  bytesAt(answer: Answer): Uint8Array
}

/** A node with one value on its disk; another node has a copy of it, or none has. */
async function createWorld(
  t: TestContext,
  { bytes, isElsewhere }: { bytes: number; isElsewhere: boolean },
): Promise<World> {
  const segment = await MemorySegment.create(bytesMax)
  if (segment === undefined) throw new Error('there is no shared memory here')
  const folder = temporaryDirectory()
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
  // There is no room in memory while it is written.
  const ballast = await store.begin({ name: 'ff'.repeat(16), bytes: bytesMax, owner, object: '' })
  const place = await store.allocate({ name, bytes, owner, writer: 'w' })
  if (place.in !== 'file') throw new Error('it lies in memory')
  const value = bytesFor(name, bytes)
  writeStoredFile(place.file, [value])
  store.seal({ name, bytes, owner, object: '', crc: sumOf([value]), isFile: false })
  ballast.abort()

  const fetched: string[] = []
  const desk = new StoreDesk({
    store,
    directory: new ClientDirectory(node, new ClientTable(node)),
    elsewhere: {
      fetchStored: async (question) => {
        fetched.push(question.name)
        if (!isElsewhere) throw new ObjectLostError('no node has it', { name })
        const room = await store.begin({ name, bytes, owner, object: '' })
        room.slice(0, bytes).set(value)
        room.commit()
      },
      replicateStored: () => {},
      freeStored: () => {},
    },
  })
  const ask = (damaged: string): Promise<Answer> => {
    const { promise, resolve } = Promise.withResolvers<Answer>()
    const client = { id: owner, usesStore: false, send: (_name: string, body: unknown) => resolve(body as Answer) }
    desk.open(client, { requestId: 1, name, bytes, owner, object: '', priority: 'get', damaged })
    return promise
  }
  const bytesAt = ({ offset = 0 }: Answer): Uint8Array => {
    return Uint8Array.from(segment.slice(offset + blockHeaderBytes, bytes))
  }
  return { store, folder, file: place.file, fetched, ask, bytesAt }
}

describe('a value that a program finds damaged on the disk', () => {
  test('comes from another node', async (t) => {
    const { store, file, fetched, ask, bytesAt } = await createWorld(t, { bytes: 3_000_000, isElsewhere: true })
    const lost: string[] = []
    store.onGone = (gone, _object, reason) => void lost.push(`${gone} ${reason}`)
    writeFileSync(file, Buffer.alloc(3_000_000, 1))
    const answer = await ask(file)
    assert.equal(answer.kind, 'memory')
    assert.ok(Buffer.compare(bytesAt(answer), bytesFor(name, 3_000_000)) === 0)
    assert.deepEqual([lost, fetched], [[`${name} lost`], [name]])
  })

  test('is lost when no node has it, and the error says what is wrong with it', async (t) => {
    const { store, file, folder, ask } = await createWorld(t, { bytes: 3_000_000, isElsewhere: false })
    rmSync(file)
    const { kind, code, message } = await ask(file)
    assert.deepEqual([kind, code, store.has(name)], ['error', 'OBJECT_LOST', false])
    assert.match(message ?? '', /its file on the disk is gone/)
    assert.deepEqual(readdirSync(folder), [])
  })

  test('stays where it is when the node finds nothing wrong, or another file is meant', async (t) => {
    const { file, fetched, ask } = await createWorld(t, { bytes: bytesMax + 1, isElsewhere: true })
    assert.deepEqual(await ask(file).then(({ kind, file: at }) => [kind, at]), ['file', file])
    const other = path.join(path.dirname(file), 'values-0')
    assert.deepEqual(await ask(other).then(({ kind, file: at }) => [kind, at]), ['file', file])
    assert.deepEqual(fetched, [])
  })

  test('is asked for once more by the program, with the file that it has read', async () => {
    const host = await SegmentHost.create(bytesMax)
    host.store.write(name, [bytesFor(name, 300_000)], whose)
    const file = path.join(temporaryDirectory(), 'values-1')
    writeFileSync(file, 'x')
    const asked: string[] = []
    host.misplace = ({ damaged = '' }) => {
      asked.push(damaged)
      return damaged === '' ? { in: 'file', file, offset: 0, crc: 1 } : undefined
    }
    const value = await host.anotherProgram().read(name, 300_000, whose, 'get')
    assert.ok(Buffer.compare(value.shown, bytesFor(name, 300_000)) === 0)
    assert.deepEqual(asked, ['', file])
    host.misplace = () => ({ in: 'file', file, offset: 0, crc: 1 })
    await assert.rejects(host.anotherProgram().read(name, 300_000, whose, 'get'), ObjectLostError)
  })
})

describe('a value whose file the system does not read this time', () => {
  test('is not lost, and not looked for elsewhere: the next time it is there', async (t) => {
    const { store, file, fetched, ask, bytesAt } = await createWorld(t, { bytes: 3_000_000, isElsewhere: true })
    renameSync(file, `${file}.away`)
    mkdirSync(file)
    for (const damaged of ['', file]) {
      const { kind, code, message } = await ask(damaged)
      assert.deepEqual([kind, code, store.has(name)], ['error', 'OBJECT_UNAVAILABLE', true])
      assert.match(message ?? '', /EISDIR/)
    }
    rmdirSync(file)
    renameSync(`${file}.away`, file)
    const answer = await ask('')
    assert.equal(answer.kind, 'memory')
    assert.ok(Buffer.compare(bytesAt(answer), bytesFor(name, 3_000_000)) === 0)
    assert.deepEqual(fetched, [])
  })

  test('is not reported as damaged by the program that reads it', async () => {
    const host = await SegmentHost.create(bytesMax)
    host.store.write(name, [bytesFor(name, 300_000)], whose)
    const asked: string[] = []
    // It cannot be opened, which does not say that it is gone.
    const file = path.join(temporaryDirectory(), 'x'.repeat(300))
    host.misplace = ({ damaged = '' }) => {
      asked.push(damaged)
      return { in: 'file', file, offset: 0, crc: 1 }
    }
    await assert.rejects(host.anotherProgram().read(name, 300_000, whose, 'get'), (error) => {
      assert.ok(error instanceof ObjectUnavailableError && error.retryable)
      assert.equal(error.details['object'], objectId(owner, 1))
      assert.match(error.message, /ENAMETOOLONG/)
      return true
    })
    assert.deepEqual(asked, [''])
  })
})
