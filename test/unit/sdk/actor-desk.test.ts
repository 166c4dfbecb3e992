import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ActorDiedError, PoolEmptyError, TaskCancelledError } from '../../../protocols/errors.ts'
import type { ObjectRef } from '../../../sdk/objects/object-ref.ts'
import { ActorDesk } from '../../../sdk/pools/actor-desk.ts'

interface Actor {
  readonly name: string
}

/** A desk whose calls end when the test says so. A ref is the name of the call. */
class Office {
  readonly calls: string[] = []
  readonly cancelled: string[] = []
  readonly dead = new Set<Actor>()
  /** Of calls that go on when they are cancelled: when they end. */
  readonly over = new Map<string, PromiseWithResolvers<void>>()
  readonly #ends = new Map<string, PromiseWithResolvers<unknown>>()
  readonly desk: ActorDesk<Actor>
  /** What keeps the program from ending. */
  held = 0

  constructor(retries = 0) {
    this.desk = new ActorDesk<Actor>({
      get: <R>(ref: ObjectRef<R>) => this.#end(ref as unknown as string).promise as Promise<R>,
      cancel: (ref) => this.cancelled.push(ref as unknown as string),
      over: (_, ref) => this.over.get(ref as unknown as string)?.promise ?? Promise.resolve(),
      waiting: async (promise) => {
        this.held += 1
        await promise
        this.held -= 1
      },
      isDead: (actor) => this.dead.has(actor),
      isDeathOf: ({ name }, { details }) => details['actor'] === name,
      retriesOf: () => retries,
    })
  }

  #end(name: string): PromiseWithResolvers<unknown> {
    let end = this.#ends.get(name)
    if (end === undefined) this.#ends.set(name, (end = Promise.withResolvers()))
    return end
  }

  submit(item: string): { result: Promise<unknown>; cancel(): void } {
    const started = this.desk.submit(({ name }) => {
      this.calls.push(`${name}:${item}`)
      return `${name}:${item}` as unknown as ObjectRef<unknown>
    })
    started.result.catch(() => undefined)
    return started
  }

  async finish(call: string): Promise<void> {
    this.#end(call).resolve(call)
    await new Promise(setImmediate)
  }

  async fail(call: string, error: unknown): Promise<void> {
    this.#end(call).reject(error)
    await new Promise(setImmediate)
  }
}

const a = { name: 'a' }
const b = { name: 'b' }
const death = (actor: string): ActorDiedError => new ActorDiedError('it is dead', { details: { actor } })

describe('ActorDesk', () => {
  test('each actor has one call at a time, and gets the next that waits', async () => {
    const office = new Office()
    office.desk.push(a)
    office.desk.push(b)
    const results = ['1', '2', '3'].map((item) => office.submit(item).result)
    assert.deepEqual(office.calls, ['a:1', 'b:2'])
    assert.equal(office.desk.hasFree, false)
    await office.finish('b:2')
    assert.deepEqual(office.calls, ['a:1', 'b:2', 'b:3'])
    await office.finish('a:1')
    await office.finish('b:3')
    assert.deepEqual(await Promise.all(results), ['a:1', 'b:2', 'b:3'])
    assert.equal(office.desk.hasFree, true)
  })

  test('an error of a call is its own; the actor goes on', async () => {
    const office = new Office()
    office.desk.push(a)
    const [first, second] = [office.submit('1'), office.submit('2')]
    await office.fail('a:1', new RangeError('no'))
    await assert.rejects(first.result, /no/)
    await office.finish('a:2')
    assert.equal(await second.result, 'a:2')
  })

  test('the death of another actor, that a call tells of, is no death of this one', async () => {
    const office = new Office()
    office.desk.push(a)
    const { result } = office.submit('1')
    await office.fail('a:1', death('elsewhere'))
    await assert.rejects(result, ActorDiedError)
    assert.equal(office.desk.size, 1)
  })

  test('an actor that dies is left out; its call fails when it may not be made again', async () => {
    const office = new Office()
    office.desk.push(a)
    office.desk.push(b)
    const results = ['1', '2', '3'].map((item) => office.submit(item).result)
    await office.fail('a:1', death('a'))
    await assert.rejects(results[0] as Promise<unknown>, ActorDiedError)
    await office.finish('b:2')
    await office.finish('b:3')
    assert.deepEqual(await Promise.all(results.slice(1)), ['b:2', 'b:3'])
    assert.equal(office.desk.size, 1)
  })

  test('else another one gets it, before what waits, as often as is allowed', async () => {
    const office = new Office(1)
    office.desk.push(a)
    office.desk.push(b)
    const [first] = ['1', '2', '3'].map((item) => office.submit(item).result)
    await office.fail('a:1', death('a'))
    await office.finish('b:2')
    assert.deepEqual(office.calls, ['a:1', 'b:2', 'b:1'])
    await office.fail('b:1', death('b'))
    await assert.rejects(first as Promise<unknown>, ActorDiedError)
  })

  test('one that is known to be dead gets nothing', async () => {
    const office = new Office()
    office.desk.push(a)
    office.desk.push(b)
    office.dead.add(a)
    office.submit('1')
    assert.deepEqual(office.calls, ['b:1'])
    const empty = new Office()
    await assert.rejects(empty.submit('1').result, /none was put into it/)
    empty.dead.add(a)
    empty.desk.push(a)
    await assert.rejects(empty.submit('1').result, /all are dead, or were taken out/)
  })

  test('when none is left, what waits fails, with the last death as the cause', async () => {
    const office = new Office()
    office.desk.push(a)
    const results = ['1', '2'].map((item) => office.submit(item).result)
    await office.fail('a:1', death('a'))
    await assert.rejects(results[0] as Promise<unknown>, ActorDiedError)
    await assert.rejects(results[1] as Promise<unknown>, (error: Error) => {
      assert.ok(error instanceof PoolEmptyError && error.cause instanceof ActorDiedError)
      return true
    })
    await assert.rejects(office.submit('3').result, PoolEmptyError)
    office.desk.push(b)
    office.submit('4')
    assert.deepEqual(office.calls, ['a:1', 'b:4'])
  })

  test('what waits waits for actors that are not ready, too', async () => {
    const office = new Office()
    const ready = Promise.withResolvers<void>()
    void office.desk.expect(a, ready.promise)
    void office.desk.expect(b, Promise.reject(death('b')))
    const { result } = office.submit('1')
    assert.equal(office.desk.size, 2)
    await new Promise(setImmediate)
    assert.equal(office.desk.size, 1)
    ready.resolve()
    await new Promise(setImmediate)
    await office.finish('a:1')
    assert.equal(await result, 'a:1')
  })

  test('a call that is cancelled never runs when it waits, and is cancelled when it runs', async () => {
    const office = new Office()
    office.desk.push(a)
    const [first, second] = [office.submit('1'), office.submit('2')]
    second.cancel()
    await assert.rejects(second.result, { code: 'TASK_CANCELLED' })
    first.cancel()
    assert.deepEqual(office.cancelled, ['a:1'])
    await office.finish('a:1')
    assert.deepEqual(office.calls, ['a:1'])
  })

  test('an actor whose call was cancelled gets nothing until that has ended', async () => {
    const office = new Office()
    office.desk.push(a)
    office.desk.push(b)
    const first = office.submit('1')
    const end = Promise.withResolvers<void>()
    office.over.set('a:1', end)
    first.cancel()
    await office.fail('a:1', new TaskCancelledError('it was cancelled'))
    await assert.rejects(first.result, TaskCancelledError)
    assert.deepEqual([office.desk.size, office.desk.has(a), office.desk.hasFree], [2, true, true])
    // Nobody waits for its end.
    await office.desk.idle()
    office.submit('2')
    office.submit('3')
    assert.deepEqual(office.calls, ['a:1', 'b:2'])
    end.resolve()
    await new Promise(setImmediate)
    assert.deepEqual(office.calls, ['a:1', 'b:2', 'a:3'])
  })

  test('what waits for the end of a cancelled call keeps the program from ending', async () => {
    const office = new Office()
    office.desk.push(a)
    const first = office.submit('1')
    const end = Promise.withResolvers<void>()
    office.over.set('a:1', end)
    first.cancel()
    await office.fail('a:1', new TaskCancelledError('it was cancelled'))
    assert.equal(office.held, 0)
    const [second, third] = [office.submit('2'), office.submit('3')]
    assert.equal(office.held, 1)
    second.cancel()
    third.cancel()
    await new Promise(setImmediate)
    assert.equal(office.held, 0)
    office.submit('4')
    assert.equal(office.held, 1)
    end.resolve()
    await new Promise(setImmediate)
    assert.deepEqual([office.calls, office.held], [['a:1', 'a:4'], 0])
  })

  test('idle() resolves when all is done; close() fails what waits', async () => {
    const office = new Office()
    office.desk.push(a)
    const [first, second] = [office.submit('1'), office.submit('2')]
    let isIdle = false
    const idle = office.desk.idle().then(() => (isIdle = true))
    await office.finish('a:1')
    assert.equal(isIdle, false)
    await office.finish('a:2')
    await idle
    const [third, fourth] = [office.submit('3'), office.submit('4')]
    office.desk.close(new Error('closed'))
    await assert.rejects(fourth.result, /closed/)
    await office.fail('a:3', death('a'))
    await assert.rejects(third.result, /closed/)
    assert.deepEqual(await Promise.all([first.result, second.result]), ['a:1', 'a:2'])
  })

  test('popIdle() gives one that does nothing', () => {
    const office = new Office()
    office.desk.push(a)
    office.submit('1')
    assert.equal(office.desk.popIdle(), undefined)
    office.desk.push(b)
    assert.equal(office.desk.popIdle(), b)
    assert.equal(office.desk.has(b), false)
  })
})
