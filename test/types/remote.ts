/** What the compiler says of `remote()` and its calls. Checked by `tsc`, never run. */
import { getActor, put, remote, type ObjectRef, type ObjectRefStream, type RemoteFunction } from '../../sdk/index.ts'
import { sameType } from './same-type.ts'

const square = remote((x: number) => x * x)
const shout = remote(async (text: string, times?: number) => text.toUpperCase().repeat(times ?? 1))

// The types of arguments and result are those of the function.
const nine = square.remote(3)
sameType<typeof nine, ObjectRef<number>>()
const loud = shout.remote('a')
sameType<typeof loud, ObjectRef<string>>()
shout.remote('a', 2)
sameType<typeof square, RemoteFunction<[x: number], number>>()

// @ts-expect-error a wrong argument
square.remote('3')
// @ts-expect-error too few
square.remote()
// @ts-expect-error too many
square.remote(1, 2)
// @ts-expect-error a remote function is not called like a plain one
square(3)
// @ts-expect-error remote() takes a function
remote(3)

// A ref stands for its value, as an argument of its own.
square.remote(square.remote(3))
shout.remote(put('a'), square.remote(2))
// @ts-expect-error the value of the ref has the wrong type
square.remote(put('3'))

// A ref inside another value stays a ref.
const sumAll = remote(async (refs: ObjectRef<number>[]) => refs.length)
sumAll.remote([square.remote(1), put(2)])
// @ts-expect-error values where refs are expected
sumAll.remote([1, 2])

// Rest parameters, tuples, unions and literal types are kept.
const join = remote((separator: ',' | ';', ...parts: string[]) => parts.join(separator))
join.remote(',', 'a', put('b'))
// @ts-expect-error not one of the literals
join.remote('-', 'a')
const parse = remote((text: string): { ok: true; value: number } | { ok: false } =>
  Number.isNaN(Number(text)) ? { ok: false } : { ok: true, value: Number(text) },
)
const parsed = parse.remote('1')
sameType<typeof parsed, ObjectRef<{ ok: true; value: number } | { ok: false }>>()

// Options keep the types, and are checked.
const careful = square.options({ numCpus: 2, maxRetries: 0, name: 'sq' })
const four = careful.remote(2)
sameType<typeof four, ObjectRef<number>>()
remote((x: number) => x, { numGpus: 0.5, resources: { tpu: 1 }, memoryBytes: 2 ** 20, retryExceptions: [TypeError] })
remote((x: number) => x, { runtimeEnv: { envVars: { LEVEL: '3' } }, schedulingStrategy: 'default' })
// @ts-expect-error an unknown option
remote((x: number) => x, { cpus: 2 })
// @ts-expect-error an unknown option
square.options({ cpus: 2 })
// @ts-expect-error a wrong type
square.options({ numCpus: 'two' })
square.options({ schedulingStrategy: 'spread', replicas: 2 })
// @ts-expect-error a wrong type
square.options({ replicas: 'all' })
square.options({ schedulingStrategy: { nodeId: '0123456789abcdef', soft: true } })
square.options({ placementGroup: null, captureChildTasks: false })
// @ts-expect-error a wrong type
square.options({ captureChildTasks: 1 })
square.options({
  schedulingStrategy: { labels: { zone: 'lab1', gpu: { in: ['a100', 'h100'] }, laptop: { exists: false } } },
})
// @ts-expect-error not a strategy
square.options({ schedulingStrategy: 'scatter' })
// @ts-expect-error not a match of a label
square.options({ schedulingStrategy: { labels: { zone: { is: 'lab1' } } } })

// numReturns: an array of results becomes as many refs.
const divide = remote((a: number, b: number): [quotient: number, rest: string] => [a / b, String(a % b)], {
  numReturns: 2,
})
const [quotient, rest] = divide.remote(7, 2)
sameType<typeof quotient, ObjectRef<number>>()
sameType<typeof rest, ObjectRef<string>>()
const [first] = remote((a: number): [number, number] => [a, a])
  .options({ numReturns: 2 })
  .remote(1)
sameType<typeof first, ObjectRef<number>>()
const whole = remote((a: number): [number, number] => [a, a]).remote(1)
sameType<typeof whole, ObjectRef<[number, number]>>()

// Generators stream refs.
const count = remote(function* (to: number) {
  for (let i = 0; i < to; i++) yield i
})
const numbers = count.remote(3)
sameType<typeof numbers, ObjectRefStream<number>>()
const lines = remote(async function* (text: string) {
  yield* text.split('\n')
}).remote('a\nb')
sameType<typeof lines, ObjectRefStream<string>>()
for await (const line of lines) sameType<typeof line, ObjectRef<string>>()
const listed = remote((n: number) => Array.from({ length: n }, String), { numReturns: 'streaming' }).remote(2)
sameType<typeof listed, ObjectRefStream<string>>()
// @ts-expect-error a wrong argument of a generator
count.remote('3')

// A remote function can be an argument and a result.
const applyTwice = remote(async (f: RemoteFunction<[x: number], number>, x: number) => f.remote(f.remote(x)))
const applied = applyTwice.remote(square, 3)
sameType<typeof applied, ObjectRef<ObjectRef<number>>>()

// Functions that return nothing, or never.
const log = remote((text: string) => console.log(text)).remote('a')
sameType<typeof log, ObjectRef<void>>()
const fail = remote((): never => {
  throw new Error('no')
}).remote()
sameType<typeof fail, ObjectRef<never>>()

// An actor that is found by its name has the methods of its class, remote or plain.
class Counting {
  add(k: number): number {
    return k
  }
}
const Counter = remote(Counting)
const counter = Counter.options({ name: 'hits', namespace: 'lab', getIfExists: true }).remote()
const byRemote = await getActor<typeof Counter>('hits', { namespace: 'lab', timeoutMs: 100 })
const byClass = await getActor<typeof Counting>('hits')
sameType<typeof byRemote, typeof counter>()
sameType<typeof byClass, typeof counter>()
const added = byRemote.add.remote(1)
sameType<typeof added, ObjectRef<number>>()
// @ts-expect-error there is no such method
byRemote.sub.remote(1)
// @ts-expect-error not the class of an actor
await getActor<number>('hits')
// @ts-expect-error an unknown option
await getActor('hits', { nameSpace: 'lab' })
