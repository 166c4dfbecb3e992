/** Calls of an actor one at a time, which leave the node out: what holds for all calls holds for them. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import {
  ActorDiedError,
  cancel,
  exitActor,
  get,
  kill,
  put,
  remote,
  taskContext,
  TaskCancelledError,
  type ActorHandle,
  type ObjectRef,
} from '../../sdk/index.ts'
import { currentRuntime } from '../../sdk/runtime/current-runtime.ts'
import { attachToNode } from '../support/driver.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { FakeClient } from '../support/fake-client.ts'
import { seededRandom } from '../support/seeded-random.ts'

class Log {
  readonly #entries: number[] = []
  add(entry: number): number {
    this.#entries.push(entry)
    return entry
  }
  addNamed(entry: { number: number; ref: ObjectRef<string> }): number {
    return this.add(entry.number)
  }
  putOf(value: string): ObjectRef<string>[] {
    return [put(value)]
  }
  bytes(count: number): Uint8Array {
    return new Uint8Array(count).fill(7)
  }
  entries(): number[] {
    return this.#entries
  }
  pid(): number {
    return process.pid
  }
}
const RemoteLog = remote(Log)

class Waiter {
  #go = Promise.withResolvers<void>()
  async waitFor(answer: number): Promise<number> {
    await this.#go.promise
    return answer
  }
  async open({ ref }: { ref?: ObjectRef<string> } = {}): Promise<string | undefined> {
    this.#go.resolve()
    return ref === undefined ? undefined : get(ref)
  }
  async *openAll(): AsyncGenerator<number> {
    this.#go.resolve()
    yield 1
  }
  async end(): Promise<void> {
    this.#go.resolve()
    exitActor()
  }
  async untilCancelled(): Promise<string> {
    const { signal } = taskContext()
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve('cancelled')))
  }
  async number(): Promise<number> {
    return 1
  }
}

/** Calls it until its calls go over a line. */
async function warm(call: () => ObjectRef<unknown>): Promise<void> {
  for (let i = 0; i < 100; i++) await get(call())
}

interface RelayStatus {
  counters: { framesRelayed: number }
}

describe('calls that leave the node out', () => {
  attachToNode({ numCpus: 4 })

  const framesRelayed = async (): Promise<number> => {
    const client = await FakeClient.attach(currentRuntime().connection.socketPath, { role: 'command' })
    client.send('statusGet', { requestId: 1 })
    const { status } = await client.next('statusReply')
    client.socket.destroy()
    return (status as RelayStatus).counters.framesRelayed
  }

  test('calls one at a time do not go through the node, and leave no file', async () => {
    const log = RemoteLog.remote()
    await warm(() => log.add.remote(0))
    const before = await framesRelayed()
    for (let i = 1; i <= 500; i++) assert.equal(await get(log.add.remote(i)), i)
    const relayed = (await framesRelayed()) - before
    assert.ok(relayed < 100, `${relayed} frames have gone through the node`)
    const files = readdirSync(currentRuntime().connection.welcome.codeDirectory)
    assert.deepEqual(
      files.filter((name) => name.startsWith('c-')),
      [],
    )
  })

  test('calls of one caller run in their order, whatever they bring along and however many are under way', async () => {
    const random = seededRandom(5)
    const log = RemoteLog.remote()
    const ref = put('named')
    const under: ObjectRef<number>[] = []
    for (let i = 0; i < 3000; i++) {
      under.push(random() < 0.1 ? log.addNamed.remote({ number: i, ref }) : log.add.remote(i))
      // Long times one at a time, others with many at a time.
      if (i % 600 < 300 || random() < 0.02) await get(under.splice(0))
    }
    await get(under)
    assert.deepEqual(
      await get(log.entries.remote()),
      Array.from({ length: 3000 }, (_, i) => i),
    )
  })

  test('… also when many run at a time, and some bring large values along', async () => {
    const random = seededRandom(11)
    const log = remote(
      class {
        readonly #entries: number[] = []
        async add(entry: number, _with?: Uint8Array): Promise<number> {
          this.#entries.push(entry)
          await new Promise(setImmediate)
          return entry
        }
        async entries(): Promise<number[]> {
          return this.#entries
        }
      },
    ).remote()
    await warm(() => log.add.remote(0))
    const large = put(new Uint8Array(300_000))
    const under: ObjectRef<number>[] = []
    for (let i = 1; i <= 400; i++) {
      const dice = random()
      if (dice < 0.1) under.push(log.add.remote(i, new Uint8Array(200_000)))
      else under.push(dice < 0.3 ? log.add.remote(i, large) : log.add.remote(i))
      if (i % 100 < 50 && random() < 0.3) await get(under.splice(0))
    }
    await get(under)
    const entries = await get(log.entries.remote())
    assert.deepEqual(
      entries.slice(100),
      Array.from({ length: 400 }, (_, i) => i + 1),
    )
  })

  test('refs, large values and errors come back as ever', async () => {
    const log = RemoteLog.remote()
    await warm(() => log.add.remote(0))
    for (let i = 0; i < 50; i++) {
      const [ref] = await get(log.putOf.remote(`value ${i}`))
      assert.equal(await get(ref as ObjectRef<string>), `value ${i}`)
      const bytes = await get(log.bytes.remote(300_000))
      assert.equal(bytes[299_999], 7)
      assert.equal(await get(log.add.remote(i)), i)
    }
    const missing = log as unknown as ActorHandle<new () => { nothing(): number }>
    await assert.rejects(async () => get(missing.nothing.remote()), { code: 'INVALID_ARGUMENT' })
  })

  test('an actor that calls another one, and a task that does, have lines of their own', async () => {
    const callMany = remote(async (log: ActorHandle<typeof Log>, from: number) => {
      for (let i = 0; i < 200; i++) await get(log.add.remote(from + i))
      return get(log.pid.remote())
    })
    const log = RemoteLog.remote()
    await warm(() => log.add.remote(-1))
    const pid = await get(log.pid.remote())
    assert.deepEqual(await get([1000, 2000].map((from) => callMany.remote(log, from))), [pid, pid])
    const entries = await get(log.entries.remote())
    for (const from of [1000, 2000]) {
      const own = entries.filter((entry) => entry >= from && entry < from + 200)
      assert.deepEqual(
        own,
        Array.from({ length: 200 }, (_, i) => from + i),
      )
    }
  })

  test('a call that waits for a later one gets it, whatever that brings along', async () => {
    const openers: ((waiter: ActorHandle<typeof Waiter>) => unknown)[] = [
      (waiter) => get(waiter.open.remote()),
      (waiter) => get(waiter.open.remote({ ref: put('held') })),
      (waiter) => waiter.openAll.remote(),
    ]
    for (const open of openers) {
      const waiter = remote(Waiter).remote()
      await warm(() => waiter.number.remote())
      const waiting = [waiter.waitFor.remote(1), waiter.waitFor.remote(2)]
      await get(waiter.number.remote())
      const opening = open(waiter)
      assert.deepEqual(await get(waiting), [1, 2])
      assert.equal(await get(waiter.number.remote()), 1)
      await opening
    }
  })

  test('two handles of one program lead to one actor: no call of either is lost, and none waits for the other', async () => {
    const options = { name: 'shared log', getIfExists: true } as const
    const [one, two] = [RemoteLog.options(options).remote(), RemoteLog.options(options).remote()] as const
    await warm(() => one.add.remote(0))
    await warm(() => two.add.remote(0))
    const random = seededRandom(7)
    const ref = put('named')
    for (let round = 0; round < 200; round++) {
      const calls = Array.from({ length: 1 + Math.floor(random() * 5) }, () => {
        const log = random() < 0.5 ? one : two
        return random() < 0.3 ? log.addNamed.remote({ number: round, ref }) : log.add.remote(round)
      })
      const [first] = calls
      if (random() < 0.1 && first !== undefined) {
        cancel(first)
        await assert.rejects(get(first), TaskCancelledError)
        calls.shift()
      }
      assert.deepEqual(
        await get(calls),
        calls.map(() => round),
      )
    }
  })

  test('the result of a call that prints comes through the node, behind what it has printed', async () => {
    class Speaker {
      say(text: string): void {
        console.log(text)
      }
    }
    const speaker = remote(Speaker).remote()
    await warm(() => speaker.say.remote('warm'))
    const before = await framesRelayed()
    for (let i = 0; i < 200; i++) await get(speaker.say.remote(`line ${i}`))
    const relayed = (await framesRelayed()) - before
    assert.ok(relayed >= 200, `${relayed} frames have gone through the node`)
  })

  test('a call that is cancelled hears of it, and the actor goes on', async () => {
    const waiter = remote(Waiter).remote()
    await warm(() => waiter.number.remote())
    const waiting = waiter.untilCancelled.remote()
    await get(waiter.number.remote())
    cancel(waiting)
    await assert.rejects(get(waiting), TaskCancelledError)
    assert.equal(await get(waiter.number.remote()), 1)
  })

  test('an actor that ends itself finishes what runs, and every result arrives', async () => {
    for (let round = 0; round < 10; round++) {
      const waiter = remote(Waiter).remote()
      await warm(() => waiter.number.remote())
      const waiting = Array.from({ length: 300 }, (_, i) => waiter.waitFor.remote(i))
      const end = waiter.end.remote()
      assert.deepEqual(
        await get(waiting),
        Array.from({ length: 300 }, (_, i) => i),
      )
      await assert.rejects(get(end), ActorDiedError)
      await assert.rejects(get(waiter.number.remote()), ActorDiedError)
    }
  })

  test('a worker that is killed in the middle: an error for what may have run, or its results by another try', async () => {
    const mortal = RemoteLog.remote()
    await warm(() => mortal.add.remote(0))
    const pid = await get(mortal.pid.remote())
    const under = Array.from({ length: 100 }, (_, i) => mortal.add.remote(i))
    process.kill(pid, 'SIGKILL')
    for (const each of under) {
      await get(each).catch((error: Error) => assert.ok(error instanceof ActorDiedError, error.stack))
    }
    await assert.rejects(get(mortal.add.remote(1)), ActorDiedError)

    const lasting = RemoteLog.options({ maxRestarts: 3, maxTaskRetries: -1 }).remote()
    for (let round = 0; round < 3; round++) {
      await warm(() => lasting.add.remote(0))
      const victim = await get(lasting.pid.remote())
      const calls = Array.from({ length: 100 }, (_, i) => lasting.add.remote(i))
      process.kill(victim, 'SIGKILL')
      assert.deepEqual(
        await get(calls),
        Array.from({ length: 100 }, (_, i) => i),
      )
      assert.notEqual(await get(lasting.pid.remote()), victim)
    }
    kill(lasting)
  })

  test('what was answered before the worker’s death is not lost, however late it is read', async () => {
    class Dying {
      number(n: number): number {
        return n
      }
      answerAndDie(): string {
        setImmediate(() => process.kill(process.pid, 'SIGKILL'))
        return 'answered'
      }
    }
    for (let round = 0; round < 5; round++) {
      const dying = remote(Dying).remote()
      await warm(() => dying.number.remote(0))
      const answer = dying.answerAndDie.remote()
      await new Promise(setImmediate)
      // The news of its death are here as well when this process comes to read.
      const untilMs = performance.now() + 200
      while (performance.now() < untilMs);
      assert.equal(await get(answer), 'answered')
      await assert.rejects(get(dying.number.remote(1)), ActorDiedError)
    }
  })

  test('handles that come and go take their lines along, and no call of theirs is lost', async () => {
    class Client {
      async callSome(log: ActorHandle<typeof Log>, count: number): Promise<number> {
        let sum = 0
        for (let i = 0; i < count; i++) sum += await get(log.add.remote(1))
        return sum
      }
    }
    const logs = [RemoteLog.remote(), RemoteLog.remote()] as const
    const client = remote(Client).remote()
    for (let round = 0; round < 40; round++) {
      const log = logs[round % 2] as ActorHandle<typeof Log>
      assert.equal(await get(client.callSome.remote(log, 60)), 60)
    }
  })
})

describe('calls over lines, and the end of the program', () => {
  const source = `
    import { init, shutdown, remote, get } from 'SDK'
    import { readFileSync, writeFileSync } from 'node:fs'
    await init({ embedded: true, logToDriver: false })
    class Log {
      #entries = 0
      #file
      constructor(file: string) { this.#file = file }
      add(_: string) { return ++this.#entries }
      onExit() { process.getBuiltinModule('node:fs').writeFileSync(this.#file, String(this.#entries)) }
    }
    const file = process.cwd() + '/entries'
    const log = remote(Log).remote(file)
    for (let i = 0; i < 100; i++) await get(log.add.remote(''))
    const refs = Array.from({ length: 1500 }, () => log.add.remote('x'.repeat(2000)))
    await shutdown()
    console.log(refs.length, readFileSync(file, 'utf8'))`

  test('what was called before shutdown() runs before the actor ends', async () => {
    await using program = new DriverProgram(source)
    const { stdout, stderr, code } = await program.ended()
    assert.deepEqual([stdout, code], ['1500 1600\n', 0], stderr)
  })
})
