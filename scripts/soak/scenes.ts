import { get, put, wait, type ObjectRef } from '../../sdk/index.ts'
import { payload, sizeMax, sizeMin, sumOf, verify } from './payload.ts'
import type { Tally } from './tally.ts'
import {
  check,
  count,
  halve,
  Keeper,
  keep,
  make,
  makeOnce,
  makeTwice,
  passDown,
  passOn,
  putThere,
  walk,
  type Known,
  type Nest,
} from './tasks.ts'

/** What the scenes of a load have in common. */
export interface Stage {
  random(): number
  readonly tally: Tally
  /** Refs that are held for long and looked at again. */
  readonly shelf: Known[]
  readonly shelfMax: number
}

/** Of these so many are held, on the shelf behind the others. */
const onceMax = 10

export type Scene = (stage: Stage) => Promise<void>

const seedOf = ({ random }: Stage): number => Math.floor(random() * 2 ** 32)
/** Many are small, some are large. */
const sizeOf = ({ random }: Stage): number => Math.floor(sizeMin * (sizeMax / sizeMin) ** (random() ** 1.3))
const upTo = ({ random }: Stage, most: number): number => 1 + Math.floor(random() * most)

/** Objects are being made. */
function made({ tally }: Stage, objects: number): void {
  tally.objects += objects
}

function putOne(stage: Stage): Known {
  const data = payload(seedOf(stage), sizeOf(stage))
  made(stage, 1)
  return { ref: put(data, { replicas: stage.random() < 0.1 ? 2 : 1 }), sum: sumOf(data) }
}

function putSome(stage: Stage, most: number): Known[] {
  return Array.from({ length: upTo(stage, most) }, () => putOne(stage))
}

async function putAndRead(stage: Stage): Promise<void> {
  const known = putSome(stage, 4)
  const checks = known.map(({ ref, sum }) => check.remote(ref, sum))
  made(stage, checks.length)
  for (const { ref, sum } of known) verify('a value that was put', await get(ref), sum)
  await get(checks)
}

async function makeAndRead(stage: Stage): Promise<void> {
  const results = Array.from({ length: upTo(stage, 4) }, () => {
    const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
    return { seed, bytes, ref: make.remote(seed, bytes) }
  })
  made(stage, results.length)
  for (const { seed, bytes, ref } of results) {
    const sum = sumOf(payload(seed, bytes))
    if (stage.random() < 0.5) verify('a result', await get(ref), sum)
    else {
      made(stage, 1)
      await get(check.remote(ref, sum))
    }
  }
}

async function halves(stage: Stage): Promise<void> {
  const data = payload(seedOf(stage), sizeOf(stage))
  const at = data.length >> 1
  const [first, second] = halve.remote(put(data)) as unknown as [ObjectRef<Uint8Array>, ObjectRef<Uint8Array>]
  made(stage, 3)
  if (stage.random() < 0.8) verify('the second half', await get(second), sumOf(data.subarray(at)))
  if (stage.random() < 0.8) verify('the first half', await get(first), sumOf(data.subarray(0, at)))
}

function nest(stage: Stage, depth: number): { root: Nest; values: number } {
  const root: Nest = { inner: [] }
  let values = 0
  if (stage.random() < 0.7) {
    root.known = putOne(stage)
    values += 1
  }
  const width = depth === 0 ? 0 : upTo(stage, 2)
  for (let i = 0; i < width; i++) {
    const inner = nest(stage, depth - 1)
    root.inner.push(put(inner.root))
    made(stage, 1)
    values += inner.values
  }
  return { root, values }
}

async function nested(stage: Stage): Promise<void> {
  const { root, values } = nest(stage, upTo(stage, 3))
  made(stage, 1)
  const found = await get(walk.remote(root))
  if (found !== values) throw new Error(`a nest of ${values} values has ${found}`)
}

/** Workers own the objects; when they are killed, or their nodes, those die with them, and only those. */
async function owned(stage: Stage): Promise<void> {
  try {
    const sizes = Array.from({ length: upTo(stage, 3) }, () => sizeOf(stage))
    made(stage, 1 + sizes.length)
    let known = await get(putThere.remote(seedOf(stage), sizes))
    if (stage.random() < 0.7) {
      made(stage, 1)
      known = await get((stage.random() < 0.5 ? passOn : passDown).remote(known))
    }
    for (const { ref, sum } of known) verify('a value of a worker', await get(ref), sum)
    if (stage.random() < 0.5) {
      made(stage, 1)
      await get(keep.remote(known[0] as Known))
    }
  } catch (error) {
    stage.tally.allow(error, 'OWNER_DIED')
  }
}

async function borrowed(stage: Stage): Promise<void> {
  const known = putSome(stage, 3)
  made(stage, 1)
  const back = await get((stage.random() < 0.5 ? passOn : passDown).remote(known))
  for (const { ref, sum } of back) verify('a value that came back', await get(ref), sum)
}

/** The value that the worker kept before may be of an owner that has died. */
async function keptThere(stage: Stage): Promise<void> {
  made(stage, 1)
  try {
    await get(keep.remote(putOne(stage)))
  } catch (error) {
    stage.tally.allow(error, 'OWNER_DIED')
  }
}

async function streamed(stage: Stage): Promise<void> {
  const sizes = Array.from({ length: upTo(stage, 6) }, () => sizeOf(stage))
  const most = stage.random() < 0.7 ? sizes.length : upTo(stage, sizes.length)
  let taken = 0
  for await (const ref of count.remote(seedOf(stage), sizes)) {
    made(stage, 1)
    const { data, sum } = await get(ref)
    verify('an item of a stream', data, sum)
    if (++taken === most) break
  }
  if (taken !== most) throw new Error(`a stream of ${sizes.length} items has ended after ${taken}`)
}

/** Something on the shelf, in the place of something else; looks at what was there before. */
async function onShelf(stage: Stage, known: Known): Promise<void> {
  const { shelf, shelfMax, random } = stage
  const at = Math.floor(random() * shelfMax)
  const before = shelf[at]
  shelf[at] = known
  if (before !== undefined) verify('a value on the shelf', await get(before.ref), before.sum)
}

async function shelved(stage: Stage): Promise<void> {
  await onShelf(stage, putOne(stage))
}

/** Results are made again when their nodes are killed, or have come to others before. */
async function shelvedResult(stage: Stage): Promise<void> {
  const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
  made(stage, 1)
  const ref = (stage.random() < 0.5 ? make : makeTwice).remote(seed, bytes)
  await onShelf(stage, { ref, sum: sumOf(payload(seed, bytes)) })
}

/** Only replicas are left of what cannot be made again, and not even those when a node is killed at once. */
async function madeOnce(stage: Stage): Promise<void> {
  const { shelf, shelfMax, random, tally } = stage
  const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
  const at = shelfMax + Math.floor(random() * onceMax)
  const before = shelf[at]
  made(stage, 1)
  shelf[at] = { ref: makeOnce.remote(seed, bytes), sum: sumOf(payload(seed, bytes)) }
  if (before === undefined) return
  try {
    verify('a value that was made once', await get(before.ref), before.sum)
  } catch (error) {
    tally.allow(error, 'OBJECT_LOST', 'WORKER_CRASHED')
  }
}

/** An actor has as many as it was given, or fewer, when it has been started again. */
async function acted(stage: Stage): Promise<void> {
  const keeper = Keeper.remote()
  const known = putSome(stage, 3)
  for (const each of known) await get(keeper.add.remote(each))
  const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
  const result = keeper.make.remote(seed, bytes)
  made(stage, known.length + 2)
  const taken = await get(keeper.taken.remote())
  if (taken.length > known.length) throw new Error(`an actor has ${taken.length} of ${known.length} values`)
  for (const { ref, sum } of taken) verify('a value that an actor kept', await get(ref), sum)
  try {
    verify('a result of an actor', await get(result), sumOf(payload(seed, bytes)))
  } catch (error) {
    // It cannot be made again.
    stage.tally.allow(error, 'OBJECT_LOST')
  }
}

/** Nobody ever looks at these. */
async function dropped(stage: Stage): Promise<void> {
  const known = putSome(stage, 3)
  const refs = known.map(({ ref, sum }) => check.remote(ref, sum))
  made(stage, refs.length)
  await wait(refs)
}

export const scenes: readonly (readonly [weight: number, scene: Scene])[] = [
  [3, putAndRead],
  [3, makeAndRead],
  [1, halves],
  [2, nested],
  [3, owned],
  [2, borrowed],
  [2, keptThere],
  [1, streamed],
  [2, shelved],
  [2, shelvedResult],
  [1, madeOnce],
  [2, acted],
  [1, dropped],
]
