import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test, type TestContext } from 'node:test'
import { UnreachableError } from '../../../protocols/errors.ts'
import { digestOf, placeOfKey, placeOfNode, distance } from '../../../node/directory/kad-space.ts'
import { keyOfObject, ObjectDirectory } from '../../../node/directory/object-directory.ts'
import { until } from '../../support/daemon-process.ts'

const ids = Array.from({ length: 50 }, (_, i) => i.toString(16).padStart(44, '0'))

interface Member {
  readonly id: string
  readonly directory: ObjectDirectory
  /** Nodes that were asked by this one. */
  readonly asked: string[]
  walks: number
  /** What a walk through the DHT finds. */
  dht: string[]
  isSilent: boolean
}

/** Directories of several nodes, all of which are linked. */
class DirectoryLab {
  readonly members: Member[] = []
  isWhole = true

  constructor(t: TestContext, count: number) {
    t.after(() => {
      for (const { directory } of this.members) directory.close()
    })
    for (let i = 0; i < count; i++) this.#add(i.toString(16).padStart(16, '0'))
    for (const { id, directory } of this.members) {
      for (const other of this.members) if (other.id !== id) directory.linkUp(other.id, publicKeyOf(other.id))
    }
  }

  #add(id: string): void {
    const member: Member = {
      id,
      asked: [],
      walks: 0,
      dht: [],
      isSilent: false,
      directory: new ObjectDirectory({
        self: id,
        publicKey: publicKeyOf(id),
        kademlia: {
          onLookup: () => {},
          async *findProviders() {
            member.walks += 1
            yield []
            yield await Promise.resolve(member.dht)
          },
        },
        send: (batch) => this.member(batch.to).directory.onProvide(id, batch),
        ask: (node, key, signal) => {
          member.asked.push(node)
          const { isSilent, directory } = this.member(node)
          if (!isSilent) return Promise.resolve(directory.holdersOf(key))
          return new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(new UnreachableError('late'))),
          )
        },
        isLinkedToAll: () => this.isWhole,
        now: () => 0,
      }),
    }
    this.members.push(member)
  }

  member(id: string): Member {
    return this.members.find((each) => each.id === id) as Member
  }

  /** From the nearest to the farthest. */
  byDistance(key: string): Member[] {
    const at = placeOfKey(digestOf(key))
    const away = ({ id }: Member): number => distance(at, placeOfNode(publicKeyOf(id)))
    return this.members.toSorted((a, b) => away(a) - away(b))
  }

  settled(): Promise<void> {
    return until('all is told', () => this.members.every(({ directory }) => !directory.hasWork))
  }
}

function publicKeyOf(id: string): Buffer {
  return createHash('sha256').update(id).digest()
}

describe('the directory of objects', () => {
  test('finds what a node holds from every other node, at those nearest to it alone', async (t) => {
    const lab = new DirectoryLab(t, 12)
    const [holder] = lab.members as [Member]
    holder.directory.provide(ids.map(keyOfObject))
    await lab.settled()
    for (const { directory, asked, id } of lab.members) {
      for (const key of ids.map(keyOfObject)) {
        asked.length = 0
        assert.deepEqual(await directory.find(key), [holder.id])
        const nearest = lab.byDistance(key).slice(0, 3)
        const expected = nearest.some((each) => each.id === id) ? [] : nearest.map((each) => each.id)
        assert.deepEqual(asked, expected)
      }
    }
    assert.ok(lab.members.every(({ walks }) => walks === 0))
    assert.equal(holder.directory.figures().recordsSent, 3 * ids.length)
  })

  test('knows what is nowhere when all have said so; else it is looked for in the DHT', async (t) => {
    const lab = new DirectoryLab(t, 12)
    const key = keyOfObject(ids[0] as string)
    const from = lab.byDistance(key).at(-1) as Member
    from.dht = ['far']
    assert.deepEqual(await from.directory.find(key), [])
    assert.deepEqual([from.asked.length, from.walks], [11, 0])

    lab.isWhole = false
    assert.deepEqual(await from.directory.find(key), ['far'])

    lab.isWhole = true
    ;(lab.byDistance(key)[0] as Member).isSilent = true
    assert.deepEqual(await from.directory.find(key), ['far'])
    assert.deepEqual(from.directory.figures(), {
      ...{ keys: 0, records: 0, lookups: 3, hits: 2, walks: 2 },
      ...{ batchesSent: 0, recordsSent: 0 },
    })
  })

  test('finds records that lie farther away, since their node knew of fewer members', async (t) => {
    const lab = new DirectoryLab(t, 12)
    const key = keyOfObject(ids[0] as string)
    const far = lab.byDistance(key)[7] as Member
    far.directory.onProvide('holder', { adds: [key], removes: [] })
    const from = lab.byDistance(key).at(-1) as Member
    assert.deepEqual(await from.directory.find(key), ['holder'])
    assert.equal(from.walks, 0)
  })

  test('gives up in time, or when it is told to, with nothing', async (t) => {
    const lab = new DirectoryLab(t, 5)
    const key = keyOfObject(ids[0] as string)
    for (const member of lab.members) member.isSilent = true
    const { directory } = lab.byDistance(key).at(-1) as Member
    assert.deepEqual(await directory.find(key, { timeoutMs: 1 }), [])
    const controller = new AbortController()
    const found = directory.find(key, { timeoutMs: 60_000, signal: controller.signal })
    controller.abort()
    assert.deepEqual(await found, [])
  })
})
