import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ObjectLostError, ObjectStoreFullError } from '../../../protocols/errors.ts'
import { noContents, type StoredValue, type WireValue } from '../../../protocols/wire-value.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { LocalWait } from '../../../sdk/runtime/local-wait.ts'

const owner = '0f'.repeat(16)
const contents = { isError: false, refs: noContents, classes: noContents }
const small: WireValue = { kind: 'inline', format: 0, head: new Uint8Array(), buffers: [], ...contents }

/** A node to which values come when the test says so. */
class Node {
  readonly here = new Set<string>()
  /** Names of values that are asked for and neither here, nor failed, nor given up. */
  readonly coming = new Map<string, { resolve(): void; reject(error: unknown): void }>()
  readonly asked: string[] = []
  report: (record: ObjectRecord) => boolean = () => {
    throw new Error('nothing can be done')
  }

  isHere(value: WireValue): boolean {
    return value.kind === 'inline' || this.here.has(value.name)
  }

  async bring({ name }: StoredValue, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.asked.push(name)
    this.coming.set(name, { resolve, reject })
    signal.addEventListener('abort', () => reject(signal.reason))
    try {
      await promise
      this.here.add(name)
    } finally {
      this.coming.delete(name)
    }
  }

  async arrives(name: string): Promise<void> {
    this.coming.get(name)?.resolve()
    await turn()
  }

  async fails(name: string, error: unknown): Promise<void> {
    this.coming.get(name)?.reject(error)
    await turn()
  }
}

let lastSequence = 0

function stored(name: string): StoredValue {
  return { kind: 'stored', name, bytes: 1_000_000, owner, sequence: 0, ...contents }
}

/** An object, and its value if it has one. */
function object(value?: WireValue): ObjectRecord {
  const record = new ObjectRecord(owner, ++lastSequence)
  if (value !== undefined) record.settle(value)
  return record
}

/** A wait that has begun, with whether it has ended. */
function begun(node: Node, records: ObjectRecord[], count: number): { waiting: LocalWait; isOver: () => boolean } {
  const waiting = new LocalWait(node, records, count)
  let isOver = false
  void waiting.begin().then(() => (isOver = true))
  return { waiting, isOver: () => isOver }
}

describe('waiting for values to be here', () => {
  test('takes nothing for what is here already', () => {
    const node = new Node()
    node.here.add('aa')
    const records = [object(stored('bb')), object(small), object(), object(stored('aa'))]
    const waiting = new LocalWait(node, records, 2)
    assert.ok(waiting.isDone)
    assert.deepEqual([...waiting.ready], [records[1], records[3]])
    assert.deepEqual(node.asked, [])
  })

  test('brings what is elsewhere, once it has a value, and no more at once than are needed', async () => {
    const node = new Node()
    const records = [object(stored('aa')), object(stored('bb')), object(), object(stored('cc'))]
    const { waiting, isOver } = begun(node, records, 2)
    assert.deepEqual(node.asked, ['aa', 'bb'])
    await node.arrives('bb')
    assert.ok(!isOver())
    assert.deepEqual(node.asked, ['aa', 'bb'])
    // It needs nobody, and the last of them is still on its way.
    records[2]?.settle(small)
    await turn()
    assert.ok(isOver())
    assert.deepEqual([...waiting.ready], [records[1], records[2]])
    waiting.end()
    await turn()
    assert.deepEqual([...node.coming.keys()], [])
    assert.deepEqual(node.asked, ['aa', 'bb'])
  })

  test('that ends early leaves nothing behind', async () => {
    const node = new Node()
    const records = [object(stored('aa')), object(), object(stored('bb'))]
    const { waiting, isOver } = begun(node, records, 1)
    waiting.end()
    records[1]?.settle(stored('cc'))
    await turn()
    assert.ok(!isOver())
    assert.deepEqual(node.asked, ['aa'])
    assert.equal(node.coming.size, 0)
  })

  test('counts what cannot be had as ready', async () => {
    const node = new Node()
    const { isOver } = begun(node, [object(stored('aa'))], 1)
    await node.fails('aa', new ObjectStoreFullError('no room'))
    assert.ok(isOver())
  })

  test('waits for what is lost to be made again, and brings others meanwhile', async () => {
    const node = new Node()
    const [lost, other] = [object(stored('aa')), object(stored('bb'))]
    node.report = (record) => {
      record.lose()
      return true
    }
    const { waiting, isOver } = begun(node, [lost, other], 1)
    assert.deepEqual(node.asked, ['aa'])
    await node.fails('aa', new ObjectLostError('lost'))
    assert.deepEqual(node.asked, ['aa', 'bb'])
    assert.ok(!isOver())
    lost.settle(stored('cc'))
    await node.arrives('bb')
    assert.ok(isOver())
    assert.deepEqual([...waiting.ready], [other])
    waiting.end()
  })

  test('believes an owner that has nothing better, and asks once', async () => {
    const node = new Node()
    let reports = 0
    node.report = () => {
      reports += 1
      return true
    }
    const { isOver } = begun(node, [object(stored('aa'))], 1)
    await node.fails('aa', new ObjectLostError('lost'))
    assert.ok(!isOver())
    await node.fails('aa', new ObjectLostError('lost'))
    assert.ok(isOver())
    assert.equal(reports, 1)
    assert.deepEqual(node.asked, ['aa', 'aa'])
  })
})
