import { setTimeout as delay } from 'node:timers/promises'
import { get, init, put, release, remote, type ObjectRef } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { collectGarbage } from './garbage.ts'
import { rate } from './rate.ts'
import type { Result } from './result.ts'

const mib = 1024 * 1024
/** What was dropped is freed within this time. */
const freeMs = 100
const getsPerRound = 20
const warmUps = 5

/** Has the store free what no ref is left to, so that its memory is used again. */
async function settle(): Promise<void> {
  collectGarbage()
  await delay(freeMs)
}

function fill(bytes: number, value: number): Float64Array {
  return new Float64Array(bytes / 8).fill(value)
}

function timed(work: () => void): number {
  const startedAt = performance.now()
  work()
  return performance.now() - startedAt
}

/** What `get` of a value takes in a task that lets it go without saying so, in microseconds. */
const getAndDrop = remote(
  async (refs: ObjectRef<Float64Array>[], count: number) => {
    const samples: number[] = []
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now()
      const value = await get(refs[0] as ObjectRef<Float64Array>)
      samples.push(performance.now() - startedAt)
      if (value[0] !== 1) throw new Error('a value came back wrong')
    }
    return (samples.toSorted((a, b) => a - b)[count / 2] as number) * 1000
  },
  { name: 'getAndDrop' },
)

/** `put` beside a plain copy of the same bytes into memory that has been used before, and `get` of it. */
function putAndGet(sizeMib: number): Benchmark {
  const name = `put and get ${sizeMib} MiB`
  return {
    name,
    async measure({ rounds, profiled }) {
      await using _ = await init()
      const source = fill(sizeMib * mib, 1)
      const target = fill(sizeMib * mib, 2)
      const puts: number[] = []
      const copies: number[] = []
      const gets: number[] = []
      const dropped: number[] = []
      const inTasks: number[] = []
      const medianGetUs = async (ref: ObjectRef<Float64Array>, done: (value: Float64Array) => unknown) => {
        const samples: number[] = []
        for (let i = 0; i < getsPerRound; i++) {
          const startedAt = performance.now()
          const value = await get(ref)
          samples.push(performance.now() - startedAt)
          if (value[0] !== 1 || value.length !== source.length) throw new Error('a value came back wrong')
          done(value)
        }
        return (samples.toSorted((a, b) => a - b)[getsPerRound / 2] as number) * 1000
      }
      const measureOnce = async (): Promise<[number, number, number, number, number]> => {
        await settle()
        let made: ObjectRef<Float64Array> | undefined
        const putMs = timed(() => {
          made = put(source)
        })
        const copyMs = timed(() => target.set(source))
        const ref = made as ObjectRef<Float64Array>
        const gotUs = await medianGetUs(ref, release)
        return [
          putMs,
          copyMs,
          gotUs,
          await medianGetUs(ref, () => 0),
          await get(getAndDrop.remote([ref], getsPerRound)),
        ]
      }
      // The first ones find no memory that has been used before.
      for (let i = 0; i < warmUps; i++) await measureOnce()
      await profiled(async () => {
        for (let round = 0; round < rounds; round++) {
          const [putMs, copyMs, getUs, droppedUs, inTaskUs] = await measureOnce()
          puts.push(sizeMib / 1024 / (putMs / 1000))
          copies.push(copyMs / putMs)
          gets.push(getUs)
          dropped.push(droppedUs)
          inTasks.push(inTaskUs)
        }
      })
      const results: Result[] = [
        { name: `put ${sizeMib} MiB`, unit: 'GiB/s', values: puts },
        { name: `put ${sizeMib} MiB, of the speed of a plain copy`, unit: 'ratio', values: copies },
        { name: `get ${sizeMib} MiB, released after use`, unit: 'us', values: gets },
        { name: `get ${sizeMib} MiB, dropped after use`, unit: 'us', values: dropped },
        { name: `get ${sizeMib} MiB, dropped after use, in a task`, unit: 'us', values: inTasks },
      ]
      return results
    },
  }
}

const putMany = remote(
  (count: number, bytes: number) => {
    for (let i = 0; i < count; i++) put(new Uint8Array(bytes))
    return count
  },
  { numCpus: 0, name: 'putMany' },
)
const readBorrowed = remote(
  async (refs: ObjectRef<number>[], count: number) => {
    const startedAt = performance.now()
    for (let i = 0; i < count; i++) await get(refs[0] as ObjectRef<number>)
    return count / ((performance.now() - startedAt) / 1000)
  },
  { name: 'readBorrowed' },
)

const clients = 4
const clientPutMib = 64

/** Values in the store, with the workloads of Ray's microbenchmark where it has them. */
export const objectBenchmarks: readonly Benchmark[] = [
  ...[1, 10, 100, 1024].map(putAndGet),
  rate({
    name: 'single client put gigabytes (100 MiB at a time)',
    unit: 'GiB/s',
    operations: 100 / 1024,
    prepare: () => {
      const source = new Uint8Array(100 * mib).fill(1)
      // The store asks for what is not used any more as it fills up, and a turn of the event loop lets that go.
      return async () => {
        put(source)
        await delay(0)
      }
    },
  }),
  rate({
    name: 'multi client put gigabytes',
    unit: 'GiB/s',
    operations: (clients * 4 * clientPutMib) / 1024,
    prepare: () => () => get(Array.from({ length: clients }, () => putMany.remote(4, clientPutMib * mib))),
  }),
  rate({
    name: 'single client get object containing 10k refs',
    prepare: () => {
      const ref = put(Array.from({ length: 10_000 }, (_, i) => put(i)))
      return () => get(ref)
    },
  }),
  {
    name: 'get calls of an object owned elsewhere (small)',
    async measure({ rounds }) {
      await using _ = await init()
      const ref = put(1)
      await get(readBorrowed.remote([ref], 10_000))
      const values: number[] = []
      for (let round = 0; round < rounds; round++) values.push(await get(readBorrowed.remote([ref], 300_000)))
      return [{ name: 'get calls of an object owned elsewhere (small)', unit: 'per s', values }]
    },
  },
]
