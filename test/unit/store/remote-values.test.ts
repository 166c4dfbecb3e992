import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'
import { RemoteValues } from '../../../node/store/remote-values.ts'

const origin = '0a'.repeat(8)
const holder = '0b'.repeat(8)
/** Of a third node: its own node is the one that knows of replicas. */
const owner = '0c'.repeat(16)
const nameOf = (n: number): string => `${origin}${n.toString(16).padStart(16, '0')}`

interface Told {
  freed: string[]
  forgotten: string[]
}

async function createNode(t: TestContext, self: string, copiesMax: number, told: Told) {
  const bytesMax = 1_000_000
  const segment = await MemorySegment.create(bytesMax)
  if (segment === undefined) throw new Error('there is no shared memory here')
  const store = new ObjectStore({
    bytesMax,
    segment,
    spill: undefined,
    directory: '',
    now: () => performance.now(),
    onPressure: () => {},
    log: () => {},
  })
  t.after(() => store.close())
  const values = new RemoteValues({
    self,
    store,
    transfers: { pull: () => Promise.resolve(), freed: () => {}, nodeGone: () => {} },
    replicas: {
      holdersOf: () => [],
      isComingFor: () => false,
      freed: () => {},
      ownerGone: () => {},
      nodeGone: () => {},
    },
    send: (_node, names) => void told.freed.push(...names),
    forget: (_node, name) => void told.forgotten.push(name),
    isThere: () => true,
    linked: () => [],
    copiesMax,
  })
  const receive = async (n: number): Promise<void> => {
    const room = await store.begin({ name: nameOf(n), bytes: 1000, owner, object: '' })
    room.commit()
  }
  return { store, values, receive }
}

describe('values of other nodes', () => {
  test('when too many copies are to be remembered, a copy goes and a replica stays', async (t) => {
    const told: Told = { freed: [], forgotten: [] }
    const { values: atOrigin } = await createNode(t, origin, 2, told)
    const { values: atHolder, store, receive } = await createNode(t, holder, 100, { freed: [], forgotten: [] })
    for (let n = 1; n <= 4; n++) {
      await receive(n)
      if (n === 1) store.keep(nameOf(n))
      atOrigin.asked(holder, nameOf(n))
    }
    assert.deepEqual(told, { freed: [], forgotten: [nameOf(1), nameOf(2)] })
    for (const name of told.forgotten) atHolder.forgottenElsewhere(origin, name)
    assert.deepEqual(
      [1, 2, 3, 4].map((n) => store.kindOf(nameOf(n))),
      ['replica', undefined, 'copy', 'copy'],
    )
    // Only the node of a value may say so.
    atHolder.forgottenElsewhere(holder, nameOf(3))
    assert.equal(store.kindOf(nameOf(3)), 'copy')
    // Those that are remembered are told.
    atOrigin.freed([1, 2, 3, 4].map(nameOf))
    assert.deepEqual(told.freed, [nameOf(3), nameOf(4)])
  })
})
