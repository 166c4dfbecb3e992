import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  ActorDiedError,
  ActorUnavailableError,
  get,
  kill,
  ObjectLostError,
  ObjectStoreFullError,
  OwnerDiedError,
  put,
  remote,
  wait,
  WorkerCrashedError,
  WorkerStartError,
} from '../../sdk/index.ts'
import { payload, sumOf, verify } from '../soak/payload.ts'

/** What the scenes of a load have in common. */
export interface Stage {
  random(): number
  /** So many results were as they must be. */
  right(kind: string, count?: number): void
  /** A result is an error that the options of its call allow. */
  allowed(kind: string, error: unknown): void
}

type Scene = (stage: Stage) => Promise<void>

const sizeMin = 1024
const sizeMax = 50 * 2 ** 20
const retries = 20
const everywhere = { schedulingStrategy: 'spread', maxRetries: retries } as const

const seedOf = ({ random }: Stage): number => Math.floor(random() * 2 ** 32)
/** Many are small, some are large. */
const sizeOf = ({ random }: Stage): number => Math.floor(sizeMin * (sizeMax / sizeMin) ** (random() ** 2))
const upTo = ({ random }: Stage, most: number): number => 1 + Math.floor(random() * most)

const work = remote(async (x: number, ms: number) => {
  await new Promise((resolve) => setTimeout(resolve, ms))
  return x * x + 1
}, everywhere)

const sumTree = remote(async function sum(depth: number, base: number): Promise<number> {
  if (depth === 0) return base
  const parts = await get([1, 2].map((k) => sumTree.remote(depth - 1, base * 2 + k)))
  return parts.reduce((a, b) => a + b, 0)
}, everywhere)

function sumHere(depth: number, base: number): number {
  return depth === 0 ? base : sumHere(depth - 1, base * 2 + 1) + sumHere(depth - 1, base * 2 + 2)
}

const make = remote((seed: number, bytes: number) => payload(seed, bytes), everywhere)
const check = remote((data: Uint8Array, sum: { bytes: number; crc: number }) => {
  verify('an argument', data, sum)
  return data.length
}, everywhere)
const putThere = remote((seed: number, bytes: number) => put(payload(seed, bytes)), everywhere)
const stream = remote(function* (seed: number, sizes: number[]) {
  for (const [i, bytes] of sizes.entries()) yield payload(seed + i, bytes)
}, everywhere)

/** Notes what it runs on disk, so that it is known what has run however it ends. */
class Clerk {
  readonly #journal: string
  #count = 0

  constructor(journal: string) {
    this.#journal = journal
  }

  async note(id: number): Promise<[number, number]> {
    appendFileSync(this.#journal, `${id}\n`)
    await new Promise((resolve) => setTimeout(resolve, 5))
    return [id, ++this.#count]
  }

  async *items(n: number): AsyncGenerator<number> {
    for (let i = 0; i < n; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      yield i * 3
    }
  }

  keep(data: Uint8Array): number {
    return data.length
  }
}

const Clerks = remote(Clerk)

/** True for errors of nodes and workers that are gone, in a mesh in which many are at once. */
const isTrouble = (error: unknown): boolean =>
  error instanceof WorkerCrashedError || error instanceof WorkerStartError || error instanceof ObjectStoreFullError

async function tasks(stage: Stage): Promise<void> {
  const xs = Array.from({ length: upTo(stage, 20) }, () => Math.floor(stage.random() * 1000))
  const refs = xs.map((x) => work.remote(x, Math.floor(stage.random() * 200)))
  await wait(refs, { count: refs.length, timeoutMs: 140_000 })
  for (const [i, ref] of refs.entries()) {
    try {
      equal(await get(ref, { timeoutMs: 1000 }), (xs[i] as number) ** 2 + 1)
      stage.right('tasks')
    } catch (error) {
      if (!isTrouble(error)) throw error
      stage.allowed('tasks', error)
    }
  }
}

async function nestedTasks(stage: Stage): Promise<void> {
  const depth = upTo(stage, 3)
  try {
    equal(await get(sumTree.remote(depth, 1)), sumHere(depth, 1))
    stage.right('nested tasks')
  } catch (error) {
    // The tasks below are owned by the workers above them.
    if (!isTrouble(error) && !(error instanceof OwnerDiedError)) throw error
    stage.allowed('nested tasks', error)
  }
}

async function objects(stage: Stage): Promise<void> {
  const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
  const data = payload(seed, bytes)
  const sum = sumOf(data)
  try {
    const ref = stage.random() < 0.5 ? put(data) : make.remote(seed, bytes)
    equal(await get(check.remote(ref, sum)), bytes)
    verify('an object', await get(ref), sum)
    stage.right('objects')
  } catch (error) {
    if (!isTrouble(error)) throw error
    stage.allowed('objects', error)
  }
}

/** A worker owns it, and may be killed at any time: then it is lost with its owner, and only then. */
async function objectsOfOthers(stage: Stage): Promise<void> {
  const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
  try {
    const inner = await get(putThere.remote(seed, bytes))
    verify('an object of another', await get(inner), sumOf(payload(seed, bytes)))
    stage.right('objects of others')
  } catch (error) {
    const isLost = error instanceof OwnerDiedError || error instanceof ObjectLostError
    if (!isTrouble(error) && !isLost) throw error
    stage.allowed('objects of others', error)
  }
}

async function streams(stage: Stage): Promise<void> {
  const seed = seedOf(stage)
  const sizes = Array.from({ length: upTo(stage, 8) }, () => Math.floor(sizeOf(stage) / 10) + 1)
  let taken = 0
  try {
    for await (const ref of stream.remote(seed, sizes)) {
      verify('an item', await get(ref), sumOf(payload(seed + taken, sizes[taken] as number)))
      taken++
    }
    equal(taken, sizes.length)
    stage.right('streams')
  } catch (error) {
    if (!isTrouble(error)) throw error
    stage.allowed('streams', error)
  }
}

/** Calls that may be made again: all of them give a result, in the end, and each has run. */
async function retriedCalls(stage: Stage): Promise<void> {
  await withJournal(async (journal) => {
    const clerk = Clerks.options({ maxRestarts: -1, maxTaskRetries: -1 }).remote(journal)
    const ids = Array.from({ length: upTo(stage, 60) }, (_, i) => i)
    const answers = await get(ids.map((id) => clerk.note.remote(id)))
    for (const [i, [id]] of answers.entries()) equal(id, i)
    const ran = countsIn(journal)
    for (const id of ids) if (!ran.has(id)) throw new Error(`call ${id} has a result but has not run`)
    stage.right('retried calls', ids.length)
    kill(clerk)
  })
}

/** Calls that may not: each runs at most once, and those with a result have run, in their order. */
async function callsOnce(stage: Stage): Promise<void> {
  await withJournal(async (journal) => {
    const clerk = Clerks.options({ maxRestarts: -1, maxConcurrency: 1 }).remote(journal)
    const refs = Array.from({ length: upTo(stage, 60) }, (_, i) => clerk.note.remote(i))
    const done = new Set<number>()
    for (const [i, ref] of refs.entries()) {
      try {
        const [id] = await get(ref)
        equal(id, i)
        done.add(i)
        stage.right('calls made once')
      } catch (error) {
        if (!(error instanceof ActorUnavailableError)) throw error
        stage.allowed('calls made once', error)
      }
    }
    const ran = countsIn(journal)
    for (const [id, count] of ran)
      if (count > 1) throw new Error(`call ${id}, which may run once, has run ${count} times`)
    for (const id of done) if (!ran.has(id)) throw new Error(`call ${id} has a result but has not run`)
    const order = [...ran.keys()]
    if (order.some((id, at) => at > 0 && id < (order[at - 1] as number)))
      throw new Error(`calls ran as ${order.join()}`)
    kill(clerk)
  })
}

/** An actor that is not started again: its calls have a result, or it has died. */
async function mortals(stage: Stage): Promise<void> {
  await withJournal(async (journal) => {
    const clerk = Clerks.remote(journal)
    try {
      equal(await get(clerk.keep.remote(put(payload(seedOf(stage), 200_000)) as never)), 200_000)
      let at = 0
      for await (const ref of clerk.items.remote(upTo(stage, 30))) equal(await get(ref), 3 * at++)
      stage.right('mortal actors')
    } catch (error) {
      if (!(error instanceof ActorDiedError || error instanceof ActorUnavailableError)) throw error
      stage.allowed('mortal actors', error)
    }
    // No handle is left, so it ends by itself.
  })
}

async function withJournal(scene: (journal: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-chaos-'))
  try {
    await scene(path.join(directory, 'journal'))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** What a journal says, in the order of the first time. */
function countsIn(journal: string): Map<number, number> {
  const counts = new Map<number, number>()
  if (!existsSync(journal)) return counts
  for (const line of readFileSync(journal, 'utf8').split('\n')) {
    if (line !== '') counts.set(Number(line), (counts.get(Number(line)) ?? 0) + 1)
  }
  return counts
}

function equal(found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`got ${String(found)} where ${String(expected)} is right`)
}

export const scenes: readonly { name: string; weight: number; scene: Scene }[] = [
  { name: 'tasks', weight: 3, scene: tasks },
  { name: 'nested tasks', weight: 2, scene: nestedTasks },
  { name: 'objects', weight: 3, scene: objects },
  { name: 'objects of others', weight: 2, scene: objectsOfOthers },
  { name: 'streams', weight: 2, scene: streams },
  { name: 'retried calls', weight: 2, scene: retriedCalls },
  { name: 'calls made once', weight: 2, scene: callsOnce },
  { name: 'mortal actors', weight: 2, scene: mortals },
]
