/** What the compiler says of actors, and of what is built on them. Checked by `tsc`, never run. */
import {
  ActorPool,
  kill,
  parallelMap,
  parallelMapIterable,
  Pool,
  put,
  Queue,
  remote,
  type ActorHandle,
  type AsyncResult,
  type ObjectRef,
  type ObjectRefStream,
  type RemoteClass,
} from '../../sdk/index.ts'
import { sameType } from './same-type.ts'

class Counter {
  #n: number
  label = 'counter'
  constructor(from: number, step?: number) {
    this.#n = from + (step ?? 0)
  }
  add(k: number): number {
    return (this.#n += k)
  }
  async later(text: string): Promise<string> {
    return text
  }
  *upTo(n: number): Generator<number> {
    for (let i = 0; i < n; i++) yield i
  }
  get now(): number {
    return this.#n
  }
  // oxlint-disable-next-line no-thenable -- a handle of such an actor is none
  then(k: number): number {
    return k
  }
  onStart(): void {}
  onExit(): void {}
  toString(): string {
    return String(this.#n)
  }
}

// The arguments are those of the constructor; a ref stands for its value.
const Remote = remote(Counter, { maxRestarts: 1 })
sameType<typeof Remote, RemoteClass<typeof Counter>>()
const counter = Remote.remote(1)
sameType<typeof counter, ActorHandle<typeof Counter>>()
Remote.options({ maxConcurrency: 4 }).remote(put(1), 2)
// @ts-expect-error too few
Remote.remote()
// @ts-expect-error a wrong argument
Remote.remote('1')
// @ts-expect-error too many
Remote.remote(1, 2, 3)
// @ts-expect-error an unknown option
remote(Counter, { maxRestart: 1 })

// Methods keep their types.
const sum = counter.add.remote(2)
sameType<typeof sum, ObjectRef<number>>()
const later = counter.later.remote(put('a'))
sameType<typeof later, ObjectRef<string>>()
const items = counter.upTo.remote(3)
sameType<typeof items, ObjectRefStream<number>>()
const four = counter.then.remote(4)
sameType<typeof four, ObjectRef<number>>()
const two = counter.add.options({ name: 'plus', maxTaskRetries: -1 }).remote(2)
sameType<typeof two, ObjectRef<number>>()
// @ts-expect-error a wrong argument
counter.add.remote('2')
// @ts-expect-error a method is not called like a plain one
counter.add(2)
// @ts-expect-error a field is no method
counter.label.remote()
// @ts-expect-error nor is a getter
counter.now.remote()
// @ts-expect-error the actor's own process calls this
counter.onExit.remote()
// @ts-expect-error every object has this
counter.toString.remote()
// @ts-expect-error there is no such method
counter.subtract.remote(1)
// @ts-expect-error an unknown option
counter.add.options({ retries: 1 })
kill(counter, { noRestart: false })
// @ts-expect-error no handle
kill(sum)

// Handles are arguments and results.
const useIt = remote((given: ActorHandle<typeof Counter>) => given.add.remote(1))
const used = useIt.remote(counter)
sameType<typeof used, ObjectRef<ObjectRef<number>>>()

// ActorPool: the results are those of the calls.
const pool = new ActorPool([counter])
const sums = pool.map((actor, item, index) => actor.add.remote(item + index), [1, 2])
sameType<typeof sums, AsyncGenerator<number, undefined>>()
const texts = pool.mapUnordered((actor, item: string) => actor.later.remote(item), new Set(['a']))
sameType<typeof texts, AsyncGenerator<string, undefined>>()
// @ts-expect-error the items do not fit
pool.map((actor, item: string) => actor.later.remote(item), [1])
// @ts-expect-error no ref
pool.map((_, item) => item, [1])
const typed: ActorPool<ActorHandle<typeof Counter>, number> = new ActorPool([counter])
typed.submit((actor, item: number) => actor.add.remote(item), 1)
const next = await typed.getNext({ timeoutMs: 1 })
sameType<typeof next, number>()
// @ts-expect-error another type of result
typed.submit((actor, item: string) => actor.later.remote(item), 'a')
const idle = pool.popIdle()
sameType<typeof idle, ActorHandle<typeof Counter> | undefined>()

// Queue: of one type of items.
const queue = new Queue<number>({ maxSize: 2, actorOptions: { numCpus: 1 } })
await queue.put(1, { timeoutMs: 5 })
const taken = await queue.get()
sameType<typeof taken, number>()
const batch = await queue.getBatch(3)
sameType<typeof batch, number[]>()
for await (const item of queue) sameType<typeof item, number>()
// @ts-expect-error a wrong item
await queue.put('1')
// @ts-expect-error an unknown option
new Queue({ size: 1 })
const produce = remote(async (to: Queue<number>) => to.put(1))
produce.remote(queue)
// @ts-expect-error a queue of something else
produce.remote(new Queue<string>())

// Pool: the types of functions, items and results go together.
await using processes = new Pool({ size: 2, initializer: (level: string) => level, initArgs: ['info'] })
const squares = await processes.map((x: number) => x * x, [1, 2])
sameType<typeof squares, number[]>()
const joined = await processes.starmap((a: number, b: string) => a + b, [[1, 'x']])
sameType<typeof joined, string[]>()
const each = processes.imap(async (x: number, index: number) => `${x}${index}`, [1], { chunkSize: 2 })
sameType<typeof each, AsyncGenerator<string>>()
const applied = processes.applyAsync((x: number) => x > 1, 1)
sameType<typeof applied, AsyncResult<boolean>>()
// @ts-expect-error the items do not fit
await processes.map((x: number) => x, ['a'])
// @ts-expect-error a wrong argument
await processes.apply((x: number) => x, 'a')
// @ts-expect-error the arguments of the initializer
new Pool({ initializer: (level: string) => level, initArgs: [1] })

// parallelMap: as p-map, with what is skipped left out of the type.
const mapped = await parallelMap([1, 2], async (x, index) => `${x}${index}`, { concurrency: 2, numCpus: 1 })
sameType<typeof mapped, string[]>()
const even = await parallelMap(new Set([1, 2]), (x) => (x > 1 ? x : parallelMap.skip))
sameType<typeof even, number[]>()
const iterated = parallelMapIterable([Promise.resolve(1)], (x) => x + 1, { backpressure: 3, concurrency: 3 })
sameType<typeof iterated, AsyncGenerator<number, undefined>>()
const ofRefs = await parallelMap([put('a'), 1], (x) => {
  sameType<typeof x, string | number>()
  return x
})
sameType<typeof ofRefs, (string | number)[]>()
// @ts-expect-error an unknown option
await parallelMap([1], (x) => x, { parallel: 2 })
// @ts-expect-error a call of it has one result
await parallelMap([1], (x) => x, { numReturns: 2 })
