import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StartOrder } from '../../../sdk/worker/start-order.ts'

/** Lets calls begin when the test says that they have their arguments. */
class Calls {
  readonly begun: string[] = []
  readonly order = new StartOrder()
  readonly #arguments = new Map<string, PromiseWithResolvers<boolean>>()

  begin(name: string): void {
    const caller = name.slice(0, 1)
    const { before, taken } = this.order.turn(caller)
    const ready = Promise.withResolvers<boolean>()
    this.#arguments.set(name, ready)
    void ready.promise.then(async (areThere) => {
      if (areThere) await before
      if (areThere) this.begun.push(name)
      taken()
    })
  }

  /** The arguments of these are there, or cannot be had. */
  async ready(names: string[], areThere = true): Promise<string[]> {
    for (const name of names) this.#arguments.get(name)?.resolve(areThere)
    await new Promise(setImmediate)
    return this.begun.splice(0)
  }
}

describe('calls of one caller', () => {
  test('begin in their order, and those of others meanwhile', async () => {
    const calls = new Calls()
    for (const name of ['a1', 'a2', 'b1', 'a3']) calls.begin(name)
    assert.deepEqual(await calls.ready(['a3', 'a2', 'b1']), ['b1'])
    assert.deepEqual([calls.order.isAhead('a'), calls.order.isAhead('b')], [true, false])
    assert.deepEqual(await calls.ready(['a1']), ['a1', 'a2', 'a3'])
    assert.equal(calls.order.isAhead('a'), false)
  })

  test('do not wait for one that cannot begin, but for those before it', async () => {
    const calls = new Calls()
    for (const name of ['a1', 'a2', 'a3']) calls.begin(name)
    assert.deepEqual(await calls.ready(['a2'], false), [])
    calls.begin('a4')
    assert.deepEqual(await calls.ready(['a3', 'a4']), [])
    assert.deepEqual(await calls.ready(['a1']), ['a1', 'a3', 'a4'])
    assert.equal(calls.order.isAhead('a'), false)
  })
})
