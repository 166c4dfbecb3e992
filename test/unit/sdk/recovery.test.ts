import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  NodeDiedError,
  ObjectLostError,
  ObjectStoreFullError,
  ObjectUnavailableError,
  ShoalError,
  UnreachableError,
} from '../../../protocols/errors.ts'
import type { ClientId, NodeId } from '../../../protocols/ids.ts'
import type { WireValue } from '../../../protocols/wire-value.ts'
import { ObjectRecord } from '../../../sdk/objects/object-record.ts'
import { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { Recovery } from '../../../sdk/runtime/recovery.ts'
import { TaskResults } from '../../../sdk/runtime/task-results.ts'
import { LineageBook } from '../../../sdk/tasks/lineage-book.ts'
import { StreamRecord } from '../../../sdk/tasks/stream-record.ts'
import type { TaskRecord } from '../../../sdk/tasks/task-record.ts'
import { inlineValue, storedValue, taskOf } from '../../support/task-records.ts'

const owner: ClientId = 'a'.repeat(32)
const [here, there] = ['1'.repeat(16), '2'.repeat(16)] as [NodeId, NodeId]

/** An owner of objects, with tasks that end when the test says so, and a store that has what the test puts there. */
class Owner {
  readonly submitted: TaskRecord[] = []
  readonly freed: string[] = []
  readonly errors: unknown[] = []
  /** Names of values that can be read. */
  readonly store = new Set<string>()
  probes = 0
  readonly recovery: Recovery
  readonly results: TaskResults
  #lastSequence = 0
  #lastName = 0

  constructor() {
    const free = (name: string): void => void this.freed.push(name)
    const lineages = new LineageBook({ bytesMax: 1e6, free })
    const encodeError = (error: unknown): WireValue => {
      this.errors.push(error)
      return inlineValue(4, true)
    }
    this.recovery = new Recovery({
      lineages,
      probe: async ({ name }) => {
        this.probes += 1
        if (!this.store.has(name)) throw new ObjectLostError(`${name} is nowhere`, { name })
      },
      submit: (task) => void this.submitted.push(task),
      free,
      encodeError,
      defer: queueMicrotask,
    })
    this.results = new TaskResults({
      lineages,
      recovery: this.recovery,
      create: () => new ObjectRecord(owner, ++this.#lastSequence),
      encodeError,
      adopt: () => undefined,
      attach: () => {},
      replicate: () => {},
      free,
      weakly: (record) => ({ deref: () => record }),
      recreate: (sequence) => new ObjectRecord(owner, sequence),
    })
  }

  /** The name of a new value in the store of a node. */
  stored(node: NodeId): string {
    const name = node.padEnd(32, '0') + (++this.#lastName).toString(16).padStart(12, '0')
    this.store.add(name)
    return name
  }

  task(count: number, options: Partial<TaskRecord> = {}): { task: TaskRecord; records: ObjectRecord[] } {
    const first = this.#lastSequence + 1
    this.#lastSequence += count
    const records = Array.from({ length: count }, (_, i) => new ObjectRecord(owner, first + i))
    return { task: taskOf(first, records, options), records }
  }

  /** A stream, of which some items have come from a node. */
  stream(node: NodeId, count: number, replicas = 1): { task: TaskRecord; stream: StreamRecord; items: ObjectRecord[] } {
    const stream = new StreamRecord()
    const task = taskOf(++this.#lastSequence, [], { stream, replicas })
    const items: ObjectRecord[] = []
    for (let index = 0; index < count; index++) {
      this.item(task, index, node)
      items.push(stream.take() as ObjectRecord)
    }
    return { task, stream, items }
  }

  /** The worker of a stream sends an item. Gives its name in the store. */
  item(task: TaskRecord, index: number, node: NodeId): string {
    const name = this.stored(node)
    this.results.settleItem(task, task.stream as StreamRecord, index, storedValue(name), owner)
    return name
  }

  endStream(task: TaskRecord): void {
    this.results.settle(task, { sequence: task.sequence, status: 'streamEnd', durationUs: 1, values: [] }, owner)
  }

  /** What of a stream its next run is to send. */
  partOf(task: TaskRecord): { skip: number; limit: number } {
    return this.recovery.streamPart(task, task.stream as StreamRecord)
  }

  end(task: TaskRecord, values: WireValue[]): void {
    this.results.settle(task, { sequence: task.sequence, status: 'ok', durationUs: 1, values }, owner)
  }

  /** Results of one task, on a node. */
  made(node: NodeId, count = 1, options: Partial<TaskRecord> = {}): ObjectRecord[] {
    const { task, records } = this.task(count, options)
    this.end(
      task,
      records.map(() => storedValue(this.stored(node))),
    )
    return records
  }

  /** The node goes, with what is only there. */
  lose(node: NodeId): void {
    for (const name of this.store) if (name.startsWith(node)) this.store.delete(name)
    this.recovery.nodeGone(node)
  }
}

function nameOf({ value }: ObjectRecord): string {
  assert.ok(value?.kind === 'stored')
  return value.name
}

describe('whether a value is lost', () => {
  const { recovery } = new Owner()
  const [name, other] = [`${there}01`, `${here}02`]

  test('when no node has it, and when those who could have it do not answer and are gone', () => {
    const unreachable = new UnreachableError('no answer', { details: { name } })
    assert.equal(recovery.lossIn(new ObjectLostError('nowhere', { name }), name), 'nowhere')
    assert.equal(recovery.lossIn(unreachable, name), undefined)
    recovery.nodeGone(there)
    assert.equal(recovery.lossIn(unreachable, name), 'no answer')
    assert.equal(recovery.lossIn(new UnreachableError('', { details: { name: other } }), other), undefined)
  })

  test('not for errors about something else', () => {
    assert.equal(recovery.lossIn(new ObjectLostError('nowhere', { name: other }), name), undefined)
    assert.equal(recovery.lossIn(new ObjectStoreFullError('full', { name }), name), undefined)
    assert.equal(recovery.lossIn(new Error('nowhere'), name), undefined)
    assert.equal(recovery.lossIn(new ObjectUnavailableError('EMFILE', { name }), name), undefined)
  })
})

describe('a lost result', () => {
  test('has no value while its task runs again, once for all who report it', async () => {
    const the = new Owner()
    const [record] = the.made(there) as [ObjectRecord]
    const name = nameOf(record)
    the.lose(there)
    const checks = await Promise.all([1, 2, 3].map(() => the.recovery.check(record, name)))
    assert.deepEqual(checks, [undefined, undefined, undefined])
    assert.equal(the.recovery.lost(record, name, 'as another says'), undefined)
    assert.deepEqual([the.submitted.length, the.probes, record.value], [1, 1, undefined])
    assert.deepEqual(the.freed, [name])
    const again = storedValue(the.stored(here))
    the.end(the.submitted[0] as TaskRecord, [again])
    assert.equal(record.value, again)
    assert.deepEqual(the.recovery.counters, { recovered: 1, failed: 0 })
    // Those who still have the old name are told that there is another one.
    assert.equal(await the.recovery.check(record, name), undefined)
    assert.deepEqual([the.submitted.length, the.probes], [1, 1])
  })

  test('is not made again when the owner can read it', async () => {
    const the = new Owner()
    const [record] = the.made(there) as [ObjectRecord]
    assert.equal(await the.recovery.check(record, nameOf(record)), undefined)
    assert.equal(record.value?.kind, 'stored')
    assert.equal(the.submitted.length, 0)
  })

  test('stays as it is when it cannot be made again, and says why', () => {
    const the = new Owner()
    const [record] = the.made(there, 1, { retriesLeft: 0 }) as [ObjectRecord]
    const error = the.recovery.lost(record, nameOf(record), 'the node is gone')
    assert.match(
      error?.message ?? '',
      /is lost: the node is gone; task t1, which made it, has no retries left after 1 try/,
    )
    assert.deepEqual(
      { ...error?.details },
      { name: nameOf(record), bytes: 1e6, object: record.id, reason: 'the node is gone', tries: 1 },
    )
    assert.equal(record.value?.kind, 'stored')
  })

  test('has the error of its task when that fails the next time', () => {
    const the = new Owner()
    const [record] = the.made(there) as [ObjectRecord]
    the.recovery.lost(record, nameOf(record), 'gone')
    const own = inlineValue(8, true)
    const argument = new ObjectRecord(owner, 999)
    argument.settle(own)
    the.results.failWith(the.submitted[0] as TaskRecord, new ObjectRef(argument))
    assert.equal(record.value, own)
    assert.deepEqual(the.recovery.counters, { recovered: 0, failed: 1 })
  })

  test('is lost for good when its task cannot run, but not by the end of the program', () => {
    for (const [why, isLoss] of [
      [new ShoalError('INFEASIBLE', 'no node could ever run it'), true],
      [new NodeDiedError('the node is gone'), false],
    ] as const) {
      const the = new Owner()
      const [record] = the.made(there) as [ObjectRecord]
      the.recovery.lost(record, nameOf(record), 'gone')
      the.results.fail(the.submitted[0] as TaskRecord, why)
      assert.equal(record.value?.isError, true)
      const [error] = the.errors as [Error]
      if (isLoss)
        assert.match(error.message, /is lost: gone; running its task again has failed: no node could ever run it/)
      assert.equal(isLoss ? error.cause : error, why)
    }
  })

  test('takes the other results of its task along, if they were on a node that is gone', () => {
    const the = new Owner()
    const { task, records } = the.task(3)
    the.end(
      task,
      [there, there, here].map((node) => storedValue(the.stored(node))),
    )
    const [first, second, third] = records as [ObjectRecord, ObjectRecord, ObjectRecord]
    const old = records.map(nameOf)
    the.lose(there)
    the.recovery.lost(first, nameOf(first), 'gone')
    const values = records.map(() => storedValue(the.stored(here)))
    the.end(the.submitted[0] as TaskRecord, values)
    assert.deepEqual([first.value, second.value, nameOf(third)], [values[0], values[1], old[2]])
    assert.deepEqual(new Set(the.freed), new Set([old[0], old[1], values[2]?.name]))
    assert.deepEqual(the.recovery.counters, { recovered: 2, failed: 0 })
  })
})

describe('a result that is lost on a node that is there', () => {
  test('takes along what else of its task lies there, once: read one after the other they cost one retry', () => {
    const the = new Owner()
    const { task, records } = the.task(4)
    the.end(
      task,
      [there, there, there, here].map((node) => storedValue(the.stored(node))),
    )
    const old = records.map(nameOf)
    const damage = (names: readonly string[]): void => {
      for (const name of names) the.store.delete(name)
    }
    const read = (): void => {
      for (const record of records) {
        const name = nameOf(record)
        if (the.store.has(name)) continue
        assert.equal(the.recovery.lost(record, name, 'its file is gone'), undefined)
        const values = records.map(() => storedValue(the.stored(there)))
        the.end(the.submitted.at(-1) as TaskRecord, values)
      }
    }
    // One of the three is still to be read; it makes no difference.
    damage(old.slice(0, 2))
    read()
    assert.deepEqual([the.submitted.length, task.retriesLeft], [1, 2])
    assert.equal(nameOf(records[3] as ObjectRecord), old[3])
    const second = records.map(nameOf)
    // The old ones, and the new one that is not needed.
    assert.equal(the.freed.length, 4)
    assert.ok(old.slice(0, 3).every((name) => the.freed.includes(name) && !second.includes(name)))
    assert.deepEqual(the.recovery.counters, { recovered: 3, failed: 0 })
    // What was suspected then is not when another one is lost elsewhere.
    damage([old[3] as string])
    read()
    assert.deepEqual(records.slice(0, 3).map(nameOf), second.slice(0, 3))
    assert.notEqual(nameOf(records[3] as ObjectRecord), old[3])
    assert.deepEqual([the.submitted.length, the.freed.length], [2, 8])
  })

  test('is the first of the items of its stream that lie there to come again, in one run', () => {
    const the = new Owner()
    const { task, items } = the.stream(here, 1)
    for (const index of [1, 2, 3]) the.item(task, index, there)
    the.item(task, 4, here)
    items.push(...Array.from({ length: 4 }, () => task.stream?.take() as ObjectRecord))
    the.endStream(task)
    const old = items.map(nameOf)
    const third = items[2] as ObjectRecord
    the.recovery.lost(third, nameOf(third), 'its file is gone')
    assert.deepEqual(the.partOf(task), { skip: 1, limit: 4 })
    const again = [1, 2, 3].map((index) => the.item(task, index, there))
    the.endStream(task)
    assert.deepEqual(items.map(nameOf), [old[0], ...again, old[4]])
    assert.deepEqual(new Set(the.freed), new Set(old.slice(1, 4)))
    assert.deepEqual([the.submitted.length, task.retriesLeft], [1, 2])
  })
})

describe('arguments of a task that runs again', () => {
  function chain(the: Owner): { argument: ObjectRecord; result: ObjectRecord } {
    const [argument] = the.made(there) as [ObjectRecord]
    const resolvedRefs = [{ position: 0, ref: new ObjectRef(argument) }]
    const [result] = the.made(there, 1, { resolvedRefs }) as [ObjectRecord]
    return { argument, result }
  }

  test('are made again, too, before the task gets a worker', async () => {
    const the = new Owner()
    const { argument, result } = chain(the)
    the.lose(there)
    the.recovery.lost(result, nameOf(result), 'gone')
    assert.equal(argument.value, undefined)
    await new Promise(setImmediate)
    assert.deepEqual(
      the.submitted.map(({ name }) => name),
      ['t2', 't1'],
    )
  })

  test('stay as they are when there is another copy', async () => {
    const the = new Owner()
    const { argument, result } = chain(the)
    const name = nameOf(argument)
    the.lose(there)
    the.store.add(name)
    the.recovery.lost(result, nameOf(result), 'gone')
    await new Promise(setImmediate)
    assert.equal(nameOf(argument), name)
    assert.equal(the.submitted.length, 1)
  })

  test('that a run of their own task has brought meanwhile are not made once more', async () => {
    const the = new Owner()
    const { task, records } = the.task(2)
    the.end(
      task,
      records.map(() => storedValue(the.stored(there))),
    )
    const [argument, sibling] = records as [ObjectRecord, ObjectRecord]
    const resolvedRefs = [{ position: 0, ref: new ObjectRef(argument) }]
    const [result] = the.made(there, 1, { resolvedRefs }) as [ObjectRecord]
    the.lose(there)
    the.recovery.lost(sibling, nameOf(sibling), 'gone')
    the.recovery.lost(result, nameOf(result), 'gone')
    the.end(
      the.submitted[0] as TaskRecord,
      records.map(() => storedValue(the.stored(here))),
    )
    await new Promise(setImmediate)
    assert.ok(nameOf(argument).startsWith(here))
    assert.deepEqual(
      the.submitted.map(({ name }) => name),
      ['t1', 't3'],
    )
  })
})

describe('what was put', () => {
  test('cannot be made again: the error says what to do', () => {
    const the = new Owner()
    const record = new ObjectRecord(owner, 1)
    record.lineage = 'put'
    record.settle(storedValue(the.stored(there)))
    const error = the.recovery.lost(record, nameOf(record), 'its file is damaged')
    assert.match(
      error?.message ?? '',
      /its file is damaged; it was put by process a+ on node 2+, and no task can make it again: let a task make what must not be lost/,
    )
  })
})

describe('lost items of a stream', () => {
  test('come of one more run, from the first that is lost to the last', () => {
    const the = new Owner()
    const { task, items } = the.stream(here, 1)
    for (const index of [1, 2, 3]) the.item(task, index, there)
    the.item(task, 4, here)
    items.push(...Array.from({ length: 4 }, () => task.stream?.take() as ObjectRecord))
    the.endStream(task)
    const old = items.map(nameOf)
    the.lose(there)
    const third = items[2] as ObjectRecord
    assert.equal(the.recovery.lost(third, nameOf(third), 'gone'), undefined)
    assert.deepEqual(the.submitted, [task])
    assert.deepEqual(the.partOf(task), { skip: 1, limit: 4 })
    const again = [1, 2, 3].map((index) => the.item(task, index, here))
    the.endStream(task)
    assert.deepEqual(items.map(nameOf), [old[0], ...again, old[4]])
    assert.deepEqual(new Set(the.freed), new Set(old.slice(1, 4)))
    assert.deepEqual(the.recovery.counters, { recovered: 3, failed: 0 })
    assert.deepEqual([task.retriesLeft, task.attempt, task.stream?.received], [2, 1, 5])
  })

  test('come of the next try of a task that has not ended', () => {
    const the = new Owner()
    const { task, stream, items } = the.stream(there, 3)
    the.lose(there)
    stream.rewind()
    assert.deepEqual(the.partOf(task), { skip: 0, limit: 0 })
    const second = items[1] as ObjectRecord
    assert.equal(the.recovery.lost(second, nameOf(second), 'gone'), undefined)
    assert.equal(the.submitted.length, 0)
    const again = [0, 1, 2].map((index) => the.item(task, index, here))
    assert.deepEqual(items.map(nameOf), again)
    // And then what is new.
    const next = the.item(task, 3, here)
    assert.equal(nameOf(stream.take() as ObjectRecord), next)
    assert.deepEqual(the.partOf(task), { skip: 4, limit: 0 })
  })

  test('are not sent again when they are kept on several nodes', () => {
    const the = new Owner()
    const { task, stream } = the.stream(there, 3, 2)
    the.lose(there)
    stream.rewind()
    assert.deepEqual(the.partOf(task), { skip: 3, limit: 0 })
  })

  test('are not waited for when their task is past them, and are lost for good when it ends without them', () => {
    const the = new Owner()
    const { task, stream, items } = the.stream(here, 3)
    const [first, second] = items as [ObjectRecord, ObjectRecord]
    assert.match(
      the.recovery.lost(first, nameOf(first), 'its file is damaged')?.message ?? '',
      /task t1, which made it, is past it already: once that has ended it can run again/,
    )
    assert.equal(first.value?.kind, 'stored')
    // The next try skips what seems to be there.
    stream.rewind()
    assert.deepEqual(the.partOf(task), { skip: 3, limit: 0 })
    assert.match(the.recovery.lost(first, nameOf(first), 'its file is damaged')?.message ?? '', /is past it already/)
    stream.rewind()
    the.recovery.lost(second, nameOf(second), 'its file is damaged')
    the.endStream(task)
    assert.equal(second.value?.isError, true)
    assert.match((the.errors[0] as Error).message, /is lost: its file is damaged; .*has ended without this item/)
  })

  test('whose task fails have its error', () => {
    const the = new Owner()
    const { task, items } = the.stream(there, 2)
    the.endStream(task)
    const [first] = items as [ObjectRecord]
    the.recovery.lost(first, nameOf(first), 'gone')
    the.results.fail(task, new ShoalError('WORKER_CRASHED', 'its worker has died'))
    assert.equal(first.value?.isError, true)
    assert.match((the.errors[0] as Error).message, /running its task again has failed: its worker has died/)
  })

  test('come of another run when theirs was past them, or is not to go so far', () => {
    const the = new Owner()
    const { task, items } = the.stream(there, 4)
    the.endStream(task)
    const [first, second, third, fourth] = items as [ObjectRecord, ObjectRecord, ObjectRecord, ObjectRecord]
    for (const record of [first, fourth]) {
      record.lose()
      record.settle(storedValue(the.stored(here)))
    }
    the.lose(there)
    the.recovery.lost(second, nameOf(second), 'gone')
    assert.deepEqual(the.partOf(task), { skip: 1, limit: 3 })
    const again = [the.item(task, 1, here)]
    for (const record of [first, fourth]) {
      assert.equal(the.recovery.lost(record, nameOf(record), 'its file is damaged'), undefined)
    }
    again.push(the.item(task, 2, here))
    the.endStream(task)
    assert.deepEqual([second, third].map(nameOf), again)
    assert.equal(the.submitted.length, 2)
    assert.deepEqual(the.partOf(task), { skip: 0, limit: 4 })
    // The others that lie there are suspected, too.
    const last = [0, 1, 2, 3].map((index) => the.item(task, index, here))
    the.endStream(task)
    assert.deepEqual(items.map(nameOf), last)
    assert.ok(again.every((name) => the.freed.includes(name)))
    assert.deepEqual([the.submitted.length, task.retriesLeft], [2, 1])
  })

  test('nobody needs are not made again, and not kept for what was made of others', () => {
    const the = new Owner()
    const { task, items } = the.stream(there, 2)
    the.endStream(task)
    const argument = new ObjectRef(items[0] as ObjectRecord)
    const resolvedRefs = [{ position: 0, ref: argument }]
    const [result] = the.made(there, 1, { resolvedRefs }) as [ObjectRecord]
    the.lose(there)
    the.recovery.lost(result, nameOf(result), 'gone')
    assert.equal(the.submitted[0]?.resolvedRefs[0]?.ref, argument)
  })
})
