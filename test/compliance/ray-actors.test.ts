/** What Ray's tests of actors say that actors do (test_actor*.py, test_asyncio.py, test_concurrency_group.py), by their names. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  ActorDiedError,
  actorContext,
  cancel,
  get,
  InvalidArgumentError,
  kill,
  NotCloneableError,
  PendingCallsLimitError,
  put,
  remote,
  TaskCancelledError,
  taskContext,
  wait,
  type ActorHandle,
  type ObjectRef,
} from '../../sdk/index.ts'
import { attachToNode } from '../support/driver.ts'
import { allGone } from '../support/processes.ts'

class Counter {
  n = 0
  increment(by = 1): number {
    return (this.n += by)
  }
  pid(): number {
    return process.pid
  }
}
const RemoteCounter = remote(Counter)

class Base {
  static made = 0
  protected readonly base = 10
  whoAmI(): string {
    return `${this.constructor.name} of base`
  }
  inherited(): number {
    return this.base
  }
}

class Derived extends Base {
  #secret = 5
  static #count = 3
  override whoAmI(): string {
    return `derived, ${super.whoAmI()}`
  }
  #twice(): number {
    return 2 * this.#secret
  }
  secret(): number {
    return this.#twice()
  }
  get size(): number {
    return 99
  }
  statics(): number[] {
    Derived.made += 1
    return [Derived.made, Derived.#count, this.size]
  }
}

/** Waits in its methods until the test opens it. */
class Gate {
  waiting = 0
  most = 0
  #opened = Promise.withResolvers<void>()
  async pass(): Promise<number> {
    this.waiting += 1
    this.most = Math.max(this.most, this.waiting)
    await this.#opened.promise
    this.waiting -= 1
    return this.most
  }
  async isWaiting(): Promise<number> {
    return this.waiting
  }
  async open(): Promise<void> {
    this.#opened.resolve()
  }
}
const RemoteGate = remote(Gate)

describe('actors, as Ray has them', () => {
  attachToNode({ numCpus: 4, numGpus: 2 })

  describe('test_actor', () => {
    test('test_keyword_args, test_variable_number_of_args: defaults, options and rest parameters', async () => {
      const Args = remote(
        class {
          readonly total: number
          constructor(start: number, rest = 2) {
            this.total = start + rest
          }
          join(first: string, { separator = '-' }: { separator?: string } = {}, ...more: string[]): string {
            return [first, ...more].join(separator) + this.total
          }
        },
      )
      const actor = Args.remote(1)
      assert.deepEqual(await get([actor.join.remote('a'), actor.join.remote('a', { separator: '+' }, 'b', 'c')]), [
        'a3',
        'a+b+c3',
      ])
    })

    test('test_no_args, test_no_constructor, test_return_none', async () => {
      const Bare = remote(
        class {
          nothing(): void {}
          none(): null {
            return null
          }
        },
      )
      const actor = Bare.remote()
      assert.deepEqual(await get([actor.nothing.remote(), actor.none.remote()]), [undefined, null])
    })

    test('test_actor_state: calls of one caller, in their order', async () => {
      const counter = RemoteCounter.remote()
      const values = await get(Array.from({ length: 500 }, () => counter.increment.remote()))
      assert.deepEqual(
        values,
        Array.from({ length: 500 }, (_, i) => i + 1),
      )
    })

    test('test_multiple_actors: each has its own state and process', async () => {
      const counters = Array.from({ length: 3 }, () => RemoteCounter.remote())
      const sums = counters.map((counter, i) => {
        for (let n = 0; n < i; n++) counter.increment.remote()
        return counter.increment.remote()
      })
      assert.deepEqual(await get(sums), [1, 2, 3])
      const pids = await get(counters.map((counter) => counter.pid.remote()))
      assert.equal(new Set(pids).size, 3)
      assert.ok(!pids.includes(process.pid))
    })

    test('test_inherit_actor_from_class, test_actor_inheritance: inherited, overridden and private', async () => {
      const actor = remote(Derived).remote()
      assert.deepEqual(await get([actor.whoAmI.remote(), actor.inherited.remote(), actor.secret.remote()]), [
        'derived, Derived of base',
        10,
        10,
      ])
    })

    test('test_actor_class_attributes, test_actor_static_attributes: statics are those of its process', async () => {
      const actor = remote(Derived).remote()
      assert.deepEqual(await get([actor.statics.remote(), actor.statics.remote()]), [
        [1, 3, 99],
        [2, 3, 99],
      ])
      assert.equal(Derived.made, 0)
    })

    test('test_actor_class_name: also of a class without a name', async () => {
      const Nameless = remote(
        class {
          me(): string {
            return actorContext().className
          }
        },
      )
      const actor = Nameless.remote()
      assert.equal(await get(actor.me.remote()), 'Nameless')
      assert.match(inspect(actor), /Nameless/)
    })

    test('test_multiple_return_values, test_options_num_returns', async () => {
      const Divider = remote(
        class {
          divide(a: number, b: number): [number, number] {
            return [Math.floor(a / b), a % b]
          }
        },
      )
      const divider = Divider.remote()
      const [quotient, rest] = divider.divide.options({ numReturns: 2 }).remote(17, 5)
      assert.deepEqual(await get([quotient, rest]), [3, 2])
    })

    test('test_options_name: of single calls', async () => {
      const Named = remote(
        class {
          name(): string {
            return taskContext().taskName
          }
        },
      )
      const actor = Named.remote()
      assert.deepEqual(await get([actor.name.remote(), actor.name.options({ name: 'another' }).remote()]), [
        'Named.name',
        'another',
      ])
    })

    test('test_random_id_generation: ids differ', async () => {
      const Id = remote(
        class {
          id(): string {
            return actorContext().actorId
          }
        },
      )
      const ids = await get([Id.remote().id.remote(), Id.remote().id.remote()])
      assert.notEqual(ids[0], ids[1])
    })

    test('test_actor_method_call_directly, test_unknown_method: errors at the call that name what there is', () => {
      const counter = RemoteCounter.remote()
      assert.throws(() => (counter.increment as unknown as () => void)(), TypeError)
      const wrong = counter as unknown as { decrement: { remote(): void } }
      assert.throws(
        () => wrong.decrement.remote(),
        (error: Error) => {
          assert.ok(error instanceof InvalidArgumentError)
          assert.match(error.message, /no method decrement; it has increment, pid/)
          return true
        },
      )
    })

    test('methods called then, options and remote are methods like any other; toString is the handle’s own', async () => {
      const Odd = remote(
        class {
          // oxlint-disable-next-line no-thenable -- that is what is tested
          then(x: number): number {
            return x
          }
          options(): string {
            return 'options'
          }
          remote(): string {
            return 'remote'
          }
          toString(): string {
            return 'odd'
          }
        },
      )
      const actor = Odd.remote()
      assert.equal(await Promise.resolve(actor), actor)
      assert.deepEqual(await get([actor.then.remote(1), actor.options.remote(), actor.remote.remote()]), [
        1,
        'options',
        'remote',
      ])
      assert.equal(typeof String(actor), 'string')
    })

    test('test_define_actor_within_actor, test_use_actor_within_actor: and its children end with it', async () => {
      const Parent = remote(
        class {
          child: ActorHandle<typeof Counter> | undefined
          async start(): Promise<number[]> {
            this.child = RemoteCounter.remote()
            return [process.pid, await get(this.child.pid.remote())]
          }
          async increment(): Promise<number> {
            return get((this.child as ActorHandle<typeof Counter>).increment.remote())
          }
        },
      )
      const parent = Parent.remote()
      const pids = await get(parent.start.remote())
      assert.deepEqual(await get([parent.increment.remote(), parent.increment.remote()]), [1, 2])
      kill(parent)
      await allGone(pids, 20_000)
    })

    test('test_define_actor_within_remote_function, test_use_actor_within_remote_function', async () => {
      const make = remote(async () => {
        const counter = RemoteCounter.remote()
        return get(Array.from({ length: 3 }, () => counter.increment.remote()))
      })
      assert.deepEqual(await get(make.remote()), [1, 2, 3])
      const counter = RemoteCounter.remote()
      const use = remote(async (given: ActorHandle<typeof Counter>) => get(given.increment.remote()))
      assert.deepEqual(await get([use.remote(counter)]), [1])
      const useClosed = remote(async () => get(counter.increment.remote()))
      assert.equal(await get(useClosed.remote()), 2)
    })

    test('test_remote_function_within_actor', async () => {
      const square = remote((x: number) => x * x)
      const Squarer = remote(
        class {
          async square(x: number): Promise<number> {
            return get(square.remote(x))
          }
          submit(x: number): ObjectRef<number>[] {
            return [square.remote(x)]
          }
        },
      )
      const squarer = Squarer.remote()
      assert.equal(await get(squarer.square.remote(3)), 9)
      const [ref] = await get(squarer.submit.remote(4))
      assert.equal(await get(ref as ObjectRef<number>), 16)
    })

    test('test_pickled_actor_handle, test_wrapped_actor_handle: in values, results and other actors’ state', async () => {
      const counter = RemoteCounter.remote()
      const Keeper = remote(
        class {
          kept: { inside: ActorHandle<typeof Counter>[] } | undefined
          keep(value: { inside: ActorHandle<typeof Counter>[] }): void {
            this.kept = value
          }
          async use(): Promise<number> {
            const [inside] = this.kept?.inside ?? []
            return get((inside as ActorHandle<typeof Counter>).increment.remote())
          }
          give(): ActorHandle<typeof Counter>[] {
            return this.kept?.inside ?? []
          }
        },
      )
      const keeper = Keeper.remote()
      await get(keeper.keep.remote({ inside: [counter] }))
      assert.equal(await get(keeper.use.remote()), 1)
      const [back] = await get(keeper.give.remote())
      assert.equal(await get((back as ActorHandle<typeof Counter>).increment.remote()), 2)
      assert.equal(await get(counter.increment.remote()), 3)
    })

    test('test_actor_pass_by_ref: a ref stands for its value, in the constructor, too; a nested one stays a ref', async () => {
      const Holder = remote(
        class {
          readonly value: number
          constructor(value: number) {
            this.value = value
          }
          add(x: number): number {
            return this.value + x
          }
          async sum(refs: ObjectRef<number>[]): Promise<number> {
            return (await get(refs)).reduce((total, x) => total + x, this.value)
          }
        },
      )
      const later = remote((x: number) => x)
      const holder = Holder.remote(later.remote(10))
      assert.equal(await get(holder.add.remote(later.remote(5))), 15)
      assert.equal(await get(holder.sum.remote([put(1), later.remote(2)])), 13)
      const failed = remote((): number => {
        throw new RangeError('no argument')
      }).remote()
      await assert.rejects(get(holder.add.remote(failed)), RangeError)
    })

    test('test_actor_large_objects: arguments, results and state over 100 KiB', async () => {
      const Store = remote(
        class {
          kept = new Uint8Array()
          keep(bytes: Uint8Array<ArrayBuffer>): number {
            this.kept = bytes
            return bytes.length
          }
          give(): Uint8Array {
            return this.kept
          }
        },
      )
      const store = Store.remote()
      const bytes = new Uint8Array(1_000_000).fill(7)
      assert.equal(await get(store.keep.remote(bytes)), 1_000_000)
      assert.deepEqual(await get(store.give.remote()), bytes)
      const shared = put(new Uint8Array(600_000).fill(3))
      assert.equal(await get(store.keep.remote(shared)), 600_000)
      assert.equal((await get(store.give.remote()))[599_999], 3)
    })

    test('test_caching_actors: two remote classes of one class are two classes of actors', async () => {
      const [one, other] = [remote(Counter).remote(), remote(Counter, { maxRestarts: 1 }).remote()]
      assert.deepEqual(await get([one.increment.remote(), other.increment.remote()]), [1, 1])
    })

    test('test_actor_gpus: it has its devices for as long as it lives', async () => {
      const Gpu = remote(
        class {
          devices(): [readonly number[], string | undefined] {
            return [actorContext().gpuIds, process.env['CUDA_VISIBLE_DEVICES']]
          }
        },
        { numGpus: 1 },
      )
      const [first, second] = [Gpu.remote(), Gpu.remote()]
      const found = await get([first.devices.remote(), second.devices.remote()])
      assert.deepEqual(
        found.map(([ids]) => ids.length),
        [1, 1],
      )
      assert.deepEqual(new Set(found.map(([, visible]) => visible)), new Set(['0', '1']))
      kill(first)
      kill(second)
    })

    test('test_actor_deletion: one that nobody holds ends, with its exit hook, when it has done what it was asked for', async () => {
      const { mkdtempSync, readFileSync, rmSync } = await import('node:fs')
      const { tmpdir } = await import('node:os')
      const path = await import('node:path')
      const directory = mkdtempSync(path.join(tmpdir(), 'shoal-test-'))
      const file = path.join(directory, 'ended')
      const Leaver = remote(
        class {
          pid(): number {
            return process.pid
          }
          async onExit(): Promise<void> {
            const { writeFileSync } = await import('node:fs')
            writeFileSync(file, 'onExit')
          }
        },
      )
      // The handle is gone before its call is answered.
      const pid = await get(Leaver.remote().pid.remote())
      await allGone([pid], 30_000)
      assert.equal(readFileSync(file, 'utf8'), 'onExit')
      rmSync(directory, { recursive: true })
    })

    test('test_actor_method_deletion: a method keeps its actor alive', async () => {
      const { increment } = RemoteCounter.remote()
      assert.deepEqual(await get([increment.remote(), increment.remote()]), [1, 2])
    })

    test('test_ray_wait_on_actor_calls', async () => {
      const gate = RemoteGate.remote()
      const counter = RemoteCounter.remote()
      const refs = [gate.pass.remote(), counter.increment.remote()]
      const { ready, pending } = await wait(refs, { count: 1 })
      assert.deepEqual([ready, pending], [[refs[1]], [refs[0]]])
      kill(gate)
    })

    test('test_not_cloneable_arguments: errors at the call, and the actor goes on', async () => {
      const counter = RemoteCounter.remote()
      assert.throws(() => counter.increment.remote(new WeakMap() as never), NotCloneableError)
      const Giver = remote(
        class {
          give(): unknown {
            return new WeakMap()
          }
        },
      )
      await assert.rejects(get(Giver.remote().give.remote()), NotCloneableError)
      assert.equal(await get(counter.increment.remote()), 1)
    })
  })

  describe('test_asyncio', () => {
    test('test_asyncio_actor: calls interleave where they await', async () => {
      const gate = RemoteGate.remote()
      const passes = Array.from({ length: 100 }, () => gate.pass.remote())
      assert.equal(await get(gate.isWaiting.remote()), 100)
      gate.open.remote()
      assert.deepEqual(new Set(await get(passes)), new Set([100]))
    })

    test('test_asyncio_actor_with_concurrency: maxConcurrency bounds them', async () => {
      const gate = RemoteGate.options({ maxConcurrency: 3 }).remote()
      const passes = [gate.pass.remote(), gate.pass.remote()]
      assert.equal(await get(gate.isWaiting.remote()), 2)
      const third = gate.pass.remote()
      const opened = gate.open.remote()
      assert.equal((await wait([opened], { timeoutMs: 50 })).pending.length, 1)
      for (const ref of passes) cancel(ref)
      cancel(third)
      kill(gate)
    })

    test('test_async_actor_single: with maxConcurrency 1 each runs to its end', async () => {
      const Serial = remote(
        class {
          running = 0
          most = 0
          async step(): Promise<number> {
            this.running += 1
            this.most = Math.max(this.most, this.running)
            await new Promise(setImmediate)
            this.running -= 1
            return this.most
          }
        },
        { maxConcurrency: 1 },
      )
      const serial = Serial.remote()
      assert.deepEqual(new Set(await get(Array.from({ length: 20 }, () => serial.step.remote()))), new Set([1]))
    })

    test('test_async_get: get inside of async methods', async () => {
      const square = remote((x: number) => x * x)
      const Getter = remote(
        class {
          async all(n: number): Promise<number> {
            const values = await get(Array.from({ length: n }, (_, i) => square.remote(i)))
            return values.reduce((a, b) => a + b, 0)
          }
        },
      )
      const getter = Getter.remote()
      assert.deepEqual(await get([getter.all.remote(3), getter.all.remote(4)]), [5, 14])
    })

    test('test_async_task_context: each call has its own', async () => {
      const Context = remote(
        class {
          async name(): Promise<string> {
            await new Promise(setImmediate)
            return taskContext().taskName
          }
        },
      )
      const actor = Context.remote()
      const names = ['a', 'b', 'c'].map((name) => actor.name.options({ name }).remote())
      assert.deepEqual(await get(names), ['a', 'b', 'c'])
    })
  })

  describe('test_concurrency_group', () => {
    const Grouped = remote(Gate, {
      maxConcurrency: 1,
      concurrencyGroups: { watch: { maxConcurrency: 2, methods: ['isWaiting', 'open'] }, other: 1 },
    })

    test('test_concurrency_groups: a group is not held up by the others', async () => {
      const gate = Grouped.remote()
      const passes = [gate.pass.remote(), gate.pass.remote(), gate.pass.options({ concurrencyGroup: 'other' }).remote()]
      while ((await get(gate.isWaiting.remote())) < 2) await new Promise(setImmediate)
      await get(gate.open.remote())
      assert.deepEqual(await get(passes), [2, 2, 2])
    })

    test('test_system_concurrency_group: one that there is not is an error at the call, with those that there are', () => {
      const gate = Grouped.remote()
      assert.throws(
        () => gate.pass.options({ concurrencyGroup: 'io' }),
        /no concurrency group 'io'; it has watch, other/,
      )
      assert.throws(
        () => remote(Gate, { concurrencyGroups: { io: { maxConcurrency: 1, methods: ['close'] } } }),
        /has no method close/,
      )
    })
  })

  describe('test_max_pending_calls', () => {
    test('test_max_pending_calls: one more is an error at the call', async () => {
      const gate = RemoteGate.options({ maxPendingCalls: 2 }).remote()
      const passes = [gate.pass.remote(), gate.pass.remote()]
      assert.throws(
        () => gate.open.remote(),
        (error: Error) => {
          assert.ok(error instanceof PendingCallsLimitError && error.retryable)
          return true
        },
      )
      for (const ref of passes) cancel(ref)
      kill(gate)
    })

    test('cancelled calls that were queued do not count for ever', async () => {
      const Turnstile = remote(
        class {
          #turn = Promise.withResolvers<void>()
          async pass(): Promise<void> {
            await this.#turn.promise
            this.#turn = Promise.withResolvers<void>()
          }
          async turn(): Promise<void> {
            this.#turn.resolve()
          }
          async ping(): Promise<void> {}
        },
        {
          maxPendingCalls: 3,
          maxConcurrency: 1,
          concurrencyGroups: { watch: { maxConcurrency: 1, methods: ['turn', 'ping'] } },
        },
      )
      const turnstile = Turnstile.remote()
      for (let i = 0; i < 5; i++) {
        const [running, queued] = [turnstile.pass.remote(), turnstile.pass.remote()]
        // Answered after the other two have come.
        await get(turnstile.ping.remote())
        cancel(queued)
        await assert.rejects(get(queued), TaskCancelledError)
        await get(turnstile.turn.remote())
        await get(running)
      }
    })
  })

  describe('test_cancel (of actors)', () => {
    test('test_cancel_queued_actor_task: it never runs', async () => {
      const gate = remote(Gate, { maxConcurrency: 1 }).remote()
      const [first, second] = [gate.pass.remote(), gate.pass.remote()]
      cancel(second)
      await assert.rejects(get(second), TaskCancelledError)
      cancel(first)
      await assert.rejects(get(first), TaskCancelledError)
      kill(gate)
    })

    test('test_cancel_actor_task_force: it cannot be; the error names the way out', async () => {
      const gate = remote(Gate, { maxConcurrency: 1 }).remote()
      const [running, queued] = [gate.pass.remote(), gate.pass.remote()]
      for (const ref of [running, queued]) {
        assert.throws(
          () => cancel(ref, { force: true }),
          (error) =>
            error instanceof InvalidArgumentError &&
            /Gate\.pass is a call of an actor.*kill\(actor\)/.test(error.message),
        )
      }
      // It has not been touched.
      cancel(queued)
      await assert.rejects(get(queued), TaskCancelledError)
      kill(gate)
      await assert.rejects(get(running), ActorDiedError)
      cancel(running, { force: true })
    })

    test('test_cancel_running_async_actor_task: it is told by its signal, and the actor goes on', async () => {
      const Patient = remote(
        class {
          seen: string[] = []
          async wait(): Promise<void> {
            const { signal } = taskContext()
            this.seen.push('began')
            await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
            this.seen.push('aborted')
          }
          async log(): Promise<string[]> {
            return this.seen
          }
        },
      )
      const patient = Patient.remote()
      const waiting = patient.wait.remote()
      assert.deepEqual(await get(patient.log.remote()), ['began'])
      cancel(waiting)
      await assert.rejects(get(waiting), TaskCancelledError)
      while ((await get(patient.log.remote())).length < 2) await new Promise(setImmediate)
    })

    test('test_cancel_recursive: what it waits for is cancelled, too', async () => {
      const endless = remote(async () => new Promise<number>(() => undefined), { numCpus: 0 })
      const Waiter = remote(
        class {
          async wait(): Promise<number> {
            return get(endless.remote())
          }
          async alive(): Promise<boolean> {
            return true
          }
        },
      )
      const waiter = Waiter.remote()
      const waiting = waiter.wait.remote()
      await get(waiter.alive.remote())
      cancel(waiting)
      await assert.rejects(get(waiting), TaskCancelledError)
      assert.equal(await get(waiter.alive.remote()), true)
    })
  })
})
