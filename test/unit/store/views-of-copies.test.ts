import assert from 'node:assert/strict'
import { test } from 'node:test'
import { releaseView } from '../../../sdk/store/views.ts'
import { SegmentHost } from '../../support/segment-host.ts'
import { bytesFor } from '../../support/segment-reader.ts'

const whose = { owner: '0f'.repeat(16), sequence: 1 }
const mebibyte = 1024 * 1024
const nameOf = (n: number): string => n.toString(16).padStart(16, '0')

test('values of other nodes are copied out of the store while views would keep the room that the next one needs', async () => {
  const host = await SegmentHost.create(4 * mebibyte)
  const put = (n: number, bytes: number): void => host.store.write(nameOf(n), [bytesFor(nameOf(n), bytes)], whose)
  const read = async (n: number, bytes: number): Promise<Uint8Array> => {
    const stored = await host.store.read(nameOf(n), bytes, whose, 'get')
    const own = stored.own(0, bytes)
    stored.close()
    return own
  }
  const isRight = (view: Uint8Array, n: number): boolean => Buffer.compare(view, bytesFor(nameOf(n), view.length)) === 0
  const viewCount = (): number => host.segment.pinCount(host.pinTable)
  host.areElsewhere = true
  for (const n of [1, 2]) put(n, 1.5 * mebibyte)
  const [first, second] = [await read(1, 1.5 * mebibyte), await read(2, 1.5 * mebibyte)]
  assert.ok(isRight(first, 1) && isRight(second, 2))
  assert.equal(viewCount(), 1)
  // Of what is being looked at anyway another view takes no room.
  const again = await read(1, 1.5 * mebibyte)
  assert.equal(viewCount(), 2)
  host.store.free([nameOf(2)])
  put(3, 2 * mebibyte)
  assert.ok(isRight(second, 2))
  assert.deepEqual([releaseView(second), releaseView(first), releaseView(again)], [false, true, true])
  host.store.free([nameOf(1)])
  const third = await read(3, 2 * mebibyte)
  assert.ok(isRight(third, 3))
  assert.equal(viewCount(), 1)
  // Those of this node lie there in any case.
  host.areElsewhere = false
  put(4, mebibyte)
  assert.ok(isRight(await read(4, mebibyte), 4))
  assert.equal(viewCount(), 2)
  assert.equal(releaseView(third), true)
})
