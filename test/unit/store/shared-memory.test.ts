import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, readFileSync } from 'node:fs'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PinTables } from '../../../node/store/pin-tables.ts'
import { pinsPerClient, type BlockPlace } from '../../../protocols/store-segment.ts'
import type { StoredBytes } from '../../../sdk/store/object-store.ts'
import { SharedSegment } from '../../../sdk/store/shared-segment.ts'
import { releaseView } from '../../../sdk/store/views.ts'
import { systemMemory, type SystemMemory } from '../../../sdk/system/linux-memory.ts'
import { isRunning, until } from '../../support/daemon-process.ts'
import { SegmentHost } from '../../support/segment-host.ts'
import { bytesFor, type ReadCounts } from '../../support/segment-reader.ts'

const reader = fileURLToPath(new URL('../../support/segment-reader.ts', import.meta.url))
const owner = '0f'.repeat(16)
const whose = { owner, sequence: 1 }
const mebibyte = 1024 * 1024
const nameOf = (n: number): string => n.toString(16).padStart(16, '0')

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** A value under its name; where it lies. */
function put(host: SegmentHost, n: number, bytes: number): void {
  host.store.write(nameOf(n), [bytesFor(nameOf(n), bytes)], whose)
}

/** A whole value as a buffer of its own. */
function ownOf(stored: StoredBytes, bytes: number): Uint8Array {
  const own = stored.own(0, bytes)
  stored.close()
  return own
}

const read = async (host: SegmentHost, n: number, bytes: number): Promise<Uint8Array> =>
  ownOf(await host.store.read(nameOf(n), bytes, whose, 'get'), bytes)

function isRight(view: Uint8Array, n: number): boolean {
  return Buffer.compare(view, bytesFor(nameOf(n), view.length)) === 0
}

/** How often this process has mapped the memory of a store. */
function mappingsOf({ segment }: SegmentHost): number {
  const { ino } = fstatSync(segment.descriptor)
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return lines.filter((line) => line.split(/ +/)[4] === String(ino)).length
}

/** The system's, of which no more than so many parts are mapped at a time. */
function limitedMemory(mappingsMax: number): SystemMemory {
  const memory = systemMemory() as SystemMemory
  let mapped = 0
  return {
    ...memory,
    mapPrivate: (...args) => {
      const mapping = mapped < mappingsMax ? memory.mapPrivate(...args) : undefined
      if (mapping === undefined) return undefined
      mapped += 1
      const unmap = (): void => {
        mapped -= 1
        mapping.unmap()
      }
      return { ...mapping, unmap }
    },
  }
}

function placeOf(host: SegmentHost, n: number): BlockPlace {
  return host.book.entries.get(nameOf(n))?.memory as BlockPlace
}

async function startReader(t: TestContext, host: SegmentHost, bytesMax: number): Promise<[ChildProcess, number]> {
  const table = host.segment.takePinTable()
  const child = fork(reader, [host.segment.path, String(bytesMax), String(table)])
  t.after(() => void child.kill('SIGKILL'))
  await once(child, 'message')
  return [child, table as number]
}

/** Tells a reader where a value lies. */
function tell(host: SegmentHost, child: ChildProcess, n: number): void {
  const name = nameOf(n)
  const { memory, bytes = 0 } = host.book.entries.get(name) ?? {}
  child.send({ name, bytes, place: memory as object })
}

describe('values in shared memory', () => {
  test('a view keeps its memory after its value was freed, until it is collected', async () => {
    const host = await SegmentHost.create(3 * mebibyte)
    put(host, 1, mebibyte)
    let view: Uint8Array | undefined = await read(host, 1, mebibyte)
    host.store.free([nameOf(1)])
    assert.equal(host.book.usedBytes, mebibyte)
    // All that there is left is used, and nothing of it is what the view shows.
    for (let n = 2; n < 40; n++) {
      put(host, n, 2 * mebibyte)
      host.store.free([nameOf(n)])
    }
    assert.ok(isRight(view, 1))
    assert.throws(() => put(host, 50, 3 * mebibyte), /1048576 of them are being looked at by programs/)
    view = undefined
    await until('the view is collected', () => {
      collect()
      return host.segment.pinCount(host.pinTable) === 0
    })
    host.step({ type: 'tick' })
    assert.equal(host.book.usedBytes, 0)
    put(host, 51, 3 * mebibyte)
  })

  test('what one reader writes into its view is seen by nobody else, then or later', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    const [mine, other] = [await read(host, 1, mebibyte), await read(host, 1, mebibyte)]
    mine.fill(7)
    assert.ok(isRight(other, 1))
    assert.ok(isRight(await read(host, 1, mebibyte), 1))
    assert.ok(mine.every((byte) => byte === 7))
    // The pages that are its own stay so when the memory is used for something else.
    host.store.free([nameOf(1)])
    put(host, 2, mebibyte)
    assert.ok(mine.every((byte) => byte === 7))
    assert.ok(isRight(await read(host, 2, mebibyte), 2))
  })

  test('what was written into a view is gone from the next one, however the first one ended', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    for (let i = 0; i < 3; i++) {
      const released = await read(host, 1, mebibyte)
      assert.ok(isRight(released, 1))
      released.fill(7)
      releaseView(released)
    }
    let dropped: Uint8Array | undefined = await read(host, 1, mebibyte)
    assert.ok(isRight(dropped, 1))
    dropped.fill(7)
    dropped = undefined
    await until('the view is collected', () => {
      collect()
      return host.segment.pinCount(host.pinTable) === 0
    })
    const [one, two] = [await read(host, 1, mebibyte), await read(host, 1, mebibyte)]
    assert.ok(isRight(one, 1) && isRight(two, 1))
    // Another value at the same place.
    releaseView(one)
    releaseView(two)
    host.store.free([nameOf(1)])
    put(host, 2, mebibyte)
    assert.ok(isRight(await read(host, 2, mebibyte), 2))
  })

  test('a value is there while it is read, and its parts each for themselves', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    const right = bytesFor(nameOf(1), mebibyte)
    const stored = await host.store.read(nameOf(1), mebibyte, whose, 'get')
    host.store.free([nameOf(1)])
    assert.equal(Buffer.compare(stored.shown, right), 0)
    const [start, end] = [stored.own(0, 300_000), stored.own(300_001, mebibyte - 300_001)]
    const small = stored.own(7, 100)
    stored.close()
    assert.equal(host.segment.pinCount(host.pinTable), 2)
    assert.equal(releaseView(start), true)
    assert.equal(host.book.usedBytes, mebibyte)
    assert.equal(Buffer.compare(small, right.subarray(7, 107)), 0)
    // They came together.
    assert.deepEqual([start.length, end.length, releaseView(end)], [0, 0, false])
    assert.equal(host.segment.pinCount(host.pinTable), 0)
    host.step({ type: 'tick' })
    assert.equal(host.book.usedBytes, 0)
  })

  test('what is kept for the next view has a bound, in number and in bytes', async () => {
    const host = await SegmentHost.create(4 * mebibyte)
    const { path } = host.segment
    const open = (spareBytesMax: number): SharedSegment =>
      SharedSegment.open(limitedMemory(100), {
        path,
        bytesMax: 4 * mebibyte,
        pinTable: 5,
        spareBytesMax,
      }) as SharedSegment
    for (const [spareBytesMax, kept] of [
      [100 * mebibyte, 16],
      [2.5 * mebibyte, 2],
      [0, 0],
    ] as const) {
      const segment = open(spareBytesMax)
      const before = mappingsOf(host)
      for (let n = 1; n < 40; n++) {
        put(host, n, mebibyte + n)
        const view = ownOf(segment.read(placeOf(host, n), nameOf(n), mebibyte + n) as StoredBytes, mebibyte + n)
        assert.ok(isRight(view, n))
        releaseView(view)
        host.store.free([nameOf(n)])
      }
      assert.equal(mappingsOf(host) - before, kept)
      segment.close()
      segment.close()
      assert.equal(mappingsOf(host) - before, -1)
    }
  })

  test('where the system maps no more: views while there are mappings, copies when there are none', async () => {
    const host = await SegmentHost.create(4 * mebibyte)
    const { path } = host.segment
    const segment = SharedSegment.open(limitedMemory(2), { path, bytesMax: 4 * mebibyte, pinTable: 5 }) as SharedSegment
    const readOne = (n: number): Uint8Array => {
      const view = ownOf(segment.read(placeOf(host, n), nameOf(n), mebibyte) as StoredBytes, mebibyte)
      assert.ok(isRight(view, n))
      return view
    }
    for (const n of [1, 2, 3]) put(host, n, mebibyte)
    for (const n of [1, 2]) releaseView(readOne(n))
    // The mappings of those two go first.
    const views = [3, 1, 2].map(readOne)
    assert.deepEqual(
      views.map((view) => releaseView(view)),
      [true, true, false],
    )
    segment.close()
  })

  test('a buffer whose memory was given to another one keeps its value for good', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    const view = await read(host, 1, mebibyte)
    const { buffer } = view
    // As a stream of bytes does.
    const moved = new Uint8Array(ArrayBuffer.prototype.transfer.call(buffer))
    assert.equal(releaseView(buffer), false)
    host.store.free([nameOf(1)])
    put(host, 2, mebibyte)
    assert.ok(isRight(moved, 1))
    assert.equal(host.segment.pinCount(host.pinTable), 1)
    assert.equal(buffer.byteLength, 0)
  })

  test('a closed store gives all of its memory back, at once or when nothing is looked at any more', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    const nodesOwn = mappingsOf(host) - 1
    put(host, 1, mebibyte)
    releaseView(await read(host, 1, mebibyte))
    let view: Uint8Array | undefined = await read(host, 1, mebibyte)
    host.shared.close()
    assert.ok(isRight(view, 1))
    assert.equal(host.segment.pinCount(host.pinTable), 1)
    assert.equal(host.store.readHere(nameOf(1), mebibyte), undefined)
    view = undefined
    await until('the view is collected', () => {
      collect()
      return host.segment.pinCount(host.pinTable) === 0
    })
    assert.equal(mappingsOf(host), nodesOwn)
    const another = await SegmentHost.create(2 * mebibyte)
    another.shared.close()
    assert.equal(mappingsOf(another), nodesOwn)
  })

  test('a buffer that is given away stays readable where it is, and arrives whole', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    const view = await read(host, 1, mebibyte)
    const moved = new Uint8Array((view.buffer as ArrayBuffer).transfer())
    assert.ok(isRight(moved, 1))
    const cloned = structuredClone(view)
    collect()
    assert.ok(isRight(view, 1) && isRight(cloned, 1))
  })

  test('a view that is released is empty, and its memory can be used at once', async () => {
    const host = await SegmentHost.create(2 * mebibyte)
    put(host, 1, mebibyte)
    const [view, other] = [await read(host, 1, mebibyte), await read(host, 1, mebibyte)]
    assert.equal(releaseView(view), true)
    assert.equal(view.length, 0)
    assert.equal(releaseView(view), false)
    assert.ok(isRight(other, 1))
    assert.equal(host.segment.pinCount(host.pinTable), 1)
    assert.equal(releaseView(other.buffer), true)
    assert.equal(host.segment.pinCount(host.pinTable), 0)
    host.store.free([nameOf(1)])
    put(host, 2, 2 * mebibyte)
    // Its place in the table may be another view's when the engine finds what was released.
    const next = await read(host, 2, 2 * mebibyte)
    for (let i = 0; i < 3; i++) {
      collect()
      await new Promise(setImmediate)
    }
    assert.equal(host.segment.pinCount(host.pinTable), 1)
    assert.ok(isRight(next, 2))
  })

  test('more views than there are pins: what is over is copied', async () => {
    const bytes = 256 * 1024
    const host = await SegmentHost.create(2 * bytes)
    put(host, 1, bytes)
    const views: Uint8Array[] = []
    for (let i = 0; i < pinsPerClient + 20; i++) views.push(await read(host, 1, bytes))
    // To read takes one, too.
    assert.equal(host.segment.pinCount(host.pinTable), pinsPerClient - 1)
    host.store.free([nameOf(1)])
    put(host, 2, bytes)
    for (const view of [views[0], views[pinsPerClient - 2], views.at(-1)]) assert.ok(view && isRight(view, 1))
    assert.ok(isRight(await read(host, 2, bytes), 2))
  })

  test('small values leave no pin', async () => {
    const host = await SegmentHost.create(mebibyte)
    put(host, 1, 200_000)
    const view = await read(host, 1, 200_000)
    assert.equal(host.segment.pinCount(host.pinTable), 0)
    host.store.free([nameOf(1)])
    put(host, 2, 200_000)
    assert.ok(isRight(view, 1))
  })

  test('two processes: what is read while everything moves is never wrong', async (t) => {
    const bytesMax = 8 * mebibyte
    const host = await SegmentHost.create(bytesMax)
    const readers = [await startReader(t, host, bytesMax), await startReader(t, host, bytesMax)]
    const live: number[] = []
    let refused = 0
    const end = performance.now() + 1500
    for (let n = 1; performance.now() < end; n++) {
      const bytes = n % 3 === 0 ? 300_000 + ((n * 7919) % mebibyte) : 1000 + ((n * 104_729) % 200_000)
      try {
        put(host, n, bytes)
      } catch {
        // What the readers look at is as much as there is.
        refused += 1
        await new Promise(setImmediate)
        continue
      }
      live.push(n)
      for (const [child] of readers) tell(host, child, n)
      if (live.length > 8) host.store.free([nameOf(live.splice((n * 31) % 8, 1)[0] as number)])
      if (n % 4 === 0) await new Promise(setImmediate)
    }
    for (const [child] of readers) {
      child.send('stop')
      const [counts] = (await once(child, 'message')) as [ReadCounts]
      t.diagnostic(`${JSON.stringify(counts)}, ${refused} refused`)
      assert.equal(counts.wrong, 0)
      assert.ok(counts.right > 0 && counts.stale > 0)
    }
  })

  test('the pins of a process that is killed count until it is gone, and no longer', async (t) => {
    const bytesMax = 4 * mebibyte
    const host = await SegmentHost.create(bytesMax)
    const [child, table] = await startReader(t, host, bytesMax)
    const gone: string[] = []
    const tables = new PinTables(
      {
        takePinTable: () => table,
        freePinTable: (each) => host.segment.freePinTable(each),
        pinsEnd: (each) => host.segment.pinsEnd(each),
      },
      { isAlive: isRunning, isWriting: () => false, onGone: (client) => void gone.push(client) },
    )
    t.after(() => tables.close())
    const client = { id: 'c', pid: child.pid as number, pinTable: undefined, usesStore: true }
    tables.entered(client)
    put(host, 1, mebibyte)
    tell(host, child, 1)
    await until('it looks', () => host.segment.pinCount(table) > 0)
    host.store.free([nameOf(1)])
    // Its connection has ended; it goes on looking.
    tables.left(client)
    host.step({ type: 'tick' })
    assert.equal(host.book.usedBytes, mebibyte)
    assert.deepEqual(gone, [])
    child.kill('SIGKILL')
    await until('its pins are gone', () => {
      host.step({ type: 'tick' })
      return host.book.usedBytes === 0
    })
    assert.deepEqual(gone, ['c'])
    assert.equal(tables.clientOf(table), undefined)
  })
})
