import { get, put, remote, type ObjectRef } from '../../sdk/index.ts'
import { payload, sumOf, verify, type Sum } from './payload.ts'

/** A ref and what its value must be. */
export interface Known {
  ref: ObjectRef<Uint8Array>
  sum: Sum
}

/** Refs inside of objects that refs lead to. */
export interface Nest {
  known?: Known
  inner: ObjectRef<Nest>[]
}

/** Workers and nodes are killed on purpose, and often. */
const options = { schedulingStrategy: 'spread', maxRetries: 50 } as const
const keptMax = 4
const keptMs = 4000

/** What the tasks of one worker process leave to those after them. */
const kept: Known[] = []

export const make = remote((seed: number, bytes: number) => payload(seed, bytes), options)

export const makeTwice = make.options({ replicas: 2 })

export const makeOnce = make.options({ replicas: 2, maxRetries: 0 })

export const check = remote((data: Uint8Array, sum: Sum) => {
  verify('an argument', data, sum)
  return true
}, options)

/** Two objects of one task. */
export const halve = remote((data: Uint8Array) => [data.slice(0, data.length >> 1), data.slice(data.length >> 1)], {
  ...options,
  numReturns: 2,
})

/** Reads all that can be reached. Gives the number of values. */
export const walk = remote(async function walkNest(nest: Nest): Promise<number> {
  let count = 0
  if (nest.known !== undefined) {
    verify('a nested value', await get(nest.known.ref), nest.known.sum)
    count += 1
  }
  for (const inner of nest.inner) count += await walkNest(await get(inner))
  return count
}, options)

/** Objects that the worker owns, for as long as it lives. */
export const putThere = remote((seed: number, sizes: number[]): Known[] => {
  return sizes.map((bytes, i) => {
    const data = payload(seed + i, bytes)
    return { ref: put(data), sum: sumOf(data) }
  })
}, options)

/** Reads what others own, and gives the refs on. */
export const passOn = remote(async (known: Known[]): Promise<Known[]> => {
  for (const { ref, sum } of known) verify('a borrowed value', await get(ref), sum)
  return known.toReversed()
}, options)

/** A task of a task, which is given the refs that this one was given. */
export const passDown = remote(async (known: Known[]): Promise<Known[]> => get(passOn.remote(known)), options)

/** Keeps a ref from task to task, for a while, and reads one that was kept. */
export const keep = remote(async (known: Known): Promise<boolean> => {
  kept.push(known)
  if (kept.length > keptMax) kept.shift()
  setTimeout(() => {
    const at = kept.indexOf(known)
    if (at >= 0) kept.splice(at, 1)
  }, keptMs).unref()
  const { ref, sum } = kept[0] as Known
  verify('a kept value', await get(ref), sum)
  return true
}, options)

/** Holds refs, and results of its own, for as long as it lives. It may lose them with its worker, and be there again. */
export const Keeper = remote(
  class Keeper {
    readonly #kept: Known[] = []

    async add(known: Known): Promise<number> {
      for (const { ref, sum } of [known, ...this.#kept]) verify('a value of an actor', await get(ref), sum)
      return this.#kept.push(known)
    }

    taken(): Known[] {
      return this.#kept
    }

    make(seed: number, bytes: number): Uint8Array {
      return payload(seed, bytes)
    }
  },
  { maxRestarts: -1, maxTaskRetries: -1, schedulingStrategy: 'spread' },
)

export const count = remote(function* (seed: number, sizes: number[]) {
  for (const [i, bytes] of sizes.entries()) {
    const data = payload(seed + i, bytes)
    yield { data, sum: sumOf(data) }
  }
}, options)
