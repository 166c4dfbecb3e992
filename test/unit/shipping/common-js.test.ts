/** CommonJS modules of the user exist once in a worker process, however they are reached. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { classById, classId } from '../../../sdk/shipping/index.ts'
// @ts-expect-error it has no types
import untyped from './fixtures/counter.cjs'
// @ts-expect-error it has no types
import ring from './fixtures/ring-a.cjs'
import { ShipWorker } from './ship-worker.ts'

type Made = new () => object

const counter = untyped as {
  add: () => number
  read: () => number
  Point: Made
  Renamed: Made
  make: (tag: string) => Made
  fromOwn: () => number
}

const worker = new ShipWorker()
after(() => worker.stop())

test('functions that are shipped by themselves and what imports see is one module', async () => {
  const before = (await worker.run(() => counter.add())) as number
  assert.equal(await worker.run(counter.read), before)
  assert.equal(await worker.run(counter.fromOwn), before + 1)
  assert.equal(await worker.run(() => counter.read()), before + 1)
})

test('its classes are one class in all processes', async () => {
  for (const cls of [counter.Point, counter.Renamed]) {
    await worker.run(cls as never)
    assert.equal(classById(classId(cls) ?? ''), cls)
  }
  const [point, renamed] = [classId(counter.Point), classId(counter.Renamed)]
  assert.deepEqual(
    await worker.run(
      (...given: string[]) => [
        process.classByIdOnWorker(given[0] ?? '') === counter.Point,
        process.classByIdOnWorker(given[1] ?? '') === counter.Renamed,
      ],
      point,
      renamed,
    ),
    [true, true],
  )
})

test('a class that was not met before is found by its id', async () => {
  const other = new ShipWorker()
  try {
    const ids = await other.run(() => [counter.Point, counter.Renamed].map((cls) => process.idOfAnyOnWorker(cls)))
    assert.deepEqual(
      (ids as string[]).map((id) => classById(id)),
      [counter.Point, counter.Renamed],
    )
  } finally {
    await other.stop()
  }
})

test('classes that it makes again and again are different', async () => {
  const ids = (await worker.run(() => ['a', 'b'].map((tag) => process.idOfAnyOnWorker(counter.make(tag))))) as string[]
  assert.equal(new Set([...ids, classId(counter.make('a'))]).size, 3)
})

test('a function of it is shipped on as that of the module', async () => {
  const before = (await worker.run(() => counter.add())) as number
  assert.equal(await worker.run(() => process.shipOn(counter.read)), before)
})

test('a module in a ring is not imported for a function of it', async () => {
  assert.equal(await worker.run((ring as { eleven: () => number }).eleven), 11)
})
