/** What the compiler says of `put`, `get`, `wait`, `cancel` and `init`. Checked by `tsc`, never run. */
import {
  cancel,
  get,
  init,
  put,
  release,
  remote,
  shutdown,
  wait,
  type ObjectRef,
  type ObjectRefStream,
  type ShoalContext,
} from '../../sdk/index.ts'
import { sameType } from './same-type.ts'

const context = await init({ numCpus: 2, resources: { tpu: 1 }, logToDriver: false })
sameType<typeof context, ShoalContext>()
// @ts-expect-error an unknown option
await init({ cpus: 2 })

const square = remote((x: number) => x * x)
const name = remote((x: number) => `n${x}`)

const data = put(new Float64Array(3))
sameType<typeof data, ObjectRef<Float64Array<ArrayBuffer>>>()
const kept = put('x', { replicas: 2 })
sameType<typeof kept, ObjectRef<string>>()
// @ts-expect-error a number
put('x', { replicas: 'two' })
// @ts-expect-error an unknown option
put('x', { copies: 2 })
const record = put({ a: 1, b: ['x'] })
sameType<typeof record, ObjectRef<{ a: number; b: string[] }>>()
const released = release(await get(data))

sameType<typeof released, boolean>()

// get: of one, of an array, of a tuple.
const one = await get(square.remote(2))
sameType<typeof one, number>()
const many = await get([1, 2].map((x) => square.remote(x)))
sameType<typeof many, number[]>()
const [n, text] = await get([square.remote(1), name.remote(1)])
sameType<typeof n, number>()
sameType<typeof text, string>()
const readonlyRefs: readonly ObjectRef<string>[] = [name.remote(1)]
const texts = await get(readonlyRefs)
sameType<typeof texts, string[]>()
const limited = await get(square.remote(1), { timeoutMs: 500, signal: AbortSignal.timeout(100) })
sameType<typeof limited, number>()
// @ts-expect-error a value is not a ref
await get(3)
// @ts-expect-error an array of values
await get([1, 2])
// @ts-expect-error an unknown option
await get(square.remote(1), { timeout: 500 })

// wait: the refs keep their type.
const { ready, pending } = await wait([square.remote(1), square.remote(2)], { count: 1, timeoutMs: 1000 })
sameType<typeof ready, ObjectRef<number>[]>()
sameType<typeof pending, ObjectRef<number>[]>()
await wait([square.remote(1)], { fetchLocal: false })
// @ts-expect-error a flag
await wait([square.remote(1)], { fetchLocal: 'no' })
// @ts-expect-error one ref is no array of refs
await wait(square.remote(1))
// @ts-expect-error an unknown option
await wait([square.remote(1)], { numReturns: 1 })

cancel(square.remote(1))
cancel(data, { force: true, recursive: false })
// @ts-expect-error a value is not a ref
cancel(3)

// Refs of different values are different types, both ways.
declare const numberRef: ObjectRef<number>
declare const unionRef: ObjectRef<number | string>
export const wider: ObjectRef<number | string> = numberRef
// @ts-expect-error a string may be in there
export const narrower: ObjectRef<number> = unionRef

// A stream gives refs, and is not a ref itself.
declare const stream: ObjectRefStream<number>
for await (const item of stream) sameType<typeof item, ObjectRef<number>>()
// @ts-expect-error get() is for refs: iterate over the stream
await get(stream)

await using scoped = await init()
sameType<typeof scoped, ShoalContext>()
await shutdown()
