import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { MemorySegment } from '../../../node/store/memory-segment.ts'
import { ObjectStore } from '../../../node/store/object-store.ts'
import { RemoteValues } from '../../../node/store/remote-values.ts'

const origin = '0a'.repeat(8)
const holder = '0b'.repeat(8)
/** Of a third node, which knows of replicas. */
const home = '0c'.repeat(8)
const owner = '0c'.repeat(16)
const nameOf = (n: number): string => `${origin}${n.toString(16).padStart(16, '0')}`

interface Told {
  freed: string[]
  forgotten: string[]
  /** Which names each owner was told of. */
  left: Record<string, string[]>
}

interface NodeSpec {
  self: string
  copiesMax?: number
  told?: Told
  linked?: string[]
}

const nothing = (): Told => ({ freed: [], forgotten: [], left: {} })

async function createNode(t: TestContext, { self, copiesMax = 100, told = nothing(), linked = [] }: NodeSpec) {
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
    tellOwner: (client, names) => void (told.left[client] ??= []).push(...names),
    isThere: () => true,
    linked: () => linked,
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
    const told = nothing()
    const { values: atOrigin } = await createNode(t, { self: origin, copiesMax: 2, told })
    const { values: atHolder, store, receive } = await createNode(t, { self: holder })
    for (let n = 1; n <= 4; n++) {
      await receive(n)
      if (n === 1) store.keep(nameOf(n))
      atOrigin.asked(holder, nameOf(n))
    }
    assert.deepEqual(told, { ...nothing(), forgotten: [nameOf(1), nameOf(2)] })
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

  test('the owner of a copy is told of it when the node that made its value is gone, so that it goes when that is back', async (t) => {
    const [toldByHolder, toldByHome] = [nothing(), nothing()]
    const { values: atHolder, store, receive } = await createNode(t, { self: holder, told: toldByHolder })
    // That of the owner, to which the node that made the values is linked again.
    const { values: atHome } = await createNode(t, { self: home, told: toldByHome, linked: [origin, holder] })
    await receive(1)
    await receive(2)
    store.keep(nameOf(2))
    atHolder.nodeGone(origin)
    // Of a replica his own node knows already.
    assert.deepEqual(toldByHolder.left, { [owner]: [nameOf(1)] })
    assert.equal(store.kindOf(nameOf(1)), 'replica')
    atHome.heldBy(holder, [nameOf(1)])
    atHome.freed([nameOf(1)])
    assert.deepEqual(toldByHome.freed, [nameOf(1), nameOf(1)])
    atHolder.freedElsewhere(home, [nameOf(1)])
    assert.equal(store.kindOf(nameOf(1)), undefined)
  })

  test('the owner of a value is told who has brought it from elsewhere than the node that made it', async (t) => {
    const told = nothing()
    const linked = [origin]
    const { values } = await createNode(t, { self: holder, told, linked })
    const question = { bytes: 1000, owner, object: '', priority: 'get' } as const
    const { signal } = new AbortController()
    await values.fetch({ ...question, name: nameOf(1) }, signal)
    linked.pop()
    await values.fetch({ ...question, name: nameOf(2) }, signal)
    assert.deepEqual(told.left, { [owner]: [nameOf(2)] })
  })
})
