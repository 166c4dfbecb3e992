import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { ObjectLostError } from '../../../protocols/errors.ts'
import { machineMark } from '../../../node/system/machine-mark.ts'
import { decodePlace, decodeRequest, encodePlace, encodeRequest } from '../../../node/transfer/value-frames.ts'
import { TransferLab, type LabNode } from '../../support/transfer-lab.ts'

const mib = 1024 * 1024
const name = 'ab'.repeat(22)
const [machine, another] = ['11'.repeat(16), '22'.repeat(16)]

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

function pull(to: LabNode, bytes: number, from: LabNode[]): Promise<void> {
  const hints = from.map(({ id }) => id)
  return to.transfers.pull(name, bytes, { owner: '', object: '', priority: 'get', hints })
}

function assertSame(node: LabNode, expected: Uint8Array): void {
  assert.ok(Buffer.from(node.store.values.get(name) ?? []).equals(expected))
  assert.equal(node.store.openRooms, 0)
}

describe('values of nodes of one machine', { concurrency: true }, () => {
  test('are read from memory, and nothing of them goes over the network', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1, 500, machine), world.add(2, 500, machine)]
    const original = value(33 * mib + 5)
    origin.store.values.set(name, original)
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    const { bytesIn, bytesInNear } = puller.transfers.counters
    assert.deepEqual([bytesIn, bytesInNear, origin.transfers.bytesOut], [original.length, original.length, 0])
    // The last word of the puller, which is on its way.
    while (origin.store.openValues > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  test('go over the network when they are small, to other machines, and to those who do not want it', async (t) => {
    for (const [mine, theirs, bytes] of [
      [machine, machine, 1000],
      [machine, another, 9 * mib],
      [machine, '', 9 * mib],
      ['', machine, 9 * mib],
    ] as const) {
      const world = lab(t)
      const [origin, puller] = [world.add(1, 500, mine), world.add(2, 500, theirs)]
      const original = value(bytes)
      origin.store.values.set(name, original)
      await pull(puller, bytes, [origin])
      assertSame(puller, original)
      assert.deepEqual([puller.transfers.counters.bytesInNear, origin.transfers.bytesOut], [0, bytes])
    }
  })

  test('that cannot be opened come over the network', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1, 500, machine), world.add(2, 500, machine)]
    const other = world.add(3, 500, machine)
    origin.store.place = { pid: 3, descriptor: 1, offset: 0, generation: 1 }
    const original = value(9 * mib)
    origin.store.values.set(name, original)
    assert.equal(other.store.has(name), false)
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    assert.equal(puller.transfers.counters.bytesInNear, 0)
    assert.match(world.logs.join('\n'), /comes over the network: it is not there/)
  })

  test('that are there no more in the middle go on over the network, without starting over', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1, 500, machine), world.add(2, 500, machine)]
    const original = value(40 * mib)
    origin.store.values.set(name, original)
    world.beforeNearRead = (_, offset) => (offset > 16 * mib ? Promise.reject(new Error('moved')) : Promise.resolve())
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    const { bytesIn, bytesInNear } = puller.transfers.counters
    assert.equal(bytesIn, original.length)
    assert.ok(bytesInNear > 0 && bytesInNear < bytesIn)
    assert.equal(origin.transfers.bytesOut, bytesIn - bytesInNear)
  })

  test('whose node dies in the middle go on from another node', async (t) => {
    const world = lab(t)
    const [origin, far] = [world.add(1, 500, machine), world.add(2, 500, another)]
    const puller = world.add(3, 500, machine)
    const original = value(40 * mib)
    for (const { store } of [origin, far]) store.values.set(name, original)
    world.locate = () => [far.id]
    world.beforeNearRead = (node, offset) => {
      if (offset > 16 * mib && !node.isDown) world.kill(node)
      return Promise.resolve()
    }
    await pull(puller, original.length, [origin])
    assertSame(puller, original)
    assert.equal(puller.transfers.counters.bytesIn, original.length)
    assert.ok(far.transfers.bytesOut < original.length, 'what had come was not asked for again')
  })

  test('that are read late, when their node has taken the memory for others, do not harm what came meanwhile', async (t) => {
    const world = lab(t)
    const [origin, far, puller] = [world.add(1, 500, machine), world.add(2), world.add(3, 500, machine)]
    const original = value(16 * mib)
    origin.store.values.set(name, original.slice())
    far.store.values.set(name, original)
    let isFirst = true
    world.beforeNearRead = async (node) => {
      if (!isFirst) return
      isFirst = false
      puller.transfers.nodeGone(node.id)
      // The other node gives all that it is asked for.
      for (let i = 0; i < 1000; i++) await new Promise((resolve) => setImmediate(resolve))
      node.store.values.get(name)?.fill(9)
      node.store.place = { pid: 1, descriptor: 1, offset: 0, generation: 2 }
    }
    await pull(puller, original.length, [origin, far])
    assertSame(puller, original)
  })

  test('whose node dies in the middle are lost when no other has them', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1, 500, machine), world.add(2, 500, machine)]
    origin.store.values.set(name, value(40 * mib))
    world.beforeNearRead = (node, offset) => {
      if (offset > 16 * mib && !node.isDown) world.kill(node)
      return Promise.resolve()
    }
    await assert.rejects(pull(puller, 40 * mib, [origin]), ObjectLostError)
    assert.deepEqual([puller.store.openRooms, puller.store.has(name)], [0, false])
  })

  test('keep their room until the last byte is written, when they are freed meanwhile', async (t) => {
    const world = lab(t)
    const [origin, puller] = [world.add(1, 500, machine), world.add(2, 500, machine)]
    origin.store.values.set(name, value(9 * mib))
    const [began, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    world.beforeNearRead = async () => {
      began.resolve()
      await goOn.promise
    }
    const pulled = pull(puller, 9 * mib, [origin])
    await began.promise
    puller.transfers.freed([name])
    await assert.rejects(pulled, ObjectLostError)
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(puller.store.openRooms, 1, 'it is still written to')
    goOn.resolve()
    while (puller.store.openRooms > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  test('by many at once are read from the one that has them', async (t) => {
    const world = lab(t)
    const origin = world.add(1, 500, machine)
    const original = value(20 * mib)
    origin.store.values.set(name, original)
    const pullers = Array.from({ length: 8 }, (_, i) => world.add(i + 2, 5000, machine))
    await Promise.all(pullers.map((puller) => pull(puller, original.length, [origin])))
    for (const puller of pullers) {
      assertSame(puller, original)
      assert.equal(puller.transfers.counters.bytesInNear, original.length)
    }
  })
})

test('a request names a machine, or none', () => {
  const request = { kind: 'chunk', requestId: 7, name, index: 3 } as const
  for (const mark of [machine, '']) {
    assert.deepEqual(decodeRequest(encodeRequest({ ...request, mark })), { ...request, mark })
  }
})

test('a place comes back as it was', () => {
  const place = { pid: 4_194_304, descriptor: 21, offset: 2 ** 40 + 4096, generation: 0x7fff_fffe }
  assert.deepEqual(decodePlace(encodePlace(place)), place)
})

test('a mark is another one for another start, user, network or container', () => {
  const facts = { bootId: 'a', userId: 1000, namespaces: ['net:[1]', 'pid:[2]', 'user:[3]'] }
  const marks = [
    facts,
    { ...facts, bootId: 'b' },
    { ...facts, userId: 0 },
    ...[0, 1, 2].map((i) => ({ ...facts, namespaces: facts.namespaces.with(i, 'other:[4]') })),
  ].map((each) => machineMark(() => each))
  assert.equal(new Set(marks).size, 6)
  for (const mark of marks) assert.match(mark, /^[\da-f]{32}$/)
  assert.equal(
    machineMark(() => facts),
    marks[0],
  )
  for (const unknown of [undefined, { ...facts, bootId: '' }, { ...facts, namespaces: ['', 'pid:[2]', 'user:[3]'] }]) {
    assert.equal(
      machineMark(() => unknown),
      '',
    )
  }
})
