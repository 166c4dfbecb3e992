import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { setTaskContext } from '../../../sdk/api/task-context.ts'
import { QueueActor } from '../../../sdk/pools/queue-actor.ts'

describe('QueueActor', () => {
  let queue: QueueActor
  let abort: AbortController
  before(() => setTaskContext(() => ({ nodeId: '', taskName: '', attempt: 0, gpuIds: [], signal: abort.signal })))
  after(() => setTaskContext(() => undefined))
  beforeEach(() => {
    abort = new AbortController()
    queue = new QueueActor(2)
  })

  test('a put waits for room, a get for an item, each in their order', async () => {
    const puts = [1, 2, 3, 4].map((item) => queue.put([item], ''))
    assert.equal(queue.size(), 2)
    const gets = [1, 2, 3].map(() => queue.get(1, ''))
    assert.deepEqual(
      (await Promise.all(gets)).map(({ items }) => items),
      [[1], [2], [3]],
    )
    await Promise.all(puts)
    assert.equal(queue.size(), 1)
    const [fourth, fifth] = [queue.get(1, ''), queue.get(1, '')]
    void queue.put([undefined], '')
    assert.deepEqual([(await fourth).items, (await fifth).items], [[4], [undefined]])
  })

  test('a batch is put as there is room, and got as there is something', async () => {
    const put = queue.put([1, 2, 3, 4, 5], '')
    assert.deepEqual((await queue.get(9, '')).items, [1, 2])
    assert.deepEqual((await queue.get(1, '')).items, [3])
    assert.deepEqual(await put, { count: 5, state: 'ok' })
    assert.deepEqual((await queue.get(9, '')).items, [4, 5])
  })

  test('now or not at all', () => {
    assert.equal(queue.putNow([1, 2, 3]).state, 'full')
    assert.equal(queue.putNow([1, 2]).state, 'ok')
    assert.deepEqual(queue.getNow(3), { items: [], state: 'empty', size: 2 })
    assert.deepEqual(queue.getNow(2).items, [1, 2])
  })

  test('nobody overtakes a put that waits', async () => {
    const put = queue.put([1, 2, 3], '')
    assert.equal(queue.putNow([4]).state, 'full')
    assert.deepEqual(queue.getNow(2).items, [1, 2])
    await put
    assert.deepEqual(queue.getNow(1).items, [3])
  })

  test('who withdraws gets nothing, and nothing is lost', async () => {
    const get = queue.get(1, 'g')
    queue.withdraw('g')
    assert.deepEqual(await get, { items: [], state: 'withdrawn' })
    const put = queue.put([1, 2, 3], 'p')
    queue.withdraw('p')
    assert.deepEqual(await put, { count: 2, state: 'withdrawn' })
    assert.deepEqual(queue.getNow(2).items, [1, 2])
    queue.withdraw('of nobody')
  })

  test('a call that is cancelled takes nothing along', async () => {
    const get = queue.get(1, '')
    abort.abort()
    assert.equal((await get).state, 'withdrawn')
    queue.putNow([1])
    assert.equal((await queue.get(1, '')).state, 'withdrawn')
    assert.equal((await queue.put([2, 3], '')).count, 1)
    assert.equal(queue.size(), 2)
  })

  test('closed: what is there, and what waits to be put, can be got; then no more', async () => {
    const put = queue.put([1, 2, 3], '')
    queue.close()
    assert.equal((await queue.put([4], '')).state, 'closed')
    assert.equal(queue.putNow([4]).state, 'closed')
    assert.deepEqual((await queue.get(9, '')).items, [1, 2])
    assert.equal((await put).state, 'ok')
    assert.deepEqual((await queue.get(9, '')).items, [3])
    assert.equal((await queue.get(1, '')).state, 'closed')
    assert.equal(queue.getNow(1).state, 'closed')
  })

  test('closed: who waits for an item is told', async () => {
    const gets = [queue.get(1, ''), queue.get(1, '')]
    queue.close()
    assert.deepEqual(
      (await Promise.all(gets)).map(({ state }) => state),
      ['closed', 'closed'],
    )
  })
})
