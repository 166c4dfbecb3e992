import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { ObjectLostError, ObjectStoreFullError, UnreachableError } from '../../../protocols/errors.ts'
import { encodeAnswer } from '../../../node/transfer/value-frames.ts'
import type { PullOptions } from '../../../node/transfer/transfers.ts'
import { TransferLab, type LabNode } from '../../support/transfer-lab.ts'

const mib = 1024 * 1024
const name = 'ab'.repeat(22)
const whose = { owner: '', object: '', priority: 'get' } as const

function value(bytes: number): Uint8Array {
  const made = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i += 997) made[i] = i % 251
  return made
}

function lab(t: TestContext): TransferLab {
  const made = new TransferLab()
  t.after(() => made.close())
  return made
}

function pull(to: LabNode, bytes: number, from: LabNode[], more: Partial<PullOptions> = {}): Promise<void> {
  return to.transfers.pull(name, bytes, { ...whose, hints: from.map(({ id }) => id), ...more })
}

function assertSame(node: LabNode, expected: Uint8Array): void {
  assert.ok(Buffer.from(node.store.values.get(name) ?? []).equals(expected))
}

function dieAfter(world: TransferLab, node: LabNode, bytes: number): void {
  let sent = 0
  node.send = (sending) => {
    sent += sending.length
    if (sent > bytes && !node.isDown) world.kill(node)
    return node.isDown ? [] : [sending]
  }
}

describe('pulling a value', { concurrency: true }, () => {
  for (const bytes of [0, 1, 100_000, 4 * mib, 4 * mib + 1, 21 * mib]) {
    test(`of ${bytes} bytes brings what there is`, async (t) => {
      const world = lab(t)
      const [origin, puller] = [world.add(1), world.add(2)]
      const original = value(bytes)
      origin.store.values.set(name, original)
      await pull(puller, bytes, [origin])
      assertSame(puller, original)
      assert.equal(puller.transfers.counters.bytesIn, bytes)
      assert.equal(puller.store.openRooms, 0)
    })
  }

  test('is one transfer, however many ask', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    const original = value(9 * mib)
    origin.store.values.set(name, original)
    await Promise.all(Array.from({ length: 20 }, () => pull(puller, original.length, [origin])))
    assert.equal(origin.transfers.bytesOut, original.length)
    assert.deepEqual(puller.store.begun, [name])
  })

  test('from where it is thought to be does not wait for the directory, nor ask it', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    const original = value(9 * mib)
    origin.store.values.set(name, original)
    world.locate = () => Promise.withResolvers<readonly string[]>().promise
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    const { hintHits, locates } = puller.transfers.counters
    assert.deepEqual({ hintHits, locates }, { hintHits: 1, locates: 0 })
  })

  test('that nobody waits for any more is not looked for any more', async (t) => {
    const world = lab(t)
    const puller = world.add(2)
    const asked = Promise.withResolvers<AbortSignal>()
    world.locate = (_, signal) => {
      asked.resolve(signal)
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve([])))
    }
    const controller = new AbortController()
    const pulled = pull(puller, mib, [], { signal: controller.signal })
    const signal = await asked.promise
    controller.abort(new UnreachableError('not needed'))
    await assert.rejects(pulled, /not needed/)
    assert.equal(signal.aborted, true)
    assert.deepEqual(world.logs, [])
  })

  test('goes on from another holder when one dies in the middle, without starting over', async (t) => {
    const world = lab(t)
    const [origin, other, puller] = [world.add(1), world.add(2), world.add(3)]
    const original = value(40 * mib)
    origin.store.values.set(name, original)
    other.store.values.set(name, original)
    world.locate = () => [other.id]
    dieAfter(world, origin, 15 * mib)
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    assert.ok(puller.transfers.counters.bytesIn === original.length)
    assert.ok(other.transfers.bytesOut < original.length, 'what had come was not asked for again')
  })

  test('from one that stalls goes on from another', async (t) => {
    const world = lab(t)
    const [origin, other, puller] = [world.add(1), world.add(2), world.add(3, 200)]
    const original = value(12 * mib)
    for (const node of [origin, other]) node.store.values.set(name, original)
    let sent = 0
    origin.send = (bytes) => ((sent += bytes.length) > 5 * mib ? [] : [bytes])
    world.locate = () => [other.id]
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
  })

  test('from a liar is not taken: wrong bytes, wrong lengths, garbage', async (t) => {
    for (const lie of [
      (bytes: Uint8Array) => (bytes.length > 1000 ? bytes.fill(7, 0, 100) : bytes),
      (bytes: Uint8Array) => (bytes.length > 1000 ? bytes.subarray(1) : bytes),
      (bytes: Uint8Array) => bytes.fill(0xff),
      () =>
        encodeAnswer({
          status: 'data',
          requestId: 1,
          index: 0,
          length: 0xffff_ffff,
          sum: 0,
          bytes: 5 * mib,
          have: new Uint8Array(),
          peers: [],
        }),
    ]) {
      const world = lab(t)
      const [liar, honest, puller] = [world.add(1), world.add(2), world.add(3, 200)]
      const original = value(5 * mib)
      for (const node of [liar, honest]) node.store.values.set(name, original)
      liar.send = (bytes) => [lie(bytes)]
      world.locate = () => [honest.id]
      await pull(puller, original.length, [liar])
      assertSame(puller, original)
      assert.equal(puller.store.openRooms, 0)
    }
  })

  test('of another length than it has is refused', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    origin.store.values.set(name, value(1000))
    await assert.rejects(pull(puller, 2000, [origin], { timeoutMs: 300 }), UnreachableError)
    assert.equal(puller.store.openRooms, 0)
  })

  test('that nobody has fails with ObjectLostError', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    await assert.rejects(pull(puller, 1000, [origin]), ObjectLostError)
    await assert.rejects(pull(puller, 1000, []), ObjectLostError)
  })

  test('from a node that has died is not waited for long, though others still name it', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    origin.store.values.set(name, value(12 * mib))
    world.locate = () => [origin.id]
    origin.send = (bytes) => {
      if (!origin.isDown) world.kill(origin)
      return [bytes]
    }
    await assert.rejects(pull(puller, 12 * mib, [origin]), /is on nodes that this one has no link to/)
    assert.equal(puller.store.openRooms, 0)
  })

  test('by two from each other ends when the only node that had all of it dies', { timeout: 20_000 }, async (t) => {
    const world = lab(t)
    const [origin, ...pullers] = [world.add(1), world.add(2), world.add(3)]
    origin.store.values.set(name, value(40 * mib))
    dieAfter(world, origin, 12 * mib)
    const outcomes = pullers.map((puller) => assert.rejects(pull(puller, 40 * mib, [origin]), ObjectLostError))
    await Promise.all(outcomes)
    for (const { store } of pullers) assert.equal(store.openRooms, 0)
  })

  test('by some who wait for the same source makes them ask each other seldom', async (t) => {
    const world = lab(t)
    const [origin, ...pullers] = [world.add(1), world.add(2, 60_000), world.add(3, 60_000), world.add(4, 60_000)]
    const original = value(24 * mib)
    origin.store.values.set(name, original)
    const [slow, asksMax] = [Promise.withResolvers<void>(), 200]
    let reads = 0
    origin.store.open = () =>
      Promise.resolve({
        bytes: original.length,
        place: undefined,
        read: async (offset, length) => {
          reads += 1
          if (reads === 10) setTimeout(() => slow.resolve(), 500)
          if (reads >= 10) await slow.promise
          return original.subarray(offset, offset + length)
        },
        close: () => {},
      })
    let answers = 0
    for (const puller of pullers) {
      puller.send = (bytes) => {
        if (bytes.length < 1000) answers += 1
        // They would leave no time for a timer.
        if (answers > asksMax) slow.resolve()
        return [bytes]
      }
    }
    await Promise.all(pullers.map((puller) => pull(puller, original.length, [origin])))
    for (const puller of pullers) assertSame(puller, original)
    assert.ok(answers <= asksMax, `${answers} answers`)
  })

  test('by two from each other goes on from a third that is found when their source dies', async (t) => {
    const world = lab(t)
    const [origin, other, ...pullers] = [world.add(1), world.add(4), world.add(2), world.add(3)]
    const original = value(40 * mib)
    for (const { store } of [origin, other]) store.values.set(name, original)
    world.locate = () => [other.id]
    dieAfter(world, origin, 12 * mib)
    await Promise.all(pullers.map((puller) => pull(puller, original.length, [origin])))
    for (const puller of pullers) assertSame(puller, original)
  })

  test('from a node that is always busy fails with UnreachableError', { timeout: 20_000 }, async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    origin.store.values.set(name, value(1000))
    origin.store.open = () => Promise.reject(new ObjectStoreFullError('no room to read it', { name }))
    await assert.rejects(pull(puller, 1000, [origin], { timeoutMs: 300 }), UnreachableError)
    assert.equal(puller.store.openRooms, 0)
  })

  test('over a link that breaks while a stream is opened, and is back, goes on', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    const original = value(1000)
    origin.store.values.set(name, original)
    world.locate = () => [origin.id]
    world.beforeOpen = () => {
      world.beforeOpen = () => {}
      puller.transfers.nodeGone(origin.id)
    }
    await pull(puller, original.length, [origin], { timeoutMs: 2000 })
    assertSame(puller, original)
  })

  test('from a node that does not answer is tried for a while, then fails with UnreachableError', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    origin.isDown = true
    await assert.rejects(pull(puller, 1000, [origin], { timeoutMs: 300 }), UnreachableError)
  })

  test('that is freed, or that nobody waits for any more, ends', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2, 60_000)]
    const original = value(9 * mib)
    origin.store.values.set(name, original)
    const { promise: held, resolve } = Promise.withResolvers<void>()
    origin.send = () => {
      resolve()
      return []
    }
    const freed = pull(puller, original.length, [origin])
    await held
    puller.transfers.freed([name])
    await assert.rejects(freed, ObjectLostError)
    const controller = new AbortController()
    const cancelled = pull(puller, original.length, [origin], { signal: controller.signal })
    controller.abort(new Error('not now'))
    await assert.rejects(cancelled, /not now/)
  })

  test('that has begun to come is finished, although nobody waits any more', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2, 60_000)]
    const original = value(9 * mib)
    origin.store.values.set(name, original)
    const controller = new AbortController()
    origin.send = (bytes) => {
      controller.abort(new Error('not now'))
      return [bytes]
    }
    await assert.rejects(pull(puller, original.length, [origin], { signal: controller.signal }), /not now/)
    await pull(puller, original.length, [])
    assertSame(puller, original)
    assert.deepEqual(puller.store.begun, [name])
    assert.equal(origin.transfers.bytesOut, original.length)
  })

  test('that was given up before its turn leaves no trace: it can be asked for anew', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2, 60_000)]
    const original = value(1000)
    const others = Array.from({ length: 16 }, (_, i) => i.toString(16).padStart(44, '0'))
    for (const each of [name, ...others]) origin.store.values.set(each, original)
    origin.send = () => []
    const hints = [origin.id]
    const stuck = others.map((each) => puller.transfers.pull(each, 1000, { ...whose, hints }).catch(() => 'freed'))
    const controller = new AbortController()
    const cancelled = pull(puller, 1000, [origin], { signal: controller.signal })
    controller.abort(new Error('not now'))
    await assert.rejects(cancelled, /not now/)
    assert.equal(puller.transfers.progress().length, 16)
    const again = pull(puller, 1000, [origin])
    origin.send = (bytes) => [bytes]
    puller.transfers.freed(others)
    await again
    assertSame(puller, original)
    assert.deepEqual(new Set(await Promise.all(stuck)), new Set(['freed']))
  })

  test('that one of those who wait wants to keep is kept, before anybody can take its room', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    const original = value(1000)
    origin.store.values.set(name, original)
    const first = pull(puller, 1000, [origin])
    await pull(puller, 1000, [origin], { priority: 'replica', isReplica: true })
    await first
    assertSame(puller, original)
    assert.deepEqual([...puller.store.kept], [name])
  })

  test('without room fails with ObjectStoreFullError', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1), world.add(2)]
    origin.store.values.set(name, value(1000))
    puller.store.isFull = true
    await assert.rejects(pull(puller, 1000, [origin]), ObjectStoreFullError)
  })

  test('that nobody has is lost, however full the store is', async (t) => {
    const world = lab(t)
    const puller = world.add(1)
    puller.store.isFull = true
    await assert.rejects(pull(puller, 1000, []), ObjectLostError)
  })

  test('by many at once does not cost the origin as many times its size', async (t) => {
    const world = lab(t)
    const origin = world.add(1)
    const original = value(64 * mib)
    origin.store.values.set(name, original)
    const pullers = Array.from({ length: 8 }, (_, i) => world.add(i + 2, 5000))
    await Promise.all(pullers.map((puller) => pull(puller, original.length, [origin])))
    for (const puller of pullers) assertSame(puller, original)
    const times = origin.transfers.bytesOut / original.length
    assert.ok(times <= 5, `the origin sent ${times.toFixed(2)} times the value to 8 nodes`)
  })
})
