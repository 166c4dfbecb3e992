import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DriverProgram } from '../support/driver-program.ts'

/** A program with a node of its own; gives what it has told. */
async function resultOf(source: string): Promise<unknown> {
  await using driver = new DriverProgram(`
    import { init, shutdown, remote, get, getActor, kill, actorContext, ActorDiedError, ActorNameTakenError, ActorNotFoundError, InvalidArgumentError } from 'SDK'
    class Counting {
      n = 0
      add(k = 1) { return (this.n += k) }
      pid() { return process.pid }
      name() { return actorContext().name }
    }
    const Counter = remote(Counting)
    const errorOf = async (promise: Promise<unknown> | (() => unknown)): Promise<any> => {
      try { await (typeof promise === 'function' ? promise() : promise) } catch (error) { return error }
      return 'none'
    }
    const found = async (name: string, namespace?: string) => {
      try { await getActor(name, { namespace }) ; return true } catch (error) {
        if (error instanceof ActorNotFoundError) return false
        throw error
      }
    }
    const until = async (condition: () => Promise<boolean>) => { while (!(await condition())) await new Promise((r) => setTimeout(r, 20)) }
    const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
    await init({ numCpus: 2 })
    ${source}
    await shutdown()`)
  const { stdout, stderr, code } = await driver.ended()
  assert.equal(code, 0, stderr)
  return JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? 'null') as unknown
}

describe('named actors', { timeout: 60_000 }, () => {
  test('test_named_actor: found by its name, here and in tasks', async () => {
    const result = await resultOf(`
      const counter = Counter.options({ name: 'hits' }).remote()
      await get(counter.add.remote(1))
      const again = await getActor<typeof Counter>('hits')
      const inTask = remote(async () => {
        const mine = await getActor<typeof Counting>('hits')
        return get(mine.add.remote(10))
      })
      tell([await get(again.add.remote(1)), await get(inTask.remote()), await get(counter.add.remote(1)), await get(again.name.remote())])
    `)
    assert.deepEqual(result, [2, 12, 13, 'hits'])
  })

  test('test_named_actor_duplicate: a name that is taken is an error, which names who has it', async () => {
    const result = await resultOf(`
      const first = Counter.options({ name: 'one' }).remote()
      const second = Counter.options({ name: 'one' }).remote()
      const died = await errorOf(get(second.add.remote()))
      const { cause } = died
      tell([died instanceof ActorDiedError, cause instanceof ActorNameTakenError, cause.details.name,
        typeof cause.details.holder, /getIfExists/.test(cause.message), await get(first.add.remote())])
    `)
    assert.deepEqual(result, [true, true, 'one', 'string', true, 1])
  })

  test('test_get_actor_not_found: at once, with the way out', async () => {
    const result = await resultOf(`
      const error = await errorOf(getActor('nobody'))
      const asked = errorOf(getActor('nobody', { timeoutMs: 3e9 }))
      // A timer that fires at once comes before the answer then.
      for (const end = performance.now() + 20; performance.now() < end;);
      const patient = await asked
      const wrong = await errorOf(() => getActor(''))
      const option = await errorOf(() => getActor('x', { nmespace: 'y' } as never))
      tell([error instanceof ActorNotFoundError, /getIfExists/.test(error.message), error.details,
        patient instanceof ActorNotFoundError, wrong instanceof InvalidArgumentError, option instanceof InvalidArgumentError])
    `)
    assert.deepEqual(result, [true, true, { namespace: 'default', name: 'nobody' }, true, true, true])
  })

  test('test_namespace: a name in one namespace is not known in another', async () => {
    const result = await resultOf(`
      const a = Counter.options({ name: 'same', namespace: 'a' }).remote()
      const b = Counter.options({ name: 'same', namespace: 'b' }).remote()
      await get([a.add.remote(1), b.add.remote(2)])
      const [inA, inB] = [await getActor<typeof Counter>('same', { namespace: 'a' }), await getActor<typeof Counter>('same', { namespace: 'b' })]
      tell([await get(inA.add.remote(0)), await get(inB.add.remote(0)), await found('same')])
    `)
    assert.deepEqual(result, [1, 2, false])
  })

  test('test_get_actor_after_killed: the name is free when its actor is dead', async () => {
    const result = await resultOf(`
      const counter = Counter.options({ name: 'short' }).remote()
      await get(counter.add.remote())
      kill(counter)
      const isFound = await found('short')
      const next = Counter.options({ name: 'short' }).remote()
      tell([isFound, await get(next.add.remote(5)), await found('short')])
    `)
    assert.deepEqual(result, [false, 5, true])
  })

  test('a name is free when the constructor has failed, and when no handle is left', async () => {
    const result = await resultOf(`
      const { setFlagsFromString } = await import('node:v8')
      const { runInNewContext } = await import('node:vm')
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const Bad = remote(class Bad { constructor() { throw new Error('no') } hello() { return 1 } })
      const died = await errorOf(get(Bad.options({ name: 'bad' }).remote().hello.remote()))
      const make = () => get(Counter.options({ name: 'let go' }).remote().add.remote())
      const one = await make()
      await until(async () => { collect(); return !(await found('let go')) })
      tell([died.name, died.cause?.message, await found('bad'), one, await found('let go')])
    `)
    assert.deepEqual(result, ['ActorDiedError', 'no', false, 1, false])
  })

  test('a handle from getActor keeps the actor alive', async () => {
    const result = await resultOf(`
      const { setFlagsFromString } = await import('node:v8')
      const { runInNewContext } = await import('node:vm')
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const Keeper = remote(class Keeper {
        counter: any
        async take() { this.counter = await getActor<typeof Counter>('kept'); return true }
        async use() { return get(this.counter.add.remote(1)) }
      })
      const keeper = Keeper.remote()
      const make = async () => {
        const counter = Counter.options({ name: 'kept' }).remote()
        await get(counter.add.remote(1))
        await get(keeper.take.remote())
      }
      await make()
      for (let i = 0; i < 20; i++) { collect(); await new Promise((r) => setTimeout(r, 20)) }
      tell(await get(keeper.use.remote()))
    `)
    assert.equal(result, 2)
  })

  test('test_get_if_exists: gives the actor that is there, with its state', async () => {
    const result = await resultOf(`
      const options = { name: 'shared', getIfExists: true }
      const first = Counter.options(options).remote()
      await get(first.add.remote(1))
      const second = Counter.options(options).remote()
      const pids = [await get(first.pid.remote()), await get(second.pid.remote())]
      const use = remote(async (counter: any) => get(counter.add.remote(10)))
      const sum = await get(use.remote(second))
      kill(second)
      const died = await errorOf(get(first.add.remote(1)))
      const third = Counter.options(options).remote()
      tell([pids[0] === pids[1], sum, died.name, await get(third.add.remote(1)), (await errorOf(get(second.add.remote(1)))).name])
    `)
    assert.deepEqual(result, [true, 11, 'ActorDiedError', 1, 'ActorDiedError'])
  })

  test('of 50 that make one name at a time exactly one wins; with getIfExists all have the same', async () => {
    const result = await resultOf(`
      const makers = remote(async (options: object, count: number) => {
        const made = Array.from({ length: count }, () => Counter.options(options).remote())
        // They are kept until all have been asked.
        const results = await Promise.allSettled(made.map((each) => get(each.pid.remote())))
        return { made, pids: results.map((each) => each.status === 'fulfilled' ? each.value : 0) }
      })
      const all = async (options: object) => (await Promise.all([
        ...[1, 2, 3].map(() => get(makers.remote(options, 10))),
        (async () => {
          const made = Array.from({ length: 20 }, () => Counter.options(options).remote())
          const results = await Promise.allSettled(made.map((each) => get(each.pid.remote())))
          return { made, pids: results.map((each) => each.status === 'fulfilled' ? each.value : 0) }
        })(),
      ]))
      const alone = await all({ name: 'race' })
      const together = await all({ name: 'race 2', getIfExists: true })
      const pids = together.flatMap((each) => each.pids)
      tell([alone.flatMap((each) => each.pids).filter((pid) => pid !== 0).length, pids.length, new Set(pids).size, pids[0]! > 0])
    `)
    assert.deepEqual(result, [1, 50, 1, true])
  })
})

describe('detached actors', { timeout: 60_000 }, () => {
  test('test_detached_actor: live without handles, are started again, and end by kill', async () => {
    const result = await resultOf(`
      const { setFlagsFromString } = await import('node:v8')
      const { runInNewContext } = await import('node:vm')
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      const Fragile = remote(class Fragile {
        n: number
        constructor(n: number) { this.n = n }
        add(k: number) { return (this.n += k) }
        crash() { process.exit(1) }
        restarts() { return actorContext().restarts }
      }, { lifetime: 'detached', maxRestarts: 1 })
      const make = async () => { Fragile.options({ name: 'f' }).remote(10) }
      await make()
      await until(() => found('f'))
      for (let i = 0; i < 5; i++) { collect(); await new Promise((r) => setTimeout(r, 20)) }
      const found1: any = await getActor('f')
      const eleven = await get(found1.add.remote(1))
      const crashed = (await errorOf(get(found1.crash.remote()))).name
      const again = [await get(found1.add.remote(2)), await get(found1.restarts.remote())]
      kill(found1)
      await until(async () => !(await found('f')))
      const dead = await errorOf(get(found1.add.remote(1)))
      tell([eleven, crashed, again, dead.name, /killed/.test(dead.message)])
    `)
    assert.deepEqual(result, [11, 'ActorUnavailableError', [12, 1], 'ActorDiedError', true])
  })

  test('what cannot outlive its program is refused, and errors of constructors are told', async () => {
    const result = await resultOf(`
      const { put } = await import('SDK')
      const Holder = remote(class Holder { x: unknown; constructor(x: unknown) { this.x = x } get() { return this.x } }, { lifetime: 'detached' })
      const inside = await errorOf(() => Holder.remote([put(1)]))
      const handle = await errorOf(() => Holder.remote(Counter.remote()))
      const value = await get(Holder.remote(put('a value')).get.remote())
      const own = put(7)
      const Closing = remote(class Closing { see() { return own } }, { lifetime: 'detached' })
      const closing = await errorOf(get(Closing.remote().see.remote()))
      const Bad = remote(class Bad { constructor() { throw new RangeError('no') } hello() { return 1 } }, { lifetime: 'detached' })
      const bad = await errorOf(get(Bad.remote().hello.remote()))
      const big = await errorOf(() => Holder.remote(new Uint8Array(3 * 1024 * 1024)))
      const where = await errorOf(get(Holder.options({ resources: { moon: 1 } }).remote(1).get.remote()))
      tell([inside.name, handle.name, value, closing.name, closing.cause?.name, bad.name, bad.cause?.name, bad.cause?.message,
        big.name, where.name, where.cause?.name])
    `)
    assert.deepEqual(result, [
      'NotCloneableError',
      'NotCloneableError',
      'a value',
      'ActorDiedError',
      'NotCloneableError',
      'ActorDiedError',
      'RangeError',
      'no',
      'NotCloneableError',
      'ActorDiedError',
      'InfeasibleError',
    ])
  })
})
