import { get, ObjectLostError, OwnerDiedError, put, wait, type ObjectRef } from '../../sdk/index.ts'
import { payload, sizeMax, sizeMin, sumOf, verify } from './payload.ts'
import { check, count, halve, keep, make, passDown, passOn, putThere, walk, type Known, type Nest } from './tasks.ts'

/** What the scenes of a load have in common. */
export interface Stage {
  random(): number
  /** Objects have been made. */
  made(objects: number): void
  /** An object died with the worker that owned it, as it must. */
  ownerDied(): void
  /** Refs that are held for long and looked at again. */
  readonly shelf: Known[]
  readonly shelfMax: number
}

export type Scene = (stage: Stage) => Promise<void>

const seedOf = ({ random }: Stage): number => Math.floor(random() * 2 ** 32)
/** Many are small, some are large. */
const sizeOf = ({ random }: Stage): number => Math.floor(sizeMin * (sizeMax / sizeMin) ** (random() ** 1.3))
const upTo = ({ random }: Stage, most: number): number => 1 + Math.floor(random() * most)

function putOne(stage: Stage): Known {
  const data = payload(seedOf(stage), sizeOf(stage))
  stage.made(1)
  return { ref: put(data), sum: sumOf(data) }
}

function putSome(stage: Stage, most: number): Known[] {
  return Array.from({ length: upTo(stage, most) }, () => putOne(stage))
}

async function putAndRead(stage: Stage): Promise<void> {
  const known = putSome(stage, 4)
  const checks = known.map(({ ref, sum }) => check.remote(ref, sum))
  stage.made(checks.length)
  for (const { ref, sum } of known) verify('a value that was put', await get(ref), sum)
  await get(checks)
}

async function makeAndRead(stage: Stage): Promise<void> {
  const made = Array.from({ length: upTo(stage, 4) }, () => {
    const [seed, bytes] = [seedOf(stage), sizeOf(stage)]
    return { seed, bytes, ref: make.remote(seed, bytes) }
  })
  stage.made(made.length)
  for (const { seed, bytes, ref } of made) {
    const sum = sumOf(payload(seed, bytes))
    if (stage.random() < 0.5) verify('a result', await get(ref), sum)
    else {
      stage.made(1)
      await get(check.remote(ref, sum))
    }
  }
}

async function halves(stage: Stage): Promise<void> {
  const data = payload(seedOf(stage), sizeOf(stage))
  const at = data.length >> 1
  const [first, second] = halve.remote(put(data)) as unknown as [ObjectRef<Uint8Array>, ObjectRef<Uint8Array>]
  stage.made(3)
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
    stage.made(1)
    values += inner.values
  }
  return { root, values }
}

async function nested(stage: Stage): Promise<void> {
  const { root, values } = nest(stage, upTo(stage, 3))
  stage.made(1)
  const found = await get(walk.remote(root))
  if (found !== values) throw new Error(`a nest of ${values} values has ${found}`)
}

/** Workers own the objects; when they are killed those die with them, and only those. */
async function owned(stage: Stage): Promise<void> {
  try {
    const sizes = Array.from({ length: upTo(stage, 3) }, () => sizeOf(stage))
    stage.made(1 + sizes.length)
    let known = await get(putThere.remote(seedOf(stage), sizes))
    if (stage.random() < 0.7) {
      stage.made(1)
      known = await get((stage.random() < 0.5 ? passOn : passDown).remote(known))
    }
    for (const { ref, sum } of known) verify('a value of a worker', await get(ref), sum)
    if (stage.random() < 0.5) {
      stage.made(1)
      await get(keep.remote(known[0] as Known))
    }
  } catch (error) {
    if (!(error instanceof OwnerDiedError)) throw error
    stage.ownerDied()
  }
}

async function borrowed(stage: Stage): Promise<void> {
  const known = putSome(stage, 3)
  stage.made(1)
  const back = await get((stage.random() < 0.5 ? passOn : passDown).remote(known))
  for (const { ref, sum } of back) verify('a value that came back', await get(ref), sum)
}

/** The value that the worker kept before may be of an owner that has died. */
async function keptThere(stage: Stage): Promise<void> {
  stage.made(1)
  try {
    await get(keep.remote(putOne(stage)))
  } catch (error) {
    if (!(error instanceof OwnerDiedError)) throw error
    stage.ownerDied()
  }
}

async function streamed(stage: Stage): Promise<void> {
  const sizes = Array.from({ length: upTo(stage, 6) }, () => sizeOf(stage))
  const most = stage.random() < 0.7 ? sizes.length : upTo(stage, sizes.length)
  let taken = 0
  try {
    for await (const ref of count.remote(seedOf(stage), sizes)) {
      stage.made(1)
      const { data, sum } = await get(ref)
      verify('an item of a stream', data, sum)
      if (++taken === most) break
    }
  } catch (error) {
    // Items are not made again, so one may be lost with the node it is on; not with a worker.
    if (error instanceof ObjectLostError)
      throw new Error(`an item of a stream is lost: ${error.message}`, { cause: error })
    throw error
  }
  if (taken !== most) throw new Error(`a stream of ${sizes.length} items has ended after ${taken}`)
}

/** Puts something on the shelf, in the place of something else, and looks at what was there before. */
async function shelved(stage: Stage): Promise<void> {
  const { shelf, shelfMax, random } = stage
  const at = Math.floor(random() * shelfMax)
  const before = shelf[at]
  shelf[at] = putOne(stage)
  if (before !== undefined) verify('a value on the shelf', await get(before.ref), before.sum)
}

/** Nobody ever looks at these. */
async function dropped(stage: Stage): Promise<void> {
  const known = putSome(stage, 3)
  const refs = known.map(({ ref, sum }) => check.remote(ref, sum))
  stage.made(refs.length)
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
  [1, dropped],
]
