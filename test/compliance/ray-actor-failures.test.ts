/** What Ray's tests say of actors that fail (test_actor_failures.py, test_actor_retry*.py), by their names. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  actorContext,
  ActorDiedError,
  ActorUnavailableError,
  exitActor,
  get,
  InfeasibleError,
  InvalidArgumentError,
  kill,
  remote,
  taskContext,
  TaskError,
  type ActorHandle,
} from '../../sdk/index.ts'
import { attachToNode } from '../support/driver.ts'
import { allGone } from '../support/processes.ts'

class OutOfRangeError extends Error {
  readonly limit: number
  constructor(message: string, limit: number, options?: ErrorOptions) {
    super(message, options)
    this.name = 'OutOfRangeError'
    this.limit = limit
  }
}

/** Does what it is told, however bad. */
class Victim {
  calls = 0
  value(): number {
    return ++this.calls
  }
  pid(): number {
    return process.pid
  }
  restarts(): number {
    return actorContext().restarts
  }
  die(): void {
    process.kill(process.pid, 'SIGKILL')
  }
  exitProcess(code: number): void {
    process.exit(code)
  }
  leave(): void {
    exitActor()
  }
  throwIt(what: 'own' | 'text'): never {
    if (what === 'text') throw 'no error'
    throw new OutOfRangeError('too far', 7, { cause: new TypeError('the cause') })
  }
  async throwLater(): Promise<never> {
    await new Promise(setImmediate)
    throw new OutOfRangeError('later', 8)
  }
  /** Dies the first time that it is called, whichever process it is. */
  async dieOnce(): Promise<number> {
    if (actorContext().restarts === 0) this.die()
    return actorContext().restarts
  }
}
const RemoteVictim = remote(Victim, { maxConcurrency: 1 })

/** The error of a call that must fail. */
async function errorOf(call: Promise<unknown>): Promise<Error & { details?: Record<string, unknown> }> {
  try {
    await call
  } catch (error) {
    return error as Error
  }
  throw new assert.AssertionError({ message: 'it did not fail' })
}

describe('actors that fail, as Ray has them', () => {
  attachToNode({ numCpus: 4 })

  describe('errors of methods', () => {
    test('test_actor_exception: the user’s own class, fields and cause; the actor goes on', async () => {
      const victim = RemoteVictim.remote()
      const error = await errorOf(get(victim.throwIt.remote('own')))
      assert.ok(error instanceof OutOfRangeError)
      assert.deepEqual([error.message, error.limit], ['too far', 7])
      assert.ok(error.cause instanceof TypeError)
      assert.ok((await errorOf(get(victim.throwLater.remote()))) instanceof OutOfRangeError)
      assert.equal(await get(victim.value.remote()), 1)
    })

    test('test_actor_throws_what_is_no_error', async () => {
      const error = await errorOf(get(RemoteVictim.remote().throwIt.remote('text')))
      assert.ok(error instanceof TaskError)
      assert.equal(error.cause, 'no error')
    })

    test('test_retry_exceptions: of the classes named, up to maxTaskRetries', async () => {
      const Flaky = remote(
        class {
          tries = 0
          pass(): number {
            this.tries += 1
            if (this.tries < 3) throw new OutOfRangeError('again', this.tries)
            return taskContext().attempt
          }
        },
        { maxTaskRetries: 2 },
      )
      const retried = Flaky.remote().pass.options({ retryExceptions: [OutOfRangeError] })
      assert.equal(await get(retried.remote()), 2)
      const others = Flaky.remote().pass.options({ retryExceptions: [TypeError] })
      assert.ok((await errorOf(get(others.remote()))) instanceof OutOfRangeError)
      const once = Flaky.remote().pass.options({ retryExceptions: true, maxTaskRetries: 1 })
      assert.ok((await errorOf(get(once.remote()))) instanceof OutOfRangeError)
    })
  })

  describe('errors of constructors', () => {
    test('test_actor_init_error_propagated: as ActorDiedError of each call, with the error as its cause', async () => {
      const Failing = remote(
        class {
          constructor() {
            throw new OutOfRangeError('not made', 1, { cause: new TypeError('deeper') })
          }
          value(): number {
            return 1
          }
        },
      )
      const actor = Failing.remote()
      const early = [actor.value.remote(), actor.value.remote()]
      for (const ref of early) {
        const error = await errorOf(get(ref))
        assert.ok(error instanceof ActorDiedError)
        assert.match(error.message, /constructor has failed: not made/)
        assert.ok(error.cause instanceof OutOfRangeError && error.cause.cause instanceof TypeError)
      }
      assert.ok((await errorOf(get(actor.value.remote()))) instanceof ActorDiedError)
    })

    test('test_actor_init_error_propagated_async: of onStart, too', async () => {
      const Failing = remote(
        class {
          async onStart(): Promise<void> {
            await new Promise(setImmediate)
            throw new RangeError('not started')
          }
          async value(): Promise<number> {
            return 1
          }
        },
      )
      const error = await errorOf(get(Failing.remote().value.remote()))
      assert.ok(error instanceof ActorDiedError && error.cause instanceof RangeError)
    })

    test('test_actor_owner_dies_before_dependency_ready: an argument that is an error is the actor’s end', async () => {
      const failed = remote((): number => {
        throw new RangeError('no argument')
      }).remote()
      const Holder = remote(
        class {
          readonly value: number
          constructor(value: number) {
            this.value = value
          }
          get(): number {
            return this.value
          }
        },
      )
      const error = await errorOf(get(Holder.remote(failed).get.remote()))
      assert.ok(error instanceof ActorDiedError && error.cause instanceof RangeError)
    })

    test('test_kill_actor_while_constructor_hangs', async () => {
      const Hanging = remote(
        class {
          constructor() {
            for (;;);
          }
          value(): number {
            return 1
          }
        },
      )
      const actor = Hanging.remote()
      const call = actor.value.remote()
      kill(actor)
      assert.ok((await errorOf(get(call))) instanceof ActorDiedError)
      const other = Hanging.remote()
      const otherCall = other.value.remote()
      await new Promise((resolve) => setTimeout(resolve, 300))
      kill(other)
      assert.ok((await errorOf(get(otherCall))) instanceof ActorDiedError)
    })

    test('test_infeasible_actor: its calls say what was asked and what there is', async () => {
      const error = await errorOf(get(RemoteVictim.options({ numCpus: 64 }).remote().value.remote()))
      assert.ok(error instanceof ActorDiedError && error.cause instanceof InfeasibleError, error.message)
    })
  })

  describe('ends', () => {
    test('test_kill: at once, and again is nothing; calls after it fail', async () => {
      const victim = RemoteVictim.remote()
      const pid = await get(victim.pid.remote())
      kill(victim)
      kill(victim)
      const error = await errorOf(get(victim.value.remote()))
      assert.ok(error instanceof ActorDiedError && !error.retryable)
      assert.match(error.message, /killed by kill\(\)/)
      await allGone([pid], 20_000)
    })

    test('test_kill_actor_immediately_after_creation', async () => {
      const victim = RemoteVictim.remote()
      const call = victim.value.remote()
      kill(victim)
      assert.ok((await errorOf(get(call))) instanceof ActorDiedError)
    })

    test('test_kill_by_another_process', async () => {
      const victim = RemoteVictim.remote()
      await get(victim.value.remote())
      const killIt = remote((given: ActorHandle<typeof Victim>) => kill(given))
      await get(killIt.remote(victim))
      while (!((await errorOf(callOf(victim))) instanceof ActorDiedError));
    })

    test('test_exit_actor: what runs ends, what is queued fails, hooks run, and it is not started again', async () => {
      const { mkdtempSync, readFileSync, rmSync } = await import('node:fs')
      const { tmpdir } = await import('node:os')
      const path = await import('node:path')
      const directory = mkdtempSync(path.join(tmpdir(), 'shoal-test-'))
      const file = path.join(directory, 'hooks')
      const Leaver = remote(
        class {
          pid(): number {
            return process.pid
          }
          leave(): void {
            exitActor()
          }
          async onExit(): Promise<void> {
            const { appendFileSync } = await import('node:fs')
            appendFileSync(file, 'onExit ')
          }
          async [Symbol.asyncDispose](): Promise<void> {
            const { appendFileSync } = await import('node:fs')
            appendFileSync(file, 'asyncDispose')
          }
        },
        { maxRestarts: 5, maxConcurrency: 1 },
      )
      const leaver = Leaver.remote()
      const pid = await get(leaver.pid.remote())
      const refs = [leaver.leave.remote(), leaver.pid.remote(), leaver.pid.remote()]
      for (const ref of refs) {
        const error = await errorOf(get([ref]))
        assert.ok(error instanceof ActorDiedError, error.message)
        assert.match(error.message, /exitActor/)
      }
      await allGone([pid], 20_000)
      assert.equal(readFileSync(file, 'utf8'), 'onExit asyncDispose')
      rmSync(directory, { recursive: true })
    })

    test('test_exit_actor_async_actor: calls that run go on to their end', async () => {
      const Leaver = remote(
        class {
          #opened = Promise.withResolvers<void>()
          async pass(): Promise<string> {
            await this.#opened.promise
            return 'passed'
          }
          async leave(): Promise<void> {
            this.#opened.resolve()
            exitActor()
          }
        },
      )
      const leaver = Leaver.remote()
      const passing = leaver.pass.remote()
      assert.ok((await errorOf(get(leaver.leave.remote()))) instanceof ActorDiedError)
      assert.equal(await get(passing), 'passed')
    })

    test('test_exit_actor_outside: is for actors only', () => {
      assert.throws(() => exitActor(), /for code that runs in an actor/)
      assert.throws(() => actorContext(), /for code that runs in an actor/)
    })

    test('test_process_exit_in_method: the error has the exit code, the node and the process', async () => {
      const victim = RemoteVictim.remote()
      const pid = await get(victim.pid.remote())
      const [running, queued] = [victim.exitProcess.remote(3), victim.value.remote()]
      const error = await errorOf(get(running))
      assert.ok(error instanceof ActorDiedError)
      assert.match(error.message, /exit code 3/)
      assert.equal(error.details['workerPid'], pid)
      assert.ok((await errorOf(get(queued))) instanceof ActorDiedError)
    })

    test('test_kill_wrong_arguments', () => {
      assert.throws(() => kill(7 as never), InvalidArgumentError)
      assert.throws(() => kill(RemoteVictim.remote(), { restart: true } as never), /no option "restart"/)
    })
  })

  describe('restarts', () => {
    test('test_actor_restart: with a fresh state, as often as is allowed', async () => {
      const victim = RemoteVictim.options({ maxRestarts: 1 }).remote()
      assert.deepEqual(await get([victim.value.remote(), victim.value.remote()]), [1, 2])
      assert.ok((await errorOf(get(victim.die.remote()))) instanceof ActorUnavailableError)
      // A call that is made now waits for the restart.
      assert.equal(await get(victim.value.remote()), 1)
      assert.equal(await get(victim.restarts.remote()), 1)
      assert.ok((await errorOf(get(victim.die.remote()))) instanceof ActorDiedError)
      assert.ok((await errorOf(get(victim.value.remote()))) instanceof ActorDiedError)
    })

    test('test_actor_restart_with_retry: maxTaskRetries makes the calls again, in their order', async () => {
      const victim = RemoteVictim.options({ maxRestarts: 1, maxTaskRetries: 1 }).remote()
      const refs = [victim.dieOnce.remote(), victim.value.remote(), victim.value.remote()]
      assert.deepEqual(await get(refs), [1, 1, 2])
    })

    test('test_actor_failure_per_type: a call that may have run is ActorUnavailable, retryable; one of a dead actor is not', async () => {
      const victim = RemoteVictim.options({ maxRestarts: 1 }).remote()
      const error = await errorOf(get(victim.die.remote()))
      assert.ok(error instanceof ActorUnavailableError && error.retryable)
      assert.match(error.message, /whether it has run is not known/)
      kill(victim)
      assert.ok((await errorOf(get(victim.value.remote()))) instanceof ActorDiedError)
    })

    test('test_kill_no_restart_false: kill({ noRestart: false }) starts it again', async () => {
      const victim = RemoteVictim.options({ maxRestarts: 1 }).remote()
      const before = await get(victim.pid.remote())
      kill(victim, { noRestart: false })
      const after = await get(victim.pid.remote())
      assert.notEqual(after, before)
      assert.equal(await get(victim.restarts.remote()), 1)
    })

    test('test_recreate_child_actor: the constructor runs again, and knows of it', async () => {
      const Aware = remote(
        class {
          readonly was = actorContext().wasRestarted
          wasRestarted(): boolean {
            return this.was
          }
          die(): void {
            process.kill(process.pid, 'SIGKILL')
          }
        },
        { maxRestarts: -1 },
      )
      const aware = Aware.remote()
      assert.equal(await get(aware.wasRestarted.remote()), false)
      await errorOf(get(aware.die.remote()))
      assert.equal(await get(aware.wasRestarted.remote()), true)
    })

    test('test_caller_task_reconstruction: a task that is tried again calls the same actor', async () => {
      const victim = RemoteVictim.remote()
      const call = remote(async (given: ActorHandle<typeof Victim>) => {
        const value = await get(given.value.remote())
        if (taskContext().attempt === 0) process.kill(process.pid, 'SIGKILL')
        return value
      })
      assert.equal(await get(call.remote(victim)), 2)
    })

    test('test_actor_dies_with_its_owner: one that a worker made ends with it', async () => {
      const makeAndDie = remote(
        async () => {
          const made = RemoteVictim.remote()
          return [process.pid, await get(made.pid.remote()), made] as const
        },
        { maxRetries: 0 },
      )
      const [owner, pid, made] = await get(makeAndDie.remote())
      process.kill(owner, 'SIGKILL')
      await allGone([owner, pid], 20_000)
      assert.ok((await errorOf(get(made.value.remote()))) instanceof ActorDiedError)
    })
  })
})

/** A call that may be made of an actor that is about to be dead. */
async function callOf(victim: ActorHandle<typeof Victim>): Promise<unknown> {
  await get(victim.value.remote())
  throw new Error('it is alive')
}
