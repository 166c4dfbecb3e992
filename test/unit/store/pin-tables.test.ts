import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PinTables, type Pinner, type PinMemory } from '../../../node/store/pin-tables.ts'
import { pinsEndMark, pinTablesMax } from '../../../protocols/store-segment.ts'
import { SharedSegment } from '../../../sdk/store/shared-segment.ts'
import { releaseView } from '../../../sdk/store/views.ts'
import { systemMemory, type SystemMemory } from '../../../sdk/system/linux-memory.ts'
import { until } from '../../support/daemon-process.ts'
import { SegmentHost } from '../../support/segment-host.ts'

const mebibyte = 1024 * 1024
const bytesMax = 4 * mebibyte
const name = '1'.padStart(16, '0')
const whose = { owner: '0f'.repeat(16), sequence: 1 }

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Processes all of which live, and what has been said of their clients. */
class Tables {
  readonly gone: string[] = []
  readonly writing = new Set<string>()
  readonly dead = new Set<number>()
  readonly tables: PinTables
  #lastNumber = 0

  constructor(t: TestContext, memory: PinMemory | undefined) {
    this.tables = new PinTables(memory, {
      isAlive: (pid) => !this.dead.has(pid),
      isWriting: (client) => this.writing.has(client),
      onGone: (client) => void this.gone.push(client),
    })
    t.after(() => this.tables.close())
  }

  readonly enter = (usesStore = true, pid = 1): Pinner => {
    const id = (++this.#lastNumber).toString(16).padStart(32, '0')
    const client: Pinner = { id, pid, pinTable: undefined, usesStore }
    this.tables.entered(client)
    return client
  }
}

/** The memory as the program of a client sees it. */
function open({ segment: { path } }: SegmentHost, { id, pinTable = -1 }: Pinner): SharedSegment {
  const memory = systemMemory() as SystemMemory
  return SharedSegment.open(memory, { path, bytesMax, pinTable, endMark: pinsEndMark(id) }) as SharedSegment
}

/** A value, and a view on it through the memory of a client. */
function viewThrough(host: SegmentHost, segment: SharedSegment): Uint8Array {
  host.store.write(name, [new Uint8Array(mebibyte).fill(7)], whose)
  const place = host.book.entries.get(name)?.memory
  const stored = place && segment.read(place, name, mebibyte)
  if (stored === undefined) throw new Error('the value is not there')
  const view = stored.own(0, mebibyte)
  stored.close()
  return view
}

describe('tables of pins', () => {
  test('one process may come and go more often than there are tables', async (t) => {
    const host = await SegmentHost.create(bytesMax)
    const { tables, gone, enter } = new Tables(t, host.segment)
    const standing = enter()
    const left: string[] = []
    for (let i = 0; i < pinTablesMax + 10; i++) {
      const client = enter()
      assert.ok((client.pinTable ?? 99) < 3)
      const segment = open(host, client)
      if (i % 8 === 0) {
        releaseView(viewThrough(host, segment))
        host.store.free([name])
      }
      segment.close()
      tables.left(client)
      left.push(client.id)
    }
    assert.deepEqual(gone, left)
    assert.equal(tables.clientOf(standing.pinTable as number), standing)
  })

  test('who has never used the store leaves its table at once', async (t) => {
    const host = await SegmentHost.create(bytesMax)
    const { tables, enter } = new Tables(t, host.segment)
    const first = enter(false)
    tables.left(first)
    assert.equal(enter(false).pinTable, first.pinTable)
  })

  test('who has closed the memory and has a view keeps its table until that has ended', async (t) => {
    for (const isReleased of [true, false]) {
      const host = await SegmentHost.create(bytesMax)
      const { tables, gone, enter } = new Tables(t, host.segment)
      const client = enter()
      const segment = open(host, client)
      let view: Uint8Array | undefined = viewThrough(host, segment)
      segment.close()
      host.store.free([name])
      tables.left(client)
      host.step({ type: 'tick' })
      assert.deepEqual([gone, host.book.usedBytes], [[], mebibyte])
      assert.notEqual(enter().pinTable, client.pinTable)
      assert.ok(view.every((byte) => byte === 7))
      if (isReleased) releaseView(view)
      view = undefined
      await until('its table is free', () => {
        collect()
        return gone.length > 0
      })
      assert.deepEqual(gone, [client.id])
      host.step({ type: 'tick' })
      assert.equal(host.book.usedBytes, 0)
      assert.equal(enter().pinTable, client.pinTable)
    }
  })

  test('who leaves without a word, as a thread that is ended does, keeps its table until its process is gone', async (t) => {
    const host = await SegmentHost.create(bytesMax)
    const { tables, gone, dead, enter } = new Tables(t, host.segment)
    const client = enter(true, 5)
    const segment = open(host, client)
    const view = viewThrough(host, segment)
    tables.left(client)
    assert.equal(gone.length, 0)
    dead.add(5)
    tables.left(enter(false))
    assert.equal(gone[0], client.id)
    // What it had pinned is not pinned by the next one, nor has that one come to its end.
    const next = [enter(), enter()].find(({ pinTable }) => pinTable === client.pinTable) as Pinner
    assert.deepEqual(
      [host.segment.pinCount(next.pinTable as number), host.segment.pinsEnd(next.pinTable as number)],
      [0, 0],
    )
    tables.left(next)
    // As a program would that is not gone after all.
    releaseView(view)
    segment.close()
    tables.left(enter(false))
    assert.ok(!gone.includes(next.id), 'what another one has said of its end does not count')
  })

  test('who has no table of pins is waited for only while it writes', (t) => {
    const { tables, gone, writing, dead } = new Tables(t, undefined)
    writing.add('writer')
    tables.left({ id: 'idle', pid: 1, pinTable: undefined, usesStore: true })
    tables.left({ id: 'writer', pid: 2, pinTable: undefined, usesStore: true })
    assert.deepEqual(gone, [])
    dead.add(2)
    writing.add('other')
    tables.left({ id: 'other', pid: 3, pinTable: undefined, usesStore: true })
    assert.deepEqual(gone, ['writer'])
  })
})
